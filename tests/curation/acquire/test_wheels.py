"""Wheels in the cache: damaged ones are replaced, odd names passed over, and one process downloads for all."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.acquire import wheels
from curation.acquire.addresses import WheelAddress, parse_address
from curation.acquire.failures import GivenUpError
from curation.acquire.part_file import PartFile
from curation.acquire.wheels import extract_member
from curation.remote_file import RemoteFile

NAME = "toy-1.0-py3-none-any.whl"
BODY = np.random.default_rng(0).integers(0, 9, 200_000).astype("u1").tobytes()


def write_wheel(path: Path, body: bytes = BODY) -> Path:
    """A wheel with one packed member."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("toy/a.bin", body)
    return path


def damage(path: Path) -> None:
    """Break the packed bytes, not the directory of the zip."""
    body = bytearray(path.read_bytes())
    body[1000:3000] = b"\xff" * 2000
    path.write_bytes(body)


class Pip:
    """Stands for pip: counts its calls and gives a good wheel."""

    def __init__(self, *, damaged: bool = False) -> None:
        self.damaged, self.calls, self.barrier = damaged, 0, threading.Event()

    def run(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        """Do as `pip download`."""
        self.calls += 1
        self.barrier.wait(0.3)
        wheel = write_wheel(Path(command[command.index("--dest") + 1]) / NAME)
        if self.damaged:
            damage(wheel)
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> Pip:
    """The only pip there is."""
    pip = Pip()
    monkeypatch.setattr(wheels.subprocess, "run", pip.run)
    return pip


def address() -> WheelAddress:
    """The member's address."""
    parsed = parse_address("pypi:toy==1.0#toy/a.bin")
    assert isinstance(parsed, WheelAddress)
    return parsed


@contextmanager
def part(folder: Path, name: str = "a.bin") -> Iterator[PartFile]:
    """A part file."""
    with PartFile(RemoteFile(path=name, addresses=()), folder / name) as opened:
        yield opened


def test_a_damaged_wheel_is_removed_and_downloaded_once_more(pip: Pip, tmp_path: Path) -> None:
    damage(write_wheel(tmp_path / NAME))
    with part(tmp_path) as filled:
        given = extract_member(address(), filled, tmp_path)
        assert filled.path.read_bytes() == BODY
    assert pip.calls == 1
    assert given["wheel_sha256"] == hashlib.sha256((tmp_path / NAME).read_bytes()).hexdigest()


@pytest.mark.parametrize("content", [b"", b"PK no zip at all"])
def test_a_wheel_that_is_no_zip_is_downloaded_once_more(content: bytes, pip: Pip, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(content)
    with part(tmp_path) as filled:
        extract_member(address(), filled, tmp_path)
    assert pip.calls == 1


def test_an_index_that_serves_a_damaged_wheel_is_given_up_and_nothing_stays(pip: Pip, tmp_path: Path) -> None:
    pip.damaged = True
    damage(write_wheel(tmp_path / "w" / NAME))
    with part(tmp_path) as filled, pytest.raises(GivenUpError, match="is damaged"):
        extract_member(address(), filled, tmp_path / "w")
    assert pip.calls == 1
    assert list((tmp_path / "w").iterdir()) == []


def test_offline_a_damaged_wheel_is_told_and_no_index_is_asked(pip: Pip, tmp_path: Path) -> None:
    damage(write_wheel(tmp_path / NAME))
    for words in ("is damaged", "is not cached"):
        with part(tmp_path) as filled, pytest.raises(GivenUpError, match=words):
            extract_member(address(), filled, tmp_path, offline=True)
    with part(tmp_path) as filled, pytest.raises(GivenUpError, match="is not cached"):
        extract_member(address(), filled, tmp_path / "none", offline=True)
    assert pip.calls == 0
    assert not (tmp_path / "none").exists()


def test_files_with_odd_names_are_passed_over(pip: Pip, tmp_path: Path) -> None:
    for name in ("oddname.whl", "toy-1.0.whl"):
        (tmp_path / name).write_bytes(b"odd")
    write_wheel(tmp_path / NAME)
    with part(tmp_path) as filled:
        assert extract_member(address(), filled, tmp_path)["wheel"] == NAME
    assert pip.calls == 0
    assert (tmp_path / "oddname.whl").exists()


def test_two_that_want_one_wheel_download_it_once(pip: Pip, tmp_path: Path) -> None:
    given: list[dict[str, str]] = []

    def want(name: str) -> None:
        with part(tmp_path, name) as filled:
            given.append(extract_member(address(), filled, tmp_path / "w"))

    threads = [threading.Thread(target=want, args=(f"{i}.bin",)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(given) == 3
    assert pip.calls == 1
    assert [path.name for path in (tmp_path / "w").iterdir()] == [NAME]


def test_another_process_is_waited_for(pip: Pip, tmp_path: Path) -> None:
    program = (
        "import sys, fcntl, time; handle = open(sys.argv[1], 'ab'); fcntl.flock(handle, fcntl.LOCK_EX);"
        "print('held', flush=True); sys.stdin.readline()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / ".toy-1.0.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    done = threading.Event()

    def want() -> None:
        with part(tmp_path) as filled:
            extract_member(address(), filled, tmp_path)
        done.set()

    waiting = threading.Thread(target=want, daemon=True)
    waiting.start()
    assert not done.wait(0.7)
    assert pip.calls == 0
    holder.communicate("go\n")
    assert done.wait(10)
    assert pip.calls == 1


def test_only_what_a_killed_run_left_of_the_same_requirement_is_swept(pip: Pip, tmp_path: Path) -> None:
    for name in (".pip.toy-1.0@dead", ".pip.toy-1.0.1@alive", ".pip.other-1.0@alive"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half.whl").write_bytes(b"half")
    with part(tmp_path) as filled:
        extract_member(address(), filled, tmp_path)
    left = {path.name for path in tmp_path.glob(".pip.*")}
    assert left == {".pip.toy-1.0.1@alive", ".pip.other-1.0@alive"}
