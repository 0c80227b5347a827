"""Programs that tests run beside the project, each with packages of its own: they decide nothing in our lock file.

An environment is made once a machine, below the user's cache folder, from a list in tests/tools/ that pins every
package; its name holds the sum of the list and of the interpreter. It appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

TOOLS = Path(__file__).parent / "tools"
# A minute and a half on a slow line; measured: 16 s for moto, 35 s for annbatch
INSTALL_TIMEOUT_S = 240


def tool_python(name: str, interpreter: str = sys.executable) -> Path:
    """Return the interpreter of the environment of tests/tools/<name>.txt; skip the test where it cannot be made."""
    pins = TOOLS / f"{name}.txt"
    version = subprocess.run([interpreter, "-VV"], capture_output=True, text=True, check=True).stdout
    key = hashlib.sha256(pins.read_bytes() + version.encode() + os.path.realpath(interpreter).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "diverserna-tests" / f"{name}-{key}"
    python = Path("bin", "python")
    if not (folder / python).exists():
        partial = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.part")
        try:
            _make(interpreter, partial, pins)
            if not folder.exists():  # another session may have been faster
                partial.rename(folder)
        except (OSError, subprocess.SubprocessError) as error:
            reason = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1:]
            pytest.skip(f"the environment of tests/tools/{name}.txt cannot be made: {' '.join(reason)}")
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder / python


def _make(interpreter: str, folder: Path, pins: Path) -> None:
    def run(*command: str) -> None:
        subprocess.run(command, capture_output=True, text=True, check=True, timeout=INSTALL_TIMEOUT_S)

    folder.parent.mkdir(parents=True, exist_ok=True)
    run(interpreter, "-m", "venv", str(folder))
    pip = (str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input")
    run(*pip, "install", "--no-deps", "--no-compile", "--quiet", "-r", str(pins))


def interpreter_from(minor: int) -> str:
    """Return a Python 3.<minor> or newer that can make environments; skip the test where there is none."""
    check = f"import sys, venv, ensurepip; sys.exit(not (3, {minor}) <= sys.version_info[:2] <= (3, 13))"
    for candidate in _candidates(minor):
        try:
            if subprocess.run([candidate, "-c", check], capture_output=True, timeout=20, check=False).returncode == 0:
                return candidate
        except (OSError, subprocess.SubprocessError):
            continue
    pytest.skip(f"no Python 3.{minor} to 3.13 with the venv module on the PATH or below ~/.pyenv")


def _candidates(minor: int) -> Iterator[str]:
    yield sys.executable
    for version in range(minor, 14):
        yield from filter(None, [shutil.which(f"python3.{version}")])
    for version in range(minor, 14):
        yield from map(str, sorted(Path.home().glob(f".pyenv/versions/3.{version}*/bin/python")))
