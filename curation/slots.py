"""Columns that samples have between the source and the stores: axis genes, and repeated ids until they are judged.

Whether two columns with one id are copies of each other is known when all samples have been seen. Until then every
column but the first of such an id has a slot of its own behind those of the axis.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from curation.copies import CopyFinder
from curation.genes import GeneMap, project
from curation.spool import csr


class Slots:
    """Slots of all columns of a study's tables.

    Parameters
    ----------
    maps : sequence of GeneMap
        Of each part.
    copies : sequence of CopyFinder
        Of each part.
    n_axis_genes : int
    """

    def __init__(self, maps: Sequence[GeneMap], copies: Sequence[CopyFinder], n_axis_genes: int) -> None:
        self._n_axis_genes = n_axis_genes
        self._extra: list[tuple[int, int]] = []  # (part, table column) of each slot behind the axis
        self._of_part = []
        self._meets = []
        self._first_position = []
        for part, (genes, finder) in enumerate(zip(maps, copies, strict=True)):
            slots = genes.positions.copy()
            for column in finder.repeated_columns.tolist():
                if slots[column] >= 0:
                    slots[column] = n_axis_genes + len(self._extra)
                    self._extra.append((part, column))
            used = slots[slots >= 0]
            self._of_part.append(slots)
            self._meets.append(len(np.unique(used)) < len(used))
            self._first_position.append(genes.positions)

    @property
    def n_slots(self) -> int:
        """Axis genes and slots behind them."""
        return self._n_axis_genes + len(self._extra)

    @property
    def has_extra(self) -> bool:
        """Whether some id is repeated."""
        return bool(self._extra)

    def assign(self, part: int, counts: sparse.csr_matrix) -> sparse.csr_matrix:
        """Return samples of a part on slots, without explicit zeros; columns of one gene are added.

        Parameters
        ----------
        part : int
        counts : csr_matrix of int64 or int32, shape (n_samples, n_table_genes)

        Returns
        -------
        csr_matrix, shape (n_samples, n_slots)
            Columns need not be sorted.
        """
        if self._meets[part]:
            return project(counts.astype(np.int64), self._of_part[part], self.n_slots)
        return relabel(counts, self._of_part[part], self.n_slots)

    def on_axis(self, part: int, counts: sparse.csr_matrix) -> sparse.csr_matrix:
        """Return samples of a part on the axis, copies added too: which genes they show, not how often."""
        return project(counts.astype(np.int64), self._first_position[part], self._n_axis_genes)

    def targets(self, maps: Sequence[GeneMap]) -> np.ndarray:
        """Return the axis position of each slot, -1 for a copy, by maps in which copies are dropped."""
        extra = [maps[part].positions[column] for part, column in self._extra]
        return np.concatenate([np.arange(self._n_axis_genes), np.array(extra, dtype=np.int64)])


def relabel(counts: sparse.csr_matrix, new_columns: np.ndarray, n_columns: int) -> sparse.csr_matrix:
    """Return `counts` with its columns renumbered and explicit zeros left out; no two columns may meet.

    Parameters
    ----------
    counts : csr_matrix, shape (n_samples, n)
    new_columns : ndarray of int, shape (n,)
        -1 leaves a column out.
    n_columns : int
        Columns of the result.

    Returns
    -------
    csr_matrix
        Entries of a row keep their order.
    """
    columns = np.take(new_columns.astype(np.int32), counts.indices)
    kept = columns >= 0
    kept &= counts.data != 0
    if kept.all():
        return csr(counts.data, columns, counts.indptr, n_columns)
    before = np.concatenate([[0], np.cumsum(kept)])
    return csr(counts.data[kept], columns[kept], before[counts.indptr], n_columns)


def sort_columns(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return counts with the columns of each row ascending.

    Two transpositions are a radix sort. In pieces of half a million non-zeros, which stay in the cache, they took 8 to
    10 ns a non-zero; columns packed with their counts and sorted by NumPy row by row 14 to 25, SciPy's sort_indices 49.
    """
    return counts if counts.has_sorted_indices else counts.tocsc().tocsr()
