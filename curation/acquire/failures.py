"""How getting a file fails, by what is to be done next."""

from __future__ import annotations


class GivenUpError(Exception):
    """An address did not give the file and asking again would not help; the next address may. `todo` is advice."""

    def __init__(self, what: str, todo: str = "") -> None:
        super().__init__(what)
        self.todo = todo


class BusyError(GivenUpError):
    """The server did not answer in time, again and again; nothing is known of the file."""


class WrongBytesError(Exception):
    """The bytes are not the file that the catalogue describes."""


class TryAgainError(Exception):
    """A failure that may pass.

    Parameters
    ----------
    what : str
    wait_s : float, optional
        Seconds that the server asked to wait.
    progress : bool
        The try brought so much that the count of tries starts again.
    """

    def __init__(self, what: str, wait_s: float | None = None, *, progress: bool = False) -> None:
        super().__init__(what)
        self.wait_s = wait_s
        self.progress = progress
