"""Matrices of HDF5 and Zarr files as `Rows`: compressed by samples, compressed by genes, dense.

Both libraries' arrays are sliced alike, and so are the groups of AnnData and of Cell Ranger: data, indices, indptr.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from txfm.embedding.inputs.samples import BLOCK_VALUES
from txfm.embedding.inputs.turned_rows import TurnedRows
from txfm.errors import InputError

INDPTR_ROWS = 2**16  # row starts read at a time
# Dense values of a band of rows, whatever the chunks: 128 MB as float32, of which one slab of columns is in memory
BAND_VALUES = 2**25


class CompressedRows:
    """A matrix compressed by samples; repeated entries are summed, as every library that knows the layout reads them.

    Parameters
    ----------
    group : h5py.Group or zarr.Group
        With data, indices and indptr.
    shape : tuple of int
        Samples, genes.

    Raises
    ------
    InputError
        The three arrays contradict each other; also while blocks are read.
    """

    def __init__(self, group: Any, shape: tuple[int, int]) -> None:
        self.shape = shape
        self._group = group
        check_lengths(group, shape[0])

    def blocks(self) -> Iterator[sp.csr_matrix]:
        """Yield blocks of about `BLOCK_VALUES` values."""
        for first in range(0, self.shape[0], INDPTR_ROWS):
            starts = np.asarray(self._group["indptr"][first : first + INDPTR_ROWS + 1]).astype(np.int64)
            check_ascending(starts, len_of(self._group["data"]))
            row = 0
            while row < len(starts) - 1:
                end = int(np.searchsorted(starts, starts[row] + BLOCK_VALUES, side="right")) - 1
                end = max(row + 1, min(end, len(starts) - 1))
                yield self._block(starts[row : end + 1])
                row = end

    def _block(self, starts: np.ndarray) -> sp.csr_matrix:
        values = as_supported(self._group["data"][starts[0] : starts[-1]])
        columns = np.asarray(self._group["indices"][starts[0] : starts[-1]]).astype(np.int64)
        check_indices(columns, self.shape[1], "genes")
        block = sp.csr_matrix((values, columns, starts - starts[0]), shape=(len(starts) - 1, self.shape[1]))
        block.sum_duplicates()
        return block


def turn_compressed(group: Any, shape: tuple[int, int], scratch: Path) -> TurnedRows:
    """The rows of a matrix compressed by genes, turned on disk in one pass.

    Raises
    ------
    InputError
        The three arrays contradict each other.
    """
    n_rows, n_columns = shape
    check_lengths(group, n_columns)
    starts = np.asarray(group["indptr"][:]).astype(np.int64)
    n_values = len_of(group["data"])
    check_ascending(starts, n_values)
    turned = TurnedRows(shape, scratch, values_per_row=n_values / max(1, n_rows))
    for first in range(0, n_values, BLOCK_VALUES):
        last = min(first + BLOCK_VALUES, n_values)
        rows = np.asarray(group["indices"][first:last]).astype(np.int64)
        check_indices(rows, n_rows, "samples")
        per_column: np.ndarray = np.diff(np.clip(starts, first, last))
        columns = np.repeat(np.arange(n_columns), per_column)
        turned.append(rows, columns, as_supported(group["data"][first:last]))
    return turned


class DenseRows:
    """A dense matrix of a file, read in bands of rows that follow its chunks, so that a chunk is unpacked once.

    Chunks of automatic size span thousands of rows and few columns: a band is read slab by slab of columns, and only
    its non-zeros are kept. A band of more than `BAND_VALUES` values is cut, and its chunks are unpacked more than once.
    """

    def __init__(self, array: Any) -> None:
        self.shape = (int(array.shape[0]), int(array.shape[1]))
        self._array = array
        most = max(1, BAND_VALUES // max(1, self.shape[1]))
        whole = max(1, BLOCK_VALUES // max(1, self.shape[1]))
        chunk_rows, chunk_columns = (max(1, n) for n in array.chunks or (1, self.shape[1]))
        self._band = max(1, min(most, -(-whole // chunk_rows) * chunk_rows))
        slab = max(1, BLOCK_VALUES // self._band)
        self._slab = max(slab // chunk_columns, 1) * chunk_columns

    def blocks(self) -> Iterator[sp.csr_matrix]:
        """Yield one band after another."""
        n_rows, n_columns = self.shape
        for first in range(0, n_rows, self._band):
            slabs = [
                sp.csr_matrix(as_supported(self._array[first : first + self._band, left : left + self._slab]))
                for left in range(0, n_columns, self._slab)
            ]
            yield slabs[0] if len(slabs) == 1 else sp.hstack(slabs, format="csr")


def as_supported(values: Any) -> np.ndarray:
    """An array in native byte order and of a type that SciPy knows; half precision becomes float32, exactly."""
    values = np.asarray(values)
    wanted = np.dtype(np.float32) if values.dtype == np.float16 else values.dtype.newbyteorder("=")
    return values.astype(wanted, copy=False)


def len_of(array: Any) -> int:
    """Length of a one-dimensional array on disk."""
    return int(array.shape[0])


def check_lengths(group: Any, n_major: int) -> None:
    """Refuse a compressed matrix whose arrays do not fit each other.

    Raises
    ------
    InputError
        An array is missing or of another length.
    """
    found = {name: len_of(group[name]) if name in group else None for name in ("indptr", "indices", "data")}
    if found["indptr"] != n_major + 1 or found["indices"] is None or found["indices"] != found["data"]:
        raise contradiction(
            f"indptr of {n_major + 1:,}, indices and data of one length",
            ", ".join(f"{name} of {length}" for name, length in found.items()),
        )


def check_ascending(starts: np.ndarray, n_values: int) -> None:
    """Refuse row starts that fall or lie outside the values.

    Raises
    ------
    InputError
        They do.
    """
    if (np.diff(starts) < 0).any() or starts[0] < 0 or starts[-1] > n_values:
        raise contradiction(
            f"indptr that ascends from 0 to at most {n_values:,}", f"{starts.min():,} to {starts.max():,}"
        )


def check_indices(indices: np.ndarray, n: int, what: str) -> None:
    """Refuse indices outside the matrix.

    Raises
    ------
    InputError
        An index is negative, or `n` or more.
    """
    if len(indices) and (indices.min() < 0 or indices.max() >= n):
        raise contradiction(f"indices of {what} from 0 to {n - 1:,}", f"{indices.min():,} to {indices.max():,}")


def contradiction(expected: str, found: str) -> InputError:
    """The error for a sparse matrix that contradicts itself."""
    return InputError(
        "The sparse matrix contradicts itself",
        expected=expected,
        found=found,
        todo="the file is damaged, or was written by a program that broke off: write or copy it again",
    )
