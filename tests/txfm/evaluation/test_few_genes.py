"""Screens with few genes of the models' vocabulary, as RPE1 (22%): stores are scored, files where that is asked for."""

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import zarr

import txfm
from txfm.__main__ import main
from txfm.evaluation.cells.cells import read_cells
from txfm.evaluation.embedders import Refused
from txfm.evaluation.layers.run import Question, layer_embeddings, score_layers
from txfm.evaluation.samples import read_samples
from txfm.evaluation.scores import read_scores

N_AXIS_GENES = 60  # of the tiny corpus, whose variant measures 56
MEASURED = np.arange(20, 30)
PERTURBATIONS = ["ctl", *"ABCDEFGH"]


def write_screen(path: Path, measured: np.ndarray = MEASURED) -> Path:
    """A store of 9 x 16 cells in four batches; an .h5ad of the measured genes alone has no column `measured`."""
    code = np.repeat(np.arange(len(PERTURBATIONS)), 16)
    rng = np.random.default_rng(0)
    is_measured = np.isin(np.arange(N_AXIS_GENES), measured)
    means = 4.0 + 20.0 * (np.arange(N_AXIS_GENES) % len(PERTURBATIONS) == code[:, None])
    counts = (rng.poisson(means) * is_measured).astype(np.int32)
    perturbation = np.array(PERTURBATIONS)[code]
    labels = {"perturbation": perturbation, "cell_type": np.where(code % 2, "odd", "even")}
    labels |= {"batch": [f"b{row % 4}" for row in range(len(code))], "study": ["omega"] * len(code)}
    obs = pd.DataFrame(labels, index=[f"c{row}" for row in range(len(code))])
    obs["is_control"] = perturbation == "ctl"
    obs["simulated"] = True
    names = pd.Index([f"ENSG{100 + position:011d}" for position in range(N_AXIS_GENES)], dtype=object)
    var = pd.DataFrame({"symbol": [f"GENE{i}" for i in range(N_AXIS_GENES)], "measured": is_measured}, index=names)
    if path.suffix == ".h5ad":
        undeclared = var.loc[is_measured, ["symbol"]].reset_index(drop=True).set_axis(measured.astype(str))
        ad.AnnData(sp.csr_matrix(counts[:, is_measured]), obs=obs, var=undeclared).write_h5ad(path)
        return path
    group = zarr.open_group(path, mode="w", zarr_format=3)
    with ad.settings.override(zarr_write_format=3, auto_shard_zarr_v3=True):
        for name, element in {"X": sp.csr_matrix(counts), "obs": obs, "var": var}.items():
            ad.io.write_elem(group, name, element)
    group.attrs.update({"digest": "digest-omega", "recipe": "evaluation", "encoding-type": "anndata"})
    return path


def train(corpus: list[str], out: Path, **fields: int) -> None:
    entry = {
        "preset": "nano",
        "width": 16,
        "n_visible_genes": 8,
        "samples_seen": 32,
        "batch_size_samples": 16,
        **fields,
    }
    options = ["--model", json.dumps(entry), "--seed", "0", "--checkpoints", str(out.with_name("checkpoints"))]
    assert main(["train", *corpus, *options, "--out", str(out), "--threads", "1", "--device", "cpu"]) == 0


@pytest.fixture(scope="module")
def models(tiny_corpus, tmp_path_factory) -> Path:
    """A PCA and a TxFM over 56 genes."""
    folder = tmp_path_factory.mktemp("models")
    corpus = ["--corpus", str(tiny_corpus.folder), "--variant", "tiny"]
    assert main(["baseline", "pca", *corpus, "--components", "4", "--out", str(folder / "pca")]) == 0
    train(corpus, folder / "nano")
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return write_screen(tmp_path_factory.mktemp("screen") / "omega.zarr")


OPTIONS = {
    "cells": ("--tasks", "clusters", "--seeds", "0"),
    "perturbation": ("--tasks", "pcst", "lin", "--seeds", "0", "--postprocessings", "centering"),
    "layers": ("--label", "cell_type", "--tasks", "clusters", "--seeds", "0"),
}


def score(benchmark: str, file: Path, out: Path, models: list[Path], *options: str) -> int:
    named = [*map(str, models)] if benchmark == "layers" else ["--models", *map(str, models)]
    command = ["evaluate", benchmark, str(file), *OPTIONS[benchmark], *options, "--out", str(out)]
    return main([*command, "--device", "cpu", "--threads", "1", *(["--"] if benchmark == "layers" else []), *named])


@pytest.mark.parametrize("benchmark", OPTIONS)
def test_a_store_is_scored_whatever_its_share_of_the_vocabulary(benchmark, store, models, tmp_path):
    assert score(benchmark, store, tmp_path, [models / "nano"]) == 0
    frame, record = read_scores(tmp_path)
    assert "txfm" in set(frame["kind"])
    assert not [row for row in record["not_scored"] if "genes" in row["reason"]]


def held_out(store: Path, out: Path, corpus: Path, models: list[Path]) -> int:
    command = ["evaluate", "held-out", "--store", str(store), "--label", "cell_type", "--corpus", str(corpus)]
    command += ["--models", *map(str, models), "--out", str(out), "--device", "cpu", "--threads", "1"]
    return main(command)


def test_a_held_out_study_is_compared_whatever_its_share_of_the_vocabulary(store, models, tiny_corpus, tmp_path):
    assert held_out(store, tmp_path / "table.json", tiny_corpus.folder, [models / "nano", models / "pca"]) == 0
    table = json.loads((tmp_path / "table.json").read_text())
    assert {row["model"] for row in table["rows"]} == {"nano", "pca"}
    assert table["not_scored"] == []


@pytest.mark.parametrize("benchmark", OPTIONS)
def test_a_file_is_scored_if_the_least_share_is_lowered(benchmark, models, tmp_path, capsys):
    file = write_screen(tmp_path / "few.h5ad")
    assert score(benchmark, file, tmp_path / "refused", [models / "nano"]) == 2
    told = capsys.readouterr().err
    assert "Nothing could be scored" in told
    assert "17.9%" in told
    assert "--min-matched-share" in told
    assert not (tmp_path / "refused").exists()
    assert score(benchmark, file, tmp_path / "out", [models / "nano"], "--min-matched-share", "0.1") == 0
    assert read_scores(tmp_path / "out")[1]["settings"]["min_matched_share"] == 0.1


def test_models_find_their_genes_in_the_column_that_is_named(models, tmp_path):
    file = write_screen(tmp_path / "few.h5ad")
    options = ["--min-matched-share", "0.1", "--gene-column"]
    assert score("cells", file, tmp_path / "symbol", [models / "pca"], *options, "symbol") == 0
    assert score("cells", file, tmp_path / "index", [models / "pca"], *options, "index") == 2


@pytest.fixture(scope="module")
def other_genes(tiny_corpus, tmp_path_factory) -> Path:
    """A TxFM over ten genes."""
    folder = tmp_path_factory.mktemp("other") / "ten"
    train(["--corpus", str(tiny_corpus.folder), "--variant", "tiny"], folder, max_genes=10)
    return folder


def unknown_to(model: Path) -> np.ndarray:
    """Genes that models over the whole vocabulary know and this one does not."""
    own = set(txfm.load(model).vocabulary.ensembl_ids)
    return np.array([i for i in range(20, 40) if f"ENSG{100 + i:011d}" not in own])


@pytest.mark.parametrize("benchmark", ["cells", "perturbation"])
def test_a_model_that_cannot_embed_the_screen_is_listed_and_the_others_are_scored(
    benchmark, models, other_genes, tmp_path
):
    store = write_screen(tmp_path / "omega.zarr", unknown_to(other_genes))
    assert score(benchmark, store, tmp_path / "out", [other_genes, models / "pca"]) == 0
    frame, record = read_scores(tmp_path / "out")
    assert set(frame["embedder"]) == {"pca", "random"}
    (refused,) = [row for row in record["not_scored"] if row["embedder"] == "ten"]
    assert refused["task"] == "all"
    assert "Too few of the model's genes" in refused["reason"]
    assert "Too few of the model's genes" in (tmp_path / "out" / "scores.md").read_text()
    assert score(benchmark, store, tmp_path / "none", [other_genes]) == 2


def test_a_table_of_a_held_out_study_lists_the_model_that_cannot_embed_it(models, other_genes, tiny_corpus, tmp_path):
    store = write_screen(tmp_path / "omega.zarr", unknown_to(other_genes))
    assert held_out(store, tmp_path / "table.json", tiny_corpus.folder, [other_genes, models / "pca"]) == 0
    table = json.loads((tmp_path / "table.json").read_text())
    assert {row["model"] for row in table["rows"]} == {"pca"}
    assert [row["model"] for row in table["not_scored"]] == ["ten"]
    assert "| ten | Too few" in (tmp_path / "table.md").read_text()
    assert held_out(store, tmp_path / "none.json", tiny_corpus.folder, [other_genes]) == 2


def test_layers_list_the_model_that_cannot_embed_the_screen(models, tmp_path):
    (refused,) = layer_embeddings(read_samples(write_screen(tmp_path / "few.h5ad")), [models / "nano"])
    assert isinstance(refused, Refused)
    cells = read_cells(read_samples(tmp_path / "few.h5ad"), "cell_type")
    outcome = score_layers(Question(cells=cells), [refused], "few")
    assert [(row["embedder"], row["task"]) for row in outcome.not_scored] == [("nano", "all")]
