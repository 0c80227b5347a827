"""Room on the disk, asked for before the first byte, and bytes sent there while more arrive."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

from curation.errors import InputError
from curation.sizes import human_size

# What a download leaves free: other programs write logs and state.
RESERVE_BYTES = 64 * 2**20
# After so many bytes they are sent to the disk; the sync before the rename then has little left to wait for.
SYNC_BYTES = 32 * 2**20


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


class BackgroundSync:
    """Syncs a file in a thread of its own, now and then, while it is written.

    Parameters
    ----------
    descriptor : int
        Of the open file.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._n_bytes = 0
        self._thread: threading.Thread | None = None
        self._error: OSError | None = None

    def wrote(self, n_bytes: int) -> None:
        """Count written bytes; raises the `OSError` of an earlier sync."""
        self._n_bytes += n_bytes
        if self._n_bytes >= SYNC_BYTES and (self._thread is None or not self._thread.is_alive()):
            self.wait()
            self._n_bytes = 0
            self._thread = threading.Thread(target=self._sync)
            self._thread.start()

    def wait(self) -> None:
        """Wait for a sync under way; raises its `OSError`, which the system reports only once."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _sync(self) -> None:
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            self._error = error
