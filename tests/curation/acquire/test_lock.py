"""The lock file: written by many processes at once, read by people, never half there."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

from curation.acquire.lock import HEADER, Pinned, SourcesLock
from curation.errors import InputError

ROOT = Path(__file__).parents[3]


def pinned(**fields: object) -> Pinned:
    """Return a file of figshare as it was found."""
    found = {
        "address": "figshare:10298696/raw.h5ad",
        "urls": ("https://ndownloader.figshare.com/files/1", "https://api.figshare.com/v2/file/download/1"),
        "size": 10,
        "md5": "0" * 32,
        "sha256": None,
        "resolved": "2026-02-01",
        "note": "version 2",
    }
    return Pinned(**{**found, **fields})


@pytest.fixture
def lock(tmp_path: Path) -> SourcesLock:
    """A lock file that is not there yet."""
    return SourcesLock(tmp_path / "sources.lock.yaml")


def test_what_is_pinned_comes_back_in_this_and_the_next_process(lock: SourcesLock) -> None:
    assert lock.get("replogle", "raw.h5ad") is None
    pin = lock.pin("replogle", "raw.h5ad")
    pin.put(pinned())
    assert pin.get() == pinned() == SourcesLock(lock.path).get("replogle", "raw.h5ad")
    pin.put(pinned(sha256="a" * 64))
    assert pin.get() == pinned(sha256="a" * 64)


def test_the_file_is_sorted_readable_and_says_how_to_refresh_it(lock: SourcesLock) -> None:
    lock.put("zeta", "b.h5", pinned(md5=None, note=""))
    lock.put("alpha", "c.h5", pinned())
    lock.put("alpha", "a.h5", pinned())
    text = lock.path.read_text()
    assert text.startswith(HEADER)
    assert "python -m curation resolve --refresh SOURCE" in text
    document = yaml.safe_load(text)
    assert [(source, list(files)) for source, files in document.items()] == [
        ("alpha", ["a.h5", "c.h5"]),
        ("zeta", ["b.h5"]),
    ]
    assert list(document["zeta"]["b.h5"]) == ["address", "urls", "size", "resolved"]
    assert [path.name for path in lock.path.parent.iterdir()] == [lock.path.name]


def test_pinning_the_same_again_leaves_the_file_alone(lock: SourcesLock) -> None:
    lock.put("replogle", "raw.h5ad", pinned())
    before = lock.path.stat()
    lock.put("replogle", "raw.h5ad", pinned())
    assert (lock.path.stat().st_ino, lock.path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_dropping_forgets_a_file_or_a_source_and_nothing_else(lock: SourcesLock) -> None:
    for source, file in [("a", "1"), ("a", "2"), ("b", "1"), ("b", "2")]:
        lock.put(source, file, pinned())
    lock.drop("a", "1")
    lock.drop("b")
    lock.drop("c")
    assert {source: list(files) for source, files in lock.entries().items()} == {"a": ["2"]}


def test_dropping_from_a_lock_that_is_not_there_makes_none(lock: SourcesLock) -> None:
    lock.drop("a")
    assert not lock.path.exists()


# Pins ten files of a source, as one of several processes of a build.
PINNING = """
import sys
from pathlib import Path
from curation.acquire.lock import Pinned, SourcesLock
lock = SourcesLock(Path(sys.argv[1]))
for number in range(10):
    pinned = Pinned(address="zenodo:1/a", urls=(), size=1, md5=None, sha256=None, resolved="2026-11-24")
    lock.put(sys.argv[2], f"file{number}", pinned)
"""


def _pin_many(path: Path, source: str) -> None:
    lock = SourcesLock(path)
    for number in range(10):
        lock.put(source, f"file{number}", pinned())


def test_many_threads_at_once_lose_nothing(lock: SourcesLock) -> None:
    writers = [threading.Thread(target=_pin_many, args=(lock.path, f"source{number}")) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert {source: len(files) for source, files in lock.entries().items()} == {f"source{n}": 10 for n in range(4)}


def test_many_processes_at_once_lose_nothing(lock: SourcesLock) -> None:
    command = [sys.executable, "-c", PINNING, str(lock.path)]
    writers = [subprocess.Popen([*command, f"source{number}"], cwd=ROOT) for number in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4
    assert {source: len(files) for source, files in lock.entries().items()} == {f"source{n}": 10 for n in range(4)}


def test_an_empty_file_pins_nothing(lock: SourcesLock) -> None:
    lock.path.touch()
    assert lock.entries() == {}


def test_a_day_without_quotes_is_read_as_the_same_day(lock: SourcesLock) -> None:
    lock.put("a", "1", pinned())
    lock.path.write_text(lock.path.read_text().replace("'2026-02-01'", "2026-02-01"))
    assert lock.get("a", "1") == pinned()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("size: 10", "size: ten", ["key a.1.h5.size", "expected: a number of bytes", "found: 'ten'"]),
        ("size: 10", "size: true", ["key a.1.h5.size", "found: True"]),
        ("size: 10", "sizes: 10", ["key a.1.h5.sizes", "did you mean 'size'?"]),
        ("0" * 32, "0" * 31 + "G", ["key a.1.h5.md5", "expected: 32 lower-case hex digits", "G'"]),
        ("'2026-02-01'", "yesterday", ["key a.1.h5.resolved", "YYYY-MM-DD", "'yesterday'"]),
        ("    address: figshare:10298696/raw.h5ad\n", "", ["key a.1.h5.address", "no such key"]),
        ("    - https://ndownloader.figshare.com/files/1\n", "    - 5\n", ["key a.1.h5.urls", "a list of urls"]),
        ("a:\n", "a: [\n", ["expected: YAML"]),
        ("a:\n  1.h5:\n", "a:\n", ["key a.address", "expected: a mapping of names", "found: 'figshare:"]),
    ],
)
def test_a_malformed_lock_names_file_key_expected_and_found(
    lock: SourcesLock, old: str, new: str, words: list[str]
) -> None:
    lock.put("a", "1.h5", pinned())
    text = lock.path.read_text()
    assert old in text
    lock.path.write_text(text.replace(old, new))
    with pytest.raises(InputError) as caught:
        lock.get("a", "1.h5")
    for part in [str(lock.path), "do: restore it", *words]:
        assert part in str(caught.value)
    with pytest.raises(InputError):
        lock.put("b", "2", pinned())
