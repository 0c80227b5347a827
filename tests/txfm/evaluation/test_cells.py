"""Cell types: clusters, silhouettes and probes beside the original programs, chance, the top, and the command."""

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from txfm.__main__ import main
from txfm.errors import InputError
from txfm.evaluation.cells.clustering import clustering_scores, neighbour_graph
from txfm.evaluation.cells.probes import ProbeSettings, classify
from txfm.evaluation.cells.run import draw
from txfm.evaluation.cells.silhouettes import silhouette_scores
from txfm.evaluation.cells.splits import split_samples
from txfm.evaluation.scores import read_scores

RNG = np.random.default_rng(5)
QUICK = ProbeSettings(learning_rates=(1e-2,), epochs=200)


@pytest.fixture(scope="module")
def cells(oracle):  # type: ignore[no-untyped-def]
    arrays = oracle.arrays("inputs_celltype")
    return arrays["emb"], arrays["cell_type"].astype(str), arrays["batch"].astype(str)


def blobs(n: int = 240, distance: float = 40.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Samples (n, 6) of three labels far apart, in four batches that are drawn at random."""
    labels = np.array(["B cell", "T cell", "monocyte"])[np.arange(n) % 3]
    embedding = distance * np.eye(3, 6)[np.arange(n) % 3] + RNG.normal(size=(n, 6))
    return embedding, labels, RNG.integers(0, 4, n).astype(str)


# --- clusters


def test_louvain_finds_what_scib_finds_at_every_resolution(oracle, cells) -> None:  # type: ignore[no-untyped-def]
    expected = oracle.values("expected_scib")["louvain10"]
    found = clustering_scores(cells[0], cells[1])
    assert (found.resolution, found.n_clusters) == (expected["res"], expected["n_clusters"])
    assert (found.nmi, found.ari) == (
        pytest.approx(expected["nmi"], abs=1e-6),
        pytest.approx(expected["ari"], abs=1e-6),
    )
    np.testing.assert_allclose(found.nmi_of_resolution, expected["all"], atol=1e-3)
    # An implementation that ignores the resolution stays at .82
    assert found.nmi - oracle.values("expected_scib")["louvain10_igraph_flavor_ignores_resolution"]["nmi"] > 0.1


def test_the_graph_is_that_of_scanpy(cells) -> None:  # type: ignore[no-untyped-def]
    scanpy = pytest.importorskip("scanpy")
    adata = ad.AnnData(np.zeros((len(cells[0]), 1), np.float32), obsm={"X": cells[0]})
    scanpy.pp.neighbors(adata, use_rep="X")
    theirs = (adata.obsp["connectivities"] > 0).toarray()
    edges = neighbour_graph(cells[0], 15)
    ours = np.zeros_like(theirs)
    ours[edges.row, edges.col] = ours[edges.col, edges.row] = True
    # scanpy's search is exact below 4,096 samples; neighbours at equal distance may differ
    assert (ours != theirs).sum() <= 4


def test_clusters_of_labels_far_apart_agree_and_shuffled_labels_do_not() -> None:
    embedding, labels, _ = blobs()
    assert clustering_scores(embedding, labels).nmi == clustering_scores(embedding, labels).ari == 1.0
    shuffled = clustering_scores(embedding, RNG.permutation(labels))
    assert abs(shuffled.ari) < 0.05
    assert shuffled.nmi < 0.15  # not 0: many clusters agree with any labels a little
    with pytest.raises(InputError, match="nothing to cluster by"):
        clustering_scores(embedding, np.full(len(labels), "B cell"))


# --- silhouettes


def test_silhouettes_are_those_of_scib(oracle, cells) -> None:  # type: ignore[no-untyped-def]
    expected = oracle.values("expected_scib")
    found = silhouette_scores(*cells)
    assert found.label == pytest.approx(expected["ASW_label_scaled"], abs=1e-6)
    assert found.batch == pytest.approx(expected["ASW_label_batch"], abs=1e-6)
    order = RNG.permutation(len(cells[0]))
    again = silhouette_scores(*(each[order] for each in cells))
    assert (again.label, again.batch) == (pytest.approx(found.label, abs=1e-6), pytest.approx(found.batch, abs=1e-6))


def test_silhouettes_of_random_numbers_say_half_for_labels_and_all_for_batches() -> None:
    _, labels, batch = blobs(900)
    found = silhouette_scores(RNG.normal(size=(900, 8)), labels, batch)
    assert found.label == pytest.approx(0.5, abs=0.01)
    assert found.batch == pytest.approx(1, abs=0.05)
    assert found.n_labels_of_batch == 3


def test_a_label_of_one_batch_has_no_mixing() -> None:
    embedding, labels, _ = blobs()
    assert silhouette_scores(embedding, labels, labels).batch is None
    assert silhouette_scores(embedding, labels).batch is None
    with pytest.raises(InputError, match="no silhouettes"):
        silhouette_scores(embedding, np.full(len(labels), "B cell"))


# --- probes


def test_no_batch_is_trained_and_tested_on() -> None:
    _, labels, batch = blobs()
    tested = set()
    for seed in range(8):
        split = split_samples(labels, batch, seed)
        assert split.by_batch
        assert not set(batch[split.test]) & set(batch[[*split.train, *split.validation]])
        assert len({*split.train, *split.validation, *split.test}) == len(labels)
        tested |= set(batch[split.test])
    assert len(tested) > 1


@pytest.mark.parametrize("batch", [None, np.arange(240) % 2])
def test_with_fewer_than_three_batches_a_random_quarter_of_each_label_is_tested(batch: np.ndarray | None) -> None:
    _, labels, _ = blobs()
    split = split_samples(labels, None if batch is None else batch.astype(str), 0)
    assert not split.by_batch
    assert dict(zip(*np.unique(labels[split.test], return_counts=True), strict=True)) == {
        "B cell": 20,
        "T cell": 20,
        "monocyte": 20,
    }


def test_labels_that_training_lacks_are_counted_and_not_tested() -> None:
    labels = np.array(["a", "b"] * 35 + ["only there"] * 10)
    batch = np.array(["1", "2", "3", "4", "4"] * 14 + ["4"] * 10)
    splits = [split_samples(labels, batch, seed) for seed in range(10)]
    assert {split.n_unknown for split in splits} == {0, 10}
    assert all("only there" not in labels[split.test] for split in splits)


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_labels_far_apart_are_told_apart_and_shuffled_ones_are_not(head: str) -> None:
    embedding, labels, batch = blobs()
    split = split_samples(labels, batch, 0)
    top = classify(embedding, labels, split, head, settings=QUICK)
    assert (top.accuracy, top.macro_f1) == (1.0, 1.0)
    shuffled = RNG.permutation(labels)
    scores = [
        classify(embedding, shuffled, split_samples(shuffled, batch, seed), head, settings=QUICK, seed=seed).accuracy
        for seed in range(4)
    ]
    assert np.mean(scores) == pytest.approx(1 / 3, abs=0.12)


def test_the_linear_probe_is_as_good_as_logistic_regression(cells) -> None:  # type: ignore[no-untyped-def]
    embedding, labels, batch = cells
    noisy = embedding + RNG.normal(scale=3 * embedding.std(), size=embedding.shape)
    split = split_samples(labels, batch, 0)
    ours = classify(noisy, labels, split, settings=QUICK)
    theirs = LogisticRegression(max_iter=2000).fit(noisy[split.train], labels[split.train])
    assert 0.3 < ours.accuracy < 0.97
    assert ours.accuracy == pytest.approx(theirs.score(noisy[split.test], labels[split.test]), abs=0.06)


def test_a_probe_is_repeatable_and_its_test_labels_change_nothing() -> None:
    embedding, labels, batch = blobs(distance=1.0)
    split = split_samples(labels, batch, 0)
    one = classify(embedding, labels, split, "mlp", settings=QUICK)
    assert classify(embedding, labels, split, "mlp", settings=QUICK) == one
    blind = labels.copy()
    blind[split.test] = "B cell"
    assert classify(embedding, blind, split, "mlp", settings=QUICK).learning_rate == one.learning_rate
    with pytest.raises(InputError, match="no such probe"):
        classify(embedding, labels, split, "svm")


def test_draws_are_without_replacement_and_take_small_files_whole() -> None:
    assert draw(50, 100, 0).tolist() == list(range(50))
    rows = draw(500, 100, 3)
    assert len(set(rows)) == 100
    assert rows.tolist() != draw(500, 100, 4).tolist()


# --- the command


@pytest.fixture
def file(tmp_path: Path) -> Path:
    embedding, labels, batch = blobs(120)
    obs = pd.DataFrame({"cell_type": labels, "batch": batch}, index=[f"c{i}" for i in range(120)])
    obs.iloc[0, 0] = None
    obs.iloc[1, 0] = "rare"
    path = tmp_path / "cells.h5ad"
    ad.AnnData(RNG.poisson(1, (120, 5)).astype(np.float32), obs=obs, obsm={"X_good": embedding}).write_h5ad(path)
    return path


OPTIONS = ["--no-random", "--seeds", "0", "1", "--split-seeds", "0", "--heads", "linear", "--threads", "1"]


def test_a_users_own_embedding_is_scored_beside_random_numbers(file: Path, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    out = tmp_path / "out"
    options = [option for option in OPTIONS if option != "--no-random"]
    assert main(["evaluate", "cells", str(file), "--obsm", "X_good", "--out", str(out), *options]) == 0
    printed = capsys.readouterr().out
    frame, record = read_scores(out)
    assert set(frame["benchmark"]) == {"cell_types"}
    mean = frame[frame["primary"]].groupby(["embedder", "metric"])["value"].mean()
    assert mean["X_good", "nmi"] == mean["X_good", "accuracy"] == 1.0
    assert mean["random", "nmi"] < 0.2
    assert mean["random", "accuracy"] < 0.6
    assert record["dropped"] == {"no label": 1, "of a label with fewer than 4 samples": 1, "no batch": 0}
    assert record["cells"]["n_samples"] == 118
    assert "| X_good | 100.00 ± 0.00 |" in printed
    assert json.loads((out / "scores.json").read_text())["settings"]["label"] == "cell_type"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--obsm", "X_good", "--label", "cell_typ"], ["no column 'cell_typ'", "cell_type, batch", "did you mean"]),
        (["--obsm", "X_goood"], ["no 'X_goood' in obsm", "X_good"]),
        ([], ["nothing to compare", "X_good"]),
        (["--obsm", "X_good", "--label", "batch", "--batch", "plate"], ["no column 'plate'"]),
        (["--obsm", "X_good", "--samples", "3"], ["--samples cannot be used"]),
        (["--obsm", "X_good", "--seeds", "1", "1"], ["--seeds cannot be used"]),
    ],
)
def test_what_cannot_be_scored_is_refused(
    options: list[str], says: list[str], file: Path, tmp_path: Path, capsys
) -> None:  # type: ignore[no-untyped-def]
    assert main(["evaluate", "cells", str(file), "--out", str(tmp_path / "out"), *OPTIONS, *options]) == 2
    message = capsys.readouterr().err
    assert all(text in message for text in says), message
    assert not (tmp_path / "out").exists()
