"""Room on the disk, asked for before the first byte."""

from __future__ import annotations

import shutil
from pathlib import Path

from curation.errors import InputError
from curation.sizes import human_size

# What a download leaves free: other programs write logs and state.
RESERVE_BYTES = 64 * 2**20


def require_free(folder: Path, n_bytes: int, what: str) -> None:
    """Raise `InputError` unless the disk of `folder` has room for `n_bytes` more and the reserve.

    Parameters
    ----------
    folder : Path
        An existing folder.
    n_bytes : int
    what : str
        What needs the room, for the message.
    """
    free = shutil.disk_usage(folder).free
    if free < n_bytes + RESERVE_BYTES:
        raise InputError(
            f"the disk has no room for {what}",
            where=str(folder),
            expected=f"{human_size(n_bytes)} free, and {human_size(RESERVE_BYTES)} to spare",
            found=f"{human_size(free)} free",
            todo="make room, or run in a folder on a larger disk (snakemake --directory); what is downloaded is kept",
        )
