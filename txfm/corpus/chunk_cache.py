"""Chunks of remote shards, kept on the local disk."""

import os
from pathlib import Path
from threading import Lock

import numpy as np

from txfm.corpus.places import read_file_range
from txfm.errors import InputError

# Of the local disk, unless the caller says otherwise
DEFAULT_CACHE_BYTES = 200 * 10**9


class ChunkCache:
    """A folder with one sparse file a shard, named by the shard's sha256; what was read lies at its own place in it.

    There is no list of what is there. A chunk that was never written reads as zeros, a half-written one as something
    else, and neither has the checksum that its last four bytes say (docs/corpus-format.md): the reader finds out, and
    asks the server. So any number of processes may share a folder, and any of them may be killed.

    Parameters
    ----------
    folder : Path
    limit_bytes : int
        No chunk is added above it. What is there stays: an epoch reads every chunk once, so dropping old ones for new
        ones would drop each just before it is wanted again.
    """

    def __init__(self, folder: Path, limit_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self._folder, self._limit_bytes = folder, limit_bytes
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                "The cache of chunks cannot be used", where=str(folder), expected="a folder", found=str(error)
            ) from error
        self._held_bytes = sum(path.stat().st_blocks * 512 for path in folder.iterdir())
        self._lock = Lock()

    def read(self, shard: str, start: int, length: int) -> np.ndarray | None:
        """What lies at a place of a shard, proven or not; None if that place is behind the file's end."""
        try:
            found = read_file_range(self._folder / shard, start, length)
        except FileNotFoundError:
            return None
        return found if len(found) == length else None

    def write(self, shard: str, start: int, content: np.ndarray) -> None:
        """Keep bytes whose checksums were proven; a disk that takes no more ends the keeping, not the reading."""
        with self._lock:
            if self._held_bytes + len(content) > self._limit_bytes:
                return
            self._held_bytes += len(content)
        try:
            handle = os.open(self._folder / shard, os.O_WRONLY | os.O_CREAT, 0o644)
            try:
                os.pwrite(handle, content.data, start)
            finally:
                os.close(handle)
        except OSError:
            self._limit_bytes = 0
