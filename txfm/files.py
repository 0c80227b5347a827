"""Writing files so that a kill at any moment leaves either the old state or the new one."""

import json
import os
from pathlib import Path
from typing import Any


def flush_to_disk(path: Path) -> None:
    """fsync a file or a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write json and fsync it; NaN is refused, so that every reader can parse it."""
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    flush_to_disk(path)


def temporary_beside(path: Path) -> Path:
    """A hidden name in the same folder, hence on the same disk, so that a rename is atomic. The folder is created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")
