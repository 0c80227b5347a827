"""What the values of some samples tell of how they came about: measured sample by sample, judged in `count_kind`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

# A float that came through a file as text is off by about 1e-11 (celltypist's sample); real fractions start far above.
INTEGER_TOLERANCE = 1e-6
# Values of a sample that are looked at one by one; its total, its ones and its extremes take all of them
VALUES_PER_SAMPLE = 2_048
# float32 keeps log(count + 1) so well that exp(x) - 1 is this close to the count, up to 5,000
EXP_TOLERANCE = 2e-3
# exp(x) - 1 stays far below float64's limit, and no log of a count is larger
LARGEST_LOG = 30.0
# Ratios to the smallest value of a sample: a float32 quotient below 50 is this close to its integer
RATIO_TOLERANCE, LARGEST_RATIO = 0.01, 50.0


@dataclass(frozen=True, kw_only=True)
class Traits:
    """Some samples of one kind, zeros left out.

    Attributes
    ----------
    samples : DataFrame
        One row a sample that has a value: total; largest; n_values; n_ones; n_negative; n_not_finite; n_fractions;
        multiples (share of the values below 50 times the smallest that are whole multiples of it; NaN for fewer than
        4);
        log_total and log_multiples (the same of exp(x) - 1; NaN where a value is negative or above `LARGEST_LOG`).
    values : ndarray of float64
        Finite values of all these samples, at most `VALUES_PER_SAMPLE` of each.
    """

    samples: pd.DataFrame
    values: np.ndarray

    @property
    def fractions(self) -> np.ndarray:
        """The distinct values that are no integers, in ascending order."""
        return np.unique(self.values[not_integer(self.values)])

    def median(self, column: str) -> float:
        """Return the median of a column; NaN where fewer than half of the samples have it."""
        known = self.samples[column].dropna()
        return float(known.median()) if 2 * len(known) >= len(self.samples) > 0 else float("nan")

    def spread(self, column: str) -> float:
        """Return the distance between the quartiles of a column over its median; NaN where it is not known."""
        low, middle, high = np.percentile(self.samples[column], [25, 50, 75])
        return float((high - low) / middle) if middle > 0 else float("nan")


def measure(matrices: Iterable[sparse.csr_matrix]) -> Traits:
    """Return the traits of the samples (rows) of some matrices; empty samples are left out."""
    rows: list[dict[str, float]] = []
    values: list[np.ndarray] = []
    for matrix in matrices:
        for start, stop in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True):
            stored = matrix.data[start:stop].astype(np.float64)
            stored = stored[stored != 0]
            if len(stored):
                row, some = _measure_sample(stored)
                rows.append(row)
                values.append(some)
    return Traits(samples=pd.DataFrame(rows), values=np.concatenate(values) if values else np.empty(0))


def not_integer(values: np.ndarray) -> np.ndarray:
    """Return which values are no integers; text with nine digits loses a little more of large numbers."""
    return np.abs(values - np.rint(values)) > INTEGER_TOLERANCE * np.maximum(1.0, np.abs(values) * 1e-3)


def log_of_integers(values: np.ndarray) -> str:
    """Return "log(count + 1)" or "log2(count + 1)" if that is what nine in ten of the values are, else ""."""
    logs = values[(values > 0) & (values < np.log(5_000))]
    for name, counts in (("log(count + 1)", np.expm1(logs)), ("log2(count + 1)", np.exp2(logs) - 1)):
        if len(logs) and np.mean(np.abs(counts - np.rint(counts)) < EXP_TOLERANCE) > 0.9:
            return name
    return ""


def _measure_sample(stored: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    finite = stored[np.isfinite(stored)]
    some = finite[:: max(1, -(-len(finite) // VALUES_PER_SAMPLE))]
    positive = bool(len(finite)) and finite.min() > 0
    logs = np.expm1(finite) if positive and finite.max() <= LARGEST_LOG else np.empty(0)
    row = {
        "total": float(finite.sum()),
        "largest": float(finite.max()) if len(finite) else float("nan"),
        "n_values": len(stored),
        "n_ones": int(np.count_nonzero(finite == 1)),
        "n_negative": int(np.count_nonzero(finite < 0)),
        "n_not_finite": len(stored) - len(finite),
        "n_fractions": int(np.count_nonzero(not_integer(finite))),
        "multiples": _share_of_multiples(finite) if positive else float("nan"),
        "log_total": float(logs.sum()) if len(logs) else float("nan"),
        "log_multiples": _share_of_multiples(logs),
    }
    return row, some


def _share_of_multiples(values: np.ndarray) -> float:
    if len(values) < 4:
        return float("nan")
    ratios = values / values.min()
    ratios = ratios[ratios < LARGEST_RATIO]
    if len(ratios) < 4:
        return float("nan")
    return float(np.mean(np.abs(ratios - np.rint(ratios)) < RATIO_TOLERANCE))
