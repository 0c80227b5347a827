"""Samples in memory as a corpus, so that whatever reads a corpus reads them, too."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from txfm.corpus.gene_map import GeneMap
from txfm.corpus.rows import CsrRows
from txfm.corpus.stream import Corpus, StreamOptions
from txfm.corpus.variant import StoreEntry, Variant
from txfm.vocabulary import Vocabulary

SHUFFLE_SEED = 0  # as the rows of a store are shuffled when it is written: once, whatever is trained on them


class InMemoryStore:
    """Raw counts over a vocabulary with the interface of `StoreReader`; rows are in a random order.

    Parameters
    ----------
    entry : StoreEntry
        Without the number of samples and of non-zeros, which the counts say.
    counts : scipy.sparse.csr_matrix (n_samples, G)
        Whole numbers.
    sample_ids : numpy.ndarray (n_samples,), str
    axis_positions : numpy.ndarray (G,)
        Of the vocabulary.
    """

    def __init__(
        self, entry: StoreEntry, counts: sp.csr_matrix, sample_ids: np.ndarray, axis_positions: np.ndarray
    ) -> None:
        order = np.random.default_rng(SHUFFLE_SEED).permutation(counts.shape[0])
        shuffled = sp.csr_matrix(counts[order])
        shuffled.eliminate_zeros()
        shuffled.sort_indices()
        self.entry = replace(entry, n_samples=shuffled.shape[0], nnz=int(shuffled.nnz))
        self.indptr = shuffled.indptr.astype(np.int64)
        self.sample_ids = sample_ids[order]
        self._axis_positions = axis_positions
        self._positions = shuffled.indices.astype(np.int32)
        self._counts = np.rint(shuffled.data).astype(np.int32)

    @cached_property
    def var(self) -> pd.DataFrame:
        """`n_detected` of every gene of the axis; 0 outside the vocabulary."""
        n_detected = np.zeros(int(self._axis_positions.max()) + 1, dtype=np.int64)
        n_detected[self._axis_positions] = np.bincount(self._positions, minlength=len(self._axis_positions))
        return pd.DataFrame({"n_detected": n_detected})

    @property
    def obs_names(self) -> list[str]:
        """No column of the samples is kept."""
        return []

    def obs_columns(self, *names: str) -> dict[str, Any]:
        """See `obs_names`."""
        return dict.fromkeys(names)

    def read_rows(self, start: int, stop: int, genes: GeneMap, *, drops: bool = True) -> CsrRows:
        """A block of rows; its genes are positions in the vocabulary already."""
        part = slice(self.indptr[start], self.indptr[stop])
        return CsrRows(self.indptr[start : stop + 1] - self.indptr[start], self._positions[part], self._counts[part])

    @property
    def digest(self) -> str:
        """Of the counts, sha256."""
        content = hashlib.sha256()
        for array in (self.indptr, self._positions, self._counts):
            content.update(array.tobytes())
        return content.hexdigest()


class InMemoryCorpus:
    """Training and validation samples of some studies, opened as `open_corpus` opens those of a corpus.

    Parameters
    ----------
    counts : scipy.sparse.csr_matrix (n_samples, G)
        Raw counts over the vocabulary, zero where not measured.
    sample_ids : numpy.ndarray (n_samples,), str
    is_validation : numpy.ndarray (n_samples,), bool
    measured : numpy.ndarray (G,), bool
        Genes of the vocabulary that the studies measured: they share one table.
    vocabulary : Vocabulary
    name : str
        Of the whole.
    study_of_sample : numpy.ndarray (n_samples,), str
    about : sequence of StoreEntry
        What is known of each study; its split, size and digest are found out here.
    """

    def __init__(
        self,
        counts: sp.csr_matrix,
        sample_ids: np.ndarray,
        is_validation: np.ndarray,
        measured: np.ndarray,
        vocabulary: Vocabulary,
        *,
        name: str,
        study_of_sample: np.ndarray,
        about: Sequence[StoreEntry],
    ) -> None:
        about = sorted(about, key=lambda entry: entry.study)
        chosen = {"train": ~is_validation, "validation": is_validation}
        self._stores: dict[str, list[InMemoryStore]] = {split: [] for split in chosen}
        for entry in about:
            for split, stores in self._stores.items():
                rows = chosen[split] & (study_of_sample == entry.study)
                as_split = replace(entry, split=split)
                store = InMemoryStore(as_split, counts[rows], sample_ids[rows], vocabulary.axis_positions)
                store.entry = replace(store.entry, digest=store.digest)
                stores.append(store)
        entries = tuple(store.entry for stores in self._stores.values() for store in stores)
        content = hashlib.sha256(" ".join(vocabulary.ensembl_ids).encode() + measured.tobytes())
        for entry in entries:
            content.update(f"\n{entry.split} {entry.digest} {entry.study}".encode())
        self._vocabulary = vocabulary
        self._measured = np.tile(measured, (len(about), 1))
        self.variant = Variant(
            name=name,
            digest=content.hexdigest(),
            corpus_digest=None,
            studies=tuple(entry.study for entry in about),
            stores=entries,
            measured=None,
            held_out=(),
            about={},
        )

    def open(self, split: str, *, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> Corpus:
        """Open one split; arguments as for `open_corpus`."""
        return Corpus(
            self.variant,
            self._stores[split],
            self._vocabulary,
            self._measured,
            genes=GeneMap(self._vocabulary.axis_positions, int(self._vocabulary.axis_positions.max()) + 1),
            cut_studies=frozenset(),
            n_decoded=0,
            split=split,
            shares=None,
            options=StreamOptions(
                batch_size=batch_size,
                seed=seed,
                rank=rank,
                world=world,
                threads=1,
                memory_bytes=0,  # nothing is decoded
            ),
        )
