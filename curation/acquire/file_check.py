"""What is known of a file's bytes, computed while they pass, and compared with the catalogue."""

from __future__ import annotations

import hashlib

from curation.catalog import RemoteFile

CHUNK_BYTES = 2**20
HEAD_BYTES = 512
# Suffix -> first bytes of a file of that kind
MAGIC = {
    ".h5ad": b"\x89HDF\r\n\x1a\n",
    ".h5": b"\x89HDF\r\n\x1a\n",
    ".gz": b"\x1f\x8b",
    ".tgz": b"\x1f\x8b",
    ".zip": b"PK\x03\x04",
}
# What error pages and challenges begin with
PAGES = (b"<!doctype html", b"<html", b"<?xml", b"<error")


class WrongBytesError(Exception):
    """The bytes are not the file that the catalogue describes."""


class FileCheck:
    """Size, sums and first bytes of a stream; `take` every chunk, then `check`."""

    def __init__(self, remote: RemoteFile) -> None:
        self.remote = remote
        self.size = 0
        self._sha256, self._md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        self._head = b""

    @property
    def sha256(self) -> str:
        """Sum of the bytes so far."""
        return self._sha256.hexdigest()

    def take(self, chunk: bytes) -> None:
        """Add bytes.

        Raises
        ------
        WrongBytesError
            There are more than the catalogue's size.
        """
        limit = self.remote.size
        if limit is not None and self.size + len(chunk) > limit:
            raise WrongBytesError(f"more than {limit:,} bytes, the size in the catalogue")
        self.size += len(chunk)
        self._head += chunk[: max(0, HEAD_BYTES - len(self._head))]
        self._sha256.update(chunk)
        if self.remote.md5 or self.remote.refused_md5:
            self._md5.update(chunk)

    def check(self) -> None:
        """Compare everything that is known of the file.

        Raises
        ------
        WrongBytesError
            Naming what differs.
        """
        remote, name = self.remote, self.remote.path.lower()
        if self.size == 0:
            raise WrongBytesError("an empty file")
        start = self._head.lstrip().lower()
        if start.startswith(PAGES) or (start.startswith(b"{") and not name.endswith(".json")):
            text = self._head[:80].decode("utf-8", "replace")
            raise WrongBytesError(f"a page or message instead of data: {' '.join(text.split())}")
        for suffix, magic in MAGIC.items():
            if name.endswith(suffix) and not self._head.startswith(magic):
                raise WrongBytesError(f"no {suffix} file: it begins with {self._head[:8]!r}, not {magic!r}")
        if remote.size is not None and self.size != remote.size:
            raise WrongBytesError(f"{self.size:,} bytes, the catalogue says {remote.size:,}")
        md5 = self._md5.hexdigest()
        if md5 in remote.refused_md5:
            raise WrongBytesError(f"a file that must not be used: {remote.refused_md5[md5]}")
        for kind, expected, found in (("md5", remote.md5, md5), ("sha256", remote.sha256, self.sha256)):
            if expected and found != expected:
                raise WrongBytesError(f"{kind} {found}, the catalogue says {expected}")
