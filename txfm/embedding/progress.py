"""How far an embedding is."""

import sys
import time
from collections.abc import Iterator

import numpy as np

from txfm.progress_bar import ProgressBar, duration

SECONDS_BETWEEN = 0.5


def told(blocks: Iterator[np.ndarray], n_samples: int) -> Iterator[np.ndarray]:
    """The same blocks; samples done, samples per second and time left are drawn on stderr if it is a terminal."""
    started = drawn = time.monotonic()
    n_done = 0
    with ProgressBar(sys.stderr, n_samples) as bar:
        for block in blocks:
            yield block
            n_done += len(block)
            now = time.monotonic()
            if now - drawn >= SECONDS_BETWEEN or n_done == n_samples:
                drawn = now
                rate = n_done / max(now - started, 1e-9)
                done = f"{n_done:,} of {n_samples:,} samples ({n_done / n_samples:.0%})"
                bar.draw(n_done, f"{done}, {rate:,.0f} samples/s, {duration((n_samples - n_done) / rate)} left")
