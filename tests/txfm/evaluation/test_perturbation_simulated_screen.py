"""The perturbation benchmark on the simulated screen, from the simulator to the table, by the command line alone."""

import json
from itertools import combinations
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from small_corpus import N_AXIS

from curation.__main__ import main as curation
from curation.simulate import CONTROL
from txfm.__main__ import main as txfm
from txfm.evaluation.perturbation.settings import TASKS
from txfm.evaluation.perturbation.summary import SCORED
from txfm.evaluation.scores import read_scores

SIZES = {"n_cells": 1_200, "n_genes": N_AXIS, "n_perturbations": 40, "n_controls": 200, "module_sd": 0.3}
KINDS = ("pca", "lognorm", "hvg")
INFORMED = (*KINDS, "X_other")


@pytest.fixture(scope="module")
def screen(small_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The simulator's screen with an embedding of its user, and its true relations beside it."""
    path = tmp_path_factory.mktemp("simulated") / "screen.h5ad"
    options = ["--screen", json.dumps(SIZES), "--genes", str(small_corpus / "genes.parquet"), "--out", str(path)]
    assert curation(["simulate", *options]) == 0
    cells = ad.read_h5ad(path)
    counts = cells.X.toarray()
    modules = pd.get_dummies(cells.var["module"]).to_numpy(dtype=float)
    # Activity of the true modules: what an embedding can know of this screen
    cells.obsm["X_other"] = np.log(counts @ modules / counts.sum(axis=1, keepdims=True))
    cells.write_h5ad(path)
    changes = {name: set(changed) for name, changed in cells.uns["changed_modules"].items()}
    related = [f"{a},{b}\n" for a, b in combinations(sorted(changes), 2) if changes[a] & changes[b]]
    (path.parent / "relations").mkdir()
    (path.parent / "relations" / "modules.txt").write_text("entity1,entity2\n" + "".join(related))
    return path


@pytest.fixture(scope="module")
def scored(screen: Path, small_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scored")
    for kind in KINDS:
        options = ["--corpus", str(small_corpus), "--variant", "minus_bulk", "--out", str(folder / kind)]
        assert txfm(["baseline", kind, *options, *(["--components", "32"] if kind == "pca" else [])]) == 0
    named = ["--perturbation", "gene", "--batch", "gem_group", "--control", CONTROL, "--study", "screen"]
    embedders = ["--models", *(str(folder / kind) for kind in KINDS), "--obsm", "X_other"]
    places = ["--relations", str(screen.parent / "relations"), "--out", str(folder / "out")]
    command = ["evaluate", "perturbation", str(screen), *named, *embedders, *places, "--device", "cpu"]
    assert txfm([*command, "--seeds", "0"]) == 0
    return folder / "out"


@pytest.fixture(scope="module")
def best(scored: Path) -> pd.Series:
    """Score of each embedder and task after its best post-processing, the floor's as well.

    Not the fixed one: six log shares that add up to one recall nothing before TVN has whitened them.
    """
    return pd.read_parquet(scored / "summary.parquet").set_index(["embedder", "task"])["best"]


def test_every_embedder_has_all_six_tasks_and_an_average(scored: Path, best: pd.Series) -> None:
    frame, record = read_scores(scored)
    assert dict(zip(frame["embedder"], frame["kind"], strict=True)) == {
        **{kind: kind for kind in KINDS},
        "X_other": "obsm",
        "random": "random",
    }
    # Every target of the simulator is an expressed gene: only EFAAR's consistency, a secondary number, has no null
    assert [row["task"] for row in record["not_scored"]] == ["efaar"]
    assert record["screen"]["n_perturbations"] == 40
    assert record["inputs"]["screen"]["simulated"]
    assert "(SIMULATED)" in (scored / "scores.md").read_text()
    for embedder in (*INFORMED, "random"):
        of_tasks = best[[(embedder, task) for task in TASKS]]
        assert np.isfinite(of_tasks).all()
        assert best[embedder, SCORED] == pytest.approx(of_tasks.mean())


def test_embeddings_that_know_the_genes_are_above_the_floor(best: pd.Series) -> None:
    for embedder in INFORMED:
        for task in ("lin", "pcst", "bmdb", "inv"):
            assert best[embedder, task] > best["random", task], (embedder, task)
    assert best["random", "pcst"] == 0


def test_the_consistent_perturbations_are_those_with_an_effect(scored: Path, screen: Path) -> None:
    truth = pd.Series(ad.read_h5ad(screen, backed="r").uns["truth"]).astype(bool)
    consistency = pd.read_parquet(scored / "consistency.parquet")
    of_modules = consistency[consistency["embedder"] == "X_other"].set_index("perturbation")["p_per_perturbation"]
    has_effect = truth[of_modules.index].to_numpy()
    assert (has_effect.sum(), len(has_effect)) == (20, 40)
    found = of_modules.to_numpy() < 0.01
    assert found[has_effect].mean() >= 0.8
    assert found[~has_effect].mean() <= 0.1
