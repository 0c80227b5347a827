"""Sparse matrices of HDF5 and Zarr files, read by rows: indptr, indices and data in windows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from curation.blocks import BLOCK_NNZ
from curation.errors import InputError
from curation.readers.triplet_spool import TripletSpool
from curation.readers.windows import Window

# Samples a block at most, however sparse: their ids and labels are strings.
MAX_BLOCK_ROWS = 2**14


class SparseRows:
    """A matrix compressed by samples; `group` holds data, indices and indptr (`curation.readers.matrix_reader.Rows`).

    Repeated entries are summed, as every library that knows the layout reads them.
    """

    def __init__(self, group: Any, *, n_rows: int, n_columns: int) -> None:
        self.n_rows = n_rows
        self._n_columns = n_columns
        self._group = group
        check_lengths(group, n_rows)

    def blocks(self) -> Iterator[tuple[int, sparse.csr_matrix]]:
        """Yield (first row, CSR block) over all rows in order."""
        indptr, indices, data = self._windows()
        first = 0
        while first < self.n_rows:
            starts = indptr.read(first, first + MAX_BLOCK_ROWS + 1).astype(np.int64)
            n_rows = min(max(1, int(np.searchsorted(starts, starts[0] + BLOCK_NNZ, side="right")) - 1), len(starts) - 1)
            yield first, self._block(starts[: n_rows + 1], indices, data)
            first += n_rows

    def rows(self, first: int, last: int) -> sparse.csr_matrix:
        """Return rows `first` to `last` - 1."""
        starts = np.asarray(self._group["indptr"][first : last + 1]).astype(np.int64)
        return self._block(starts, *self._windows()[1:])

    def _windows(self) -> tuple[Window, Window, Window]:
        # 2^19 elements: 2 MB of each, and above the chunks that anndata and Cell Ranger write
        return (
            Window(self._group["indptr"]),
            Window(self._group["indices"], at_least=2**19),
            Window(self._group["data"], at_least=2**19),
        )

    def _block(self, starts: np.ndarray, indices: Window, data: Window) -> sparse.csr_matrix:
        if (np.diff(starts) < 0).any() or starts[0] < 0 or starts[-1] > len(data):
            raise damaged("row starts that ascend, within the values", f"{starts.min()} to {starts.max()}")
        columns, values = indices.read(starts[0], starts[-1]), data.read(starts[0], starts[-1])
        if len(columns) and (columns.min() < 0 or columns.max() >= self._n_columns):
            raise damaged(f"genes 0 to {self._n_columns - 1}", f"{columns.min()} to {columns.max()}")
        shape = (len(starts) - 1, self._n_columns)
        block = sparse.csr_matrix(
            (values, columns.astype(np.int32, copy=False), (starts - starts[0]).astype(np.int32)), shape=shape
        )
        if not block.has_canonical_format:
            block = block.copy()  # what a window holds stays as the file has it
            block.sum_duplicates()
        return block


def turned_rows(group: Any, scratch: Path, *, n_rows: int, n_columns: int) -> TripletSpool:
    """Return the rows of a matrix compressed by genes, turned in a spool under `scratch`."""
    check_lengths(group, n_columns)
    indptr = np.asarray(group["indptr"][:]).astype(np.int64)
    if (np.diff(indptr) < 0).any() or indptr[0] != 0 or indptr[-1] > group["data"].shape[0]:
        raise damaged("column starts that ascend, within the values", f"{indptr.min()} to {indptr.max()}")
    spool = TripletSpool(scratch, n_rows=n_rows, n_columns=n_columns, mean_nnz=indptr[-1] / max(1, n_rows))
    indices, data = (Window(group[name], at_least=2**19) for name in ("indices", "data"))
    try:
        for start in range(0, int(indptr[-1]), BLOCK_NNZ):
            stop = min(start + BLOCK_NNZ, int(indptr[-1]))
            rows = indices.read(start, stop)
            if rows.min() < 0 or rows.max() >= n_rows:
                raise damaged(f"samples 0 to {n_rows - 1}", f"{rows.min()} to {rows.max()}")
            within = np.clip(indptr, start, stop)
            spool.append(rows, np.repeat(np.arange(n_columns), np.diff(within)), data.read(start, stop))
    except BaseException:
        spool.close()
        raise
    return spool


def check_lengths(group: Any, n_major: int) -> None:
    """Raise an InputError if the three arrays of a sparse matrix do not fit each other."""
    lengths = {name: int(group[name].shape[0]) for name in ("indptr", "indices", "data")}
    if lengths["indptr"] != n_major + 1 or lengths["indices"] != lengths["data"]:
        raise damaged(f"indptr of {n_major + 1}, indices and data of one length", str(lengths))


def damaged(expected: str, found: str) -> InputError:
    """Return the error of a sparse matrix that contradicts itself."""
    return InputError(
        "the sparse matrix contradicts itself",
        expected=expected,
        found=found,
        todo="the file is damaged: delete it and fetch it again",
    )
