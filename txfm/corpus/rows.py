"""Some samples in memory: raw counts as CSR over the vocabulary."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from txfm.corpus import kernels
from txfm.corpus.buffers import BUFFERS


@dataclass(frozen=True, eq=False)
class CsrRows:
    """Raw counts of some samples.

    Attributes
    ----------
    indptr : numpy.ndarray (n + 1,), int64
    positions : numpy.ndarray (nnz,), uint16 or int32
        Vocabulary positions, ascending within a sample.
    counts : numpy.ndarray (nnz,), uint16 or int32
    """

    indptr: np.ndarray
    positions: np.ndarray
    counts: np.ndarray

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def nbytes(self) -> int:
        """Bytes held in memory, with what lies around the views."""
        arrays = (self.indptr, self.positions, self.counts)
        return sum(array.nbytes if array.base is None else max(array.nbytes, _base_bytes(array)) for array in arrays)

    def first(self, n: int) -> "CsrRows":
        """The first `n` samples."""
        return CsrRows(self.indptr[: n + 1], self.positions[: self.indptr[n]], self.counts[: self.indptr[n]])


def _base_bytes(array: np.ndarray) -> int:
    return array.base.nbytes if isinstance(array.base, np.ndarray) else 0


@dataclass(frozen=True, eq=False)
class Piece:
    """Rows `rows` of a block go to the places `places` of a batch."""

    rows: np.ndarray
    places: np.ndarray


def gather(blocks: Iterable[tuple[CsrRows, Piece]], lengths: np.ndarray) -> CsrRows:
    """Interleave rows of several blocks into one, copying each row as a whole.

    Parameters
    ----------
    blocks : iterable of (CsrRows, Piece)
        Whose places together are 0 ... len(lengths) - 1, each once. Taken one by one: a block that only an iterator
        holds gives its memory back to the next one.
    lengths : numpy.ndarray (n_samples,), int64
        Entries of each sample.

    Returns
    -------
    CsrRows
        With positions as int32, the type that PyTorch and SciPy index with, and counts as int32.
    """
    indptr = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=indptr[1:])
    positions, counts = (BUFFERS.empty(int(indptr[-1]), np.dtype(np.int32)) for _ in range(2))
    for block, piece in blocks:
        starts, stops = block.indptr[piece.rows], block.indptr[piece.rows + 1]
        kernels.copy_rows(block.positions, block.counts, starts, stops, indptr[piece.places], positions, counts)
        del block
    return CsrRows(indptr, positions, counts)
