"""Where a model goes, and what is written beside it, looked at before it is trained or fitted."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from txfm.artifact.format import is_finished
from txfm.destinations import check_folder
from txfm.errors import InputError


def check_destinations(
    out: Path,
    *,
    checkpoints: Path | None = None,
    tensorboard: Path | None = None,
    inputs: Mapping[str, Path] | None = None,
) -> None:
    """Refuse to begin what could not be written at its end; nothing is left behind.

    Parameters
    ----------
    out : Path
        Folder of the finished model.
    checkpoints : Path, optional
        Folder that neither lies in `out` nor holds it.
    tensorboard : Path, optional
        Folder for event files.
    inputs : mapping of str to Path, optional
        Option and folder of what is read: no model and no checkpoint is written into it.

    Raises
    ------
    InputError
        There is a finished model, one folder lies in another, a file is in the way, or the disk does not let us write.
    """
    refuse_finished(out)
    written = {"--out": out} | ({} if checkpoints is None else {"--checkpoints": checkpoints})
    if checkpoints is not None and (_is_within(out, checkpoints) or _is_within(checkpoints, out)):
        raise InputError(
            "The folders of the model and of the checkpoints must lie apart: checkpoints are removed in the end",
            expected="two folders, neither within the other",
            found=f"--out {out}, --checkpoints {checkpoints}",
            todo=f"choose another --checkpoints, such as {out}.checkpoints",
        )
    for name, source in (inputs or {}).items():
        for option, folder in written.items():
            if _is_within(folder, source):
                raise InputError(
                    "The output lies within the input, which is never changed",
                    where=f"{option} {folder}",
                    expected=f"a folder outside {name} {source}",
                    todo=f"choose another {option}",
                )
    _check_model_folder(out)
    if checkpoints is not None:
        check_folder(checkpoints, "--checkpoints")
    if tensorboard is not None:
        check_folder(tensorboard, "--tensorboard")


def refuse_finished(out: Path) -> None:
    """Refuse to overwrite a model.

    Raises
    ------
    InputError
        The folder holds a finished one.
    """
    if is_finished(out):
        raise InputError(
            "There is a finished model in the output folder; it is never overwritten",
            where=str(out),
            todo="delete the folder to make it again, or choose another --out",
        )


def _check_model_folder(out: Path) -> None:
    """`check_folder`; files of a model are also written beside their folder, and renamed into it."""
    if out.name in ("", ".."):
        raise InputError("The model's folder needs a name of its own", where=f"--out {out}", expected="--out my_model")
    check_folder(out)
    if not out.is_dir():
        return
    try:
        with (
            tempfile.TemporaryDirectory(prefix=".txfm-", dir=out.parent) as beside,
            tempfile.TemporaryDirectory(prefix=".txfm-", dir=out) as within,
        ):
            (Path(beside) / "file").touch()
            (Path(beside) / "file").rename(Path(within) / "file")
    except OSError as error:
        raise InputError(
            "The output is a folder that no file beside it can be renamed into",
            where=f"--out {out}",
            expected="a folder on the disk of its parent, or one that is not there yet",
            found=str(error),
            todo=f"choose another --out, such as {out / 'model'}",
        ) from error


def _is_within(folder: Path, other: Path) -> bool:
    """Whether a folder is another one or lies in it; links are followed."""
    return folder.resolve().is_relative_to(other.resolve())
