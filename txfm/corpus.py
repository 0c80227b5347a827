"""Streaming a variant: shuffled batches of raw counts over all its stores, in bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from txfm.block_cache import BlockCache
from txfm.errors import InputError
from txfm.store import CsrRows, StoreReader
from txfm.variant import Variant, read_variant
from txfm.vocabulary import Vocabulary

# Stores keep 131,072 non-zeros a chunk. A block of 4 chunks' size touches 5 chunks at most: 25% decoded in vain.
BLOCK_NONZEROS = 524_288
# Rows are mixed within a pool of blocks drawn over all stores: 64 blocks, ~11,000 single cells, 200 MB at 6 bytes each.
POOL_NONZEROS = 64 * BLOCK_NONZEROS
DEFAULT_MEMORY_BYTES = 2**30


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Raw counts of some samples as CSR over the vocabulary.

    Attributes
    ----------
    indptr : numpy.ndarray (B + 1,), int64
    positions : numpy.ndarray (nnz,), int32
        Vocabulary positions.
    counts : numpy.ndarray (nnz,), int32
    study_index : numpy.ndarray (B,), int64
        Into the corpus' `studies`, and into the rows of its `measured`.
    sample_ids : list of str (B,)
    """

    indptr: np.ndarray
    positions: np.ndarray
    counts: np.ndarray
    study_index: np.ndarray
    sample_ids: list[str]

    def __len__(self) -> int:
        return len(self.study_index)


@dataclass(frozen=True, eq=False)
class _Pool:
    """Mixed rows in memory: the order in which they are handed out is `order`."""

    rows: CsrRows
    store_index: np.ndarray
    source_rows: np.ndarray
    order: np.ndarray


class Corpus:
    """Iterable of `Batch` over one split of a variant; made by `open_corpus`.

    Iterating yields the rest of the current epoch (every sample exactly once an epoch), then the next epoch is current.
    The order is a pure function of (seed, epoch). Memory: the cache of decoded blocks (`memory_bytes`) plus one pool.

    Attributes
    ----------
    studies : tuple of str
    vocabulary : Vocabulary
    measured : numpy.ndarray (n_studies, G), bool
        Which genes of the vocabulary each study's table had.
    n_samples, n_batches : int
        Per epoch; the last batch of an epoch may be short.
    """

    def __init__(
        self,
        variant: Variant,
        readers: list[StoreReader],
        vocabulary: Vocabulary,
        measured: np.ndarray,
        *,
        n_axis_genes: int,
        batch_size: int,
        seed: int,
        shuffle: bool,
        memory_bytes: int,
    ) -> None:
        self.variant = variant
        self.studies = variant.studies
        self.vocabulary = vocabulary
        self.measured = measured
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.n_samples = sum(reader.entry.n_samples for reader in readers)
        self.n_batches = -(-self.n_samples // batch_size)
        self._readers = readers
        self._vocabulary_positions = np.full(n_axis_genes, -1, dtype=np.int32)
        self._vocabulary_positions[vocabulary.axis_positions] = np.arange(len(vocabulary), dtype=np.int32)
        self._study_of_store = np.array([self.studies.index(r.entry.study) for r in readers], dtype=np.int64)
        self._blocks = np.concatenate(
            [_store_blocks(i, r) for i, r in enumerate(readers)] or [np.empty((0, 4), np.int64)]
        )
        self._cache = BlockCache(memory_bytes)
        self._epoch = 0
        self._next_batch = 0

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._batches(self._epoch, self._next_batch):
            self._next_batch += 1
            if self._next_batch == self.n_batches:
                self._epoch, self._next_batch = self._epoch + 1, 0
            yield batch

    def __len__(self) -> int:
        return self.n_batches

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch."""
        self._epoch, self._next_batch = epoch, 0

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands, for json; after `load_state_dict`, what was handed out before is not read again."""
        return self._identity() | {"epoch": self._epoch, "next_batch": self._next_batch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken.

        Raises
        ------
        InputError
            The state belongs to another variant, seed or batch size.
        """
        found = {name: state.get(name) for name in self._identity()}
        if found != self._identity():
            raise InputError(
                "The reader's state belongs to another stream", expected=str(self._identity()), found=str(found)
            )
        self._epoch, self._next_batch = int(state["epoch"]), int(state["next_batch"])

    def obs(self) -> pd.DataFrame:
        """All samples of the split in store order (the order of ``shuffle=False``), with the column `split` added."""
        frames = [reader.obs().assign(split=reader.entry.split) for reader in self._readers]
        for frame in frames:
            categorical = frame.select_dtypes("category").columns
            frame[categorical] = frame[categorical].astype(str)
        return pd.concat(frames) if frames else pd.DataFrame()

    def samples_by_study(self) -> dict[str, int]:
        """Number of samples of this split per study."""
        numbers = dict.fromkeys(self.studies, 0)
        for reader in self._readers:
            numbers[reader.entry.study] += reader.entry.n_samples
        return numbers

    def first_rows(self, n_samples: int) -> Iterator[tuple[int, CsrRows]]:
        """Blocks of each study's first `n_samples` rows, with the study's index; stores are shuffled when written."""
        for store, start, stop, _ in self._blocks:
            if start < n_samples:
                rows = self._read_block(int(store), int(start), int(stop))
                wanted = rows if stop <= n_samples else rows.take(np.arange(n_samples - start))
                yield int(self._study_of_store[store]), wanted

    def _identity(self) -> dict[str, Any]:
        return {
            "variant_digest": self.variant.digest,
            "n_samples": self.n_samples,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "shuffle": self.shuffle,
        }

    def _batches(self, epoch: int, first_batch: int) -> Iterator[Batch]:
        blocks = self._blocks
        if self.shuffle:
            blocks = blocks[np.random.default_rng([self.seed, epoch]).permutation(len(blocks))]
        pool_of_block = (np.cumsum(blocks[:, 3]) - 1) // POOL_NONZEROS
        skip = first_batch * self.batch_size
        waiting: list[tuple[_Pool, np.ndarray]] = []
        n_waiting = 0
        for pool_index in np.unique(pool_of_block):
            members = blocks[pool_of_block == pool_index]
            n_rows = int((members[:, 2] - members[:, 1]).sum())
            if skip >= n_rows:  # already handed out before the state was saved: not read again
                skip -= n_rows
                continue
            pool = self._read_pool(members, epoch, int(pool_index))
            taken, skip = skip, 0
            while taken < n_rows:
                rows = pool.order[taken : taken + self.batch_size - n_waiting]
                taken += len(rows)
                waiting.append((pool, rows))
                n_waiting += len(rows)
                if n_waiting == self.batch_size:
                    yield self._batch(waiting)
                    waiting, n_waiting = [], 0
        if waiting:
            yield self._batch(waiting)

    def _read_pool(self, members: np.ndarray, epoch: int, pool_index: int) -> _Pool:
        parts = [self._read_block(int(store), int(start), int(stop)) for store, start, stop, _ in members]
        n_rows = members[:, 2] - members[:, 1]
        source_rows = np.concatenate([np.arange(start, stop) for start, stop in members[:, 1:3]])
        order = np.arange(len(source_rows))
        if self.shuffle:
            np.random.default_rng([self.seed, epoch, pool_index]).shuffle(order)
        return _Pool(CsrRows.concatenate(parts), np.repeat(members[:, 0], n_rows), source_rows, order)

    def _read_block(self, store: int, start: int, stop: int) -> CsrRows:
        key = (store, start)
        block = self._cache.get(key)
        if block is None:
            block = self._readers[store].read_rows(start, stop, self._vocabulary_positions)
            self._cache.put(key, block)
        return block

    def _batch(self, pieces: list[tuple[_Pool, np.ndarray]]) -> Batch:
        rows = CsrRows.concatenate([pool.rows.take(order) for pool, order in pieces])
        stores = np.concatenate([pool.store_index[order] for pool, order in pieces])
        source_rows = np.concatenate([pool.source_rows[order] for pool, order in pieces])
        sample_ids = np.empty(len(stores), dtype=object)
        for store in np.unique(stores):
            chosen = stores == store
            sample_ids[chosen] = self._readers[store].sample_ids[source_rows[chosen]]
        return Batch(
            indptr=rows.indptr,
            positions=rows.positions.astype(np.int32),
            counts=rows.counts,
            study_index=self._study_of_store[stores],
            sample_ids=sample_ids.tolist(),
        )


def _store_blocks(store: int, reader: StoreReader) -> np.ndarray:
    """Blocks of a store, int64 (n_blocks, 4): store, first row, row behind the last, non-zeros (at least 1)."""
    indptr = reader.indptr
    group_of_row = indptr[:-1] // BLOCK_NONZEROS
    starts = np.flatnonzero(np.diff(group_of_row, prepend=-1))
    stops = np.append(starts[1:], len(group_of_row))[: len(starts)]
    nonzeros = np.maximum(indptr[stops] - indptr[starts], 1)
    return np.stack([np.full_like(starts, store), starts, stops, nonzeros], axis=1)


def open_corpus(
    corpus: str | Path,
    variant: str,
    split: str,
    *,
    batch_size: int = 256,
    seed: int = 0,
    max_genes: int | None = None,
    shuffle: bool = True,
    vocabulary: Vocabulary | None = None,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
) -> Corpus:
    """Open one split of a variant as a stream of batches.

    Parameters
    ----------
    corpus : path
        Corpus folder (variants/, stores/).
    variant : str
        The variant's name.
    split : {"train", "validation"}
        Only stores of this split are ever read for their samples.
    batch_size : int
        Samples per batch.
    seed : int
        Of the shuffling.
    max_genes : int, optional
        Cap on the vocabulary: the genes most often detected in single-cell samples of the variant (twenty bulk samples
        detect nearly every gene and would decide alone). Ties go to the earlier gene of the axis.
    shuffle : bool
        False: store by store, rows in order.
    vocabulary : Vocabulary, optional
        A trained model's, instead of the variant's own.
    memory_bytes : int
        Limit of the cache of decoded blocks; one pool of about 200 MB comes on top.

    Returns
    -------
    Corpus

    Raises
    ------
    InputError
        See `read_variant` and `StoreReader`; also an unknown split, a batch size below 1, or a variant without training
        samples.
    """
    if split not in ("train", "validation"):
        raise InputError("There is no such split", expected="train or validation", found=split)
    if batch_size < 1:
        raise InputError("The batch size cannot be used", expected="1 sample or more", found=str(batch_size))
    manifest = read_variant(Path(corpus), variant)
    gene_readers = {entry.study: StoreReader(entry) for entry in manifest.of_split("train")}
    if not any(reader.entry.n_samples for reader in gene_readers.values()):
        raise InputError(
            "The variant has no training samples", where=variant, todo="see the QC reports for what was dropped"
        )
    if split == "train":
        readers = list(gene_readers.values())
    else:
        readers = [StoreReader(entry) for entry in manifest.of_split(split)]
    if vocabulary is None:
        vocabulary = _variant_vocabulary(list(gene_readers.values()), max_genes)
    any_var = next(iter(gene_readers.values())).var
    if any(len(reader.var) != len(any_var) for reader in gene_readers.values()) or (
        tuple(any_var.index[vocabulary.axis_positions]) != vocabulary.ensembl_ids
    ):
        raise InputError(
            "The stores are not on the gene axis of the vocabulary",
            where=str(corpus),
            todo="use a corpus built with the same gene annotation as the model's, or embed the stores as .zarr input",
        )
    measured = np.zeros((len(manifest.studies), len(vocabulary)), dtype=bool)
    for reader in [*gene_readers.values(), *readers]:
        row = manifest.studies.index(reader.entry.study)
        measured[row] = reader.var["measured"].to_numpy()[vocabulary.axis_positions]
    return Corpus(
        manifest,
        [reader for reader in readers if reader.entry.n_samples > 0],
        vocabulary,
        measured,
        n_axis_genes=len(any_var),
        batch_size=batch_size,
        seed=seed,
        shuffle=shuffle,
        memory_bytes=memory_bytes,
    )


def _variant_vocabulary(readers: list[StoreReader], max_genes: int | None) -> Vocabulary:
    in_use = np.any([reader.var["measured"].to_numpy() for reader in readers], axis=0)
    positions = np.flatnonzero(in_use)
    if max_genes is not None and len(positions) > max_genes:
        counted = [reader for reader in readers if reader.entry.assay == "sc"] or readers
        # rates, not numbers: every study counts the same, and a gene that it lacks counts as never detected there
        rates = [reader.var["n_detected"].to_numpy() / max(1, reader.entry.n_samples) for reader in counted]
        rate = np.mean(rates, axis=0)[positions]
        most_detected = np.argsort(-rate, kind="stable")[:max_genes]  # stable: a tie goes to the earlier gene
        positions = np.sort(positions[most_detected])
    var = readers[0].var
    return Vocabulary(
        axis_positions=positions.astype(np.int64),
        ensembl_ids=tuple(var.index[positions]),
        symbols=tuple(var["symbol"].astype(str).iloc[positions]),
    )
