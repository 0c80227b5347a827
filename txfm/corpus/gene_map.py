"""From columns of the gene axis to positions in a vocabulary."""

import numpy as np

from txfm.corpus import kernels
from txfm.corpus.buffers import BUFFERS
from txfm.corpus.rows import CsrRows


class GeneMap:
    """Renames the columns of rows, and drops entries of genes outside the vocabulary.

    Parameters
    ----------
    axis_positions : numpy.ndarray (G,)
        The vocabulary's columns of the axis, ascending.
    n_axis : int
        Columns of the axis.
    """

    def __init__(self, axis_positions: np.ndarray, n_axis: int) -> None:
        self.absent = len(axis_positions)
        """Position of every gene outside the vocabulary."""
        self.table = np.full(n_axis, self.absent, dtype=np.uint16 if self.absent < 2**16 else np.int32)
        """Position of each column of the axis."""
        self.table[axis_positions] = np.arange(self.absent, dtype=self.table.dtype)
        self._in_vocabulary = self.table != self.absent

    def holds(self, measured: np.ndarray) -> bool:
        """Whether every gene of a mask over the axis is in the vocabulary: then no entry can be dropped."""
        return bool(self._in_vocabulary[measured].all())

    def without_absent(self, rows: CsrRows) -> CsrRows:
        """Rows without their entries outside the vocabulary."""
        kept = np.empty_like(rows.indptr)
        n_kept = int(np.count_nonzero(rows.positions != self.absent))
        positions, counts = (BUFFERS.empty(n_kept, array.dtype) for array in (rows.positions, rows.counts))
        kernels.drop(self.absent, rows.indptr, rows.positions, rows.counts, kept, positions, counts)
        return CsrRows(kept, positions, counts)


class Renaming:
    """Columns of the axis become positions in the vocabulary while an array is read; of one read, see `Conversion`.

    Attributes
    ----------
    largest : int
        The largest position so far.
    """

    def __init__(self, genes: GeneMap) -> None:
        self.dtype = genes.table.dtype
        self.largest = 0
        self._table = genes.table

    def convert(self, source: np.ndarray, target: np.ndarray) -> None:
        """Write the positions of the columns `source` to `target`.

        Raises
        ------
        IndexError
            A column lies outside the axis.
        """
        unsigned = source.view(f"u{source.itemsize}")  # a negative column becomes too large a one
        largest = kernels.look_up(self._table, unsigned, target)
        if largest == kernels.OUTSIDE:
            raise IndexError(f"column {unsigned.max()} of an axis of {len(self._table):,} genes")
        self.largest = max(self.largest, largest)


class Narrowing:
    """Counts below 65,536 take two bytes in memory; of one read, see `Conversion`.

    Attributes
    ----------
    fits : bool
        Whether all counts so far did.
    """

    dtype = np.dtype(np.uint16)

    def __init__(self) -> None:
        self.fits = True

    def convert(self, source: np.ndarray, target: np.ndarray) -> None:
        """Write the counts `source`, int32, to `target`."""
        self.fits &= bool(kernels.narrow(source, target))
