"""Files out of the page cache and into it, and how much of them is there."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterable
from pathlib import Path

PIECE = 8 * 2**20
LIBC = ctypes.CDLL(None, use_errno=True)


def files_below(paths: Iterable[Path]) -> list[Path]:
    """Return the files of some files and folders."""
    return [
        file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*"))) if file.is_file()
    ]


def forget(files: Iterable[Path]) -> None:
    """Take files out of the page cache."""
    for file in files:
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
            os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def warm(files: Iterable[Path]) -> None:
    """Bring files into the page cache."""
    buffer = bytearray(PIECE)
    for file in files:
        with file.open("rb", buffering=0) as handle:
            while handle.readinto(buffer):
                pass


def resident_share(files: Iterable[Path]) -> float:
    """Return which share of the files' pages lies in the page cache, as mincore(2) sees it."""
    pages = resident = 0
    for file in files:
        size = file.stat().st_size
        if not size:
            continue
        with file.open("rb") as handle:
            # private and writable, because ctypes gives no address of a read-only buffer; nothing is written
            view = mmap.mmap(handle.fileno(), size, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
        n_pages = -(-size // mmap.PAGESIZE)
        states = (ctypes.c_ubyte * n_pages)()
        first = ctypes.c_char.from_buffer(view)
        if LIBC.mincore(ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(size), states):
            raise OSError(ctypes.get_errno(), "mincore", str(file))
        del first
        view.close()
        pages += n_pages
        resident += sum(state & 1 for state in states)
    return resident / pages if pages else 0.0
