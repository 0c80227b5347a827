"""How far a download is: a bar on a terminal, a line a minute in a log."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from curation.sizes import human_size

if TYPE_CHECKING:
    from tqdm import tqdm

# Seconds between two lines of a log
LOG_EVERY_S = 60.0


class Progress:
    """Counts bytes and shows them on stderr.

    Parameters
    ----------
    label : str
        Shown in front.
    total_bytes : int or None
    done : int
        Bytes of an earlier try.
    """

    def __init__(self, label: str, total_bytes: int | None = None, done: int = 0) -> None:
        self.label, self.total, self.done, self._start = label, total_bytes, done, done
        self._begun = self._shown = time.monotonic()
        self._bar: tqdm | None = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                desc=label, total=total_bytes, initial=done, unit="B", unit_scale=True, leave=False, dynamic_ncols=True
            )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def add(self, n_bytes: int) -> None:
        """Count bytes."""
        self.done += n_bytes
        if self._bar is not None:
            self._bar.update(n_bytes)
            return
        now = time.monotonic()
        if now - self._shown >= LOG_EVERY_S:
            self._shown = now
            print(self.line(now), file=sys.stderr, flush=True)

    def line(self, now: float) -> str:
        """Return name, bytes, rate and the time that is left, as of `now` (time.monotonic)."""
        rate = (self.done - self._start) / max(now - self._begun, 1e-9)
        text = f"{self.label}: {human_size(self.done)}"
        if self.total:
            text += f" of {human_size(self.total)} ({self.done / self.total:.0%})"
        text += f", {human_size(int(rate))}/s"
        if self.total and rate > 0:
            text += f", {_duration((self.total - self.done) / rate)} left"
        return text


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(int(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"
