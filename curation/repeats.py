"""Which of any number of 64-bit values come more than once, found on disk."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np

ENTRY = np.dtype([("value", "<u8"), ("row", "<i8")])
# Values go to one of 64 files by their last bits: 16 MB a file for 64 million samples
N_FILES = 64
BUFFER_ENTRIES = 2**18


class RepeatFinder:
    """Takes (value, row) pairs, then names every row whose value an earlier row already had."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="repeats.", dir=folder))
        self._buffer: list[np.ndarray] = []
        self._buffered = 0

    def append(self, values: np.ndarray, rows: np.ndarray) -> None:
        """Add uint64 `values` with their int64 `rows`, which are unique."""
        entries = np.empty(len(values), dtype=ENTRY)
        entries["value"], entries["row"] = values, rows
        self._buffer.append(entries)
        self._buffered += len(entries)
        if self._buffered > BUFFER_ENTRIES:
            self._flush()

    def _flush(self) -> None:
        entries = np.concatenate([*self._buffer, np.empty(0, dtype=ENTRY)])
        self._buffer, self._buffered = [], 0
        files = entries["value"] % np.uint64(N_FILES)
        for number in np.unique(files):
            with self._path(int(number)).open("ab") as handle:
                handle.write(entries[files == number].tobytes())

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.entries"

    def repeats(self) -> np.ndarray:
        """Return the rows that repeat the value of a row with a lower number, ascending."""
        self._flush()
        found = [np.empty(0, dtype=np.int64)]
        for number in range(N_FILES):
            if not self._path(number).exists():
                continue
            entries = np.sort(np.fromfile(self._path(number), dtype=ENTRY), order=("value", "row"))
            again = np.flatnonzero(entries["value"][1:] == entries["value"][:-1]) + 1
            found.append(entries["row"][again])
        return np.sort(np.concatenate(found))

    def close(self) -> None:
        """Remove the files."""
        shutil.rmtree(self._folder, ignore_errors=True)
