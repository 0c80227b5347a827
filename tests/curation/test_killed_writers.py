"""A writer that is killed at any moment leaves no store that is not whole, and its successor writes the same bytes."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from curation.file_sums import file_sum
from curation.verify_files import file_problems

N_KILLS = 30
# After how many kills the successor is let through and its bytes are compared
KILLS_A_ROUND = 6
STORES = ("toy.r.train.zarr", "toy.r.validation.zarr")


class Writers:
    """Processes that curate a toy study into a folder, one after another."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        program = Path(__file__).with_name("store_program.py")
        self._server = subprocess.Popen(
            [sys.executable, "-P", str(program), str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline().strip()

    def start(self, stores: Path) -> int:
        """Start a writer; return the id of its process group."""
        assert self._server.stdin is not None
        self._server.stdin.write(f"{stores}\n")
        self._server.stdin.flush()
        return int(self._line())

    def wait(self) -> int:
        """Return the exit code of the writer."""
        return int(self._line())

    def close(self) -> None:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()


@pytest.fixture
def writers(tmp_path: Path) -> Iterator[Writers]:
    found = Writers(tmp_path / "sources")
    yield found
    found.close()


def sums_of(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def broken(stores: Path) -> list[str]:
    """Return what is wrong with the stores that have their final names."""
    with ThreadPoolExecutor(2) as pool:
        return [
            f"{name}: {problem}"
            for name in STORES
            if (stores / name).exists()
            for problem in file_problems(stores / name, file_sum(stores / name / "zarr.json")["sha256"], pool)
        ]


def kill_group(group: int, *, after_s: float) -> None:
    time.sleep(after_s)
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:  # it is done, or is no group yet
        try:
            os.kill(group, signal.SIGKILL)
        except ProcessLookupError:
            return


@pytest.mark.slow
def test_thirty_kills_leave_whole_stores_or_none_and_the_next_writer_writes_the_same_bytes(
    writers: Writers, tmp_path: Path
) -> None:
    undisturbed = tmp_path / "undisturbed"
    writers.start(undisturbed)
    began = time.monotonic()
    assert writers.wait() == 0
    took_s = time.monotonic() - began
    expected = sums_of(undisturbed)
    assert len(list((undisturbed / STORES[0] / "X" / "data" / "c").iterdir())) > 3
    draw, killed, turn = random.Random(0), 0, 0
    while killed < N_KILLS:
        stores = tmp_path / f"stores_{turn}"
        of_turn = 0
        while of_turn < KILLS_A_ROUND:
            group = writers.start(stores)
            kill_group(group, after_s=draw.uniform(0.05, 0.9) * took_s)
            at_work = writers.wait() == -signal.SIGKILL  # otherwise it was done before, and does not count
            assert broken(stores) == []
            if not at_work:
                shutil.rmtree(stores)
                took_s *= 0.9  # the machine has become faster
            of_turn += at_work
            killed += at_work
        writers.start(stores)
        assert writers.wait() == 0
        assert sums_of(stores) == expected, "nothing else is left, and every byte is the same"
        turn += 1
    assert killed >= N_KILLS, "all of them were still at work"
