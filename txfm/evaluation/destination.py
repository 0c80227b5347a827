"""Where scores go, looked at before hours of work and not after."""

import tempfile
from pathlib import Path

from txfm.errors import InputError


def check_folder(out: Path) -> None:
    """Refuse a folder that cannot be made, or that nothing can be written into; nothing is left behind.

    Raises
    ------
    InputError
        It or what it lies in is a file, or the disk does not let us write.
    """
    existing = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise InputError(
            "The output is not a folder", where=str(out), found=f"a file: {existing}", todo="choose another --out"
        )
    try:
        with tempfile.TemporaryDirectory(prefix=".txfm-evaluate-", dir=existing):
            pass
    except OSError as error:
        raise InputError(
            "The output cannot be written", where=str(out), found=str(error), todo="choose another --out"
        ) from error


def check_file(out: Path, suffix: str) -> None:
    """Refuse a file of another kind, or one that cannot be written.

    Raises
    ------
    InputError
    """
    if out.suffix != suffix or out.is_dir():
        found = f"a folder: {out}" if out.is_dir() else str(out)
        raise InputError(f"The output is not a {suffix} file", expected=f"table{suffix}", found=found)
    check_folder(out.parent)
