"""The loops that every non-zero goes through, compiled, without Python's lock while they run."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

OUTSIDE = -1


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile for each combination of types that comes, and keep the machine code on disk where that is possible."""
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written to
        return njit(nogil=True)(function)


@compiled
def look_up(table: np.ndarray, indices: np.ndarray, out: np.ndarray) -> int:
    """``out = table[indices]``, indices unsigned; returns the largest entry, or `OUTSIDE` if an index is too large."""
    top = np.int64(0)
    for i in range(len(indices)):
        top = max(top, np.int64(indices[i]))
    if len(indices) and top >= len(table):
        return OUTSIDE
    for i in range(len(indices)):
        out[i] = table[indices[i]]
    largest = np.int64(0)
    for i in range(len(out)):
        largest = max(largest, np.int64(out[i]))
    return int(largest)


@compiled
def narrow(values: np.ndarray, out: np.ndarray) -> bool:
    """``out = values``, int32 as uint16; whether every value lies in its range."""
    bits = np.int32(0)
    for i in range(len(values)):
        bits |= values[i]
        out[i] = values[i]
    return bool(0 <= bits < 2**16)  # a negative value leaves the sign bit


@compiled
def drop(
    absent: int,
    indptr: np.ndarray,
    positions: np.ndarray,
    counts: np.ndarray,
    kept: np.ndarray,
    out_positions: np.ndarray,
    out_counts: np.ndarray,
) -> None:
    """Copy the entries that are not at position `absent`; `kept` becomes their indptr."""
    n = 0
    for row in range(len(indptr) - 1):
        kept[row] = n
        for i in range(indptr[row], indptr[row + 1]):
            if positions[i] != absent:
                out_positions[n], out_counts[n] = positions[i], counts[i]
                n += 1
    kept[len(indptr) - 1] = n


@compiled
def copy_rows(
    positions: np.ndarray,
    counts: np.ndarray,
    starts: np.ndarray,
    stops: np.ndarray,
    targets: np.ndarray,
    out_positions: np.ndarray,
    out_counts: np.ndarray,
) -> None:
    """Copy the entries [start, stop) of each row to where its target begins, in the types of the output."""
    for row in range(len(starts)):
        n = stops[row] - starts[row]
        # Slices, so that the inner loops are over whole arrays and become vector instructions
        from_positions, to_positions = positions[starts[row] : stops[row]], out_positions[targets[row] :]
        for i in range(n):
            to_positions[i] = from_positions[i]
        from_counts, to_counts = counts[starts[row] : stops[row]], out_counts[targets[row] :]
        for i in range(n):
            to_counts[i] = from_counts[i]


# The compiler takes 0.3 s to start: now, not while somebody waits for the first batch
narrow(np.empty(0, np.int32), np.empty(0, np.uint16))
