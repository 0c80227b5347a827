"""Members of wheels: public data that a Python package index serves wherever one answers."""

from __future__ import annotations

import fcntl
import glob
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from curation.acquire.addresses import WheelAddress
from curation.acquire.failures import GivenUpError
from curation.acquire.member_copy import DamagedArchiveError
from curation.acquire.part_file import PartFile
from curation.acquire.zip_members import copy_from_zip

# Lines of pip's message that are shown
PIP_LINES = 6
# Fewest parts of a wheel's name: package, version, Python, ABI and platform
NAME_PARTS = 5


def extract_member(address: WheelAddress, part: PartFile, wheels: Path, *, offline: bool = False) -> dict[str, str]:
    """Fill `part` with the member, out of the cached wheel or one that pip downloads.

    Parameters
    ----------
    address : WheelAddress
        Package, version and member.
    part : PartFile
        Receives the bytes.
    wheels : Path
        Folder of downloaded wheels; created if need be. Processes may share it; one at a time uses a requirement.
    offline : bool
        Use a cached wheel only.

    Returns
    -------
    dict
        Name and sha256 of the wheel, for the provenance.

    Raises
    ------
    GivenUpError
        pip failed, the wheel is not the one in the catalogue, or it has no such member.
    """
    not_cached = GivenUpError("the wheel is not cached, and no index is asked (--offline)")
    if offline and not wheels.is_dir():
        raise not_cached
    with _held(address, wheels):
        wheel = _cached(address, wheels, part.remote.wheel_sha256)
        if wheel is not None:
            try:
                return _copy(wheel, address, part)
            except DamagedArchiveError:
                if offline:
                    raise
        if offline:
            raise not_cached
        return _copy(_download(address, wheels), address, part)


def _copy(wheel: Path, address: WheelAddress, part: PartFile) -> dict[str, str]:
    """Fill `part` out of a wheel; one that is damaged, or not the catalogue's, is removed."""
    sha256 = _sha256(wheel)
    expected = part.remote.wheel_sha256
    if expected and sha256 != expected:
        wheel.unlink()
        raise GivenUpError(
            f"the wheel {wheel.name} has sha256 {sha256}, the catalogue says {expected}",
            todo="ask whether the package index serves the original file of this version",
        )
    part.restart()
    try:
        with zipfile.ZipFile(wheel) as archive:
            copy_from_zip(archive, address.member, part)
    except (zipfile.BadZipFile, zlib.error, EOFError, DamagedArchiveError) as error:
        wheel.unlink()
        raise DamagedArchiveError(f"the wheel {wheel.name} is damaged: {error}") from None
    return {"wheel": wheel.name, "wheel_sha256": sha256}


@contextmanager
def _held(address: WheelAddress, wheels: Path) -> Iterator[None]:
    """Let one process or thread at a time look for, download and read a wheel; kill -9 ends its turn as well."""
    wheels.mkdir(parents=True, exist_ok=True)
    path = wheels / f".{_release(address)}.lock"
    while True:
        with path.open("ab") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if not _has_name(handle, path):
                continue  # the one before removed it
            try:
                for left_over in wheels.glob(f"{glob.escape(_pip_prefix(address))}*"):
                    shutil.rmtree(left_over, ignore_errors=True)
                yield
                return
            finally:
                path.unlink(missing_ok=True)


def _has_name(handle: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _cached(address: WheelAddress, wheels: Path, expected: str | None) -> Path | None:
    """Return the wheel of an earlier download; one with another sum is not it."""
    for wheel in sorted(wheels.glob("*.whl")):
        parts = wheel.stem.split("-")
        if len(parts) < NAME_PARTS:
            continue  # whoever put it there, it is no wheel that pip downloaded
        package, version = parts[:2]
        same_release = _normal(package) == _normal(address.package) and version == address.version
        if same_release and (not expected or _sha256(wheel) == expected):
            return wheel
    return None


def _download(address: WheelAddress, wheels: Path) -> Path:
    """Let pip download the wheel into its own folder, then give it its name in one step.

    pip is the user's: index, proxies and credentials are whatever their pip is configured with.
    """
    with tempfile.TemporaryDirectory(dir=wheels, prefix=_pip_prefix(address)) as folder:
        # --isolated would ignore the user's index, so it is not given; nothing is built or installed.
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
        command += ["--disable-pip-version-check", "--no-input", "--dest", folder, address.requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = list(Path(folder).glob("*.whl"))
        if done.returncode or len(found) != 1:
            lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            raise GivenUpError(
                f"pip could not download {address.requirement}: " + " | ".join(lines[-PIP_LINES:]),
                todo=f"check that `python -m pip download --no-deps {address.requirement}` works here",
            )
        target = wheels / found[0].name
        found[0].replace(target)
    return target


def _pip_prefix(address: WheelAddress) -> str:
    """Return how the folders begin that pip downloads into; no version has an @, so 1.0 is not 1.0.1."""
    return f".pip.{_release(address)}@"


def _release(address: WheelAddress) -> str:
    return f"{_normal(address.package)}-{address.version}"


def _normal(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
