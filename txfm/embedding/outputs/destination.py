"""Where an output goes: refused before any work if it may not be written, and renamed into place at the end."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from txfm.errors import InputError
from txfm.files import flush_to_disk, temporary_beside


def check_destination(out: Path, *, suffixes: tuple[str, ...], force: bool, keep: tuple[Path, ...] = ()) -> None:
    """Refuse an output that cannot or may not be written.

    Parameters
    ----------
    out : Path
    suffixes : tuple of str
        Kinds that can be written.
    force : bool
        Allow to replace a file or a .zarr store that is there.
    keep : tuple of Path
        Inputs, which are never changed, whatever `force` says.

    Raises
    ------
    InputError
        The kind is unknown, the folder does not exist, there is something already, or the output is an input or lies
        within one.
    """
    if out.suffix not in suffixes:
        raise InputError(
            "The output's kind is unknown",
            where=str(out),
            expected=", ".join(suffixes),
            found=out.suffix or "no suffix",
        )
    if not out.parent.is_dir():
        raise InputError(
            "The folder of the output does not exist",
            where=str(out.parent),
            expected="a folder",
            found="nothing" if not out.parent.exists() else "a file",
            todo=f"correct the path, or mkdir -p {out.parent}",
        )
    for path in keep:
        if (out.exists() and path.exists() and out.samefile(path)) or path.resolve() in out.resolve().parents:
            raise InputError(
                "The output would change the input or the model",
                where=str(out),
                expected="another path, not within them",
                found=str(path),
                todo="write a new file; it can hold everything that the input holds",
            )
    if not out.exists():
        return
    if not force:
        raise InputError(
            "The output exists already",
            where=str(out),
            expected="a path where nothing is",
            found="a folder" if out.is_dir() else f"a file of {out.stat().st_size:,} bytes",
            todo="choose another path, or replace it with --force",
        )
    if out.is_dir() and not any((out / name).is_file() for name in ("zarr.json", ".zgroup")):
        raise InputError("The output is a folder that is no .zarr store", where=str(out), todo="remove it by hand")


@contextmanager
def atomic(out: Path) -> Iterator[Path]:
    """Give a hidden path beside `out` to write a file or a folder to; it takes its name at the end, or is removed.

    A reader sees what was there before, or all of the new, never a part; only a folder that is replaced is missing for
    a moment.
    """
    temporary = temporary_beside(out)
    _remove(temporary)
    try:
        yield temporary
        flush_to_disk(temporary)
        if out.is_dir():
            old = temporary.with_suffix(".old")
            out.rename(old)
            temporary.rename(out)
            shutil.rmtree(old)
        else:
            temporary.rename(out)
        flush_to_disk(out.parent)
    finally:
        _remove(temporary)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
