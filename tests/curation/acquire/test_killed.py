"""kill -9, again and again: the bytes are right in the end, and hardly any was asked for twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]
# Long enough at this rate that kills meet it under way: 30 MB at 20 MB/s
BODY = np.random.default_rng(0).bytes(30_000_000)
RATE, KILLS = 20_000_000, 5


@pytest.mark.slow
def test_a_download_that_is_killed_again_and_again_is_continued_each_time(internet: Any, tmp_path: Path) -> None:
    address = internet.direct("/study.bin")
    internet.serve(address, BODY)
    internet.fault(address, bytes_per_s=RATE, times=KILLS + 1)
    out, part = tmp_path / "study.bin", tmp_path / "study.bin.part"
    command = [sys.executable, "-m", "curation", "fetch", "--url", address, "--out", str(out)]
    environment = {**os.environ, "no_proxy": "127.0.0.1", "PYTHONPATH": str(ROOT)}
    for moment in sorted(random.Random(0).sample(range(len(BODY) - 1_000_000), KILLS)):
        with subprocess.Popen(
            command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL, start_new_session=True
        ) as process:
            while process.poll() is None and (not part.exists() or part.stat().st_size < moment):
                time.sleep(0.005)
            assert process.poll() is None, "it ended before it was killed"
            os.killpg(process.pid, signal.SIGKILL)
        assert not out.exists()
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert out.read_bytes() == BODY
    starts = [int(request["headers"].get("range", "bytes=0-")[6:-1]) for request in internet.requests(address)]
    assert len(starts) == KILLS + 1
    assert starts == sorted(starts)
    assert starts[-1] > len(BODY) // 2
    assert internet.bytes_sent(address) < 1.1 * len(BODY) + KILLS * 2**20  # what lay in the sockets when it was killed
