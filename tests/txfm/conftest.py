"""A tiny corpus on disk, written by the contract alone: two single-cell studies and one bulk study on a shared axis."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

N_AXIS_GENES = 60
# study -> (assay, measured axis columns, training samples, validation samples)
STUDIES = {
    "alpha": ("sc", np.arange(0, 40), 70, 20),
    "beta": ("sc", np.arange(20, 50), 50, 10),
    "gamma": ("bulk", np.arange(10, 56), 12, 0),
}


@dataclass(frozen=True)
class TinyCorpus:
    """A corpus folder and the counts that were written into it."""

    folder: Path
    counts: dict[tuple[str, str], np.ndarray]
    variant: str = "tiny"


def axis_ids() -> list[str]:
    return [f"ENSG{100 + position:011d}" for position in range(N_AXIS_GENES)]


def simulated_counts(study: str, n_samples: int, seed: int) -> np.ndarray:
    """Negative-binomial counts with two groups of samples; zero outside the study's measured genes."""
    assay, measured, _, _ = STUDIES[study]
    rng = np.random.default_rng([seed, len(study), n_samples])
    gene_means = np.random.default_rng(7).gamma(1.0, 4.0 if assay == "sc" else 400.0, N_AXIS_GENES)
    means = np.tile(gene_means, (n_samples, 1))
    means[::2, ::3] *= 4.0
    counts = np.zeros((n_samples, N_AXIS_GENES), dtype=np.int32)
    counts[:, measured] = rng.negative_binomial(2.0, 2.0 / (2.0 + means))[:, measured]
    return counts


def write_sharded(group: zarr.Group, name: str, values: np.ndarray, chunk: int = 64, chunks_per_shard: int = 4) -> None:
    """Write an array in the layout of docs/corpus-format.md, with small chunks."""
    array = group.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=(chunk,),
        shards=(chunk * chunks_per_shard,),
        compressors=[BloscCodec(cname="zstd", clevel=2, shuffle="shuffle"), Crc32cCodec()],
    )
    array.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    array[:] = values


def write_store(folder: Path, study: str, split: str, counts: np.ndarray) -> dict[str, object]:
    """Write one store and return its entry in a variant's manifest."""
    assay, measured_columns, _, _ = STUDIES[study]
    measured = np.isin(np.arange(N_AXIS_GENES), measured_columns)
    n_samples = len(counts)
    names = pd.Index([f"{study}:{split}_{row}" for row in range(n_samples)], name="sample_id", dtype=object)
    obs = pd.DataFrame(index=names)
    for column, value in {
        "study": study,
        "assay": assay,
        "batch": f"{study}_{split}",
        "cell_line": "",
        "tissue": "",
    }.items():
        obs[column] = pd.Categorical([value] * n_samples)
    obs["perturbation"] = pd.Categorical(["target" if row % 2 else "" for row in range(n_samples)])
    obs["cell_type"] = pd.Categorical(["even" if row % 2 == 0 else "odd" for row in range(n_samples)])
    obs["donor"] = pd.Categorical([""] * n_samples)
    obs["is_control"] = False
    obs["library_size"] = counts.sum(axis=1).astype(np.int64)
    obs["n_genes"] = (counts > 0).sum(axis=1).astype(np.int32)
    obs["source_row"] = np.arange(n_samples, dtype=np.int64)
    obs["simulated"] = True
    var = pd.DataFrame(index=pd.Index(axis_ids(), name="ensembl_id", dtype=object))
    var["symbol"] = [f"GENE{position}" for position in range(N_AXIS_GENES)]
    var["measured"] = measured
    var["n_detected"] = (counts > 0).sum(axis=0).astype(np.int64)
    path = folder / "stores" / f"{study}.plain.{split}.zarr"
    matrix = sp.csr_matrix(counts)
    group = zarr.open_group(path, mode="w", zarr_format=3)
    with ad.settings.override(zarr_write_format=3, auto_shard_zarr_v3=True):
        for name, element in {"X": matrix, "obs": obs, "var": var, "uns": {"curation": "{}"}}.items():
            ad.io.write_elem(group, name, element)
    arrays = {
        "indices": (matrix.indices, np.uint16),
        "data": (matrix.data, np.int32),
        "indptr": (matrix.indptr, np.int64),
    }
    for name, (values, dtype) in arrays.items():
        del group[f"X/{name}"]
        write_sharded(group["X"], name, values.astype(dtype))
    entry: dict[str, object] = {
        "study": study,
        "split": split,
        "assay": assay,
        "simulated": True,
        "n_samples": n_samples,
    }
    entry["digest"] = f"digest-{study}-{split}"
    group.attrs.update(
        {**entry, "nnz": int(matrix.nnz), "recipe": "plain", "encoding-type": "anndata", "encoding-version": "0.1.0"}
    )
    entry |= {
        "path": f"stores/{path.name}",
        "recipe": "plain",
        "nnz": int(matrix.nnz),
        "n_genes_measured": int(measured.sum()),
    }
    return entry


def write_tiny_corpus(folder: Path, studies: tuple[str, ...] = tuple(STUDIES), validation: bool = True) -> TinyCorpus:
    """Write stores, corpus.json and the variant `tiny`."""
    counts: dict[tuple[str, str], np.ndarray] = {}
    entries = []
    for study in studies:
        _, _, n_train, n_validation = STUDIES[study]
        sizes = {"train": n_train, "validation": n_validation if validation else 0}
        for seed, (split, n_samples) in enumerate(sizes.items()):
            counts[study, split] = simulated_counts(study, n_samples, seed)
        entries += [write_store(folder, study, split, counts[study, split]) for split in sizes]
    (folder / "variants").mkdir(parents=True)
    manifest = {
        "format": "diverserna-variant",
        "format_version": "0.1",
        "name": "tiny",
        "digest": "digest-variant-tiny",
        "studies": dict.fromkeys(studies, "plain"),
        "stores": entries,
        "held_out": ["omega"],
    }
    (folder / "variants" / "tiny.json").write_text(json.dumps(manifest))
    overview = {"format": "diverserna-corpus", "format_version": "0.1", "name": "test", "digest": "digest-corpus"}
    (folder / "corpus.json").write_text(json.dumps(overview))
    return TinyCorpus(folder, counts)


@dataclass(frozen=True)
class ModelOracle:
    """Inputs and answers of the authors' public loss and activation classes; oracle/README.md lists the arrays."""

    given: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]
    stated: dict[str, Any]


@pytest.fixture(scope="session")
def model_oracle() -> ModelOracle:
    """The authors' values; the tests that need them are skipped where they are absent."""
    folder = Path(os.environ.get("DIVERSERNA_ORACLE", Path(__file__).parents[3] / "shared" / "oracle"))
    if not (folder / "expected_model.npz").is_file():
        pytest.skip("the authors' values are not here: set DIVERSERNA_ORACLE")
    given, expected = (dict(np.load(folder / f"{name}_model.npz")) for name in ("inputs", "expected"))
    return ModelOracle(given, expected, json.loads((folder / "expected_model.json").read_text()))


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Models of this size gain nothing from threads, and on a busy machine OpenMP's waiting costs seconds a step."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> TinyCorpus:
    """The corpus that tests only read; a test that changes files writes its own with `write_corpus`."""
    return write_tiny_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def write_sharded_array() -> Callable[..., None]:
    """``write_sharded_array(group, name, values, chunk=64, chunks_per_shard=4)``."""
    return write_sharded


@pytest.fixture(scope="session")
def write_corpus() -> Callable[..., TinyCorpus]:
    """``write_corpus(folder, studies=..., validation=True)``."""
    return write_tiny_corpus
