"""Triplets in any order turned into rows by runs on disk: files that list counts gene by gene."""

import errno
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from txfm.embedding.inputs.samples import BLOCK_VALUES
from txfm.errors import InputError


class TurnedRows:
    """Collects (row, column, value) triplets, gives them back as blocks of rows (`txfm.embedding.inputs.samples.Rows`).

    A run holds some thousand neighbouring rows; each triplet is appended to the file of its run, and a run is sorted in
    memory when it is read. On disk a triplet takes 16 bytes.

    Parameters
    ----------
    shape : tuple of int
        Samples, genes.
    scratch : Path
        An empty folder of its own; whoever made it removes it.
    values_per_row : float
        Expected, on average: it decides how many rows a run holds.
    """

    RECORD = np.dtype([("row", "<u4"), ("column", "<u4"), ("value", "<f8")])

    def __init__(self, shape: tuple[int, int], scratch: Path, *, values_per_row: float) -> None:
        self.shape = shape
        self._scratch = scratch
        self._rows_per_run = max(1, min(shape[0], int(BLOCK_VALUES / max(1.0, values_per_row))))

    def append(self, rows: np.ndarray, columns: np.ndarray, values: np.ndarray) -> None:
        """Add triplets that count from 0.

        Raises
        ------
        InputError
            The disk is full.
        """
        runs, within = np.divmod(rows, self._rows_per_run)
        order = np.argsort(runs, kind="stable")
        records = np.empty(len(rows), dtype=self.RECORD)
        records["row"], records["column"], records["value"] = within[order], columns[order], values[order]
        present, starts = np.unique(runs[order], return_index=True)
        for run, piece in zip(present, np.split(records, starts[1:]), strict=True):
            try:
                with self._path(int(run)).open("ab") as handle:
                    piece.tofile(handle)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                raise InputError(
                    "The disk is full: this input lists counts gene by gene and is turned on disk",
                    where=str(self._scratch),
                    expected="16 bytes for each non-zero count",
                    todo="name a folder with more space in the variable TMPDIR, or pass an .h5ad with a CSR matrix",
                ) from error

    def blocks(self) -> Iterator[sp.csr_matrix]:
        """Yield one run after another; entries that stand several times are summed."""
        for run, first in enumerate(range(0, self.shape[0], self._rows_per_run)):
            path = self._path(run)
            records = np.fromfile(path, dtype=self.RECORD) if path.exists() else np.empty(0, dtype=self.RECORD)
            shape = (min(self._rows_per_run, self.shape[0] - first), self.shape[1])
            places = (records["row"].astype(np.int32), records["column"].astype(np.int32))
            yield sp.coo_matrix((records["value"], places), shape=shape).tocsr()

    def _path(self, run: int) -> Path:
        return self._scratch / f"{run}.run"
