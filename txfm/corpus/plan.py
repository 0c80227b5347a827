"""What each batch of an epoch is made of: rows of blocks, found without reading any count."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from txfm.corpus.order import StoreOrder, Window
from txfm.corpus.rows import CsrRows, Piece

# Asks for the rows [start, stop) of a store
Request = Callable[[int, int, int], "Future[CsrRows]"]


@dataclass(frozen=True, kw_only=True, eq=False)
class BatchPlan:
    """One batch of one rank.

    Attributes
    ----------
    pieces : deque of (Future[CsrRows], Piece)
        In the order in which they were asked for; emptied while the batch is put together.
    stores, rows : numpy.ndarray (B,)
        Where each sample lies.
    """

    pieces: deque[tuple[Future[CsrRows], Piece]]
    stores: np.ndarray
    rows: np.ndarray


@dataclass
class _Position:
    """Where one store stands in its order of the epoch."""

    windows: Iterator[Window]
    taken: int
    window: Window | None = None
    blocks: list[Future[CsrRows]] = field(default_factory=list)


class EpochPlan:
    """Walks through an epoch, batch by batch, and asks for each block once, when the first sample of its window is due.

    Parameters
    ----------
    labels : numpy.ndarray
        Store of each sample of the epoch.
    bounds : numpy.ndarray
        Of the batches of all ranks together.
    orders : sequence of StoreOrder
        One a store.
    rank, world : int
        This rank takes the samples rank, rank + world, ... of every batch.
    request : callable
        Starts reading a block.
    first_batch : int
        Batches before it were handed out already; nothing of them is read, except blocks that they share.
    """

    def __init__(
        self,
        labels: np.ndarray,
        bounds: np.ndarray,
        orders: Sequence[StoreOrder],
        *,
        rank: int,
        world: int,
        request: Request,
        first_batch: int,
    ) -> None:
        self._labels, self._bounds, self._rank, self._world = labels, bounds, rank, world
        self._request = request
        taken = np.bincount(labels[: bounds[first_batch]], minlength=len(orders)).tolist()
        self._positions = [_Position(order.windows(n), n) for order, n in zip(orders, taken, strict=True)]

    def batch(self, number: int) -> BatchPlan:
        """Plan a batch; batches must be asked for in order, from `first_batch` on."""
        labels = self._labels[self._bounds[number] : self._bounds[number + 1]]
        n_samples = len(range(self._rank, len(labels), self._world))
        stores, rows = np.empty(n_samples, dtype=np.int64), np.empty(n_samples, dtype=np.int64)
        pieces: deque[tuple[Future[CsrRows], Piece]] = deque()
        for store in np.flatnonzero(np.bincount(labels)).tolist():
            places = np.flatnonzero(labels == store)
            position = self._positions[store]
            numbers = position.taken + np.arange(len(places))
            position.taken += len(places)
            mine = places % self._world == self._rank
            places, numbers = places[mine] // self._world, numbers[mine]
            stores[places] = store
            while len(numbers):
                window = self._window_of(store, int(numbers[0]))
                here = int(np.searchsorted(numbers, window.stop))
                block_of = window.block_of[numbers[:here] - window.start]
                row_of = window.row_of[numbers[:here] - window.start]
                rows[places[:here]] = window.blocks[block_of, 0] + row_of
                for block in np.flatnonzero(np.bincount(block_of)).tolist():
                    chosen = block_of == block
                    piece = Piece(rows=row_of[chosen], places=places[:here][chosen])
                    pieces.append((position.blocks[block], piece))
                places, numbers = places[here:], numbers[here:]
        return BatchPlan(pieces=pieces, stores=stores, rows=rows)

    def _window_of(self, store: int, number: int) -> Window:
        """The window that holds a sample of a store, with its blocks asked for."""
        position = self._positions[store]
        while position.window is None or number >= position.window.stop:
            position.window, position.blocks = next(position.windows), []
        if not position.blocks:
            position.blocks = [self._request(store, int(start), int(stop)) for start, stop in position.window.blocks]
        return position.window
