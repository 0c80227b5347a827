"""A line on the terminal that says how far an embedding is."""

import sys
import time
from collections.abc import Iterator

import numpy as np

SECONDS_BETWEEN = 0.5


def told(blocks: Iterator[np.ndarray], n_samples: int) -> Iterator[np.ndarray]:
    """The same blocks; samples done, samples per second and time left are drawn on stderr if it is a terminal."""
    if not sys.stderr.isatty():
        yield from blocks
        return
    started = drawn = time.monotonic()
    n_done = 0
    for block in blocks:
        yield block
        n_done += len(block)
        now = time.monotonic()
        if now - drawn >= SECONDS_BETWEEN or n_done == n_samples:
            drawn = now
            rate = n_done / max(now - started, 1e-9)
            left = (n_samples - n_done) / rate
            done = f"{n_done:,} of {n_samples:,} samples ({n_done / n_samples:.0%})"
            sys.stderr.write(f"\r{done}, {rate:,.0f} samples/s, {left:,.0f} s left\x1b[K")
            sys.stderr.flush()
    sys.stderr.write("\n")
