"""Metrics of the cell-type benchmark: the authors' values, chance, the top, and the order of rows."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.decomposition import PCA

from txfm.errors import InputError
from txfm.evaluation import clustering_scores, silhouette_scores
from txfm.evaluation.cells.probes import ProbeSettings, classify
from txfm.evaluation.cells.splits import split_samples

QUICK = ProbeSettings(learning_rates=(0.01,), epochs=60, patience=10, hidden=(32, 16))


def blobs(distance: float, n: int = 240, d: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells of four labels in eight batches that the embedding does not know of."""
    rng = np.random.default_rng(seed)
    code = np.arange(n) % 4
    values = rng.standard_normal((n, d)) + distance * np.eye(4, d)[code]
    return (
        values,
        np.array(["a", "b", "c", "d"])[code],
        rng.permutation(np.array([f"s{i}" for i in range(8)])[np.arange(n) % 8]),
    )


@pytest.fixture(scope="module")
def known(oracle) -> dict[str, np.ndarray]:
    return oracle.arrays("inputs_celltype")


# --- the authors' values


def test_clusters_agree_as_scibs_do_at_every_resolution(oracle, known):
    expected = oracle.values("expected_scib")["louvain10"]
    found = clustering_scores(known["emb"], known["cell_type"])
    assert (found.nmi, found.ari) == pytest.approx((expected["nmi"], expected["ari"]), abs=1e-6)
    assert (found.resolution, found.n_clusters) == (expected["res"], expected["n_clusters"])
    ours, theirs = np.array(found.nmi_of_resolution), np.array(expected["all"])
    np.testing.assert_allclose(ours[:, 0], theirs[:, 0])
    # Another implementation of Louvain visits cells in another order: partitions differ a little
    np.testing.assert_allclose(ours[:, 1], theirs[:, 1], atol=0.02)


def test_resolution_is_not_ignored(known):
    """As with scanpy's flavor="igraph", where ten resolutions give ten times 0.82."""
    found = clustering_scores(known["emb"], known["cell_type"])
    nmi = [nmi for _, nmi in found.nmi_of_resolution]
    assert nmi[0] - nmi[-1] > 0.2


def test_clusters_are_scibs_clusters(oracle, known):
    theirs = oracle.arrays("expected_scib_clusters")["louvain10"]
    assert clustering_scores(known["emb"], theirs).ari == pytest.approx(1.0, abs=1e-6)


def test_silhouettes_are_scibs(oracle, known):
    expected = oracle.values("expected_scib")
    found = silhouette_scores(known["emb"], known["cell_type"], known["batch"])
    assert found.label == pytest.approx(expected["ASW_label_scaled"], abs=1e-6)
    assert found.batch == pytest.approx(expected["ASW_label_batch"], abs=1e-6)
    assert found.label == pytest.approx(expected["scib_metrics"]["silhouette_label"], abs=1e-6)


# --- chance, the top, the order of rows


def test_a_perfect_embedding_scores_the_top():
    values, labels, batch = blobs(100.0)
    found = clustering_scores(values, labels)
    assert (found.nmi, found.ari, found.n_clusters) == (pytest.approx(1.0), pytest.approx(1.0), 4)
    widths = silhouette_scores(values, labels, batch)
    assert widths.label > 0.97
    assert widths.batch > 0.85  # 1 of infinitely many cells
    split = split_samples(labels, batch, 0)
    for head in ("linear", "mlp"):
        probe = classify(values, labels, split, head, settings=QUICK)
        assert (probe.accuracy, probe.macro_f1, probe.n_hits) == (1.0, 1.0, probe.n_test)


def test_shuffled_labels_score_chance():
    values, labels, batch = blobs(100.0, n=800)
    shuffled = np.random.default_rng(1).permutation(labels)
    found = clustering_scores(values, shuffled)
    assert abs(found.ari) < 0.03
    assert found.nmi < 0.06
    assert silhouette_scores(values, shuffled).label == pytest.approx(0.5, abs=0.03)
    split = split_samples(shuffled, batch, 0)
    for head in ("linear", "mlp"):
        probe = classify(values, shuffled, split, head, settings=QUICK)
        assert probe.accuracy == pytest.approx(1 / 4, abs=4 * np.sqrt(3 / 16 / probe.n_test))


def test_an_embedding_that_separates_batches_mixes_badly():
    values, labels, batch = blobs(0.0)
    apart = values + 50 * np.eye(8)[[int(name[1]) for name in batch]]
    assert silhouette_scores(apart, labels, batch).batch < 0.2 < 0.8 < silhouette_scores(values, labels, batch).batch


def test_the_order_of_rows_changes_nothing(known):
    values, labels, batch = known["emb"], known["cell_type"], known["batch"]
    order = np.random.default_rng(0).permutation(len(labels))
    assert clustering_scores(values[order], labels[order]) == clustering_scores(values, labels)
    ours, theirs = (
        silhouette_scores(values[rows], labels[rows], batch[rows]) for rows in (order, np.arange(len(labels)))
    )
    assert (ours.label, ours.batch) == pytest.approx((theirs.label, theirs.batch), abs=1e-9)


# --- real cells


@pytest.mark.real
def test_three_cancer_cell_lines_are_told_apart_by_pca():
    folder = Path(os.environ.get("DIVERSERNA_DATA", "../shared/data")) / "studies" / "mixology_3cl"
    if not folder.is_dir():
        pytest.skip("the real studies are not here: set DIVERSERNA_DATA")
    counts = pd.read_csv(folder / "sc_celseq2.count.csv.gz", index_col=0).T.to_numpy(dtype=np.float64)
    lines = pd.read_csv(folder / "sc_celseq2.metadata.csv.gz", index_col=0)["cell_line"].to_numpy(dtype=str)
    logs = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    values = PCA(20, svd_solver="randomized", random_state=0).fit_transform(logs)
    found = clustering_scores(values, lines)
    assert found.nmi > 0.95
    assert silhouette_scores(values, lines).label > 0.6
    shuffled = clustering_scores(values, np.random.default_rng(0).permutation(lines))
    assert abs(shuffled.ari) < 0.05


# --- silhouettes of batches


def test_labels_without_two_batches_do_not_count_for_mixing():
    values, labels, batch = blobs(1.0)
    lonely = np.where(labels == "a", "s0", batch)
    assert silhouette_scores(values, labels, lonely).n_labels_of_batch == 3
    assert silhouette_scores(values, labels, np.full(len(labels), "s0")).batch is None
    assert silhouette_scores(values, labels).batch is None


# --- splits


def test_batches_are_on_one_side_and_three_quarters_are_trained_on():
    _, labels, batch = blobs(1.0)
    split = split_samples(labels, batch, 0)
    known, tested = np.concatenate([split.train, split.validation]), split.test
    assert split.by_batch
    assert not set(batch[known]) & set(batch[tested])
    assert len(set(batch[known])) == 6
    assert len(split.validation) == round(0.2 * len(known))
    assert_array_equal(np.sort(np.concatenate([known, tested])), np.arange(len(labels)))
    assert set(batch[split_samples(labels, batch, 1).test]) != set(batch[tested])


@pytest.mark.parametrize("n_batches", [None, 1, 2])
def test_too_few_batches_give_a_stratified_random_split(n_batches):
    _, labels, _ = blobs(1.0)
    few = None if n_batches is None else np.array([f"s{i % n_batches}" for i in range(len(labels))])
    split = split_samples(labels, few, 0)
    assert not split.by_batch
    assert [int((labels[split.test] == name).sum()) for name in "abcd"] == [15, 15, 15, 15]


def test_labels_that_training_does_not_know_are_left_out_of_the_test_and_counted():
    _, labels, batch = blobs(1.0)
    tested = split_samples(labels, batch, 0).test
    labels = labels.astype("<U6")
    labels[tested[:5]] = "strange"
    split = split_samples(labels, batch, 0)
    assert split.n_left_out == 5
    assert "strange" not in labels[split.test]
    single = np.append(labels[labels != "strange"], "single")
    assert split_samples(single, None, 0).n_left_out == 1


def test_a_split_without_two_labels_is_refused():
    with pytest.raises(InputError, match="nothing to learn"):
        split_samples(np.array(["a"] * 30), np.array(["x", "y", "z"] * 10), 0)


# --- probes


def test_the_learning_rate_of_the_best_validation_is_kept_and_the_seed_repeats():
    values, labels, batch = blobs(4.0)
    split = split_samples(labels, batch, 0)
    settings = replace(QUICK, learning_rates=(1e-7, 0.02))
    first = classify(values, labels, split, "mlp", settings=settings)
    assert first.learning_rate == 0.02
    assert classify(values, labels, split, "mlp", settings=settings) == first


@pytest.mark.parametrize(("head", "mlp_widest"), [("linear", 8), ("mlp", 8), ("mlp", 7)])
def test_training_sees_no_test_sample(head, mlp_widest):
    values, labels, batch = blobs(4.0)
    split = split_samples(labels, batch, 0)
    changed = values.copy()
    changed[split.test[1:]] = 1e6
    only_first = replace(split, test=split.test[:1])
    settings = replace(QUICK, mlp_widest=mlp_widest, mlp_components=4)
    ours, theirs = (classify(each, labels, only_first, head, settings=settings) for each in (changed, values))
    assert ours == theirs


def test_the_mlp_of_a_wide_embedding_sees_components_and_loses_nothing():
    values, labels, batch = blobs(6.0)
    wide = np.concatenate([values, 0.1 * np.random.default_rng(0).standard_normal((len(values), 40))], axis=1)
    split = split_samples(labels, batch, 0)
    settings = replace(QUICK, mlp_widest=47, mlp_components=30)
    probe = classify(wide, labels, split, "mlp", settings=settings)
    assert probe.n_inputs == 30
    assert probe.accuracy >= classify(wide, labels, split, "mlp", settings=QUICK).accuracy - 0.05
    assert classify(1000 * wide, labels, split, "mlp", settings=settings).accuracy == probe.accuracy
    assert classify(wide, labels, split, "linear", settings=settings).n_inputs == 48


def test_rare_labels_weigh_as_much_as_common_ones_in_macro_f1():
    values, labels, batch = blobs(0.0)
    labels = np.where(np.arange(len(labels)) % 10 == 0, "rare", "common")
    probe = classify(values, labels, split_samples(labels, batch, 0), settings=QUICK)
    assert probe.accuracy > 0.8
    assert probe.macro_f1 < 0.6


# --- what is refused


def test_one_label_is_refused():
    values, labels, _ = blobs(1.0)
    one = np.full(len(labels), "a")
    with pytest.raises(InputError, match="nothing to cluster by"):
        clustering_scores(values, one)
    with pytest.raises(InputError, match="no silhouettes"):
        silhouette_scores(values, one)
    with pytest.raises(InputError, match="no such probe"):
        classify(values, labels, split_samples(labels, None, 0), "forest")


def test_clusters_without_igraph_say_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "igraph", None)
    with pytest.raises(InputError, match=r"igraph(.|\n)*diverserna\[evaluate\]"):
        clustering_scores(*blobs(1.0)[:2])
