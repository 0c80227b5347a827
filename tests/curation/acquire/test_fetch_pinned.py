"""Files whose sums the lock holds, and files that a workflow removed and wants again."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from curation.acquire.fetch import fetch
from curation.acquire.lock import Pin, Pinned, SourcesLock
from curation.errors import InputError
from curation.remote_file import RemoteFile

BODY = b"ENSG00000000003\t7\n" * 1000
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A file of a study, where it comes from."""
    path = tmp_path / "origin/counts.tsv"
    path.parent.mkdir()
    path.write_bytes(BODY)
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where the workflow wants it."""
    return tmp_path / "sources/toy/tables/counts.tsv"


@pytest.fixture
def pin(tmp_path: Path) -> Pin:
    """Its place in the lock."""
    return SourcesLock(tmp_path / "sources.lock.yaml").pin("toy", "tables/counts.tsv")


def entry(*origins: Path, **fields: Any) -> RemoteFile:
    """The file's entry in the catalogue."""
    return RemoteFile(path="tables/counts.tsv", addresses=tuple(f"file:{origin}" for origin in origins), **fields)


def remove(out: Path) -> None:
    """Remove an output and its record, as nobody but a user does."""
    out.unlink()
    out.with_name(f"{out.name}.provenance.json").unlink()


def test_the_first_fetch_pins_the_sum_that_the_catalogue_lacks(origin: Path, out: Path, pin: Pin) -> None:
    fetch(entry(origin), out, pin=pin)
    pinned = pin.get()
    assert pinned is not None
    assert (pinned.address, pinned.size, pinned.sha256) == (f"file:{origin}", len(BODY), SHA256)


def test_a_sum_of_the_catalogue_is_not_repeated_in_the_lock(origin: Path, out: Path, pin: Pin) -> None:
    fetch(entry(origin, sha256=SHA256), out, pin=pin)
    assert pin.get() is None


def test_a_pinned_sum_is_enforced_ever_after(origin: Path, out: Path, pin: Pin, tmp_path: Path) -> None:
    fetch(entry(origin), out, pin=pin)
    out.unlink()
    (tmp_path / "sources/.kept/toy/tables/counts.tsv").unlink()
    origin.write_bytes(BODY.replace(b"7", b"8"))
    with pytest.raises(InputError) as error:
        fetch(entry(origin), out, pin=pin)
    assert f"the catalogue says {SHA256}" in error.value.found
    assert "resolve --refresh toy" in error.value.todo
    assert not out.exists()


def test_a_lock_that_contradicts_the_catalogue_is_an_error_that_names_both(origin: Path, out: Path, pin: Pin) -> None:
    pin.put(Pinned(address=f"file:{origin}", urls=(), size=5, md5=None, sha256=None, resolved="2026-11-24"))
    with pytest.raises(InputError) as error:
        fetch(entry(origin, size=len(BODY)), out, pin=pin)
    assert "disagree about the size" in error.value.what
    assert str(len(BODY)) in error.value.expected
    assert "5" in error.value.found
    assert "resolve --refresh toy" in error.value.todo


def test_a_corrected_address_voids_what_was_pinned_from_the_wrong_one(
    origin: Path, out: Path, pin: Pin, tmp_path: Path
) -> None:
    fetch(entry(origin), out, pin=pin)
    right = tmp_path / "origin/right.tsv"
    right.write_bytes(b"ENSG00000000003\t8\n")
    out.unlink()  # as Snakemake does before it runs a step again
    fetch(entry(right), out, pin=pin)
    assert out.read_bytes() == right.read_bytes()
    pinned = pin.get()
    assert pinned is not None
    assert pinned.address == f"file:{right}"
    assert pinned.sha256 == hashlib.sha256(right.read_bytes()).hexdigest()


def test_a_file_that_snakemake_removed_comes_back_without_its_address(origin: Path, out: Path, pin: Pin) -> None:
    first = fetch(entry(origin), out, pin=pin)
    inode = out.stat().st_ino
    out.unlink()
    origin.unlink()
    assert fetch(entry(origin), out, pin=pin) == first
    assert out.read_bytes() == BODY
    assert out.stat().st_ino == inode


def test_a_kept_file_that_the_catalogue_no_longer_describes_does_not_come_back(
    origin: Path, out: Path, pin: Pin
) -> None:
    fetch(entry(origin, md5=hashlib.md5(BODY).hexdigest(), sha256=SHA256), out, pin=pin)
    out.unlink()
    other = BODY.replace(b"7", b"9")
    origin.write_bytes(other)
    fetch(entry(origin, sha256=hashlib.sha256(other).hexdigest()), out, pin=pin)
    assert out.read_bytes() == other
    out.unlink()
    origin.unlink()
    fetch(entry(origin, sha256=hashlib.sha256(other).hexdigest()), out, pin=pin)
    assert out.read_bytes() == other


def test_a_damaged_kept_file_does_not_come_back(origin: Path, out: Path, pin: Pin) -> None:
    fetch(entry(origin), out, pin=pin)
    out.write_bytes(b"damage")
    out.unlink()
    fetch(entry(origin), out, pin=pin)
    assert out.read_bytes() == BODY


def test_a_fetch_without_a_lock_leaves_no_second_name(origin: Path, out: Path, tmp_path: Path) -> None:
    fetch(entry(origin), out)
    assert out.stat().st_nlink == 1
    assert not (tmp_path / "sources/.kept").exists()


def test_offline_takes_a_local_file_and_asks_no_server(origin: Path, out: Path, pin: Pin) -> None:
    with pytest.raises(InputError) as error:
        fetch(RemoteFile(path="tables/counts.tsv", addresses=("https://x.invalid/a",)), out, pin=pin, offline=True)
    assert "not asked (--offline)" in error.value.found
    fetch(entry(origin), out, pin=pin, offline=True)
    assert out.read_bytes() == BODY


def test_a_locked_build_looks_nothing_up_again(internet: Any, no_intervals: None, out: Path, pin: Pin) -> None:
    internet.zenodo(13350497, {"counts.tsv": BODY})
    file = RemoteFile(path="tables/counts.tsv", addresses=("zenodo:13350497/counts.tsv",))
    fetch(file, out, pin=pin)
    record = "https://zenodo.org/api/records/13350497"
    assert len(internet.requests(record)) == 1
    pinned = pin.get()
    assert pinned is not None
    assert pinned.urls == (f"{record}/files/counts.tsv/content",)
    assert (pinned.size, pinned.sha256) == (len(BODY), SHA256)
    out.unlink()
    (out.parents[2] / ".kept/toy/tables/counts.tsv").unlink()
    internet.zenodo(13350497, {"counts.tsv": b"a new version"})
    internet.serve(f"{record}/files/counts.tsv/content", BODY)
    fetch(file, out, pin=pin)
    assert out.read_bytes() == BODY
    assert len(internet.requests(record)) == 1


def test_a_locked_build_does_not_look_up_a_second_address(
    internet: Any, no_intervals: None, out: Path, pin: Pin
) -> None:
    urls = ("https://zenodo.org/api/records/1/files/counts.tsv/content",)
    pin.put(Pinned(address="zenodo:1/counts.tsv", urls=urls, size=None, md5=None, sha256=None, resolved="2026-11-24"))
    internet.play("zenodo.org")
    file = RemoteFile(path="tables/counts.tsv", addresses=("zenodo:1/counts.tsv", "zenodo:2/counts.tsv"))
    with pytest.raises(InputError) as error:
        fetch(file, out, pin=pin)
    assert "not looked up, because the lock holds the file from another address" in error.value.found
    assert [request["target"] for request in internet.requests()] == ["/api/records/1/files/counts.tsv/content"]


def test_a_sum_that_is_pinned_guards_a_look_up_at_a_mirror(
    internet: Any, no_intervals: None, origin: Path, out: Path, pin: Pin
) -> None:
    file = RemoteFile(path="tables/counts.tsv", addresses=(f"file:{origin}", "zenodo:13350497/counts.tsv"))
    fetch(file, out, pin=pin)
    for body, arrives in ((b"a new version of it", False), (BODY, True)):
        internet.zenodo(13350497, {"counts.tsv": body})
        remove(out)
        (out.parents[2] / ".kept/toy/tables/counts.tsv").unlink(missing_ok=True)
        origin.unlink(missing_ok=True)
        if arrives:
            fetch(file, out, pin=pin)
            assert out.read_bytes() == BODY
        else:
            with pytest.raises(InputError, match="could not get"):
                fetch(file, out, pin=pin)
            out.write_bytes(b"")
            out.with_name("counts.tsv.provenance.json").write_text("{}")


def test_a_study_whose_folder_was_removed_comes_back_without_a_download(origin: Path, out: Path, pin: Pin) -> None:
    fetch(entry(origin), out, pin=pin)
    shutil.rmtree(out.parents[1])
    origin.unlink()
    fetch(entry(origin), out, pin=pin)
    assert out.read_bytes() == BODY


def test_a_file_that_a_person_placed_is_taken_by_its_sum(out: Path, pin: Pin) -> None:
    out.parent.mkdir(parents=True)
    out.write_bytes(BODY)
    file = RemoteFile(path="tables/counts.tsv", addresses=("https://x.invalid/a",), sha256=SHA256)
    assert fetch(file, out, pin=pin, offline=True)["address"] == "placed by hand"
    out.with_name("counts.tsv.provenance.json").unlink()
    out.write_bytes(BODY[:-1])
    with pytest.raises(InputError, match="could not get"):
        fetch(file, out, pin=pin, offline=True)


def test_a_repository_that_lists_another_file_than_the_catalogue_is_not_downloaded_from(
    internet: Any, no_intervals: None, out: Path, pin: Pin
) -> None:
    internet.zenodo(13350497, {"counts.tsv": b"a new version"})
    file = RemoteFile(path="tables/counts.tsv", addresses=("zenodo:13350497/counts.tsv",), size=len(BODY))
    with pytest.raises(InputError) as error:
        fetch(file, out, pin=pin)
    assert "lists another file by this name: size 13" in error.value.found
    assert [request["target"] for request in internet.requests()] == ["/api/records/13350497"]


def test_what_was_resolved_without_a_sum_gets_the_sum_of_the_first_download(
    internet: Any, no_intervals: None, out: Path, pin: Pin
) -> None:
    url = "https://files.example.org/counts.tsv"
    internet.serve(url, BODY)
    looked_up = Pinned(
        address="geo:GSE1/counts.tsv", urls=(url,), size=None, md5=None, sha256=None, resolved="2026-11-24"
    )
    pin.put(looked_up)
    fetch(RemoteFile(path="tables/counts.tsv", addresses=("geo:GSE1/counts.tsv",)), out, pin=pin)
    pinned = pin.get()
    assert pinned is not None
    assert (pinned.urls, pinned.size, pinned.sha256) == ((url,), len(BODY), SHA256)


def test_a_file_that_is_there_already_is_pinned_where_the_lock_was_lost(origin: Path, out: Path, pin: Pin) -> None:
    fetch(entry(origin), out, pin=pin)
    pin.lock.path.unlink()
    fetch(entry(origin), out, pin=pin)
    pinned = pin.get()
    assert pinned is not None
    assert pinned.sha256 == SHA256
