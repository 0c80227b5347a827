"""What the metrics are given, checked once: embeddings, labels and rows that fit one another.

Lists are taken as arrays, and a Series by position: its index says nothing.
"""

import numpy as np
import pandas as pd

from txfm.errors import InputError

SAME = 1e-6  # of the largest number: the rounding of float32, ten times
ROWS_AT_A_TIME = 16_384


def checked_embedding(embedding: object, what: str = "embedding") -> np.ndarray:
    """The embedding as an array (n, d).

    Raises
    ------
    InputError
        It is no matrix of numbers, or some are not finite.
    """
    values = np.asarray(embedding)
    if values.ndim != 2 or not values.shape[1] or values.dtype.kind not in "fiu":
        raise InputError(
            f"The {what} cannot be used",
            expected="a matrix of numbers, a row a sample, with one column or more",
            found=f"{values.dtype} of shape {values.shape}",
        )
    refuse_not_finite(values, what)
    return values


def checked_labels(labels: object, n: int, what: str) -> np.ndarray:
    """Labels of n samples as an array (n,); `what` names them in the plural.

    Raises
    ------
    InputError
        They are not n, or some are missing.
    """
    values = np.asarray(labels)
    if values.shape != (n,):
        raise InputError(
            f"The {what} do not fit the samples", expected=f"one for each of {n:,}", found=f"{values.shape}"
        )
    missing = np.flatnonzero(pd.isna(values))
    if len(missing):
        raise InputError(
            f"Some {what} are missing",
            expected="one for each sample",
            found=f"{len(missing):,} of {n:,}, the first in row {missing[0]:,}",
            todo="leave these samples out",
        )
    return values


def checked_rows(rows: object, n: int, what: str) -> np.ndarray:
    """Positions of some of n samples, int64; a mask (n,) of bool is turned into them.

    Raises
    ------
    InputError
        They are no positions, or lie outside.
    """
    values = np.asarray(rows)
    if values.dtype == bool and values.shape == (n,):
        return np.flatnonzero(values)
    if values.ndim != 1 or (
        len(values) and (values.dtype.kind not in "iu" or not 0 <= values.min() <= values.max() < n)
    ):
        raise InputError(
            f"The {what} rows cannot be used",
            expected=f"positions from 0 to {n - 1:,}, or a mask of {n:,} true and false",
            found=f"{values.dtype} of shape {values.shape}"
            + (f", {values.min()} to {values.max()}" if values.ndim == 1 and values.dtype.kind in "iu" else ""),
        )
    return values.astype(np.int64)


def refuse_not_finite(values: np.ndarray, what: str, rows: np.ndarray | None = None) -> None:
    """Refuse vectors (n, d) that hold NaN or infinity; memory does not grow with n. `rows` (n,): theirs in the file.

    Raises
    ------
    InputError
        The message says how many rows, and the first.
    """
    starts = range(0, len(values), ROWS_AT_A_TIME)
    blocks = ((start, np.isfinite(values[start : start + ROWS_AT_A_TIME]).all(axis=1)) for start in starts)
    bad = [start + row for start, finite in blocks for row in np.flatnonzero(~finite).tolist()]
    if bad:
        first = bad[0] if rows is None else int(rows[bad[0]])
        raise InputError(
            f"The {what} holds values that are not finite numbers",
            expected="numbers that are finite in float32",
            found=f"{len(bad):,} such rows of {len(values):,}, the first is row {first:,}",
            todo="leave these samples out, or embed them again",
        )


def refuse_constant(embedding: np.ndarray, where: str = "") -> None:
    """Refuse vectors (n, d) that are all the same: they hold nothing, and their neighbours are no more than an order.

    Raises
    ------
    InputError
        No dimension differs between two rows by more than rounding.
    """
    low, high = embedding.min(axis=0), embedding.max(axis=0)
    largest = max(np.abs(low).max(), np.abs(high).max())
    if (high - low).max() <= SAME * largest:
        raise InputError(
            "The embedding is constant: all samples have the same vector",
            where=where,
            expected="vectors that differ between samples",
            found=f"{len(embedding):,} samples",
            todo="look for a model that collapsed, or for samples without counts",
        )
