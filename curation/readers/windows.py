"""Arrays on disk read by windows, so that no chunk is unpacked twice and memory does not grow with their length."""

from __future__ import annotations

from typing import Any

import numpy as np

# Elements a window at least: a read of an HDF5 or Zarr array costs 0.1 to 1 ms whatever its size.
WINDOW = 2**14


class Window:
    """A one-dimensional array of HDF5 or Zarr, read in ascending slices.

    A window is one chunk, or several up to `at_least` elements; of an array without chunks it is `WINDOW` elements, and
    longer slices are read as they are.
    """

    def __init__(self, array: Any, *, at_least: int = WINDOW) -> None:
        self._array = array
        self._chunked = bool(array.chunks)
        chunk = max(1, int(array.chunks[0])) if self._chunked else 1
        self._step = chunk * max(1, (at_least if self._chunked else WINDOW) // chunk)
        self._first = 0
        self._held = np.empty(0)

    def __len__(self) -> int:
        """Return the length of the whole array."""
        return int(self._array.shape[0])

    def read(self, first: int, last: int) -> np.ndarray:
        """Return elements `first` to `last` - 1."""
        last = min(last, len(self))
        if not self._chunked and last - first >= self._step:
            return np.asarray(self._array[first:last])
        pieces = []
        while first < last:
            if not self._first <= first < self._first + len(self._held):
                self._first = first // self._step * self._step
                self._held = np.asarray(self._array[self._first : min(self._first + self._step, len(self))])
            stop = min(last, self._first + len(self._held))
            pieces.append(self._held[first - self._first : stop - self._first])
            first = stop
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate(pieces) if pieces else self._held[:0]
