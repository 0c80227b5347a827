"""How many connections, and how often, each public host is asked: one cap for all threads and processes of a user."""

from __future__ import annotations

import fcntl
import os
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit


@dataclass(frozen=True, kw_only=True)
class HostLimit:
    """Connections at a time, and seconds between the starts of two requests."""

    parallel: int
    interval_s: float


# Last labels of a host's name -> its limit. Zenodo answers 429 above 60 requests a minute, NCBI above 3 a second.
LIMITS = {
    "zenodo.org": HostLimit(parallel=2, interval_s=1.0),
    "figshare.com": HostLimit(parallel=4, interval_s=0.2),
    "gdc.cancer.gov": HostLimit(parallel=4, interval_s=0.1),
    "ncbi.nlm.nih.gov": HostLimit(parallel=2, interval_s=0.34),
}
OTHER_HOSTS = HostLimit(parallel=4, interval_s=0.0)
# Seconds between two looks for a free slot
POLL_S = 0.05


def limit_of(url: str) -> tuple[str, HostLimit]:
    """Return the name under which a url's host is counted, and its limit; mirrors of one repository count together."""
    host = (urlsplit(url).hostname or "").lower()
    for name, limit in LIMITS.items():
        if host == name or host.endswith(f".{name}"):
            return name, limit
    return host, OTHER_HOSTS


@contextmanager
def host_slot(url: str) -> Iterator[None]:
    """Hold one of the host's connections until the block ends; wait while none is free.

    A slot is a locked file, so that the system frees it with the process, even after kill -9, and downloads that
    Snakemake starts side by side share the cap.
    """
    name, limit = limit_of(url)
    folder = _folder()
    slot = _free_slot(folder, name, limit.parallel)
    try:
        if limit.interval_s:
            _wait_for_turn(folder / f"{name}.last", limit.interval_s)
        yield
    finally:
        slot.close()


def _folder() -> Path:
    """Return this user's folder of slots on this machine."""
    folder = Path(tempfile.gettempdir()) / f"diverserna-hosts-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _free_slot(folder: Path, name: str, parallel: int) -> IO[bytes]:
    while True:
        for i in random.sample(range(parallel), parallel):
            handle = (folder / f"{name}.{i}").open("ab")
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                handle.close()
            else:
                return handle
        time.sleep(POLL_S * random.uniform(0.5, 1.5))


def _wait_for_turn(path: Path, interval_s: float) -> None:
    """Reserve the next start and sleep until then."""
    with path.open("a+", encoding="ascii") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        handle.seek(0)
        text, now = handle.read().strip(), time.time()
        try:
            turn = float(text) + interval_s
        except ValueError:
            turn = now
        # A clock that was set back must not make everybody wait.
        turn = now if turn < now or turn > now + 60 else turn
        handle.seek(0)
        handle.truncate()
        handle.write(str(turn))
    time.sleep(max(0.0, turn - now))
