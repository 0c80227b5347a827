"""Some samples in memory: raw counts as CSR over the vocabulary."""

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


def gather(blocks: list[tuple[CsrRows, Piece]], n_samples: int) -> CsrRows:
    """Interleave rows of several blocks into one, copying each row as a whole.

    Parameters
    ----------
    blocks : list of (CsrRows, Piece)
        Whose places together are 0 ... n_samples - 1, each once.
    n_samples : int

    Returns
    -------
    CsrRows
        With positions as int32, the type that PyTorch and SciPy index with, and counts as int32.
    """
    lengths = np.zeros(n_samples + 1, dtype=np.int64)
    bounds = [(block.indptr[piece.rows], block.indptr[piece.rows + 1]) for block, piece in blocks]
    for (_, piece), (starts, stops) in zip(blocks, bounds, strict=True):
        lengths[piece.places + 1] = stops - starts
    indptr = np.cumsum(lengths)
    positions, counts = (BUFFERS.empty(int(indptr[-1]), np.dtype(np.int32)) for _ in range(2))
    for (block, piece), (starts, stops) in zip(blocks, bounds, strict=True):
        kernels.copy_rows(block.positions, block.counts, starts, stops, indptr[piece.places], positions, counts)
    return CsrRows(indptr, positions, counts)
