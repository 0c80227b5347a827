"""What does not fit, is missing or is not finite is refused by every named metric, not scored."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from txfm import evaluation as ev
from txfm.errors import InputError

N = 60
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, 4))
LABELS = np.array(list("ABCDE"))[np.arange(N) % 5]
BATCH = np.array(["a", "b"])[np.arange(N) // 2 % 2]
CONTROL = LABELS == "A"
TRAIN, TEST = np.arange(40), np.arange(40, N)

# metric -> a call with an embedding and the labels (or batches) of its samples
CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "center_on_controls": lambda x, labels: ev.center_on_controls(x, CONTROL, labels),
    "standardise_on_controls": lambda x, labels: ev.standardise_on_controls(x, CONTROL, labels),
    "tvn": lambda x, labels: ev.tvn(x, CONTROL, labels),
    "linear_probe": lambda x, labels: ev.linear_probe(x, labels, TRAIN, TEST),
    "knn_probe": lambda x, labels: ev.knn_probe(x, labels, TRAIN, TEST),
    "ilisi": lambda x, labels: ev.ilisi(x, labels),
    "clustering_scores": lambda x, labels: ev.clustering_scores(x, labels),
    "silhouette_scores": lambda x, labels: ev.silhouette_scores(x, labels, BATCH[: len(x)]),
    "perturbation_consistency": lambda x, labels: ev.perturbation_consistency(x, labels, BATCH, "A"),
    "efaar_consistency": lambda x, labels: ev.efaar_consistency(x, labels, ["B"]),
    "structural_integrity": lambda x, labels: ev.structural_integrity(x, X[: len(x)], labels, CONTROL),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_is_not_finite_does_not_fit_or_is_missing_is_refused(name):
    if name == "clustering_scores":
        pytest.importorskip("igraph")
    labels = BATCH if name == "structural_integrity" else LABELS
    holed, missing = X.copy(), labels.astype(object)
    holed[5, 1], missing[3] = np.nan, None
    for embedding, given in ((holed, labels), (X, labels[:50]), (X[:50], labels), (X, missing)):
        with pytest.raises(InputError):
            CALLS[name](embedding, given)


@pytest.mark.parametrize("name", ["linear_probe", "knn_probe"])
def test_probes_take_lists_masks_and_series_by_position(name):
    probe = getattr(ev, name)
    expected = probe(X, LABELS, TRAIN, TEST)
    reversed_index = pd.Series(LABELS, index=np.arange(N)[::-1])
    assert probe(X.tolist(), LABELS.tolist(), TRAIN.tolist(), TEST.tolist()) == expected
    assert probe(X, reversed_index, np.arange(N) < 40, np.arange(N) >= 40) == expected
    for rows in (np.array([0, N]), np.array([-1, 0]), np.array([0.0, 1.0]), np.ones(N - 1, dtype=bool)):
        with pytest.raises(InputError, match="training rows cannot be used"):
            probe(X, LABELS, rows, TEST)


def test_a_series_of_controls_and_batches_is_taken_by_position():
    shuffled = RNG.permutation(N)
    found = ev.center_on_controls(X, pd.Series(CONTROL, index=shuffled), pd.Series(BATCH, index=shuffled))
    np.testing.assert_array_equal(found, ev.center_on_controls(X, CONTROL, BATCH))


def test_rank_correlation_and_splits_refuse_what_does_not_fit():
    holed = X.copy()
    holed[0, 0] = np.inf
    for prediction, target in ((X[:, :3], X), (holed, X), (X, holed)):
        with pytest.raises(InputError):
            ev.spearman_by_gene(prediction, target)
    with pytest.raises(InputError, match="batches do not fit"):
        ev.split_screen(LABELS, BATCH[:50], CONTROL)


@pytest.mark.parametrize("values", [np.zeros(N), np.zeros((N, 0)), np.full((N, 2), "1"), X > 0])
def test_what_is_no_matrix_of_numbers_is_refused(values):
    with pytest.raises(InputError, match="embedding cannot be used"):
        ev.ilisi(values, BATCH)
