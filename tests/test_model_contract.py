"""Artifacts of every version that were written once and committed (tests/golden/models) still load and embed alike.

A change of the format is a new version: write its artifacts with `python -P tests/test_model_contract.py`, and say in
docs/model-format.md what changed.
"""

import json
import shutil
import tempfile
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch

import txfm
from txfm.artifact import Provenance
from txfm.artifact.format import FORMAT_VERSION, KINDS
from txfm.baselines.features import Features, LogCountFeatures, PcaFeatures, ScviFeatures
from txfm.baselines.model import Baseline
from txfm.config import ModelConfig
from txfm.hardware import Hardware
from txfm.model import TxFM
from txfm.pretrained import TrainingRecord, save_model
from txfm.vocabulary import Vocabulary

GOLDEN = Path(__file__).parent / "golden" / "models"
ARTIFACTS = sorted(path.parent for path in GOLDEN.glob("*/*/model.json"))
HOW = (
    "if the format was meant to change, run `python -P tests/test_model_contract.py` and document it in model-format.md"
)
N_GENES, N_MEASURED, N_SAMPLES, WIDTH = 24, 20, 5, 8
VOCABULARY = Vocabulary(
    axis_positions=np.arange(1, 2 * N_GENES, 2),
    ensembl_ids=tuple(f"ENSG{i:011d}" for i in range(1, 2 * N_GENES, 2)),
    symbols=tuple(f"G{i}" for i in range(1, 2 * N_GENES, 2)),
    previous_symbols=tuple((f"OLD{i}",) if i % 3 == 0 else () for i in range(1, 2 * N_GENES, 2)),
)
CELLS = {"recipe": "plain", "assay": "sc", "n_samples": 24, "simulated": True, "title": "Toy cells", "licence": "CC0"}
TISSUE = {"recipe": "plain", "assay": "bulk", "n_samples": 6, "simulated": False, "title": None, "licence": None}
PROVENANCE = Provenance(
    variant="all",
    variant_digest="0" * 64,
    corpus_digest="1" * 64,
    studies={"cells": CELLS, "tissue": TISSUE},
    held_out=("elsewhere",),
)
LINES = [
    {"kind": "train", "step": 20, "samples_seen": 640, "loss": -4.0},
    {"kind": "validation", "step": 20, "samples_seen": 640, "loss": -5.0, "explained_deviance": 0.25, "cls_rank": 3.5}
    | {"dead_gene_share": 0.0, "explained_deviance_by_study": {"cells": 0.25}},
]


def write_txfm(folder: Path) -> None:
    """Write an untrained network of the smallest size, with every tensor that a configuration can ask for."""
    config = ModelConfig(
        width=WIDTH,
        n_heads=2,
        n_blocks=2,
        n_decoder_blocks=1,
        n_visible_genes=16,
        max_genes=N_GENES,
        samples_seen=640,
        loss="zero_inflated_negative_binomial",
    )
    network = TxFM(config, N_GENES)
    network.initialise(torch.linspace(1.0, 8.0, N_GENES), torch.Generator().manual_seed(0))
    record = TrainingRecord(
        config=config,
        vocabulary=VOCABULARY,
        provenance=PROVENANCE,
        seed=0,
        samples_seen=640,
        steps=20,
        final_metrics={line["kind"]: line for line in LINES},
        parent=None,
    )
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as metrics:
        metrics.write("".join(json.dumps(line) + "\n" for line in LINES))
        metrics.flush()
        save_model(
            folder,
            network,
            record,
            Path(metrics.name),
            Hardware(device=torch.device("cpu"), precision="float32", threads=1),
        )


def baselines() -> dict[str, tuple[Features, dict[str, object]]]:
    """Return features of every baseline, drawn and not fitted, with their config."""
    rng = np.random.default_rng(0)

    def drawn(*shape: int) -> np.ndarray:
        return rng.normal(size=shape)

    mean = rng.gamma(2.0, 2.0, N_GENES)
    layer = {part: drawn(6, N_GENES) if part == "weight" else rng.gamma(2.0, 1.0, 6) for part in ScviFeatures.PARTS}
    size = {"library_size_counts": 1e5}
    pca = PcaFeatures(mean=mean, components=drawn(WIDTH, N_GENES), scale=np.ones(WIDTH), library_size=1e5)
    scvi = ScviFeatures(
        mean=mean,
        layers=({part: array.astype(np.float32) for part, array in layer.items()},),
        latent_weight=drawn(WIDTH, 6).astype(np.float32),
        latent_bias=drawn(WIDTH).astype(np.float32),
        gene_decoder=drawn(N_GENES, 6).astype(np.float32),
        norm_epsilon=1e-3,
    )
    return {
        "pca": (pca, {**size, "n_components": WIDTH, "n_passes": 12, "scaling": "raw"}),
        "lognorm": (LogCountFeatures(mean=mean, chosen=np.arange(N_GENES), library_size=1e5), size),
        "hvg": (
            LogCountFeatures(mean=mean, chosen=np.arange(1, N_GENES, 3), library_size=1e5),
            {**size, "n_top_genes": WIDTH, "n_bins": 20},
        ),
        "scvi": (scvi, {"n_latent": WIDTH, "n_hidden": 6, "n_layers": 1, "norm_epsilon": 1e-3}),
    }


def write_all(folder: Path) -> None:
    """Write an artifact of each kind, and beside it what it makes of some samples."""
    write_txfm(folder / "txfm")
    for kind, (features, config) in baselines().items():
        baseline = Baseline.fitted(
            kind,
            features,
            VOCABULARY,
            PROVENANCE,
            config=config,
            seed=0,
            n_samples=30,
            fit={"explained_variance_share": 0.5} if kind == "pca" else None,
        )
        baseline.save(folder / kind)
    counts = np.random.default_rng(1).negative_binomial(1.0, 0.2, (N_SAMPLES, N_MEASURED))
    ids = list(VOCABULARY.ensembl_ids[:N_MEASURED])
    for kind in KINDS:
        vectors = txfm.load(folder / kind).embed(samples(ids, counts), verbose=False)
        content = {"ensembl_ids": ids, "counts": counts.tolist(), "embedding": vectors.tolist()}
        (folder / f"{kind}.embedding.json").write_text(json.dumps(content) + "\n")


def samples(ensembl_ids: list[str], counts: np.ndarray) -> ad.AnnData:
    """Return some genes of the vocabulary; the model does not see the others."""
    return ad.AnnData(np.asarray(counts, dtype=np.float32), var=pd.DataFrame(index=ensembl_ids))


def named(folder: Path) -> str:
    return f"{folder.parent.name}-{folder.name}"


def test_there_is_an_artifact_of_every_kind_of_todays_version_and_one_of_the_first() -> None:
    assert {named(folder) for folder in ARTIFACTS} >= {"0.1-txfm", *(f"{FORMAT_VERSION}-{kind}" for kind in KINDS)}, HOW


@pytest.mark.parametrize("folder", ARTIFACTS, ids=named)
def test_an_artifact_of_every_version_embeds_as_on_the_day_it_was_written(folder: Path) -> None:
    stated = json.loads((folder.parent / f"{folder.name}.embedding.json").read_text())
    model = txfm.load(folder)
    assert model.card["kind"] == folder.name
    found = model.embed(samples(stated["ensembl_ids"], stated["counts"]), verbose=False)
    np.testing.assert_allclose(found, np.array(stated["embedding"], dtype=np.float32), rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    write_all(folder)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_todays_writer_writes_the_committed_artifact(kind: str, written: Path) -> None:
    folders = (GOLDEN / FORMAT_VERSION / kind, written / kind)
    weights = [(folder / "model.safetensors").read_bytes() for folder in folders]
    assert weights[0] == weights[1], HOW
    old, new = (json.loads((folder / "model.json").read_text()) for folder in folders)
    assert list(old) == list(new), HOW
    assert old["config"].keys() <= new["config"].keys(), HOW
    differing = {field for field in old if old[field] != new[field]} - {"config", "software"}
    assert not differing, HOW


if __name__ == "__main__":
    target = GOLDEN / FORMAT_VERSION
    shutil.rmtree(target, ignore_errors=True)
    write_all(target)
