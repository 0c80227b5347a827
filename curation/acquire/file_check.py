"""What is known of a file's bytes, computed while they pass, and compared with the catalogue."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

from curation.acquire.failures import WrongBytesError
from curation.acquire.sums import GzipEnd, StreamSums, new_sum
from curation.remote_file import RemoteFile

CHUNK_BYTES = 2**20
HEAD_BYTES = 512
HDF5, GZIP, ZIP = b"\x89HDF\r\n\x1a\n", b"\x1f\x8b", b"PK\x03\x04"
# Suffix -> first bytes of a file of that kind
MAGIC = {".h5ad": HDF5, ".h5": HDF5, ".gz": GZIP, ".tgz": GZIP, ".zip": ZIP, ".pickle": b"\x80"}
# What error pages, challenges and messages begin with, and the names of files that may begin so
PAGE_STARTS, LIKE_PAGES = (b"<", b"{", b"["), (".xml", ".json", ".html", ".htm", ".svg")
# HDF5 superblock: version -> where the 8-byte address of the file's end stands (file format specification, sec. II.A)
_HDF5_END_AT = {0: 40, 1: 44, 2: 28, 3: 28}


class FileCheck:
    """Size, sums and first bytes of a stream; `take` every chunk, then `check`, then `close`."""

    def __init__(self, remote: RemoteFile) -> None:
        self.remote = remote
        self.size = 0
        self._head = b""
        self._sha256 = new_sum("sha256")
        self._md5 = new_sum("md5") if remote.md5 or remote.refused_md5 else None
        # With a checksum the end of the file is proven; without, a gzip stream has to prove it.
        self._gzip = GzipEnd() if _magic(remote) == GZIP and not has_sum(remote) else None
        consumers: list[Callable[[bytes], object]] = [self._sha256.update]
        if self._md5 is not None:
            consumers.append(self._md5.update)
        if self._gzip is not None:
            consumers.append(self._gzip.take)
        self._sums = StreamSums(*consumers)

    @property
    def sha256(self) -> str:
        """Sum of the bytes so far."""
        self._sums.finish()
        return self._sha256.hexdigest()

    @property
    def md5(self) -> str:
        """Sum of the bytes so far; "" where nothing asks for it."""
        self._sums.finish()
        return self._md5.hexdigest() if self._md5 else ""

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
        if len(self._head) < HEAD_BYTES:
            self._head += chunk[: HEAD_BYTES - len(self._head)]
        self._sums.take(chunk)

    def close(self) -> None:
        """End the threads that compute the sums."""
        self._sums.close()

    def check(self, path: Path | None = None) -> None:
        """Compare everything that is known of the file.

        Parameters
        ----------
        path : Path, optional
            Where the bytes lie: the directory of a zip without a checksum is read from there.

        Raises
        ------
        WrongBytesError
            Naming what differs.
        """
        remote = self.remote
        if self.size == 0:
            raise WrongBytesError("an empty file")
        self.check_head()
        if remote.size is not None and self.size != remote.size:
            raise WrongBytesError(f"{self.size:,} bytes, the catalogue says {remote.size:,}")
        if self.md5 in remote.refused_md5:
            raise WrongBytesError(f"a file that must not be used: {remote.refused_md5[self.md5]}")
        for kind, expected, found in (("md5", remote.md5, self.md5), ("sha256", remote.sha256, self.sha256)):
            if expected and found != expected:
                raise WrongBytesError(f"{kind} {found}, the catalogue says {expected}")
        if not has_sum(remote):
            self._check_end(path)

    def check_head(self) -> None:
        """Raise `WrongBytesError` if the first bytes are those of a page, a message or another kind of file."""
        name, start = self.remote.path.lower(), self._head.removeprefix(b"\xef\xbb\xbf").lstrip()
        if start.startswith(PAGE_STARTS) and not name.endswith(LIKE_PAGES):
            text = self._head[:80].decode("utf-8", "replace")
            raise WrongBytesError(f"a page or message instead of data: {' '.join(text.split())}")
        magic = _magic(self.remote)
        if magic and not self._head.startswith(magic):
            suffix = Path(name).suffix
            raise WrongBytesError(f"no {suffix} file: it begins with {self._head[:8]!r}, not {magic!r}")

    def _check_end(self, path: Path | None) -> None:
        """Check that a file of which no sum is known is whole, as far as its format tells."""
        magic = _magic(self.remote)
        if self._gzip is not None and not self._gzip.whole:
            raise WrongBytesError(f"the gzip stream is not whole: {self._gzip.damage or 'it stops before its end'}")
        if magic == HDF5 and (end := _hdf5_end(self._head)) is not None and self.size < end:
            raise WrongBytesError(f"the HDF5 file is cut: {self.size:,} bytes, its first block says {end:,}")
        if magic == ZIP and path is not None and not zipfile.is_zipfile(path):
            raise WrongBytesError("the zip file is cut: its directory, which stands at the end, is missing")


def has_sum(remote: RemoteFile) -> bool:
    """Return whether a checksum of the file is known."""
    return bool(remote.md5 or remote.sha256)


def proves_its_end(remote: RemoteFile) -> bool:
    """Return whether a cut file would be recognised even if the server does not say how long it is."""
    return has_sum(remote) or remote.size is not None or bool(_magic(remote))


def _magic(remote: RemoteFile) -> bytes:
    """Return the first bytes that the file's name promises; b"" for a text."""
    name = remote.path.lower()
    return next((magic for suffix, magic in MAGIC.items() if name.endswith(suffix)), b"")


def _hdf5_end(head: bytes) -> int | None:
    """Return where an HDF5 file ends by its superblock; None if that is not at the start or has another form."""
    at = _HDF5_END_AT.get(head[8]) if len(head) > 8 else None
    offset_bytes = head[13] if at in (40, 44) else head[9] if at else 0
    if at is None or offset_bytes != 8 or len(head) < at + 8:
        return None
    return int.from_bytes(head[at : at + 8], "little")
