"""In which order samples come: pure functions of seed and epoch, the same for any number of threads or ranks.

Every store was shuffled when it was written, so rows that lie together on disk are a random draw of their store. Left
to do is to interleave stores as a full shuffle would, and to let the same rows travel with others in every epoch:

- which *store* each sample of the epoch comes from is drawn like a full shuffle: a random permutation of as many labels
  a store as it has rows;
- which *row* of that store comes next: its blocks in random order, the rows of some blocks (a window) mixed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from txfm.errors import InputError

# First words of the seeds of the three kinds of draws
LABELS, BLOCKS, ROWS = 0, 1, 2


def label_sequence(rows_of_store: np.ndarray, *, seed: int, epoch: int, shuffle: bool) -> np.ndarray:
    """Which store each sample of an epoch comes from, every row once; uint16 (n_samples,)."""
    labels = np.repeat(np.arange(len(rows_of_store), dtype=np.uint16), rows_of_store)
    if shuffle:
        np.random.default_rng([seed, epoch, LABELS]).shuffle(labels)
    return labels


def weighted_sequence(shares: np.ndarray, n_samples: int, *, seed: int, epoch: int) -> np.ndarray:
    """Which store each sample comes from, drawn with the given shares; uint16 (n_samples,)."""
    rng = np.random.default_rng([seed, epoch, LABELS])
    ladder = np.cumsum(shares / shares.sum())
    drawn = np.searchsorted(ladder, rng.random(n_samples), side="right")
    return np.minimum(drawn, np.flatnonzero(shares)[-1]).astype(np.uint16)


def batch_bounds(n_samples: int, global_batch: int, world: int, *, drop_last: bool) -> np.ndarray:
    """Where each batch of all ranks together begins and ends, int64 (n_batches + 1,).

    All batches are full but the last two, which share what is left evenly. So the bounds depend on the size of the
    batch of all ranks alone, and with two samples a rank or more, every rank has a sample of every batch.

    Raises
    ------
    InputError
        There are fewer samples than ranks, or one sample a rank and a remainder.
    """
    if drop_last:
        return np.arange(n_samples // global_batch + 1, dtype=np.int64) * global_batch
    if 0 < n_samples < world:
        raise InputError(
            "There are fewer samples than ranks", expected=f"{world} samples or more", found=f"{n_samples} samples"
        )
    bounds = np.arange(-(-n_samples // global_batch) + 1, dtype=np.int64) * global_batch
    bounds[-1] = n_samples
    if len(bounds) > 2:
        bounds[-2] = bounds[-3] + -(-(n_samples - bounds[-3]) // 2)
    if world > 1 and global_batch == world and n_samples % world:
        raise InputError(
            "With one sample a rank and a remainder, some ranks would have none of the last batches",
            expected=f"a multiple of {world} samples",
            found=f"{n_samples} samples",
            todo="use a batch size of 2 or more, or drop_last=True",
        )
    return bounds


def cut_into_blocks(indptr: np.ndarray, block_nonzeros: int) -> np.ndarray:
    """First row of each block of a store and, last, its number of rows; int64 (n_blocks + 1,).

    A block begins with the first row that starts at or behind a multiple of `block_nonzeros`, and ends in the chunk
    behind the next multiple: it takes one chunk more than its non-zeros fill.
    """
    groups = indptr[:-1] // block_nonzeros
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    return np.append(starts, len(groups)).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Window:
    """Some blocks of a store whose rows are mixed.

    Attributes
    ----------
    blocks : numpy.ndarray (n_blocks, 2), int64
        First row of each and the row behind its last.
    start, stop : int
        The window's samples are those from `start` to before `stop` in the store's order of the epoch.
    block_of, row_of : numpy.ndarray (stop - start,)
        For each of these samples: which of the blocks, and which row within it.
    """

    blocks: np.ndarray
    start: int
    stop: int
    block_of: np.ndarray
    row_of: np.ndarray


class StoreOrder:
    """The rows of one store in the order of one epoch; after the last comes another pass, in another order.

    Parameters
    ----------
    bounds : numpy.ndarray
        See `cut_into_blocks`.
    blocks_per_window : int
    seed, epoch, store : int
    shuffle : bool
        False: rows as they lie.
    """

    def __init__(
        self, bounds: np.ndarray, *, blocks_per_window: int, seed: int, epoch: int, store: int, shuffle: bool
    ) -> None:
        self._bounds, self._blocks_per_window, self._shuffle = bounds, blocks_per_window, shuffle
        self._key = (seed, epoch, store)
        self._n_rows = int(bounds[-1])

    def windows(self, first: int) -> Iterator[Window]:
        """Yield the windows from the one that holds sample `first` on, without end."""
        number, first = divmod(first, self._n_rows)
        while True:
            yield from self._pass(number, first)
            number, first = number + 1, 0

    def _pass(self, number: int, first: int) -> Iterator[Window]:
        blocks = np.stack([self._bounds[:-1], self._bounds[1:]], axis=1)
        if self._shuffle:
            blocks = np.random.default_rng([*self._key, BLOCKS, number]).permutation(blocks)
        start, offset = 0, number * self._n_rows
        for index in range(0, len(blocks), self._blocks_per_window):
            members = blocks[index : index + self._blocks_per_window]
            sizes = members[:, 1] - members[:, 0]
            stop = start + int(sizes.sum())
            if stop > first:
                order = np.arange(stop - start)
                if self._shuffle:
                    np.random.default_rng([*self._key, ROWS, number, index]).shuffle(order)
                ends = np.cumsum(sizes)
                block_of = np.searchsorted(ends, order, side="right")
                row_of = order - (ends - sizes)[block_of]
                yield Window(members, offset + start, offset + stop, block_of, row_of)
            start = stop
