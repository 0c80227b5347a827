"""The file beside the target into which a download is written, and the one step that gives it the final name."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from curation.acquire.disk import BackgroundSync, require_free
from curation.acquire.failures import WrongBytesError
from curation.acquire.file_check import CHUNK_BYTES, FileCheck, has_sum
from curation.errors import InputError
from curation.remote_file import RemoteFile
from curation.sizes import human_size

# Reading this many bytes of an earlier try takes long enough to say so.
LARGE_BYTES = 2**30


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
        self._sync = BackgroundSync(self._handle.fileno())
        self._outdated = False  # the bytes on disk go as soon as better ones arrive
        self._found = FileCheck(remote)

    def _locked(self) -> IO[bytes]:
        """Open the part file and return it once it is locked and still has this name."""
        while True:
            # Unbuffered: after kill -9 every byte that was written is there to resume from.
            handle = self.path.open("a+b", buffering=0)
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
        self._found.close()
        with suppress(OSError):  # what could not be written is missing in the next try's sum
            self._sync.wait()
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

    def expect(self, remote: RemoteFile) -> None:
        """Start over with more knowledge of the file, such as the size and sum that a repository lists.

        Bytes that lie there stay until `resume` or `restart` decides about them.
        """
        self.remote = remote
        self._found.close()
        self._found = FileCheck(remote)

    def restart(self) -> None:
        """Start from the first byte; what lies there goes when the first new bytes have come and are no error page."""
        self._outdated = os.fstat(self._handle.fileno()).st_size > 0
        self.expect(self.remote)

    def reject(self) -> bool:
        """Drop bytes that turned out wrong; return False where they had not come into the file."""
        dropped = not self._outdated
        if dropped:
            self._drop()
        self.expect(self.remote)
        return dropped

    def _drop(self) -> None:
        self._state_path.unlink(missing_ok=True)
        self._handle.truncate(0)
        self._outdated = False

    def resume(self, url: str) -> str | None:
        """Take up the bytes of an earlier try, if that is safe.

        Returns
        -------
        str or None
            None after a fresh start. The validator for If-Range where the bytes came from `url`. "" where they came
            from a mirror, or from a server that names no version: then only the file's checksum proves the joint, so
            without one the bytes are dropped.
        """
        self.expect(self.remote)
        self._outdated = False
        n_bytes, state = os.fstat(self._handle.fileno()).st_size, self._state()
        validator = str(state.get("validator", "")) if state.get("url") == url else ""
        if not n_bytes or not (validator or has_sum(self.remote)):
            self.restart()
            return None
        if n_bytes >= LARGE_BYTES:
            print(f"{self.out.name}: reading {human_size(n_bytes)} of an earlier try", file=sys.stderr, flush=True)
        self._handle.seek(0)
        try:
            while chunk := self._handle.read(CHUNK_BYTES):
                self._found.take(chunk)
        except WrongBytesError:  # already too many
            self.restart()
            return None
        return validator

    def remember(self, url: str, validator: str, total: int | None = None) -> None:
        """Note what a later resume must find unchanged at the server."""
        if self._outdated:
            self._drop()  # these are not the bytes of that version
        write_atomically(self._state_path, {"url": url, "validator": validator, "total": total})

    @property
    def remembered_total(self) -> int | None:
        """Bytes of the whole file, as the server said when the part was begun."""
        total = self._state().get("total")
        return int(total) if total is not None else None

    def _state(self) -> Mapping[str, Any]:
        try:
            state: Mapping[str, Any] = json.loads(self._state_path.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return state

    def require_room(self, n_bytes: int) -> None:
        """Raise `InputError` unless the disk has room for so many bytes more."""
        require_free(self.out.parent, n_bytes, self.out.name)

    def write(self, chunk: bytes) -> None:
        """Append bytes.

        Raises
        ------
        WrongBytesError
            They go beyond the catalogue's size.
        InputError
            The disk is full.
        """
        self._found.take(chunk)
        if self._outdated:
            self._found.check_head()
            self._drop()
        try:
            view = memoryview(chunk)
            while view:
                view = view[self._handle.write(view) :]
            self._sync.wrote(len(chunk))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise InputError(
                f"the disk is full: {error.strerror}",
                where=str(self.path),
                found=f"{human_size(self.path.stat().st_size)} written",
                todo="make room and run the same command again; the bytes that are there are kept",
            ) from None

    def check(self) -> None:
        """Raise `WrongBytesError` unless the bytes are the catalogue's file."""
        self._found.check(self.path)

    def commit(self, provenance: Mapping[str, Any]) -> None:
        """Give the file its final name.

        Order: an older file goes, then its provenance is replaced, then the new file appears. So at every moment a file
        under the final name has its own provenance beside it.
        """
        self._sync.wait()
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
