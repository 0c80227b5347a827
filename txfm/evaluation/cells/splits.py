"""Which samples a probe is trained, validated and tested on: no batch on two sides, where there are enough batches."""

from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import train_test_split

from txfm.errors import InputError

TRAIN_SHARE = 0.75
VALIDATION_SHARE = 0.2  # of the training samples
LEAST_BATCHES = 3  # with two, the test would be one half, and of one batch alone


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Rows of each side.

    Attributes
    ----------
    train, validation, test : numpy.ndarray, int64
    by_batch : bool
        Whole batches are tested on; False: a random quarter of each label, which is easier.
    n_left_out : int
        Samples of no side: the only one of their label where samples are drawn, and test samples whose label no
        training sample has.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    by_batch: bool
    n_left_out: int


def split_samples(labels: np.ndarray, batch: np.ndarray | None, seed: int) -> Split:
    """Three quarters of the batches for training, a random fifth of their samples for validation.

    Parameters
    ----------
    labels : numpy.ndarray (n,)
    batch : numpy.ndarray (n,), optional
        With fewer than `LEAST_BATCHES` of them, or without any, samples are drawn, stratified by label.
    seed : int

    Raises
    ------
    InputError
        A side would be empty, or training would know one label alone.
    """
    rng = np.random.default_rng(seed)
    rows = np.arange(len(labels))
    batches = np.array([]) if batch is None else np.unique(batch)
    by_batch = len(batches) >= LEAST_BATCHES
    if batch is not None and by_batch:
        # At least one batch is tested on, and at least one is trained on
        n_train = min(max(1, round(TRAIN_SHARE * len(batches))), len(batches) - 1)
        in_train = np.isin(batch, rng.permutation(batches)[:n_train])
        train, test = rows[in_train], rows[~in_train]
    else:
        sizes = dict(zip(*np.unique(labels, return_counts=True), strict=True))
        common = np.array([sizes[label] > 1 for label in labels])
        train, test = _stratified(rows[common], labels, 1 - TRAIN_SHARE, seed)
    train, validation = _random_share(train, rng)
    known = np.isin(labels[test], labels[train])
    if len(set(labels[train])) < 2 or not known.any():
        raise InputError(
            "A probe has nothing to learn or nothing to be tested on",
            expected="two labels among the training samples, and test samples of these labels",
            found=f"{len(set(labels[train]))} labels, {int(known.sum()):,} such test samples of {len(test):,}",
        )
    test = test[known]
    n_left_out = len(labels) - len(train) - len(validation) - len(test)
    return Split(train=train, validation=validation, test=test, by_batch=by_batch, n_left_out=n_left_out)


def _stratified(rows: np.ndarray, labels: np.ndarray, test_share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    try:
        train, test = train_test_split(rows, test_size=test_share, random_state=seed, stratify=labels[rows])
    except ValueError as error:
        raise InputError("The samples cannot be split", found=str(error)) from error
    return np.sort(train), np.sort(test)


def _random_share(train: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    n_validation = max(1, round(VALIDATION_SHARE * len(train)))
    order = rng.permutation(len(train))
    return np.sort(train[order[n_validation:]]), np.sort(train[order[:n_validation]])
