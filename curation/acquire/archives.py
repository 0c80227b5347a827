"""One member of a fetched archive as a file: streamed out, checked like a download, and nothing else is written.

The kind of archive is read from its first bytes, never from its name: zip, tar, tar.gz.
"""

from __future__ import annotations

import gzip
import json
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from curation.acquire.failures import GivenUpError, WrongBytesError
from curation.acquire.file_check import CHUNK_BYTES, GZIP, ZIP, FileCheck
from curation.acquire.member_copy import DamagedArchiveError, check_name
from curation.acquire.part_file import PartFile, provenance_path
from curation.acquire.tar_members import ForwardStream, copy_from_tar, is_tar
from curation.acquire.zip_members import copy_from_zip
from curation.errors import InputError
from curation.remote_file import RemoteFile

# An empty zip holds only the end of its directory.
EMPTY_ZIP = b"PK\x05\x06"


def extract_member(archive: Path, remote: RemoteFile, out: Path) -> dict[str, Any]:
    """Place one member of a fetched archive at `out`, with its provenance beside it.

    The bytes take the same way as those of a download: `<out>.part`, hashed while they are written, checked against the
    catalogue, renamed. An interrupted extraction starts over. A file that is there and is the right one is hashed again
    and kept.

    Parameters
    ----------
    archive : Path
        The archive, placed by `fetch`.
    remote : RemoteFile
        The member's entry: `member`, and size and sums of the member itself.
    out : Path
        Final name.

    Returns
    -------
    dict
        The provenance: file, archive, archive_sha256, member, sha256, size. Also at `<out>.provenance.json`.

    Raises
    ------
    InputError
        The archive is missing or damaged, the member is not in it, is a link, or is not the file of the catalogue.
    """
    assert remote.member is not None, "an entry with a member"
    origin = {
        "file": remote.path,
        "archive": remote.archive,
        "archive_sha256": _fetched_sum(archive),
        "member": remote.member,
    }
    with PartFile(remote, out) as part:
        done = _already_there(origin, remote, out)
        if done is not None:
            return done
        try:
            fill_from_archive(archive, remote.member, part)
            part.check()
        except (GivenUpError, WrongBytesError) as error:
            part.reject()
            raise InputError(
                f"could not get {remote.path} out of {archive.name}",
                where=f"{archive}, member {remote.member}",
                found=str(error),
                todo=getattr(error, "todo", "") or "correct the member or its sums in the catalogue",
            ) from None
        except InputError:
            part.reject()
            raise
        provenance = {**origin, "sha256": part.sha256, "size": part.size}
        part.commit(provenance)
    return provenance


def fill_from_archive(archive: Path, member: str, part: PartFile) -> None:
    """Fill `part` with a member of an archive.

    Raises
    ------
    DamagedArchiveError
        The archive cannot be read to its end.
    GivenUpError
        It is of another kind, has no such member or several, or the member is nothing that may be unpacked.
    WrongBytesError
        The member does not have the catalogue's size.
    """
    check_name(member)
    part.restart()
    with archive.open("rb") as handle:
        head = handle.read(tarfile.BLOCKSIZE)
        handle.seek(0)
        if head.startswith((ZIP, EMPTY_ZIP)):
            with _damage_told(archive), zipfile.ZipFile(handle) as opened:
                copy_from_zip(opened, member, part)
        elif head.startswith(GZIP):
            with _damage_told(archive), gzip.GzipFile(fileobj=handle) as unpacked:
                copy_from_tar(ForwardStream(unpacked, packed=handle), member, part)
        elif is_tar(head):
            with _damage_told(archive):
                copy_from_tar(ForwardStream(handle), member, part)
        else:
            raise GivenUpError(f"no zip, tar or tar.gz: the file begins with {head[:8]!r}")


@contextmanager
def _damage_told(archive: Path) -> Iterator[None]:
    """Turn what the readers raise on broken bytes into one error."""
    try:
        yield
    except (InputError, GivenUpError, WrongBytesError):
        raise
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        gzip.BadGzipFile,
        zlib.error,
        EOFError,
        ValueError,
        NotImplementedError,
    ) as error:
        raise DamagedArchiveError(
            f"the archive is damaged, or of a kind that cannot be read: {error}",
            todo=f"remove {archive} and its provenance, and fetch it again",
        ) from None


def _fetched_sum(archive: Path) -> str:
    """Return the archive's sha256 as `fetch` recorded it.

    Raises
    ------
    InputError
        The archive is not there, or not as `fetch` left it.
    """
    try:
        record = json.loads(provenance_path(archive).read_text(encoding="utf-8"))
        sha256, size = str(record["sha256"]), int(record["size"])
        intact = archive.stat().st_size == size
    except (FileNotFoundError, json.JSONDecodeError, KeyError, TypeError, ValueError):
        intact = False
    if not intact:
        raise InputError(
            "the archive was not fetched, or was changed since",
            where=str(archive),
            expected="an archive and its provenance, as `python -m curation fetch` places them",
            todo="run `python -m curation fetch` for the config; it gets archives before their members",
        )
    return sha256


def _already_there(origin: dict[str, Any], remote: RemoteFile, out: Path) -> dict[str, Any] | None:
    """Return the provenance of a file that an earlier extraction from the same archive left; it is hashed again."""
    try:
        record: dict[str, Any] = json.loads(provenance_path(out).read_text(encoding="utf-8"))
        handle = out.open("rb")
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    found = FileCheck(remote)
    with handle:
        try:
            while chunk := handle.read(CHUNK_BYTES):
                found.take(chunk)
            found.check(out)
        except WrongBytesError:
            return None
        finally:
            found.close()
    return record if record == {**origin, "sha256": found.sha256, "size": found.size} else None
