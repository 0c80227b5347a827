"""Triplets in any order turned into samples, by runs on disk."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import sparse

from curation.blocks import BLOCK_NNZ
from curation.errors import InputError

# A record's key is (row within its run) * MAX_COLUMNS + column in 32 bits: 20 bits for the column, 12 for the row.
MAX_COLUMNS = 2**20
MAX_ROWS_PER_RUN = 2**12
COUNT = np.dtype([("value", "<i4"), ("key", "<u4")])
FRACTION = np.dtype([("value", "<f8"), ("key", "<u4")])


class TripletSpool:
    """Collects (row, column, value) triplets in any order, returns them as blocks of whole rows.

    Files that list counts gene by gene (most `.mtx`, every genes-by-samples table) are turned with it into samples:
    each triplet goes to the run that owns its row, and a run is small enough to be sorted in memory. A triplet takes
    8 bytes on disk where it is an integer below 2^31, else 12.

    Parameters
    ----------
    folder : Path
        Where the runs lie, in a folder of their own.
    n_rows, n_columns : int
        Shape of the whole; `n_columns` None where only the last triplet tells, see `set_columns`.
    mean_nnz : float
        Expected non-zeros of a row: what decides how many rows make a run.
    """

    def __init__(self, folder: Path, *, n_rows: int, n_columns: int | None, mean_nnz: float) -> None:
        self.n_rows = n_rows
        self._n_columns = n_columns
        self._rows_per_run = min(MAX_ROWS_PER_RUN, max(1, int(BLOCK_NNZ / max(1.0, mean_nnz))))
        self._folder = Path(tempfile.mkdtemp(prefix="triplets.", dir=folder))

    def set_columns(self, n_columns: int) -> None:
        """State the number of columns, after the last triplet."""
        self._n_columns = n_columns

    def append(self, rows: np.ndarray, columns: np.ndarray, values: np.ndarray) -> None:
        """Add triplets that count from 0; zeros are left out.

        Raises
        ------
        InputError
            A column is beyond what a key holds.
        """
        if not len(rows):
            return
        self._check_columns(int(columns.max()) + 1)
        if not values.all():
            kept = np.flatnonzero(values)
            rows, columns, values = rows[kept], columns[kept], values[kept]
        runs, within = np.divmod(rows.astype(np.int32, copy=False), np.int32(self._rows_per_run))
        keys = (within.astype(np.uint32) << np.uint32(20)) | columns.astype(np.uint32)
        if (runs[1:] < runs[:-1]).any():
            order = np.argsort(runs, kind="stable")
            keys, values, runs = keys[order], values[order], runs[order]
        starts = np.concatenate([[0], np.flatnonzero(runs[1:] != runs[:-1]) + 1, [len(runs)]])
        self._write(keys, values, runs[starts[:-1]], starts)

    def append_rows(self, counts: sparse.csr_matrix, first_column: int) -> None:
        """Add some columns of all rows, none of them zero: columns `first_column` and on."""
        self._check_columns(first_column + counts.shape[1])
        within = np.arange(self.n_rows, dtype=np.uint32) % np.uint32(self._rows_per_run) << np.uint32(20)
        keys = np.repeat(within, np.diff(counts.indptr)) | (counts.indices.astype(np.uint32) + np.uint32(first_column))
        starts = np.append(counts.indptr[:-1][:: self._rows_per_run], counts.indptr[-1])
        self._write(keys, counts.data, np.arange(len(starts) - 1), starts)

    def _check_columns(self, n_columns: int) -> None:
        if n_columns > MAX_COLUMNS:
            raise InputError(
                "the table has more genes than any annotation",
                expected=f"at most {MAX_COLUMNS:,} genes",
                found=f"gene {n_columns:,}",
                todo="check the orientation of the part in the catalogue: samples may be taken for genes",
            )

    def _write(self, keys: np.ndarray, values: np.ndarray, runs: np.ndarray, starts: np.ndarray) -> None:
        """Write records `starts[i]` to `starts[i + 1]` - 1 to run `runs[i]`."""
        records = np.empty(len(keys), dtype=COUNT if fits_int32(values) else FRACTION)
        records["key"], records["value"] = keys, values
        suffix = "count" if records.dtype == COUNT else "fraction"
        for run, start, stop in zip(runs, starts, starts[1:], strict=False):
            if start < stop:
                with (self._folder / f"{run}.{suffix}").open("ab") as handle:
                    records[start:stop].tofile(handle)

    def blocks(self) -> Iterator[tuple[int, sparse.csr_matrix]]:
        """Yield (first row, CSR block) over all rows in order, rows without a triplet included."""
        for run, first in enumerate(range(0, self.n_rows, self._rows_per_run)):
            yield first, self._run(run)

    def rows(self, first: int, last: int) -> sparse.csr_matrix:
        """Return rows `first` to `last` - 1."""
        runs = range(first // self._rows_per_run, max(first, last - 1) // self._rows_per_run + 1)
        found = sparse.vstack([self._run(run) for run in runs], format="csr")
        start = first - runs[0] * self._rows_per_run
        return found[start : start + last - first]

    def _run(self, run: int) -> sparse.csr_matrix:
        assert self._n_columns is not None, "the number of columns was never stated"
        n_rows = min(self._rows_per_run, self.n_rows - run * self._rows_per_run)
        counts, fractions = (
            np.fromfile(path, dtype=dtype) if path.exists() else np.empty(0, dtype=dtype)
            for path, dtype in (
                (self._folder / f"{run}.count", COUNT),
                (self._folder / f"{run}.fraction", FRACTION),
            )
        )
        keys = np.concatenate([fractions["key"], counts["key"]])
        values = np.concatenate([fractions["value"], counts["value"]]) if len(fractions) else counts["value"]
        if not ascending(keys):
            # most files list genes in order: then rows are all that is to be sorted, in two passes over 16 bits
            order = np.argsort((keys >> np.uint32(20)).astype(np.uint16), kind="stable")
            keys, values = keys[order], values[order]
        if not ascending(keys):
            order = np.argsort(keys, kind="stable")
            keys, values = keys[order], values[order]
        values = np.ascontiguousarray(values)
        if (keys[1:] == keys[:-1]).any():
            repeated = int(keys[np.flatnonzero(keys[1:] == keys[:-1])[0]])
            row, column = run * self._rows_per_run + (repeated >> 20), repeated & (MAX_COLUMNS - 1)
            raise InputError(
                "an entry of the matrix stands twice",
                expected="one value for each gene of a sample",
                found=f"several for gene {column + 1} of sample {row + 1}",
                todo="the file was joined from overlapping pieces or is damaged: fetch the original",
            )
        indptr = np.searchsorted(keys, np.arange(n_rows + 1, dtype=np.uint64) << np.uint64(20))
        indices = (keys & np.uint32(MAX_COLUMNS - 1)).astype(np.int32)
        return sparse.csr_matrix((values, indices, indptr.astype(np.int32)), shape=(n_rows, self._n_columns))

    def close(self) -> None:
        """Remove the runs."""
        shutil.rmtree(self._folder, ignore_errors=True)


def ascending(keys: np.ndarray) -> bool:
    """Return whether no key is below the one before it."""
    return bool((keys[1:] >= keys[:-1]).all())


def fits_int32(values: np.ndarray) -> bool:
    """Return whether every value is an integer that 32 bits hold."""
    if values.dtype.kind in "iu" and values.dtype.itemsize < 4:
        return True
    if not len(values):
        return True
    limits = np.iinfo(np.int32)
    if not (values.min() >= limits.min and values.max() <= limits.max):  # false for NaN, too
        return False
    return values.dtype.kind in "iu" or bool((values.astype(np.int32) == values).all())
