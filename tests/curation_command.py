"""`python -m curation` as a process of its own, as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def run(*arguments: object, **options: Any) -> tuple[int, str, str]:
    """Run a verb; return exit code, stdout and stderr. A traceback fails the test."""
    done = subprocess.run(
        [sys.executable, "-m", "curation", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr
