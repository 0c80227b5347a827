"""A bar on a terminal, a line a minute in a log."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios
import time

import pytest

from curation.acquire import progress
from curation.acquire.progress import Progress

COUNTING = """
from curation.acquire.progress import Progress
with Progress("study.h5ad", 1000, done=500) as counted:
    counted.add(250)
"""


def test_a_log_gets_a_line_a_minute_with_rate_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with Progress("study.h5ad", 66_000_000_000, done=6_000_000_000) as counted:
        for _ in range(130):
            now += 1.0
            counted.add(100_000_000)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "study.h5ad: 12 GB of 66 GB (18%), 100 MB/s, 9 min 00 s left",
        "study.h5ad: 18 GB of 66 GB (27%), 100 MB/s, 8 min 00 s left",
    ]


def test_a_file_of_unknown_size_gets_bytes_and_rate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LOG_EVERY_S", 0.0)
    with Progress("a.tar.gz") as counted:
        counted.add(5)
    line = capsys.readouterr().err
    assert line.startswith("a.tar.gz: 5 B, ")
    assert "left" not in line


def test_a_terminal_gets_a_bar() -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    subprocess.run([sys.executable, "-c", COUNTING], stderr=theirs, check=True)
    assert select.select([ours], [], [], 10)[0]
    shown = os.read(ours, 10_000).decode()
    os.close(theirs)
    os.close(ours)
    assert "study.h5ad:  50%" in shown
    assert "500/1.00k" in shown
