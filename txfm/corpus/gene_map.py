"""From columns of the gene axis to positions in a vocabulary."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from txfm.corpus.rows import CsrRows

# Columns renamed at a time: 512 kB
PIECE = 2**18


class GeneMap:
    """Renames the columns of rows, and drops entries of genes outside the vocabulary.

    Parameters
    ----------
    axis_positions : numpy.ndarray (G,)
        The vocabulary's columns of the axis, ascending.
    n_axis : int
        Columns of the axis.

    Notes
    -----
    Arrow's `take` reads indices of two bytes as they are: 0.7 ns an entry, where NumPy first widens them (1.6 ns).
    """

    def __init__(self, axis_positions: np.ndarray, n_axis: int) -> None:
        self._absent = len(axis_positions)
        self._dtype = np.dtype(np.uint16 if self._absent < 2**16 else np.int32)
        table = np.full(n_axis, self._absent, dtype=self._dtype)
        table[axis_positions] = np.arange(self._absent, dtype=self._dtype)
        self._table = pa.array(table)
        self._in_vocabulary = table != self._absent

    def holds(self, measured: np.ndarray) -> bool:
        """Whether every gene of a mask over the axis is in the vocabulary: then no entry can be dropped."""
        return bool(self._in_vocabulary[measured].all())

    def rename(self, rows: CsrRows, *, drops: bool) -> CsrRows:
        """Rows over the axis as rows over the vocabulary; the memory of `rows` may be used for them.

        Parameters
        ----------
        rows : CsrRows
            `positions` are columns of the axis.
        drops : bool
            False: no entry lies outside the vocabulary (see `holds`).

        Raises
        ------
        IndexError
            A column lies outside the axis, or, with ``drops=False``, outside the vocabulary.
        """
        positions = self._take(rows.positions)
        if not drops:
            if len(positions) and int(positions.max()) >= self._absent:
                raise IndexError("an entry at a gene that the study did not measure")
            return CsrRows(rows.indptr, positions, rows.counts)
        known = positions != self._absent
        before = np.zeros(len(known) + 1, dtype=np.int64)
        np.cumsum(known, out=before[1:])
        return CsrRows(before[rows.indptr], positions[known], rows.counts[known])

    def _take(self, columns: np.ndarray) -> np.ndarray:
        """The table's entries at columns: piece by piece, so that they stay in the cache; in place if types agree."""
        if len(columns) and int(columns.max()) >= len(self._table):
            raise IndexError(f"column {columns.max()} of an axis of {len(self._table):,} genes")
        in_place = columns.dtype == self._dtype and columns.flags.writeable
        out = columns if in_place else np.empty(len(columns), self._dtype)
        for start in range(0, len(columns), PIECE):
            piece = slice(start, start + PIECE)
            out[piece] = pc.take(self._table, pa.array(columns[piece]), boundscheck=False).to_numpy()
        return out
