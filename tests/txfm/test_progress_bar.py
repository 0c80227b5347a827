"""What a person sees on a terminal: a bar, and no message on its line. Real commands on a pseudo terminal."""

import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

from txfm.progress_bar import ProgressBar, duration

TRAIN = {"preset": "nano", "width": 16, "n_visible_genes": 12, "steps": 6, "batch_size_samples": 16}
BAR = re.compile(r"^\[#*\.*\] ")
COLUMNS = 90


def shown(code: str) -> tuple[list[str], str]:
    """Lines that are left on a terminal on which Python runs this code, and all that was written to it."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    process = subprocess.Popen([sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 2**16)
        except OSError:  # Linux's way to say that the other side is closed
            break
        if not part:
            break
        written += part
    os.close(ours)
    assert process.wait() == 0, written.decode()
    return screen(written.decode()), written.decode()


def screen(written: str) -> list[str]:
    """A terminal that knows line feed, carriage return and "clear to the end of the line", and wraps long lines."""
    lines, column = [""], 0
    for sign in re.findall(r"\x1b\[K|[\s\S]", written):
        if sign == "\n":
            lines.append("")
        elif sign == "\r":
            column = 0
        elif sign == "\x1b[K":
            lines[-1] = lines[-1][:column]
        else:
            if column == COLUMNS:
                lines.append("")
                column = 0
            lines[-1] = lines[-1][:column] + sign + lines[-1][column + 1 :]
            column += 1
    return lines


def assert_no_message_shares_the_line_of_a_bar(lines: list[str], *messages: str, n_bars: int = 1) -> None:
    for message in messages:
        assert any(line.startswith(message) for line in lines), (message, lines)
    assert not any("[#" in line and not BAR.match(line) for line in lines), lines
    for line in lines:
        assert not BAR.match(line) or not any(message in line for message in messages), line
    assert sum(bool(BAR.match(line)) for line in lines) == n_bars  # what is left at the end


def test_a_training_on_a_terminal_prints_below_its_bar(tiny_corpus: Any, tmp_path: Path) -> None:
    model = TRAIN | {"log_every_steps": 1, "validate_every_steps": 2}
    folders = ["--out", str(tmp_path / "m"), "--checkpoints", str(tmp_path / "c"), "--threads", "1", "--device", "cpu"]
    given = ["train", "--corpus", str(tiny_corpus.folder), "--variant", "tiny", "--model", json.dumps(model), *folders]
    code = f"""
import sys
from txfm.__main__ import main
from txfm.training.step import TrainingStep
original = TrainingStep.__call__
def noisy(self, batch, number, *others):
    if number == 3:
        print("message of a step")
    if number == 5:
        print("error of a step", file=sys.stderr)
    return original(self, batch, number, *others)
TrainingStep.__call__ = noisy
sys.exit(main({given!r}))
"""
    lines, written = shown(code)
    assert written.count("[#") >= 6
    messages = ("step 0: validation", "step 4: validation", "message of a step", "error of a step", "wrote ")
    assert_no_message_shares_the_line_of_a_bar(lines, *messages, n_bars=0)  # the last validation takes its place


def test_an_embedding_on_a_terminal_prints_below_its_bar() -> None:
    code = """
import sys, time
import numpy as np
from txfm.embedding import progress
progress.SECONDS_BETWEEN = 0
for number, block in enumerate(progress.told(iter([np.zeros((2, 3))] * 4), 8)):
    if number == 2:
        print("message between blocks")
    if number == 3:
        print("error between blocks", file=sys.stderr)
print("wrote it")
"""
    lines, written = shown(code)
    assert "4 of 8 samples (50%)" in written
    assert_no_message_shares_the_line_of_a_bar(lines, "message between", "error between", "wrote it")


def test_a_message_before_an_error_stands_by_itself() -> None:
    code = """
import sys
from txfm.progress_bar import ProgressBar
try:
    with ProgressBar(sys.stdout, 4) as bar:
        bar.draw(2, "half of it " + 200 * "x")
        raise ValueError
except ValueError:
    print("error: it failed", file=sys.stderr)
"""
    lines, _ = shown(code)
    assert_no_message_shares_the_line_of_a_bar(lines, "error: it failed")
    assert len(lines[0]) == COLUMNS - 1


def test_a_bar_is_drawn_on_a_terminal_alone() -> None:
    stream = io.StringIO()
    with ProgressBar(stream, 4) as bar:
        bar.draw(2, "half")
    assert stream.getvalue() == ""


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00:00"), (3725.4, "1:02:05"), (183_845, "2 d 3:04:05")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
