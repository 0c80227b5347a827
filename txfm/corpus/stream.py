"""Streaming a variant: shuffled batches of raw counts over all its stores, decoded ahead, in bounded memory."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import polars as pl

from txfm.corpus.batch import Batch
from txfm.corpus.block_cache import BlockCache
from txfm.corpus.gene_map import GeneMap
from txfm.corpus.order import StoreOrder, batch_bounds, cut_into_blocks, label_sequence, weighted_sequence
from txfm.corpus.plan import BatchPlan, EpochPlan
from txfm.corpus.rows import CsrRows, Piece, gather
from txfm.corpus.samples import read_samples
from txfm.corpus.store import Store
from txfm.corpus.variant import Variant
from txfm.errors import InputError
from txfm.vocabulary import Vocabulary

# Of the way in which samples are ordered: a state of another version does not go on
ORDER_VERSION = 1
# Stores keep 131,072 non-zeros a chunk. A block of 32 chunks' size, some 2,000 cells, touches 33: 3% decoded in vain
BLOCK_NONZEROS = 2**22
LEAST_BLOCK_NONZEROS = 2**18
# Rows are mixed within two blocks of their store; with more the memory grows and the order is no better, because
# the rows of a store were shuffled when it was written
BLOCKS_PER_WINDOW = 2
# Decoded blocks that wait or are in use, of all stores together; each store has up to two windows
BUFFER_BYTES = 2**29
BYTES_PER_NONZERO = 6
# In the cache: positions and counts of up to four bytes
DECODED_BYTES = 8
# Of batches that are planned before they are put together, so that their blocks are decoded meanwhile
NONZEROS_AHEAD = 3 * 2**22
MOST_BATCHES_AHEAD = 256
# Of batches that are put together before they are asked for, beside the first of them
ASSEMBLED_BYTES = 2**27


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """How a corpus is handed out; see `open_corpus`."""

    batch_size: int
    seed: int
    shuffle: bool = True
    rank: int = 0
    world: int = 1
    drop_last: bool = False
    threads: int = 1
    memory_bytes: int = 0
    samples_per_epoch: int | None = None


class Corpus:
    """Iterable of `Batch` over one split of a variant; made by `open_corpus`.

    Iterating yields the rest of the current epoch (every sample exactly once an epoch, unless shares were given), then
    the next epoch is current. The order is a pure function of (seed, epoch, rank, world), and what all ranks together
    get in a step is one of (seed, epoch, batch_size * world) alone.

    Attributes
    ----------
    studies : tuple of str
    vocabulary : Vocabulary
    measured : numpy.ndarray (n_studies, G), bool
        Which genes of the vocabulary each study's table had.
    n_samples : int
        Of the split, over all ranks.
    n_batches : int
        Per epoch, the same for every rank; the last batch of an epoch may be short.
    """

    def __init__(
        self,
        variant: Variant,
        readers: Sequence[Store],
        vocabulary: Vocabulary,
        measured: np.ndarray,
        *,
        genes: GeneMap,
        cut_studies: frozenset[str],
        n_decoded: int,
        split: str,
        shares: np.ndarray | None,
        options: StreamOptions,
    ) -> None:
        self.variant = variant
        self.studies = variant.studies
        self.vocabulary = vocabulary
        self.measured = measured
        self.options = options
        self.n_samples = sum(reader.entry.n_samples for reader in readers)
        self._tables = list(readers)
        readers = [reader for reader in readers if reader.entry.n_samples]
        self._readers = list(readers)
        self._split = split
        positions = np.ascontiguousarray(vocabulary.axis_positions, dtype="<i8")
        self._vocabulary_digest = hashlib.sha256(positions.tobytes()).hexdigest()[:16]
        self._genes, self._cut_studies, self._shares = genes, cut_studies, shares
        self._study_of_store = np.array([self.studies.index(r.entry.study) for r in readers], dtype=np.int64)
        n_drawn = self.n_samples if options.samples_per_epoch is None else options.samples_per_epoch
        self._n_drawn = n_drawn if self.n_samples else 0
        self._bounds = batch_bounds(
            self._n_drawn, options.batch_size * options.world, options.world, drop_last=options.drop_last
        )
        self.n_batches = len(self._bounds) - 1
        if self._n_drawn and not self.n_batches:
            raise InputError(
                "Without its last, short batch an epoch has none",
                expected=f"{options.batch_size * options.world} samples or more, the batches of all ranks together",
                found=f"{self._n_drawn} samples",
                todo="use a smaller batch size, or drop_last=False",
            )
        # A part of a corpus in memory saves little, and memory that is touched for the first time is slow
        fits = n_decoded * DECODED_BYTES <= options.memory_bytes
        self._cache = BlockCache(options.memory_bytes if fits else 0)
        self._epoch = 0
        self._next_batch = 0

    @property
    def batch_size(self) -> int:
        """Samples a batch of this rank."""
        return self.options.batch_size

    @property
    def seed(self) -> int:
        """Of the order."""
        return self.options.seed

    def __iter__(self) -> Iterator[Batch]:
        epoch, first = self._epoch, self._next_batch
        for number, batch in enumerate(self.batches(first), start=first + 1):
            # Of this iterator alone: another one over the same corpus does not move it
            self._epoch, self._next_batch = (epoch, number) if number < self.n_batches else (epoch + 1, 0)
            yield batch

    def __len__(self) -> int:
        return self.n_batches

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch, 0 or later."""
        if epoch < 0:
            raise InputError("There is no such epoch", expected="0 or later", found=str(epoch))
        self._epoch, self._next_batch = epoch, 0

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands, for json; after `load_state_dict`, what was handed out before is not read again.

        The same on every rank, and good for any number of ranks with the same batch_size * world.
        """
        return self._identity() | {"epoch": self._epoch, "next_batch": self._next_batch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken.

        Raises
        ------
        InputError
            The state belongs to another variant, order or batch size.
        """
        found = {name: state.get(name) for name in self._identity()}
        if found != self._identity():
            raise InputError(
                "The reader's state belongs to another stream", expected=str(self._identity()), found=str(found)
            )
        epoch, number = state.get("epoch"), state.get("next_batch")
        if not (isinstance(epoch, int) and isinstance(number, int) and epoch >= 0 and 0 <= number < self.n_batches):
            raise InputError(
                "The reader's state names no batch",
                expected=f"an epoch, and a batch below {self.n_batches}",
                found=f"epoch {epoch}, batch {number}",
            )
        self._epoch, self._next_batch = epoch, number

    def obs(self, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """The samples of the split in store order (the order of ``shuffle=False``); no count is read.

        Parameters
        ----------
        columns : sequence of str, optional
            Some of the columns, `sample_id` and `split` among them; None = all.

        Returns
        -------
        polars.DataFrame
            `sample_id`, the columns of the stores, `split`. A column that only some stores have is null in the others.
        """
        return read_samples(self._tables, columns)

    def samples_by_study(self) -> dict[str, int]:
        """Number of samples of this split per study."""
        numbers = dict.fromkeys(self.studies, 0)
        for reader in self._readers:
            numbers[reader.entry.study] += reader.entry.n_samples
        return numbers

    @property
    def n_detected(self) -> np.ndarray:
        """Samples of this split with a count at each gene of the vocabulary, int64 (G,); no count is read."""
        numbers = np.zeros(len(self.vocabulary), dtype=np.int64)
        for reader in self._readers:
            numbers += reader.var["n_detected"].to_numpy()[self.vocabulary.axis_positions]
        return numbers

    def first_rows(self, n_samples: int) -> Iterator[tuple[int, CsrRows]]:
        """Blocks of each study's first `n_samples` rows, with the study's index; stores are shuffled when written."""
        for store, bounds in enumerate(self._blocks_of_stores):
            for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
                if start < n_samples:
                    rows = self._read_block(store, start, stop)
                    yield int(self._study_of_store[store]), rows.first(min(len(rows), n_samples - start))

    def batches(self, first_batch: int = 0, *, every: int = 1) -> Generator[Batch, None, None]:
        """Batches of the current epoch from a number on, or every n-th of them; the stream's position is not moved.

        Threads decode and gather a few batches ahead; they end with the iterator.
        """
        wanted = range(first_batch, self.n_batches, every)
        if not wanted:
            return
        decoders = ThreadPoolExecutor(self.options.threads, thread_name_prefix="txfm-corpus-decode")
        gatherer = ThreadPoolExecutor(1, thread_name_prefix="txfm-corpus-gather")
        try:
            started: deque[Future[Batch]] = deque()
            n_assembled = 1
            for plan in self._planned_ahead(decoders, first_batch, wanted):
                # The next one begins when this one is handed out: then the one before has given its memory back
                batch = started.popleft().result() if len(started) >= n_assembled else None
                started.append(gatherer.submit(self._assemble, plan))
                if batch is not None:
                    n_assembled = max(1, min(self.options.threads, ASSEMBLED_BYTES // max(1, batch.nbytes)))
                    yield batch
            while started:
                yield started.popleft().result()
        finally:
            for pool in (decoders, gatherer):
                pool.shutdown(wait=True, cancel_futures=True)

    def _identity(self) -> dict[str, Any]:
        options = self.options
        return {
            "order": [ORDER_VERSION, BLOCK_NONZEROS, LEAST_BLOCK_NONZEROS, BLOCKS_PER_WINDOW, BUFFER_BYTES],
            "variant_digest": self.variant.digest,
            "split": self._split,
            "vocabulary": self._vocabulary_digest,
            "n_samples": self.n_samples,
            "global_batch_size": options.batch_size * options.world,
            "seed": options.seed,
            "shuffle": options.shuffle,
            "drop_last": options.drop_last,
            "samples_per_epoch": options.samples_per_epoch,
            "shares": None if self._shares is None else [float(share) for share in self._shares],
        }

    def _planned_ahead(
        self, decoders: ThreadPoolExecutor, first_batch: int, wanted: range
    ) -> Generator[BatchPlan, None, None]:
        """Plans of batches, each when some more have been made: making one asks for its blocks."""
        plan = self._plan(decoders, first_batch)
        planned: deque[BatchPlan] = deque()
        for number in range(first_batch, self.n_batches):
            plan_of_batch = plan.batch(number)
            if number in wanted:
                planned.append(plan_of_batch)
            if len(planned) > self._batches_ahead:
                yield planned.popleft()
        while planned:
            yield planned.popleft()

    def _plan(self, pool: ThreadPoolExecutor, first_batch: int) -> EpochPlan:
        options = self.options
        seeds = {"seed": options.seed, "epoch": self._epoch}
        if self._shares is None:
            rows_of_store = np.array([reader.entry.n_samples for reader in self._readers])
            labels = label_sequence(rows_of_store, **seeds, shuffle=options.shuffle)
        else:
            labels = weighted_sequence(self._shares, self._n_drawn, **seeds)
        orders = [
            StoreOrder(bounds, blocks_per_window=BLOCKS_PER_WINDOW, **seeds, store=store, shuffle=options.shuffle)
            for store, bounds in enumerate(self._blocks_of_stores)
        ]
        return EpochPlan(
            labels,
            self._bounds,
            orders,
            rank=options.rank,
            world=options.world,
            request=lambda store, start, stop: pool.submit(self._read_block, store, start, stop),
            first_batch=first_batch,
        )

    @cached_property
    def _blocks_of_stores(self) -> list[np.ndarray]:
        per_store = BUFFER_BYTES // (BYTES_PER_NONZERO * 2 * BLOCKS_PER_WINDOW * max(1, len(self._readers)))
        size = min(BLOCK_NONZEROS, max(LEAST_BLOCK_NONZEROS, per_store))
        return [cut_into_blocks(reader.indptr, size) for reader in self._readers]

    @cached_property
    def _batches_ahead(self) -> int:
        """Few large batches, many small ones: about as many non-zeros are decoded ahead."""
        n_nonzeros = sum(reader.entry.nnz for reader in self._readers) / max(1, self.n_samples)
        of_a_batch = n_nonzeros * self.options.batch_size * self.options.world
        return int(min(MOST_BATCHES_AHEAD, max(1, NONZEROS_AHEAD // max(1, of_a_batch))))

    def _read_block(self, store: int, start: int, stop: int) -> CsrRows:
        key = (store, start)
        block = self._cache.get(key)
        if block is None:
            reader = self._readers[store]
            block = reader.read_rows(start, stop, self._genes, drops=reader.entry.study in self._cut_studies)
            self._cache.put(key, block)
        return block

    def _assemble(self, plan: BatchPlan) -> Batch:
        rows = gather(_taken(plan.pieces), self._lengths(plan))
        return Batch(
            indptr=rows.indptr,
            positions=rows.positions,
            counts=rows.counts,
            study_index=self._study_of_store[plan.stores],
            measured=self.measured,
            _ids=partial(self._ids, plan.stores, plan.rows),
        )

    def _lengths(self, plan: BatchPlan) -> np.ndarray:
        """Entries of each sample of a batch; waits for blocks only where entries are dropped."""
        lengths = np.empty(len(plan.stores), dtype=np.int64)
        for store in np.unique(plan.stores):
            if self._readers[store].entry.study not in self._cut_studies:
                chosen = plan.stores == store
                indptr, rows = self._readers[store].indptr, plan.rows[chosen]
                lengths[chosen] = indptr[rows + 1] - indptr[rows]
        for block, piece in plan.pieces:
            if self._readers[plan.stores[piece.places[0]]].entry.study in self._cut_studies:
                indptr = block.result().indptr
                lengths[piece.places] = indptr[piece.rows + 1] - indptr[piece.rows]
        return lengths

    def _ids(self, stores: np.ndarray, rows: np.ndarray) -> list[str]:
        ids = np.empty(len(stores), dtype=object)
        for store in np.unique(stores):
            chosen = stores == store
            ids[chosen] = self._readers[store].sample_ids[rows[chosen]]
        return ids.tolist()


def _taken(pieces: deque[tuple[Future[CsrRows], Piece]]) -> Iterator[tuple[CsrRows, Piece]]:
    """Blocks in the order in which they were asked for; none is held for longer than it is copied from."""
    while pieces:
        block, piece = pieces.popleft()
        yield block.result(), piece
        del block
