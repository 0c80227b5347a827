"""One member out of a zip file."""

from __future__ import annotations

import stat
import zipfile

from curation.acquire.failures import GivenUpError
from curation.acquire.member_copy import DamagedArchiveError, Names, copy_bytes
from curation.acquire.part_file import PartFile

# zipfile unpacks these in bounded pieces; of bzip2 and LZMA it holds whatever comes out of a piece.
READABLE = {zipfile.ZIP_STORED: "stored", zipfile.ZIP_DEFLATED: "deflated"}
# Numbers in PKWARE's APPNOTE, section 4.4.5
METHODS = {9: "deflate64", 12: "bzip2", 14: "LZMA", 93: "zstd", 98: "PPMd"}
# Bits of the general purpose flag: encrypted, strongly encrypted
ENCRYPTED = 0x1 | 0x40
LOCAL_HEADER_BYTES = 30


def copy_from_zip(archive: zipfile.ZipFile, member: str, part: PartFile) -> None:
    """Fill `part` with a member.

    Raises
    ------
    GivenUpError
        There is no such member or several, it is no plain file, encrypted, packed by a method that is not read in a
        stream, or a bomb.
    WrongBytesError
        It does not have the catalogue's size.
    """
    names, found = Names(member), None
    entries = archive.infolist()
    for entry in entries:
        if names.is_asked(entry.filename, link=stat.S_ISLNK(entry.external_attr >> 16)):
            found = entry
    names.require_found()
    assert found is not None
    _refuse_overlaps(archive, entries)
    kind = stat.S_IFMT(found.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise GivenUpError(f"{member!r} is a link or a device in the archive, not a file")
    if "\0" in found.orig_filename:
        raise GivenUpError(f"the archive names the member {found.orig_filename!r}, with a zero byte")
    if found.flag_bits & ENCRYPTED:
        raise GivenUpError(f"{member!r} is encrypted")
    if found.compress_type not in READABLE:
        name = METHODS.get(found.compress_type, str(found.compress_type))
        readable = " and ".join(READABLE.values())
        raise GivenUpError(
            f"{member!r} is packed by method {name}; only {readable} members can be streamed",
            todo="unpack it by hand, pack it as .gz, and name that file in the catalogue",
        )
    with archive.open(found) as handle:
        copy_bytes(handle, found.file_size, part, packed_bytes=found.compress_size)


def _refuse_overlaps(archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo]) -> None:
    """Refuse a directory whose entries share bytes: one block of packed zeros then counts a million times."""
    ordered = sorted(entries, key=lambda entry: entry.header_offset)
    starts = [entry.header_offset for entry in ordered[1:]] + [archive.start_dir]
    for entry, following in zip(ordered, starts, strict=True):
        if entry.header_offset + LOCAL_HEADER_BYTES + len(entry.filename) + entry.compress_size > following:
            raise DamagedArchiveError(f"the entries of the zip overlap at {entry.filename!r}: a decompression bomb")
