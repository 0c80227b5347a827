"""Dense matrices of HDF5 and Zarr files, read by rows; samples may be rows or columns."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy import sparse

from curation.blocks import rows_per_block
from curation.errors import InputError
from curation.readers.read_ahead import read_ahead
from curation.readers.triplet_spool import TripletSpool

# A band of whole chunks of so many bytes is read at once. Wider ones are turned in a spool, window by window.
MAX_BAND_BYTES = 2**26


class DenseRows:
    """A chunked array, or one of another byte order, through its library (`curation.readers.matrix_reader.Rows`).

    Parameters
    ----------
    array : dataset of h5py or array of zarr
    scratch : Path
    samples_axis : int
        0 where samples are rows (anndata), 1 where they are columns (loom).
    """

    def __init__(self, array: Any, scratch: Path, *, samples_axis: int = 0) -> None:
        self.n_rows = int(array.shape[samples_axis])
        self._n_columns = int(array.shape[1 - samples_axis])
        self._array = array
        self._samples_axis = samples_axis
        self._scratch = scratch
        self._spool: TripletSpool | None = None
        self._block_rows = self._step = rows_per_block(self._n_columns)
        if array.chunks:  # whole chunks: one that two reads share is unpacked twice
            chunk = int(array.chunks[samples_axis])
            self._step = max(1, self._step // chunk) * chunk

    def blocks(self) -> Iterator[tuple[int, sparse.csr_matrix]]:
        """Yield (first row, CSR block) over all rows in order."""
        if min(self._step, self.n_rows) * self._n_columns * self._array.dtype.itemsize > MAX_BAND_BYTES:
            self._spool = self._spool or self._turned()
            yield from self._spool.blocks()
            return
        for first in range(0, self.n_rows, self._step):
            band = self._read(slice(first, first + self._step), slice(0, self._n_columns))
            for row in range(0, len(band), self._block_rows):
                yield first + row, csr_from_dense(band[row : row + self._block_rows])

    def rows(self, first: int, last: int) -> sparse.csr_matrix:
        """Return rows `first` to `last` - 1."""
        return csr_from_dense(self._read(slice(first, last), slice(0, self._n_columns)))

    def close(self) -> None:
        """Remove what was spooled."""
        if self._spool is not None:
            self._spool.close()

    def _read(self, samples: slice, genes: slice) -> np.ndarray:
        if self._samples_axis == 0:
            return np.asarray(self._array[samples, genes])
        return np.ascontiguousarray(np.asarray(self._array[genes, samples]).T)

    def _turned(self) -> TripletSpool:
        chunk = int(self._array.chunks[1 - self._samples_axis])
        width = MAX_BAND_BYTES // (min(self._step, self.n_rows) * self._array.dtype.itemsize)
        width = max(1, width // chunk) * chunk
        spool = TripletSpool(self._scratch, n_rows=self.n_rows, n_columns=self._n_columns, mean_nnz=self._n_columns / 4)
        try:
            for first in range(0, self.n_rows, self._step):
                for gene in range(0, self._n_columns, width):
                    values = self._read(slice(first, first + self._step), slice(gene, gene + width))
                    rows, genes = np.divmod(np.flatnonzero(values != 0), values.shape[1])
                    spool.append(rows + first, genes + gene, values[rows, genes])
        except BaseException:
            spool.close()
            raise
        return spool


class ContiguousRows:
    """An HDF5 dataset whose values lie in the file one after the other, read straight from there.

    HDF5 itself would hold the interpreter's lock while it waits for the disk.
    """

    def __init__(self, dataset: h5py.Dataset) -> None:
        self.n_rows, self._n_columns = (int(n) for n in dataset.shape)
        self._dtype = dataset.dtype
        self._offset = dataset.id.get_offset()
        self._file = os.open(dataset.file.filename, os.O_RDONLY)
        self._step = rows_per_block(self._n_columns)

    @staticmethod
    def suits(dataset: h5py.Dataset) -> bool:
        """Return whether the dataset is contiguous, allocated, and of this machine's numbers."""
        plain = dataset.dtype.kind in "iuf" and dataset.dtype.isnative
        return bool(plain and dataset.chunks is None and dataset.id.get_offset() is not None and not dataset.external)

    def blocks(self) -> Iterator[tuple[int, sparse.csr_matrix]]:
        """Yield (first row, CSR block) over all rows in order."""
        for first, values in read_ahead(self._bands()):
            yield first, csr_from_dense(values)

    def rows(self, first: int, last: int) -> sparse.csr_matrix:
        """Return rows `first` to `last` - 1."""
        return csr_from_dense(self._read(first, last))

    def _bands(self) -> Generator[tuple[int, np.ndarray], None, None]:
        for first in range(0, self.n_rows, self._step):
            yield first, self._read(first, min(first + self._step, self.n_rows))

    def _read(self, first: int, last: int) -> np.ndarray:
        values = np.empty((last - first, self._n_columns), dtype=self._dtype)
        buffer = values.reshape(-1).view(np.uint8)
        start = self._offset + first * self._n_columns * self._dtype.itemsize
        done = 0
        while done < len(buffer):
            n_read = os.preadv(self._file, [buffer[done:].data], start + done)
            if n_read == 0:
                raise InputError(
                    "the file ends early",
                    expected=f"{self.n_rows} samples",
                    found=f"the end of the file in sample {first + done // max(1, values[0].nbytes) + 1}",
                    todo="delete it and fetch it again",
                )
            done += n_read
        return values

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def csr_from_dense(values: np.ndarray) -> sparse.csr_matrix:
    """Return `values` (n_samples, n_genes) as CSR of their dtype; NaN counts as a value, so the count check sees it.

    Four times as fast as scipy's own constructor, which makes two arrays of coordinates of 8 bytes.
    """
    n_samples, n_genes = values.shape
    flat = np.flatnonzero(values != 0)
    indptr = np.searchsorted(flat, np.arange(n_samples + 1) * n_genes)
    indices = _columns(n_samples, n_genes)[flat]
    return sparse.csr_matrix((values.ravel()[flat], indices, indptr.astype(np.int32)), shape=values.shape)


@lru_cache(maxsize=1)
def _columns(n_samples: int, n_genes: int) -> np.ndarray:
    """Return the column of each value of a dense block: blocks of a table are of one size, save the last."""
    return np.tile(np.arange(n_genes, dtype=np.int32), n_samples)
