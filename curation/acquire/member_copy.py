"""What zip and tar have in common: finding one member by name, and copying it without believing its header."""

from __future__ import annotations

import difflib
import re
from pathlib import PurePosixPath
from typing import IO

from curation.acquire.failures import GivenUpError, WrongBytesError
from curation.acquire.file_check import CHUNK_BYTES
from curation.acquire.part_file import PartFile

# Deflate cannot pack better than 1,032:1, and tables of counts pack 5 to 50:1: beyond this it is a bomb.
MAX_RATIO = 1000
# Below this, a ratio says nothing: a kilobyte of zeros is no attack.
RATIO_FROM_BYTES = 10 * 2**20
# Names that a message's suggestions are taken from
NAMES_KEPT = 10_000


class DamagedArchiveError(GivenUpError):
    """The archive is cut or corrupted, or what it says of itself is contradictory."""


def check_name(member: str) -> None:
    """Refuse names that could mean a place outside a folder on some system."""
    parts = re.split(r"[/\\]", member)
    doubtful = member.startswith("/") or "\\" in member or "\0" in member or re.match(r"[A-Za-z]:", member)
    if doubtful or ".." in parts or not member or member.endswith("/"):
        raise GivenUpError(
            f"{member!r} is no name of a file inside an archive",
            todo="write the member as folder/file, without .. or a drive, as `unzip -l` or `tar -t` prints it",
        )


class Names:
    """What an archive holds, as far as it matters for one asked name."""

    def __init__(self, member: str) -> None:
        self.member = _plain(member)
        self._parents = {str(parent) for parent in PurePosixPath(self.member).parents}
        self._kept: list[str] = []
        self._count = self._hits = 0

    def is_asked(self, name: str, *, link: bool) -> bool:
        """Count a member; return whether it is the one."""
        self._count += 1
        name = _plain(name)
        if len(self._kept) < NAMES_KEPT:
            self._kept.append(name)
        if link and name in self._parents:
            raise GivenUpError(f"{self.member!r} would be reached through {name!r}, a link; links are not followed")
        if name != self.member:
            return False
        self._hits += 1
        if self._hits > 1:
            raise GivenUpError(f"{self.member!r} is in the archive more than once, so it is not clear which is meant")
        return True

    def require_found(self) -> None:
        """Raise `GivenUpError` with the nearest names if the member never came."""
        if self._hits:
            return
        near = difflib.get_close_matches(self.member, self._kept, n=3, cutoff=0.4)
        raise GivenUpError(
            f"no member {self.member!r} among {self._count:,}",
            todo=f"the nearest names are {', '.join(near)}" if near else "",
        )


def copy_bytes(handle: IO[bytes], declared: int, part: PartFile, packed_bytes: int | None = None) -> None:
    """Copy a member; what its header declares is only believed when the bytes agree."""
    expected = part.remote.size
    if expected is not None and declared != expected:
        raise WrongBytesError(f"the member has {declared:,} bytes, the catalogue says {expected:,}")
    part.require_room(declared)
    n_bytes = 0
    while chunk := handle.read(CHUNK_BYTES):
        n_bytes += len(chunk)
        if packed_bytes is not None:
            refuse_bomb(n_bytes, packed_bytes)
        if n_bytes > declared:
            raise DamagedArchiveError(f"the member has more bytes than the {declared:,} its header declares")
        part.write(chunk)
    if n_bytes != declared:
        raise DamagedArchiveError(f"the member has {n_bytes:,} bytes, its header declares {declared:,}")


def refuse_bomb(unpacked_bytes: int, packed_bytes: int) -> None:
    if unpacked_bytes > RATIO_FROM_BYTES and unpacked_bytes > MAX_RATIO * packed_bytes:
        raise GivenUpError(f"a decompression bomb: {unpacked_bytes:,} bytes out of {packed_bytes:,}")


def _plain(name: str) -> str:
    """Return a name without the leading ./ that tar often writes."""
    while name.startswith("./"):
        name = name[2:]
    return name
