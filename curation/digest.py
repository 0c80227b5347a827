"""Content digests: what a store holds, whatever its chunks, its codec or the library that wrote it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import numpy as np
import pandas as pd


class ArrayDigest:
    """Sha256 of an array's elements in little-endian bytes, fed in pieces."""

    def __init__(self, dtype: np.dtype) -> None:
        self._dtype = dtype.newbyteorder("<")
        self._hash = hashlib.sha256(self._dtype.str.encode())

    def update(self, values: np.ndarray) -> None:
        """Take the next elements."""
        self._hash.update(np.ascontiguousarray(values, dtype=self._dtype).data)

    def hexdigest(self) -> str:
        """Return the digest of all elements so far."""
        return self._hash.hexdigest()


def frame_digest(frame: pd.DataFrame) -> str:
    """Return the sha256 of a table: its index, then each column in order, as text, one value a line."""
    total = hashlib.sha256()
    for name, column in [("index", frame.index.to_series()), *frame.items()]:
        total.update(f"{name}\x1f".encode())
        total.update("\n".join(column.astype(str)).encode())
        total.update(b"\x1e")
    return total.hexdigest()


def combined_digest(parts: Mapping[str, str]) -> str:
    """Return the sha256 of named digests, whatever their order."""
    return hashlib.sha256(json.dumps(dict(parts), sort_keys=True).encode()).hexdigest()
