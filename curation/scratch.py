"""Temporary folders that a killed run leaves are removed by the next one, never under a run that is still alive."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def scratch_folder(parent: Path, label: str) -> Iterator[Path]:
    """Give a folder `.scratch.<label>.<host>.<pid>` under `parent`, gone afterwards.

    Folders of the same label whose process on this host has died are removed first.
    """
    parent.mkdir(parents=True, exist_ok=True)
    prefix = f".scratch.{label}.{platform.node() or 'localhost'}."
    for leftover in parent.glob(f"{prefix}*"):
        if not _alive(leftover.name.removeprefix(prefix)):
            shutil.rmtree(leftover, ignore_errors=True)
    folder = parent / f"{prefix}{os.getpid()}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: str) -> bool:
    if not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
