"""Bytes and sha256 of the files of a store: what its root metadata says of every other file (docs/corpus-format.md)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TypedDict

# Metadata of the root group: it holds the sums of all other files, so none of its own
ROOT_METADATA = "zarr.json"
READ_BYTES = 2**20


class FileSum(TypedDict):
    """Size and sha256 of a file."""

    bytes: int
    sha256: str


def file_sum(path: Path) -> FileSum:
    """Return the sum of a file on disk."""
    total, n_bytes = hashlib.sha256(), 0
    with path.open("rb") as handle:
        while piece := handle.read(READ_BYTES):
            total.update(piece)
            n_bytes += len(piece)
    return {"bytes": n_bytes, "sha256": total.hexdigest()}


def files_below(store: Path) -> Iterator[str]:
    """Yield the paths of a store's files within it, the root metadata left out."""
    for folder, _, names in os.walk(store):
        for name in names:
            path = Path(folder, name).relative_to(store).as_posix()
            if path != ROOT_METADATA:
                yield path


def sums_below(store: Path, known: Mapping[str, FileSum]) -> dict[str, FileSum]:
    """Return the sums of all files of a store but the root metadata, by path, sorted; `known` are not read again."""
    return {path: known.get(path) or file_sum(store / path) for path in sorted(files_below(store))}


class SummedFile:
    """A file whose sum is known when it is closed, from the bytes as they were written."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handle: IO[bytes] = path.open("wb")
        self._hash = hashlib.sha256()
        self.n_bytes = 0

    def write(self, piece: bytes) -> None:
        """Add bytes."""
        self._handle.write(piece)
        self._hash.update(piece)
        self.n_bytes += len(piece)

    def close(self) -> FileSum:
        """Return the sum of all that was written."""
        self._handle.close()
        return {"bytes": self.n_bytes, "sha256": self._hash.hexdigest()}
