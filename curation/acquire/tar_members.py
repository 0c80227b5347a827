"""One member out of a tar, also a packed one, in one pass."""

from __future__ import annotations

import gzip
import tarfile
from typing import IO

from curation.acquire.failures import GivenUpError
from curation.acquire.file_check import CHUNK_BYTES
from curation.acquire.member_copy import DamagedArchiveError, Names, copy_bytes, refuse_bomb
from curation.acquire.part_file import PartFile

# The largest piece that a header may make us hold: long names stand in blocks of a size that the archive chooses.
MAX_HEADER_BYTES = 2**20


def copy_from_tar(stream: ForwardStream, member: str, part: PartFile) -> None:
    """Fill `part` with a member, and read on to the end: another one of that name, or damage behind it, is found too.

    Raises
    ------
    GivenUpError
        There is no such member or several, it is no plain file, or the stream is a bomb.
    WrongBytesError
        It does not have the catalogue's size.
    """
    names = Names(member)
    with tarfile.TarFile(fileobj=stream) as archive:  # type: ignore[arg-type]
        while (entry := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined]  # tarfile keeps every header otherwise
            if not names.is_asked(entry.name, link=entry.issym() or entry.islnk()):
                continue
            if entry.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or entry.issparse():
                raise GivenUpError(f"{member!r} is a {_tar_kind(entry)} in the archive, not a file")
            handle = archive.extractfile(entry)
            assert handle is not None
            copy_bytes(handle, entry.size, part)
        if stream.last.strip(b"\0") or len(stream.last) != tarfile.BLOCKSIZE:
            raise EOFError("the mark that ends a tar is missing")
        while stream.read(CHUNK_BYTES):
            pass
    names.require_found()


class ForwardStream:
    """A stream for tarfile: only forward, in bounded pieces, and not unpacked beyond the ratio of a bomb.

    Parameters
    ----------
    stream : binary file
        The tar, unpacked.
    packed : binary file, optional
        Where the stream is unpacked from; without it the stream is a file that can be sought.
    """

    def __init__(self, stream: IO[bytes] | gzip.GzipFile, packed: IO[bytes] | None = None) -> None:
        self._stream, self._packed = stream, packed
        self._at = 0
        self.last = b""

    def read(self, n_bytes: int) -> bytes:
        """Return the next bytes."""
        if n_bytes > max(MAX_HEADER_BYTES, CHUNK_BYTES):
            raise DamagedArchiveError(f"a header of {n_bytes:,} bytes; none that is meant well is so long")
        self.last = self._stream.read(n_bytes)
        self._at += len(self.last)
        if self._packed is not None:
            refuse_bomb(self._at, self._packed.tell())
        return self.last

    def tell(self) -> int:
        """Return how many bytes lie behind."""
        return self._at

    def seek(self, offset: int) -> int:
        """Pass over bytes; `tell` there."""
        if offset < self._at:
            raise DamagedArchiveError("a header leads backwards, which would have no end")
        if self._packed is None:
            self._at = self._stream.seek(offset)
            return self._at
        while self._at < offset:
            if not self.read(min(CHUNK_BYTES, offset - self._at)):
                raise EOFError("it ends inside a member")
        return self._at


def _tar_kind(entry: tarfile.TarInfo) -> str:
    kinds = {"hard link": entry.islnk(), "link": entry.issym(), "folder": entry.isdir(), "FIFO": entry.isfifo()}
    kinds |= {"sparse file": entry.issparse(), "device": entry.isdev()}
    return next((kind for kind, holds in kinds.items() if holds), f"entry of type {entry.type!r}")


def is_tar(head: bytes) -> bool:
    """Return whether a file's first block is a tar header: its checksum says so."""
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True
