"""One cap a host, for all threads and processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from curation.acquire.host_limits import host_slot, limit_of

# Three threads each hold a slot of toy.example five times and write down when.
ASKING = """
import os, sys, threading, time
from curation.acquire import host_limits
host_limits.LIMITS["toy.example"] = host_limits.HostLimit(parallel=2, interval_s=float(sys.argv[1]))

def ask():
    for _ in range(5):
        with host_limits.host_slot("https://files.toy.example/a"):
            begun = time.time()
            time.sleep(0.01)
            os.write(1, f"{begun} {time.time()}\\n".encode())  # print would mix the threads' lines

threads = [threading.Thread(target=ask) for _ in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""
HOLDING = """
from curation.acquire import host_limits
import time
host_limits.LIMITS["toy.example"] = host_limits.HostLimit(parallel=1, interval_s=0)
with host_limits.host_slot("https://toy.example/a"):
    print("held", flush=True)
    time.sleep(float(__import__("sys").argv[1]))
"""


def spans(tmp_path: Path, interval_s: float) -> list[tuple[float, float]]:
    """When three processes held a slot."""
    command = [sys.executable, "-c", ASKING, str(interval_s)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(3)]
    lines = [line for process in processes for line in process.communicate()[0].splitlines()]
    assert [process.returncode for process in processes] == [0, 0, 0]
    return sorted((float(begun), float(ended)) for begun, ended in (line.split() for line in lines))


def test_no_more_connections_at_a_time_than_the_cap(tmp_path: Path) -> None:
    found = spans(tmp_path, 0.0)
    at_a_time = [sum(begun <= moment < ended for begun, ended in found) for moment, _ in found]
    assert len(found) == 45
    assert max(at_a_time) == 2


def test_no_more_requests_a_second_than_the_cap(tmp_path: Path) -> None:
    starts = [begun for begun, _ in spans(tmp_path, 0.05)]
    # 44 pauses of 50 ms; single ones shrink when a process is scheduled late after its sleep
    assert starts[-1] - starts[0] >= 44 * 0.05 - 0.05


def test_a_killed_process_frees_its_slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, "600"], stdout=subprocess.PIPE, text=True, env=environment
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        second = subprocess.Popen([sys.executable, "-c", HOLDING, "0"], stdout=subprocess.PIPE, env=environment)
        time.sleep(0.5)
        assert second.poll() is None
        first.send_signal(signal.SIGKILL)
    assert second.communicate(timeout=20)[0] == b"held\n"


@pytest.mark.parametrize(
    ("url", "name", "parallel"),
    [
        ("https://zenodo.org/api/records/1", "zenodo.org", 2),
        ("https://ndownloader.figshare.com/files/1", "figshare.com", 4),
        ("https://api.figshare.com/v2/file/download/1", "figshare.com", 4),
        ("https://api.gdc.cancer.gov/data", "gdc.cancer.gov", 4),
        ("https://ftp.ncbi.nlm.nih.gov/geo/series/", "ncbi.nlm.nih.gov", 2),
        ("https://notzenodo.org/a", "notzenodo.org", 4),
    ],
)
def test_mirrors_of_a_repository_count_together(url: str, name: str, parallel: int) -> None:
    found, limit = limit_of(url)
    assert (found, limit.parallel) == (name, parallel)


def test_a_clock_that_was_set_back_makes_nobody_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with host_slot("https://zenodo.org/a"):
        pass
    (last,) = tmp_path.glob("*/zenodo.org.last")
    last.write_text(str(time.time() + 10_000))
    begun = time.monotonic()
    with host_slot("https://zenodo.org/a"):
        assert time.monotonic() - begun < 5
    assert float(last.read_text()) <= time.time()
