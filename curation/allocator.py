"""What the C library does with memory that NumPy lets go of."""

from __future__ import annotations

import ctypes

# mallopt's parameter, from malloc.h of glibc
M_MMAP_THRESHOLD = -3
# Arrays from this size are given back to the system as soon as they are freed
MMAP_BYTES = 2**20


def give_back_large_arrays() -> None:
    """Let large arrays leave the process when they are freed, so that memory does not grow with the time that it runs.

    glibc raises its own threshold to the largest array that was freed, up to 32 MB. Blocks and runs of a few MB then
    lie between longer-lived ones on its heaps, and what is resident grows while nothing that is held does: from 10^5
    to 10^6 sparse rows by 33 %, with a fixed threshold by less than 5 % (benchmarks/curate.py, docs/benchmarks.md).
    Nothing happens where the C library is another one.
    """
    try:
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, MMAP_BYTES)
    except (AttributeError, OSError, TypeError):
        return
