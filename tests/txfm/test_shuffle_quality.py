"""Consecutive batches are composed as those of a full shuffle; on stores of unequal size, without reading a count."""

from __future__ import annotations

from concurrent.futures import Future

import numpy as np
import pytest

from txfm.corpus.order import StoreOrder, batch_bounds, cut_into_blocks, label_sequence
from txfm.corpus.plan import EpochPlan
from txfm.corpus.rows import CsrRows

SIZES = np.array([60_000, 30_000, 9_000, 700, 300])
N_BATCHES = 200
N_REFERENCES = 200


class Samples:
    """Experimental batch and library size of every row, in the random order in which a store is written."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.offsets = np.concatenate([[0], np.cumsum(SIZES)])
        n = int(self.offsets[-1])
        self.study = np.repeat(np.arange(len(SIZES)), SIZES)
        self.batch = np.empty(n, dtype=np.int64)
        for study, size in enumerate(SIZES):
            shares = rng.dirichlet(np.ones(8))
            self.batch[self.study == study] = 8 * study + rng.choice(8, size, p=shares)
        depth = rng.lognormal(8, 1, 8 * len(SIZES))
        self.library_size = depth[self.batch] * rng.lognormal(0, 0.3, n)


@pytest.fixture(scope="module")
def samples() -> Samples:
    return Samples()


def streamed(batch_size: int, epoch: int) -> np.ndarray:
    """The rows of the first batches of an epoch of the reader's own plan, (N_BATCHES * batch_size,)."""
    rng = np.random.default_rng(1)
    orders = []
    for store, size in enumerate(SIZES.tolist()):
        indptr = np.concatenate([[0], np.cumsum(rng.integers(1500, 2500, size))])
        bounds = cut_into_blocks(indptr, 2**21)
        orders.append(StoreOrder(bounds, blocks_per_window=2, seed=0, epoch=epoch, store=store, shuffle=True))
    nothing: Future[CsrRows] = Future()
    plan = EpochPlan(
        label_sequence(SIZES, seed=0, epoch=epoch, shuffle=True),
        batch_bounds(int(SIZES.sum()), batch_size, 1, drop_last=False),
        orders,
        rank=0,
        world=1,
        request=lambda store, start, stop: nothing,
        first_batch=0,
    )
    planned = [plan.batch(number) for number in range(N_BATCHES)]
    offsets = np.concatenate([[0], np.cumsum(SIZES)])
    return np.concatenate([offsets[batch.stores] + batch.rows for batch in planned])


def lumpiness(labels: np.ndarray, of_all: np.ndarray, batch_size: int, run: int) -> float:
    """Sum over runs of batches and categories of (found - expected)^2 / expected."""
    shares = np.bincount(of_all) / len(of_all)
    pieces = labels.reshape(-1, batch_size * run)
    found = np.stack([np.bincount(piece, minlength=len(shares)) for piece in pieces])
    expected = shares * batch_size * run
    return float((((found - expected) ** 2)[:, shares > 0] / expected[shares > 0]).sum())


def z_score(rows: np.ndarray, labels: np.ndarray, batch_size: int, run: int) -> float:
    """Distance of a stream's lumpiness from the mean of full shuffles, in their standard deviations."""
    rng = np.random.default_rng(2)
    full = [
        lumpiness(labels[rng.permutation(len(labels))[: len(rows)]], labels, batch_size, run)
        for _ in range(N_REFERENCES)
    ]
    return float((lumpiness(labels[rows], labels, batch_size, run) - np.mean(full)) / np.std(full))


@pytest.mark.parametrize("run", [1, 10])
@pytest.mark.parametrize("epoch", [0, 3])
@pytest.mark.parametrize("label", ["study", "batch"])
def test_studies_and_experimental_batches_are_as_mixed_as_in_a_full_shuffle(
    samples: Samples, label: str, epoch: int, run: int
) -> None:
    rows = streamed(128, epoch)
    assert len(set(rows.tolist())) == len(rows)
    # Seeds are fixed; of a full shuffle itself |z| exceeds 3.5 once in 2,000
    assert abs(z_score(rows, getattr(samples, label), 128, run)) < 3.5


def test_the_measure_notices_blocks_that_are_not_interleaved(samples: Samples) -> None:
    rng = np.random.default_rng(3)
    blocks = rng.permutation(np.arange(0, 100_000, 500))
    rows = (blocks[:, None] + np.arange(500)).ravel()
    pool = 64 * 500  # rows mixed within pools of 64 blocks, as this reader once did
    mixed = np.concatenate([rng.permutation(rows[start : start + pool]) for start in range(0, len(rows), pool)])
    assert z_score(mixed[: N_BATCHES * 128], samples.study, 128, 10) > 10


@pytest.mark.parametrize("epoch", [0, 3])
def test_neighbours_are_no_more_alike_than_chance(samples: Samples, epoch: int) -> None:
    sizes = np.log(samples.library_size[streamed(128, epoch)])
    assert abs(np.corrcoef(sizes[:-1], sizes[1:])[0, 1]) < 0.02
