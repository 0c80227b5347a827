"""Temporary runs on disk: what lets curation judge and reorder more samples than memory holds."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from curation.labels import LABELS

# One sample: its key decides its place in the stores, `names` its bytes in the file of names.
ROW = np.dtype(
    [("key", "<u8"), ("source_row", "<i8"), ("part", "<i4"), ("nnz", "<i4"), ("name_bytes", "<u4"), ("control", "?")]
    + [(label, "<i4") for label in LABELS]
)
# 4 Mi non-zeros a run: 25 MB with two-byte columns, sorted in memory beside a copy of itself
RUN_NNZ = 2**22
# What is held before the runs' files are opened, and as much while it is written: with 300 runs, 100 kB a run and write
BUFFER_BYTES = 2**25


@dataclass(frozen=True, kw_only=True)
class Run:
    """Samples of one run, in the order in which they came.

    Attributes
    ----------
    number : int
        Of the run; all keys of a run lie below those of the next.
    rows : ndarray of ROW, shape (n_samples,)
    counts : csr_matrix, int32, shape (n_samples, n_columns)
        Columns need not be sorted.
    """

    number: int
    rows: np.ndarray
    counts: sparse.csr_matrix


class SampleSpool:
    """Collects samples with random 64-bit keys, returns them in runs ordered by key: a seeded shuffle of any number.

    The size of the key decides the run. The order of the samples depends on the keys alone, neither on the
    block size in which they came nor on the number of runs.

    Parameters
    ----------
    folder : Path
        Takes the runs: 6 bytes a non-zero for up to 65,536 columns, else 8, and 61 bytes and the name a sample.
    n_columns : int
    expected_nnz : float
        About how many non-zeros will come; a wrong guess costs memory or files, nothing else.

    Attributes
    ----------
    n_runs : int
        Runs, empty ones included.
    """

    def __init__(self, folder: Path, *, n_columns: int, expected_nnz: float) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="samples.", dir=folder))
        self._n_columns = n_columns
        self._index_dtype = np.dtype("<u2") if n_columns <= 2**16 else np.dtype("<i4")
        self.n_runs = max(1, int(np.ceil(expected_nnz / RUN_NNZ)))
        self._buffer: dict[tuple[int, str], list[np.ndarray]] = {}
        self._buffered = 0
        self._writer = ThreadPoolExecutor(1)
        self._written: Future[None] | None = None

    def append(self, rows: np.ndarray, names: list[bytes], counts: sparse.csr_matrix) -> None:
        """Add samples: `rows` of ROW, whose nnz and name_bytes are filled in here, with names and int32 counts."""
        rows["nnz"] = np.diff(counts.indptr)
        rows["name_bytes"] = [len(name) for name in names]
        # the upper half of a key, as a share of 2^32, times the runs: as many samples a run whatever the number of runs
        runs = ((rows["key"] >> np.uint64(32)) * np.uint64(self.n_runs) >> np.uint64(32)).astype(np.int64)
        order = np.argsort(runs, kind="stable")
        rows, runs, counts = rows[order], runs[order], counts[order] if self.n_runs > 1 else counts
        indices = counts.indices.astype(self._index_dtype)
        starts = np.flatnonzero(np.diff(runs, prepend=-1))
        for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(runs)], strict=True):
            run, entries = int(runs[start]), slice(counts.indptr[start], counts.indptr[stop])
            text = b"".join([names[i] for i in order[start:stop]])
            self._hold(run, "rows", rows[start:stop])
            self._hold(run, "names", np.frombuffer(text, np.uint8))
            self._hold(run, "indices", indices[entries])
            self._hold(run, "data", counts.data[entries])
        if self._buffered > BUFFER_BYTES:
            self._start_writing()

    def _hold(self, run: int, name: str, values: np.ndarray) -> None:
        self._buffer.setdefault((run, name), []).append(values)
        self._buffered += values.nbytes

    def _start_writing(self) -> None:
        if self._written is not None:
            self._written.result()
        self._written = self._writer.submit(self._write, self._buffer)
        self._buffer, self._buffered = {}, 0

    def _write(self, buffer: dict[tuple[int, str], list[np.ndarray]]) -> None:
        for (run, name), pieces in buffer.items():
            with self._path(run, name).open("ab") as handle:
                for piece in pieces:
                    handle.write(np.ascontiguousarray(piece).data)

    def flush(self) -> None:
        """Write what is held in memory; what went wrong before is raised here."""
        self._start_writing()
        if self._written is not None:
            self._written.result()

    def _path(self, run: int, name: str) -> Path:
        return self._folder / f"{run}.{name}"

    def rows(self, run: int) -> np.ndarray:
        """Return the rows of a run."""
        path = self._path(run, "rows")
        return np.fromfile(path, dtype=ROW) if path.exists() else np.empty(0, dtype=ROW)

    def names(self, run: int) -> list[str]:
        """Return the names of a run's samples."""
        ends = np.cumsum(self.rows(run)["name_bytes"], dtype=np.int64).tolist()
        text = self._path(run, "names").read_bytes() if ends else b""
        return [text[start:stop].decode() for start, stop in zip([0, *ends[:-1]], ends, strict=True)]

    def runs(self) -> Generator[Run, None, None]:
        """Yield the runs that hold samples, in the order of the keys."""
        self.flush()
        for run in range(self.n_runs):
            rows = self.rows(run)
            if not len(rows):
                continue
            indptr = np.concatenate([[0], np.cumsum(rows["nnz"], dtype=np.int64)])
            indices = np.fromfile(self._path(run, "indices"), dtype=self._index_dtype)
            values = np.fromfile(self._path(run, "data"), dtype=np.int32)
            yield Run(number=run, rows=rows, counts=csr(values, indices, indptr, self._n_columns))

    def annotate(self, run: int, values: np.ndarray) -> None:
        """Keep an array, one element a sample of a run, beside it."""
        values.tofile(self._path(run, "notes"))

    def annotation(self, run: int, dtype: np.dtype) -> np.ndarray:
        """Return what `annotate` kept."""
        return np.fromfile(self._path(run, "notes"), dtype=dtype)

    def close(self) -> None:
        """Remove the runs."""
        self._writer.shutdown(cancel_futures=True)
        shutil.rmtree(self._folder, ignore_errors=True)


def csr(values: np.ndarray, indices: np.ndarray, indptr: np.ndarray, n_columns: int) -> sparse.csr_matrix:
    """Return a CSR matrix over arrays of any index type, none copied except indices that SciPy cannot index with."""
    indices = indices.astype(np.int32, copy=False)
    return sparse.csr_matrix((values, indices, indptr), shape=(len(indptr) - 1, n_columns))


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
