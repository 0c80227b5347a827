"""Vectors as a bare array, .npy: rows in the input's order, no labels."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.lib import format as npy


def write_npy(path: Path, blocks: Iterable[np.ndarray], n_rows: int, width: int) -> None:
    """Write float32 blocks of rows into one .npy file (n_rows, width).

    Raises
    ------
    AssertionError
        The blocks do not come to `n_rows` rows.
    """
    written = 0
    with path.open("wb") as stream:
        npy.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (n_rows, width)})
        for block in blocks:
            np.ascontiguousarray(block, dtype="<f4").tofile(stream)
            written += len(block)
    assert written == n_rows, f"{written} of {n_rows} samples were embedded"
