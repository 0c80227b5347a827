"""Where results go, looked at before hours of work and not after."""

import os
import tempfile
from pathlib import Path

from txfm.errors import InputError


def check_folder(folder: Path, option: str = "--out") -> None:
    """Refuse a folder that cannot be made, or that nothing can be written into; nothing is left behind.

    Parameters
    ----------
    folder : Path
        Its parents need not exist.
    option : str
        What chooses it.

    Raises
    ------
    InputError
        It or what it lies in is a file, or the disk does not let us write.
    """
    whole = Path(os.path.normpath(folder.absolute()))  # without "..", which could lead out of the probe
    existing = next(path for path in (whole, *whole.parents) if os.path.lexists(path))
    try:
        if existing.is_dir():
            with tempfile.TemporaryDirectory(prefix=".txfm-", dir=existing) as probe:
                (Path(probe) / whole.relative_to(existing)).mkdir(parents=True, exist_ok=True)
            return
    except OSError as error:
        raise InputError(
            "The output cannot be written",
            where=f"{option} {folder}",
            found=str(error),
            todo=f"choose another {option}",
        ) from error
    raise InputError(
        "The output is not a folder",
        where=f"{option} {folder}",
        found=f"{'a link' if existing.is_symlink() else 'a file'}: {existing}",
        todo=f"choose another {option}",
    )


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
