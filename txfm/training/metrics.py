"""metrics.jsonl: what is known of a run, one line a log interval and one a validation."""

import json
import os
from pathlib import Path
from typing import Any, Self


class MetricsFile:
    """Append-only json lines, cut back to the last checkpoint when a run resumes, so that no step occurs twice.

    Parameters
    ----------
    path : Path
    keep_bytes : int
        Length at the checkpoint; 0 for a new run.
    """

    def __init__(self, path: Path, keep_bytes: int) -> None:
        self.path = path
        with path.open("ab") as existing:
            existing.truncate(keep_bytes)
        self._file = path.open("a")

    def append(self, line: dict[str, Any]) -> None:
        """Write one line."""
        self._file.write(json.dumps(line) + "\n")

    def sync(self) -> int:
        """Flush to disk and return the length in bytes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self.path.stat().st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sync()
        self._file.close()
