"""Fine-tuning is never validated on samples that the model was trained on, whatever their study is called."""

import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import txfm
from txfm.__main__ import main
from txfm.corpus import open_corpus

MODEL = {"preset": "nano", "width": 16, "n_visible_genes": 12, "steps": 2, "batch_size_samples": 16}
QUICK = ["--device", "cpu", "--precision", "float32", "--threads", "1"]


@pytest.fixture(scope="module")
def model(small_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of every study of the small corpus."""
    folder = tmp_path_factory.mktemp("pretrained")
    data = ["--corpus", str(small_corpus), "--variant", "all"]
    outputs = ["--out", str(folder / "model"), "--checkpoints", str(folder / "saved")]
    assert main(["train", *data, "--model", json.dumps(MODEL), *outputs, *QUICK]) == 0
    return folder / "model"


@pytest.fixture(scope="module")
def copied(small_corpus: Path) -> anndata.AnnData:
    """Training samples of gtex (plates p0, p1) and as many new ones (p2, p3), all under other names."""
    corpus = open_corpus(small_corpus, "all", "train", batch_size=2000)  # in one batch
    batch = next(iter(corpus))
    gtex = corpus.studies.index("gtex")
    counts = sp.csr_matrix((batch.counts, batch.positions, batch.indptr))[batch.study_index == gtex]
    counts = counts[:, corpus.measured[gtex]].toarray()
    new = np.random.default_rng(1).permuted(counts, axis=1)
    adata = anndata.AnnData(
        np.concatenate([counts, new]).astype(np.float32),
        var=pd.DataFrame(index=np.array(corpus.vocabulary.symbols)[corpus.measured[gtex]]),
    )
    adata.obs["plate"] = [f"p{2 * (i // len(counts)) + i % 2}" for i in range(len(adata))]
    adata.obs_names = [f"s{i}" for i in range(len(adata))]
    return adata


def finetune(model: Path, adata: anndata.AnnData, folder: Path, *options: str) -> int:
    folder.mkdir(exist_ok=True)
    adata.write_h5ad(folder / "plates.h5ad")
    changes = json.dumps({"steps": 1, "validate_every_steps": 1})
    data = ["--data", str(folder / "plates.h5ad"), "--out", str(folder / "out"), "--set", changes]
    return main(["finetune", str(model), *data, *QUICK, "--no-from-scratch", *options])


@pytest.mark.parametrize("change", ["", "a gene more", "half of the genes"])
def test_training_samples_under_another_name_are_counted_and_refused(
    change: str,
    model: Path,
    copied: anndata.AnnData,
    small_corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    same = copied[copied.obs["plate"].isin(["p0", "p1"])].copy()
    if change == "a gene more":
        same.X[:, 17] += 1
    if change == "half of the genes":
        same = same[:, ::2].copy()
    options = ("--batch-column", "plate", "--corpus", str(small_corpus), "--min-matched-share", "0.1")
    assert finetune(model, same, tmp_path, *options) == 2
    n = int((same.obs["plate"] == "p1").sum())
    error = capsys.readouterr().err
    assert "Held-out samples are among those that the model was trained on" in error
    assert "no training sample of variant all" in error
    assert f"of {n} held-out samples; {n} are of study gtex" in error
    assert not (tmp_path / "out").exists()


def test_new_samples_pass_and_the_comparison_is_recorded(
    model: Path, copied: anndata.AnnData, small_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = copied[copied.obs["plate"].isin(["p2", "p3"])].copy()
    assert finetune(model, new, tmp_path, "--batch-column", "plate", "--corpus", str(small_corpus)) == 0
    output = capsys.readouterr().out
    assert "held-out samples: none is a training sample of variant all" in output
    assert "NOT compared" not in output
    record = {"compared_with": ["variant all"], "not_compared_with": []}
    assert json.loads((tmp_path / "out" / "finetune.json").read_text())["held_out_samples"] == record
    assert txfm.load(tmp_path / "out").card["final_metrics"]["held_out_samples"] == record
    assert (
        "None of the held-out samples is a training sample of variant all" in (tmp_path / "out/README.md").read_text()
    )


def test_without_the_corpus_it_is_said_and_recorded_that_nothing_was_compared(
    model: Path, copied: anndata.AnnData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert finetune(model, copied, tmp_path, "--batch-column", "plate") == 0
    assert (
        "held-out samples were NOT compared with the model's training samples of variant all" in capsys.readouterr().out
    )
    record = {"compared_with": [], "not_compared_with": ["variant all"]}
    assert json.loads((tmp_path / "out" / "finetune.json").read_text())["held_out_samples"] == record
    assert "**not** compared with the training samples of variant all" in (tmp_path / "out" / "README.md").read_text()
    # Without held-out samples there is nothing to compare
    assert finetune(model, copied, tmp_path / "all", "--validation", "none") == 0
    assert "compared with" not in capsys.readouterr().out
    assert json.loads((tmp_path / "all" / "out" / "finetune.json").read_text())["held_out_samples"] is None
    assert "held_out_samples" not in txfm.load(tmp_path / "all" / "out").card["final_metrics"]


def test_of_a_fine_tuned_model_the_parents_samples_are_compared_and_the_rest_is_said(
    model: Path, copied: anndata.AnnData, small_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = copied[copied.obs["plate"].isin(["p2", "p3"])].copy()
    assert finetune(model, new, tmp_path, "--validation", "none", "--study", "first") == 0
    child = tmp_path / "out"
    options = ("--batch-column", "plate", "--corpus", str(small_corpus))
    same = copied[copied.obs["plate"].isin(["p0", "p1"])].copy()
    assert finetune(child, same, tmp_path / "second", *options) == 2
    assert "are of study gtex" in capsys.readouterr().err
    fresh = new.copy()
    fresh.X += 1
    assert finetune(child, fresh, tmp_path / "second", *options) == 0
    report = json.loads((tmp_path / "second" / "out" / "finetune.json").read_text())
    assert report["held_out_samples"] == {"compared_with": ["variant all"], "not_compared_with": ["variant first"]}
    # Of the grandchild the card knows the parent's file and, of those before it, the names of studies alone
    grandchild = tmp_path / "second" / "out"
    assert finetune(grandchild, fresh, tmp_path / "third", *options, "--study", "third") == 2
    assert "no variant" in capsys.readouterr().err
    assert finetune(grandchild, fresh, tmp_path / "third", "--batch-column", "plate", "--study", "third") == 0
    assert "NOT compared with the model's training samples of variant plates, variant first" in capsys.readouterr().out


def test_a_corpus_that_is_not_the_models_is_refused(
    model: Path, copied: anndata.AnnData, small_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    (other / "variants").mkdir(parents=True)
    manifest = json.loads((small_corpus / "variants" / "minus_bulk.json").read_text())
    (other / "variants" / "all.json").write_text(json.dumps(manifest | {"name": "all"}))
    assert finetune(model, copied, tmp_path, "--batch-column", "plate", "--corpus", str(other)) == 2
    assert "Variant all of this corpus is not what the model was trained on" in capsys.readouterr().err
    assert finetune(model, copied, tmp_path, "--batch-column", "plate", "--corpus", str(tmp_path / "nowhere")) == 2
    assert "nowhere" in capsys.readouterr().err
