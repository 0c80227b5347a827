"""Prove that values are counts, and turn them into integers with a record of what was rounded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curation.errors import InputError
from curation.value_traits import log_of_integers, not_integer

INT32_MAX = 2**31 - 1
# Values judged at a time: 64 Ki float32 and their int32 stay in the second-level cache (benchmarks/counts.py)
CHUNK = 65_536
RAW_MATRIX = "point the catalogue at the raw count matrix of this study"


@dataclass(kw_only=True)
class Rounding:
    """What rounding did to a study's values; `n_values` counts the non-zeros that were looked at."""

    n_values: int = 0
    n_rounded: int = 0
    max_distance: float = 0.0


def to_integers(values: np.ndarray, *, count_kind: str, where: str, record: Rounding) -> np.ndarray:
    """Return `values` as int32 counts; int32 counts come back as they are, not copied.

    Parameters
    ----------
    values : ndarray of any integer, floating or boolean dtype
        The stored values of a block.
    count_kind : str
        What the catalogue says of them. `expected` (RSEM) allows fractions, which are rounded half to even; every
        other kind allows a distance of `INTEGER_TOLERANCE` from an integer.
    where : str
        Names the file in an error message.
    record : Rounding
        Takes how many values were moved, and how far.

    Raises
    ------
    InputError
        A value is missing, infinite, negative, above int32, or not an integer although the study's kind says so.
    """
    if values.dtype.kind in "iub":
        counts = _from_integers(values, where)
    elif values.dtype.kind == "f":
        counts = _from_floats(values, count_kind, where, record)
    else:
        raise InputError(
            "the values of the matrix are no numbers",
            where=where,
            expected="integers or floating-point numbers",
            found=f"values of type {values.dtype}",
            todo=RAW_MATRIX,
        )
    record.n_values += len(values)
    return counts


def _from_integers(values: np.ndarray, where: str) -> np.ndarray:
    if len(values) and (values.min() < 0 or values.max() > INT32_MAX):
        _require_range(values, where)
    return values.astype(np.int32, copy=False)


def _from_floats(values: np.ndarray, count_kind: str, where: str, record: Rounding) -> np.ndarray:
    """Cast and compare; only a chunk that does not come back unchanged is looked at value by value."""
    counts = np.empty(len(values), dtype=np.int32)
    again = np.empty(min(CHUNK, len(values)), dtype=values.dtype.newbyteorder("="))
    with np.errstate(invalid="ignore", over="ignore"):  # what does not fit int32 comes back changed, or as its limit
        for start in range(0, len(values), CHUNK):
            chunk, cast = values[start : start + CHUNK], counts[start : start + CHUNK]
            back = again[: len(chunk)]
            cast[...] = chunk
            back[...] = cast
            if not (np.equal(back, chunk).all() and cast.min() >= 0 and cast.max() < INT32_MAX):
                _round_into(cast, chunk.astype(np.float64), count_kind, values, where, record)
    return counts


def _round_into(
    cast: np.ndarray, chunk: np.ndarray, count_kind: str, values: np.ndarray, where: str, record: Rounding
) -> None:
    if not np.isfinite(chunk).all():
        found = values[~np.isfinite(values)]
        raise InputError(
            f"{_some(len(found), 'value is', 'values are')} missing or infinite",
            where=where,
            expected="counts: finite numbers, 0 or more",
            found=", ".join(str(value) for value in found[:3]),
            todo=RAW_MATRIX,
        )
    rounded = np.rint(chunk)
    _require_range(chunk, where, values)
    distance = np.abs(chunk - rounded)
    if count_kind != "expected" and not_integer(chunk).any():
        _refuse_fractions(values.astype(np.float64), count_kind, where)
    record.n_rounded += int(np.count_nonzero(distance))
    record.max_distance = max(record.max_distance, float(distance.max()))
    cast[...] = rounded


def _require_range(chunk: np.ndarray, where: str, values: np.ndarray | None = None) -> None:
    if chunk.min() < 0:
        values = chunk if values is None else values
        raise InputError(
            f"{_some(int(np.count_nonzero(values < 0)), 'value is', 'values are')} negative",
            where=where,
            expected="counts: finite numbers, 0 or more",
            found=f"{values.min():g}; scaled values and log-fold changes look like this",
            todo=RAW_MATRIX,
        )
    if np.rint(chunk.max()) > INT32_MAX:
        raise InputError(
            "a count does not fit in 32 bits",
            where=where,
            expected=f"counts up to {INT32_MAX}",
            found=f"{chunk.max():.0f}; base-pair coverage sums look like this",
            todo="use read counts, not coverage sums",
        )


def _refuse_fractions(values: np.ndarray, count_kind: str, where: str) -> None:
    finite = values[np.isfinite(values)]
    wrong = not_integer(finite)
    examples = ", ".join(f"{value:.6g}" for value in np.unique(finite[wrong])[:4])
    raise InputError(
        f"{np.count_nonzero(wrong)} of {len(values)} values of this block are not integers",
        where=where,
        expected=f"raw counts (the catalogue says count_kind: {count_kind})",
        found=f"{examples}{_what_it_looks_like(finite, finite[wrong])}",
        todo="name the raw matrix in the catalogue (matrix: raw/X or layers/NAME), or set "
        "`count_kind: expected` if these are RSEM expected counts, which are then rounded and recorded",
    )


def _some(n: int, one: str, many: str) -> str:
    return f"{n:,} {one if n == 1 else many}"


def _what_it_looks_like(values: np.ndarray, fractions: np.ndarray) -> str:
    """Name the transformation when undoing it makes integers of most values."""
    if name := log_of_integers(fractions):
        return f"; these look like {name}"
    if values.max() < 20:
        return f"; the largest is {values.max():.4g}, as in normalised and log-transformed matrices"
    return ""
