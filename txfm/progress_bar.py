"""How far a command is: one line at the bottom of a terminal, below everything that is printed meanwhile."""

import os
import sys
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from typing import Any, Self, TextIO, cast

CLEARED = "\r\x1b[K"
WIDTH = 20  # of the bar itself
DEFAULT_COLUMNS = 80  # of a terminal that does not say how wide it is


class ProgressBar:
    """Draws on a terminal, and does nothing on any other stream.

    While it is entered, whatever is printed to standard output or standard error first takes the bar away, so that no
    message is glued to it; the next `draw` brings it back below. At the end its line is ended.

    Parameters
    ----------
    stream : TextIO
        Standard output or standard error.
    total : int
        What there is to do.
    """

    def __init__(self, stream: TextIO, total: int) -> None:
        self.stream, self.total = stream, total
        self.on_terminal = stream.isatty()
        self._is_drawn = False
        self._cleaning = ExitStack()

    def draw(self, done: int, text: str) -> None:
        """Draw the bar anew, with `text` behind it; what the terminal has no room for is cut off."""
        if not self.on_terminal:
            return
        filled = round(WIDTH * done / max(self.total, 1))
        line = f"[{'#' * filled}{'.' * (WIDTH - filled)}] {text}"
        self.stream.write(CLEARED + line[: _columns(self.stream) - 1])  # a line that wraps could not be cleared
        self.stream.flush()
        self._is_drawn = True

    def take_away(self) -> None:
        """Clear the bar's line, if it is there."""
        if self._is_drawn:
            self._is_drawn = False
            self.stream.write(CLEARED)
            self.stream.flush()

    def __enter__(self) -> Self:
        if self.on_terminal:
            out, err = (cast(TextIO, _Below(self, stream)) for stream in (sys.stdout, sys.stderr))
            if out.isatty():
                self._cleaning.enter_context(redirect_stdout(out))
            if err.isatty():
                self._cleaning.enter_context(redirect_stderr(err))
        return self

    def __exit__(self, *_: object) -> None:
        self._cleaning.close()
        if self._is_drawn:
            self._is_drawn = False
            self.stream.write("\n")
            self.stream.flush()


class _Below:
    """A stream to the terminal that a bar is on; all but writing is the stream's own."""

    def __init__(self, bar: ProgressBar, stream: TextIO) -> None:
        self._bar, self._stream = bar, stream

    def write(self, text: str) -> int:
        self._bar.take_away()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def duration(seconds: float) -> str:
    """Such as ``2 d 3:04:05``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return (f"{days} d " if days else "") + f"{hours}:{minutes:02}:{rest:02}"


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or DEFAULT_COLUMNS
    except OSError:
        return DEFAULT_COLUMNS
