"""Prove that values are counts, and turn them into integers with a record of what was rounded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curation.errors import InputError

# A float that came through a file as text is off by about 1e-11 (celltypist's sample); real fractions start far above.
INTEGER_TOLERANCE = 1e-6
INT32_MAX = 2**31 - 1


@dataclass(kw_only=True)
class Rounding:
    """What rounding did to a study's values; `n_values` counts the non-zeros that were looked at."""

    n_values: int = 0
    n_rounded: int = 0
    max_distance: float = 0.0

    def add(self, values: np.ndarray, rounded: np.ndarray) -> None:
        """Take one block's values and what became of them into the record."""
        distance = np.abs(values - rounded)
        self.n_values += len(values)
        self.n_rounded += int(np.count_nonzero(distance))
        if len(distance):
            self.max_distance = max(self.max_distance, float(distance.max()))


def to_integers(values: np.ndarray, *, count_kind: str, where: str, record: Rounding) -> np.ndarray:
    """Return `values` as int32 counts.

    Parameters
    ----------
    values : ndarray, float64
        The non-zeros of a block.
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
    if not np.isfinite(values).all():
        found = values[~np.isfinite(values)][:3]
        raise InputError(
            "a value is missing or infinite",
            where=where,
            expected="counts: finite numbers, 0 or more",
            found=", ".join(str(value) for value in found),
            todo="point the catalogue at the raw count matrix of this study",
        )
    if len(values) and values.min() < 0:
        raise InputError(
            "a value is negative",
            where=where,
            expected="counts: finite numbers, 0 or more",
            found=f"{values.min():g}; scaled or log-fold values look like this",
            todo="point the catalogue at the raw count matrix of this study",
        )
    rounded = np.rint(values)
    if count_kind != "expected":
        distance = np.abs(values - rounded)
        wrong = distance > INTEGER_TOLERANCE * np.maximum(1.0, values * 1e-3)
        if wrong.any():
            examples = ", ".join(f"{value:.6g}" for value in np.unique(values[wrong])[:4])
            raise InputError(
                f"{np.count_nonzero(wrong)} of {len(values)} values of this block are not integers",
                where=where,
                expected=f"raw counts (the catalogue says count_kind: {count_kind})",
                found=f"{examples}{_what_it_looks_like(values)}",
                todo="name the raw matrix in the catalogue (matrix: raw/X or layers/NAME), or set "
                "`count_kind: expected` if these are RSEM expected counts, which are then rounded and recorded",
            )
    if len(rounded) and rounded.max() > INT32_MAX:
        raise InputError(
            "a count does not fit in 32 bits",
            where=where,
            expected=f"counts up to {INT32_MAX}",
            found=f"{rounded.max():.0f}; base-pair coverage sums look like this",
            todo="use read counts, not coverage sums",
        )
    record.add(values, rounded)
    return rounded.astype(np.int32)


def _what_it_looks_like(values: np.ndarray) -> str:
    """Name the transformation when exponentiating makes integers of most values."""
    counts_if_log = np.expm1(values[values < 30])
    if len(counts_if_log) and np.mean(np.abs(counts_if_log - np.rint(counts_if_log)) < 1e-3) > 0.9:
        return "; these look like log(count + 1)"
    if len(values) and values.max() < 20:
        return f"; the largest is {values.max():.4g}, as in normalised and log-transformed matrices"
    return ""
