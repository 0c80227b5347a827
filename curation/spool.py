"""Temporary runs on disk: what lets curation reorder more rows than memory holds."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import sparse

TRIPLET = np.dtype([("row", "<i4"), ("column", "<i4"), ("value", "<f8")])
ROW = np.dtype([("key", "<u8"), ("row_id", "<i8"), ("nnz", "<i8")])


class TripletSpool:
    """Collects (row, column, value) triplets in any order, returns them as blocks of whole rows.

    Files that list counts gene by gene (most `.mtx`, every genes-by-samples table) are turned with it into samples:
    each triplet goes to the run that owns its row, and a run is small enough to be sorted in memory.
    """

    def __init__(self, folder: Path, *, n_rows: int, n_columns: int, rows_per_run: int) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="triplets.", dir=folder))
        self._n_rows = n_rows
        self._n_columns = n_columns
        self._rows_per_run = max(1, rows_per_run)

    def append(self, rows: np.ndarray, columns: np.ndarray, values: np.ndarray) -> None:
        """Add triplets; `rows` counts from 0."""
        triplets = np.empty(len(rows), dtype=TRIPLET)
        triplets["row"], triplets["column"], triplets["value"] = rows, columns, values
        runs = triplets["row"] // self._rows_per_run
        order = np.argsort(runs, kind="stable")
        triplets, runs = triplets[order], runs[order]
        starts = np.flatnonzero(np.diff(runs, prepend=-1))
        for start, stop in zip(starts, [*starts[1:], len(runs)], strict=True):
            with (self._folder / f"{runs[start]}.run").open("ab") as handle:
                triplets[start:stop].tofile(handle)

    def blocks(self) -> Iterator[tuple[int, sparse.csr_matrix]]:
        """Yield (first row, CSR block) over all rows in order, rows without a triplet included."""
        for run, first in enumerate(range(0, self._n_rows, self._rows_per_run)):
            n_rows = min(self._rows_per_run, self._n_rows - first)
            path = self._folder / f"{run}.run"
            triplets = np.fromfile(path, dtype=TRIPLET) if path.exists() else np.empty(0, dtype=TRIPLET)
            coordinates = (triplets["row"] - first, triplets["column"])
            block = sparse.coo_matrix((triplets["value"], coordinates), shape=(n_rows, self._n_columns))
            yield first, block.tocsr()

    def close(self) -> None:
        """Remove the runs."""
        shutil.rmtree(self._folder, ignore_errors=True)


class ShuffleSpool:
    """Collects rows with random 64-bit keys, returns them ordered by key: a seeded shuffle of any number of rows.

    The key decides the run (its leading bits), and a run is sorted in memory. The order depends on the keys alone,
    neither on the block size in which rows came nor on the number of runs.
    """

    def __init__(self, folder: Path, *, n_columns: int, expected_nnz: int, run_nnz: int = 2**23) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="shuffle.", dir=folder))
        self._n_columns = n_columns
        self._bits = max(0, int(np.ceil(np.log2(max(1.0, expected_nnz / run_nnz)))))

    def append(self, counts: sparse.csr_matrix, keys: np.ndarray, row_ids: np.ndarray) -> None:
        """Add rows of int32 `counts` with their `keys` (uint64) and `row_ids` (int64)."""
        runs = (keys >> np.uint64(64 - self._bits)).astype(np.int64) if self._bits else np.zeros(len(keys), np.int64)
        for run in np.unique(runs):
            chosen = np.flatnonzero(runs == run)
            part = counts[chosen]
            rows = np.empty(len(chosen), dtype=ROW)
            rows["key"], rows["row_id"], rows["nnz"] = keys[chosen], row_ids[chosen], np.diff(part.indptr)
            for name, values in (("rows", rows), ("indices", part.indices), ("data", part.data)):
                with (self._folder / f"{run}.{name}").open("ab") as handle:
                    values.tofile(handle)

    def blocks(self) -> Iterator[tuple[np.ndarray, sparse.csr_matrix]]:
        """Yield (row ids, CSR block of int32 counts) in the order of the keys."""
        for run in range(2**self._bits):
            if not (self._folder / f"{run}.rows").exists():
                continue
            rows = np.fromfile(self._folder / f"{run}.rows", dtype=ROW)
            indptr = np.concatenate([[0], np.cumsum(rows["nnz"])])
            indices = np.fromfile(self._folder / f"{run}.indices", dtype=np.int32)
            values = np.fromfile(self._folder / f"{run}.data", dtype=np.int32)
            block = sparse.csr_matrix((values, indices, indptr), shape=(len(rows), self._n_columns))
            order = np.lexsort((rows["row_id"], rows["key"]))
            yield rows["row_id"][order], block[order]

    def close(self) -> None:
        """Remove the runs."""
        shutil.rmtree(self._folder, ignore_errors=True)


def shuffle_keys(seed_text: str, row_ids: np.ndarray) -> np.ndarray:
    """Return a random-looking uint64 for each row id, a pure function of (seed_text, row id).

    SplitMix64 (Steele, Lea & Flood 2014, doi 10.1145/2660193.2660195) of the row id, started from a hash of the seed
    text.
    """
    start = np.uint64(int.from_bytes(hashlib.sha256(seed_text.encode()).digest()[:8], "little"))
    with np.errstate(over="ignore"):
        z = start + (row_ids.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
