"""Members of archives: the exact bytes, or a clear error and no file, whatever the archive is up to."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import stat
import struct
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.acquire import member_copy
from curation.acquire.archives import extract_member
from curation.acquire.part_file import provenance_path
from curation.errors import InputError
from curation.remote_file import RemoteFile

ROOT = Path(__file__).parents[3]
BODY = np.random.default_rng(0).bytes(3 * 2**20 + 5)
SHA256 = hashlib.sha256(BODY).hexdigest()
MEMBER = "study/counts.bin"


def entry(name: str, body: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """A tar header and its bytes."""
    info = tarfile.TarInfo(name)
    info.size = len(body)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, body


def tar(*entries: tuple[tarfile.TarInfo, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    """A tar, unpacked."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as archive:
        for info, body in entries:
            archive.addfile(info, io.BytesIO(body))
    return packed.getvalue()


def zipped(*entries: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression=method) as archive:
        for name, body in entries:
            archive.writestr(name, body, compress_type=method)
    return packed.getvalue()


def zip_entry(name: str, mode: int) -> zipfile.ZipInfo:
    """A zip entry with a Unix file type."""
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = mode << 16
    return info


OTHERS = ("study/readme.txt", b"read me"), ("study/genes.tsv", b"A\nB\n")
PLAIN_ZIP = zipped(OTHERS[0], (MEMBER, BODY), OTHERS[1])
PLAIN_TAR = tar(entry(*OTHERS[0]), entry(MEMBER, BODY), entry(*OTHERS[1]))


def place(folder: Path, body: bytes, name: str = "study.zip") -> Path:
    """Write an archive as `fetch` would have left it."""
    path = folder / name
    path.write_bytes(body)
    record = {"file": name, "sha256": hashlib.sha256(body).hexdigest(), "size": len(body)}
    provenance_path(path).write_text(json.dumps(record))
    return path


def remote(**fields: Any) -> RemoteFile:
    """The member's entry in the catalogue."""
    known = {"path": "counts.bin", "addresses": (), "archive": "study.zip", "member": MEMBER}
    return RemoteFile(**{**known, **fields})


def refusal(folder: Path, body: bytes, **fields: Any) -> str:
    """Extract what must be refused; return the message, and check that no byte stays behind."""
    archive, out = place(folder, body), folder / "out" / "counts.bin"
    with pytest.raises(InputError) as error:
        extract_member(archive, remote(**fields), out)
    assert list(out.parent.iterdir()) == []
    return str(error.value)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (PLAIN_ZIP, "study.zip"),
        (zipped((MEMBER, BODY), method=zipfile.ZIP_STORED), "study.zip"),
        (PLAIN_TAR, "study.tar"),
        (gzip.compress(PLAIN_TAR), "study.tar.gz"),
        (gzip.compress(PLAIN_TAR[:5000]) + gzip.compress(PLAIN_TAR[5000:]), "study.tgz"),
        (tar(entry(f"./{MEMBER}", BODY), form=tarfile.PAX_FORMAT), "study.tar"),
        (gzip.compress(PLAIN_TAR), "study.zip"),
    ],
    ids=["zip", "stored zip", "tar", "tar.gz", "tar.gz in two members", "pax tar with ./", "tar.gz named zip"],
)
def test_a_member_is_placed_with_its_provenance(body: bytes, name: str, tmp_path: Path) -> None:
    archive, out = place(tmp_path, body, name), tmp_path / "sources/toy/counts.bin"
    provenance = extract_member(archive, remote(archive=name, size=len(BODY), sha256=SHA256), out)
    assert out.read_bytes() == BODY
    expected = {
        "file": "counts.bin",
        "archive": name,
        "archive_sha256": hashlib.sha256(body).hexdigest(),
        "member": MEMBER,
        "sha256": SHA256,
        "size": len(BODY),
    }
    assert provenance == expected == json.loads(provenance_path(out).read_text())
    assert sorted(path.name for path in out.parent.iterdir()) == ["counts.bin", "counts.bin.provenance.json"]


def test_a_member_with_a_long_name_is_found(tmp_path: Path) -> None:
    long = "/".join(["folder" * 10] * 5) + "/counts.bin"
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        out = tmp_path / f"{form}.bin"
        extract_member(place(tmp_path, tar(entry(long, BODY), form=form)), remote(path=out.name, member=long), out)
        assert out.read_bytes() == BODY


def _overlapping() -> bytes:
    """A zip whose directory names the first entry's bytes a second time, under another name of the same length."""
    body = zipped((MEMBER, BODY[:1000]), ("study/other_.bin", BODY[:10]))
    at = body.rindex(b"PK\x01\x02")
    return body[: at + 42] + struct.pack("<I", 0) + body[at + 46 :]


def _encrypted() -> bytes:
    body = bytearray(zipped((MEMBER, BODY)))
    body[6] |= 1
    body[body.rindex(b"PK\x01\x02") + 8] |= 1
    return bytes(body)


def _packed_by(method: int) -> bytes:
    body = bytearray(zipped((MEMBER, BODY[:1000])))
    body[8] = body[body.rindex(b"PK\x01\x02") + 10] = method
    return bytes(body)


def _declaring(n_bytes: int) -> bytes:
    """A zip whose headers say that the member has so many bytes."""
    body, at = bytearray(zipped((MEMBER, BODY))), 22
    for at in (22, body.rindex(b"PK\x01\x02") + 24):
        body[at : at + 4] = struct.pack("<I", n_bytes)
    return bytes(body)


def _zero_byte_in_name() -> bytes:
    return zipped((MEMBER + "_.exe", BODY[:100])).replace(b"counts.bin_.exe", b"counts.bin\0.exe")


def _huge_header() -> bytes:
    """A tar whose long name claims 1 GB."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2**30
    return gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(20 * 2**20))


def _sparse() -> bytes:
    info = tarfile.TarInfo(MEMBER)
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"00000000000\0" * 2
    header[483:495] = b"77777777777\0"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(1024)


def _flipped(body: bytes, at: int) -> bytes:
    return body[:at] + bytes([body[at] ^ 0xFF]) + body[at + 1 :]


PACKED_TAR = gzip.compress(PLAIN_TAR)
LINKED_FOLDER = tar(entry("study", type=tarfile.SYMTYPE, linkname="real"), entry("real/counts.bin", BODY[:9]))
REFUSED: dict[str, tuple[bytes, dict[str, Any], str]] = {
    "absolute name": (PLAIN_ZIP, {"member": "/etc/passwd"}, "is no name of a file inside an archive"),
    "name that leads out": (tar(entry("../x", BODY)), {"member": "../x"}, "is no name of a file inside an archive"),
    "leads out further down": (PLAIN_ZIP, {"member": "study/../../x"}, "is no name of a file"),
    "backslashes": (PLAIN_ZIP, {"member": "study\\counts.bin"}, "is no name of a file"),
    "drive": (PLAIN_ZIP, {"member": "C:counts.bin"}, "is no name of a file"),
    "zero byte asked": (PLAIN_ZIP, {"member": "study/counts.bin\0"}, "is no name of a file"),
    "folder": (PLAIN_ZIP, {"member": "study/"}, "is no name of a file"),
    "zero byte in zip": (_zero_byte_in_name(), {}, "with a zero byte"),
    "missing in zip": (PLAIN_ZIP, {"member": "study/count.bin"}, "nearest names are study/counts.bin"),
    "missing in tar": (PLAIN_TAR, {"member": "study/count.bin"}, "no member 'study/count.bin' among 3"),
    "empty zip": (zipped(), {}, "among 0"),
    "symlink in zip": (zipped((zip_entry(MEMBER, stat.S_IFLNK | 0o777), b"/etc/passwd")), {}, "is a link or a device"),
    "FIFO in zip": (zipped((zip_entry(MEMBER, stat.S_IFIFO | 0o600), b"x")), {}, "is a link or a device"),
    "symlinked folder in zip": (
        zipped((zip_entry("study", stat.S_IFLNK | 0o777), b"/etc"), (MEMBER, b"x")),
        {},
        "would be reached through 'study'",
    ),
    "symlink": (tar(entry(MEMBER, type=tarfile.SYMTYPE, linkname="/etc/passwd")), {}, "is a link in the archive"),
    "hard link": (
        tar(entry("other", BODY[:9]), entry(MEMBER, type=tarfile.LNKTYPE, linkname="other")),
        {},
        "is a hard link in the archive",
    ),
    "device": (tar(entry(MEMBER, type=tarfile.CHRTYPE)), {}, "is a device in the archive"),
    "FIFO": (tar(entry(MEMBER, type=tarfile.FIFOTYPE)), {}, "is a FIFO in the archive"),
    "folder in tar": (tar(entry(MEMBER, type=tarfile.DIRTYPE)), {}, "is a folder in the archive"),
    "sparse file": (_sparse(), {}, "is a sparse file in the archive"),
    "symlinked folder": (LINKED_FOLDER, {}, "would be reached through 'study', a link"),
    "two of a name in tar": (tar(entry(MEMBER, b"one"), entry(MEMBER, b"two")), {}, "more than once"),
    "encrypted": (_encrypted(), {}, "is encrypted"),
    "deflate64": (_packed_by(9), {}, "packed by method deflate64"),
    "bzip2": (zipped((MEMBER, BODY), method=zipfile.ZIP_BZIP2), {}, "packed by method bzip2"),
    "LZMA": (zipped((MEMBER, BODY), method=zipfile.ZIP_LZMA), {}, "packed by method LZMA"),
    "overlapping entries": (_overlapping(), {}, "overlap"),
    "header declares less": (_declaring(len(BODY) - 9), {}, "damaged"),
    "header declares more": (_declaring(len(BODY) + 9), {}, "bytes, its header declares 3,145,742"),
    "header of a gigabyte": (_huge_header(), {}, "none that is meant well is so long"),
    "zip bomb": (zipped((MEMBER, bytes(50 * 2**20))), {}, "a decompression bomb"),
    "tar.gz bomb": (gzip.compress(tar(entry(MEMBER, bytes(50 * 2**20)))), {}, "a decompression bomb"),
    "bomb before the member": (
        gzip.compress(tar(entry("zeros", bytes(50 * 2**20)), entry(MEMBER, b"x"))),
        {},
        "a decompression bomb",
    ),
    "cut zip": (PLAIN_ZIP[:-400], {}, "damaged"),
    "cut tar": (PLAIN_TAR[: 2**20], {}, "damaged"),
    "tar without its end": (PLAIN_TAR[: PLAIN_TAR.rindex(b"A\nB\n") + 512], {}, "the mark that ends a tar is missing"),
    "cut tar.gz": (PACKED_TAR[: 2**20], {}, "damaged"),
    "tar.gz cut in its last bytes": (PACKED_TAR[:-4], {}, "damaged"),
    "flipped byte in zip": (_flipped(PLAIN_ZIP, 2**20), {}, "damaged"),
    "flipped byte in tar.gz": (_flipped(PACKED_TAR, 2**20), {}, "damaged"),
    "flipped byte in a tar header": (_flipped(PLAIN_TAR, PLAIN_TAR.index(OTHERS[1][0].encode())), {}, "damaged"),
    "another kind": (b"7z\xbc\xaf\x27\x1c" + bytes(100), {}, "no zip, tar or tar.gz"),
    "empty file": (b"", {}, "no zip, tar or tar.gz"),
    "gzip that is no tar": (gzip.compress(BODY), {}, "damaged, or of a kind that cannot be read"),
    "too small": (PLAIN_ZIP, {"size": len(BODY) + 1}, "the catalogue says 3,145,734"),
    "too large": (gzip.compress(PLAIN_TAR), {"size": 10}, "the catalogue says 10"),
    "other sum": (PLAIN_TAR, {"sha256": "0" * 64}, "the catalogue says 000"),
    "other md5": (PLAIN_ZIP, {"md5": "0" * 32}, "the catalogue says 000"),
    "no h5ad": (PLAIN_ZIP, {"path": "counts.h5ad"}, "no .h5ad file"),
    "refused file": (
        PLAIN_ZIP,
        {"refused_md5": {hashlib.md5(BODY, usedforsecurity=False).hexdigest(): "filtered counts"}},
        "must not be used: filtered counts",
    ),
    "web page": (zipped((MEMBER, b"<!DOCTYPE html><html>not here")), {}, "a page or message"),
    "nothing": (zipped((MEMBER, b"")), {}, "an empty file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_plain_whole_file_of_the_catalogue_is_refused(case: str, tmp_path: Path) -> None:
    body, fields, words = REFUSED[case]
    assert words in refusal(tmp_path, body, **fields)


def test_two_members_of_one_name_in_a_zip_are_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        body = zipped((MEMBER, b"one"), (MEMBER, b"two"))
    assert "more than once" in refusal(tmp_path, body)


def test_a_small_file_that_packs_well_is_no_bomb(tmp_path: Path) -> None:
    body = bytes(member_copy.RATIO_FROM_BYTES)
    out = tmp_path / "out.bin"
    extract_member(place(tmp_path, zipped((MEMBER, body))), remote(), out)
    assert out.read_bytes() == body


def test_a_member_that_the_disk_has_no_room_for_is_refused_before_its_first_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = entry(MEMBER, b"x" * 100)[0]
    info.size = 2**62
    body = info.tobuf(tarfile.GNU_FORMAT) + b"x" * 1024
    assert "the disk has no room" in refusal(tmp_path, body)


def test_an_archive_that_was_not_fetched_is_refused(tmp_path: Path) -> None:
    archive = place(tmp_path, PLAIN_ZIP)
    archive.write_bytes(PLAIN_ZIP + b"x")
    with pytest.raises(InputError, match="was changed since"):
        extract_member(archive, remote(), tmp_path / "counts.bin")
    provenance_path(archive).unlink()
    with pytest.raises(InputError, match="was not fetched"):
        extract_member(archive, remote(), tmp_path / "counts.bin")


def test_a_file_that_is_there_is_hashed_again_and_kept(tmp_path: Path) -> None:
    archive, out = place(tmp_path, PLAIN_ZIP), tmp_path / "counts.bin"
    extract_member(archive, remote(), out)
    before = out.stat().st_ino
    extract_member(archive, remote(), out)
    assert out.stat().st_ino == before
    out.write_bytes(_flipped(BODY, 77))
    extract_member(archive, remote(), out)
    assert out.read_bytes() == BODY


def test_a_newer_archive_replaces_the_member(tmp_path: Path) -> None:
    out = tmp_path / "counts.bin"
    extract_member(place(tmp_path, zipped((MEMBER, b"old"))), remote(), out)
    extract_member(place(tmp_path, zipped((MEMBER, b"new"))), remote(), out)
    assert out.read_bytes() == b"new"


def test_the_bytes_of_a_killed_extraction_are_dropped(tmp_path: Path) -> None:
    out = tmp_path / "counts.bin"
    out.with_name("counts.bin.part").write_bytes(b"half")
    extract_member(place(tmp_path, PLAIN_ZIP), remote(sha256=SHA256), out)
    assert out.read_bytes() == BODY
    assert not out.with_name("counts.bin.part").exists()


def _large_tar_gz(path: Path, n_bytes: int) -> None:
    """A tar.gz of one member, written without holding it."""
    piece = np.random.default_rng(1).bytes(2**20)
    info = tarfile.TarInfo(MEMBER)
    info.size = n_bytes
    with gzip.open(path, "wb", compresslevel=1) as packed:
        packed.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(n_bytes // len(piece)):
            packed.write(piece)
        packed.write(bytes(1024))


def _large_zip(path: Path, n_bytes: int) -> None:
    piece = np.random.default_rng(1).bytes(2**20)
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(MEMBER, "w", force_zip64=True) as handle,
    ):
        for _ in range(n_bytes // len(piece)):
            handle.write(piece)


@pytest.mark.slow
@pytest.mark.parametrize("write", [_large_tar_gz, _large_zip])
def test_memory_does_not_grow_with_the_member(write: Callable[[Path, int], None], tmp_path: Path) -> None:
    """Peak of a process of its own, for 1 MB and for 200 MB. (ru_maxrss would be that of the tests, which fork it.)"""
    program = """
        import re, sys
        from pathlib import Path
        from curation.acquire.archives import extract_member
        from curation.remote_file import RemoteFile
        remote = RemoteFile.from_json(sys.argv[2])
        extract_member(Path(sys.argv[1]), remote, Path(sys.argv[1]).with_name("counts.bin"))
        print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
    """
    peaks = []
    for n_bytes in (2**20, 200 * 2**20):
        folder = tmp_path / str(n_bytes)
        folder.mkdir()
        archive = folder / "study.zip"
        write(archive, n_bytes)
        provenance_path(archive).write_text(json.dumps({"sha256": "0" * 64, "size": archive.stat().st_size}))
        command = [sys.executable, "-c", textwrap.dedent(program), str(archive), remote(size=n_bytes).to_json()]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert (folder / "counts.bin").stat().st_size == n_bytes
        peaks.append(int(result.stdout))
    assert peaks[1] < 100_000, "kB"
    assert peaks[1] - peaks[0] < 20_000, "kB"
