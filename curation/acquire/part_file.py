"""The file beside the target into which a download is written, and the one step that gives it the final name."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from curation.acquire.file_check import CHUNK_BYTES, FileCheck
from curation.catalog import RemoteFile


class GivenUpError(Exception):
    """An address did not give the file; the next one may. `todo` is advice for the user."""

    def __init__(self, what: str, todo: str = "") -> None:
        super().__init__(what)
        self.todo = todo


class PartFile:
    """`<out>.part`: appended to, hashed while written, checked, then renamed to `out`.

    It is locked: a second process that wants the same file (a child that outlived its killed parent, say) waits, and
    then finds the file done.

    Parameters
    ----------
    remote : RemoteFile
        What the catalogue says of the file.
    out : Path
        Its final name.
    """

    def __init__(self, remote: RemoteFile, out: Path) -> None:
        self.remote, self.out = remote, out
        self.path = out.with_name(f"{out.name}.part")
        self._state_path = out.with_name(f"{out.name}.part.json")
        out.parent.mkdir(parents=True, exist_ok=True)
        self._handle = self._locked()
        self._found = FileCheck(remote)

    def _locked(self) -> IO[bytes]:
        """Open the part file and return it once it is locked and still has this name."""
        while True:
            handle = self.path.open("a+b")
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"another process is fetching {self.out.name}; waiting for it", file=sys.stderr)
                fcntl.flock(handle, fcntl.LOCK_EX)
            if self.path.exists() and os.fstat(handle.fileno()).st_ino == self.path.stat().st_ino:
                return handle
            handle.close()  # the other process renamed or removed it

    def __enter__(self) -> PartFile:
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the lock; an empty part is removed, one with bytes is what a later fetch resumes."""
        self._handle.flush()
        if self.path.exists() and not self.path.stat().st_size:
            self.path.unlink()
            self._state_path.unlink(missing_ok=True)
        self._handle.close()

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._found.size

    @property
    def sha256(self) -> str:
        """Sum of the bytes so far."""
        return self._found.sha256

    def restart(self) -> None:
        """Forget every byte."""
        self._state_path.unlink(missing_ok=True)
        self._handle.truncate(0)
        self._found = FileCheck(self.remote)

    def resume(self, url: str) -> str:
        """Take up the bytes of an earlier try at `url`; return the validator for If-Range, or "" after a fresh start.

        Raises
        ------
        WrongBytesError
            The earlier bytes are already too many.
        """
        state = self._state()
        n_bytes = os.fstat(self._handle.fileno()).st_size
        if not n_bytes or state.get("url") != url or not state.get("validator"):
            self.restart()
            return ""
        self._found = FileCheck(self.remote)
        self._handle.seek(0)
        while chunk := self._handle.read(CHUNK_BYTES):
            self._found.take(chunk)
        return str(state["validator"])

    def remember(self, url: str, validator: str) -> None:
        """Note what a later resume must find unchanged at the server."""
        write_atomically(self._state_path, {"url": url, "validator": validator})

    def _state(self) -> Mapping[str, Any]:
        try:
            state: Mapping[str, Any] = json.loads(self._state_path.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return state

    def write(self, chunk: bytes) -> None:
        """Append bytes; raises `WrongBytesError` beyond the catalogue's size."""
        self._found.take(chunk)
        self._handle.write(chunk)

    def flush(self) -> None:
        """Hand every byte to the operating system."""
        self._handle.flush()

    def check(self) -> None:
        """Raise `WrongBytesError` unless the bytes are the catalogue's file."""
        self._found.check()

    def commit(self, provenance: Mapping[str, Any]) -> None:
        """Give the file its final name.

        Order: an older file goes, then its provenance is replaced, then the new file appears. So at every moment a file
        under the final name has its own provenance beside it.
        """
        self.flush()
        os.fsync(self._handle.fileno())
        self.out.unlink(missing_ok=True)
        write_atomically(provenance_path(self.out), provenance)
        self.path.replace(self.out)
        self._state_path.unlink(missing_ok=True)
        _sync_folder(self.out.parent)


def provenance_path(out: Path) -> Path:
    """Return where the record of a file's origin lies."""
    return out.with_name(f"{out.name}.provenance.json")


def write_atomically(path: Path, record: Mapping[str, Any]) -> None:
    """Write a JSON record that is either the old or the new one at any moment."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    with partial.open("w", encoding="utf-8") as handle:
        json.dump(record, handle, indent=1, sort_keys=True)
        handle.flush()
        os.fsync(handle.fileno())
    partial.replace(path)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
