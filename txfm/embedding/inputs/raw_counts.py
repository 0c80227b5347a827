"""Telling raw counts from everything else that files hold: logarithms, scaled values, CPM, TPM."""

from collections.abc import Callable, Iterable

import numpy as np
import scipy.sparse as sp

from txfm.errors import InputError

INTEGER_TOLERANCE = 1e-3  # float noise of files that went through text or a scaling and back
LARGEST_LOG_VALUE = 20.0  # log1p of 4.9e8: no log-transformed count is larger
LARGEST_COUNT = 2**31 - 1  # what a corpus stores; no gene of any sample comes near
# Between the quartiles totals of counts differ by 15% and more; those of values that were scaled to one total do not
EQUAL_TOTALS_SPREAD = 0.01
VALUES_OF_A_TOTAL, SAMPLES_OF_A_SPREAD = 10, 4  # fewer prove nothing
# Rounded TPM and CPM add up to 1e6, but for what rounding takes away. Counts thinned to one depth have equal totals,
# too: but not this one
PER_MILLION = (0.99e6, 1.01e6)
# Of a sample. The deepest libraries have a few hundred million reads; sums of base coverage (recount3) have that many
# times the length of a read
LARGEST_MEDIAN_TOTAL = 3e8


def looks_like_counts(values: np.ndarray) -> bool:
    """Whether there are values and all of them are whole numbers of 0 or more."""
    if values.size == 0 or values.dtype.kind not in "iuf":
        return False
    sound = np.isfinite(values).all() and values.min() >= 0
    return bool(sound and not _is_fraction(values).any())


def places_of_counts(matrices: Iterable[tuple[str, np.ndarray]]) -> list[str]:
    """Which matrices hold counts, by their names and some of their values; each as what to pass."""
    return [f"{name}: pass counts={name!r} (--counts {name})" for name, some in matrices if looks_like_counts(some)]


def check_raw_counts(
    counts: sp.csr_matrix,
    where: str,
    *,
    allow_fractional: bool = False,
    find_counts: Callable[[], Iterable[str]] = tuple,
) -> None:
    """Refuse values that are not raw counts.

    Parameters
    ----------
    counts : scipy.sparse.csr_matrix (n_samples, n_genes)
    where : str
        What they are, for the message: "cells.h5ad, X".
    allow_fractional : bool
        Accept non-negative fractions up to 2^31 - 1: expected counts of RSEM, salmon or kallisto. Fractions that are
        proven to be something else, because samples have one total, are refused all the same.
    find_counts : callable
        Asked only on a refusal: where the input holds raw counts, each place as advice.

    Raises
    ------
    InputError
        NaN or infinite, negative, larger than any count, fractional, or whole numbers that add up to a million in every
        sample; with the evidence and what to pass instead.
    """
    values = counts.data
    if values.size == 0:
        return
    if not np.isfinite(values).all():
        n_bad = int((~np.isfinite(values)).sum())
        raise InputError(
            "The counts contain NaN or infinity",
            where=where,
            expected="whole numbers of 0 or more; 0 where a gene was not detected",
            found=f"{n_bad:,} such values of {values.size:,} looked at ({values.dtype})",
            todo=_advice(find_counts),
        )
    smallest, largest = values.min(), values.max()
    if smallest < 0:
        found = f"smallest value {smallest:g}; negative values look like scaled or centred data"
        todo = _advice(find_counts)
        raise InputError("The values are not raw counts", where=where, expected="0 or more", found=found, todo=todo)
    if largest > LARGEST_COUNT:
        raise InputError(
            "The values are not raw counts",
            where=where,
            expected=f"at most {LARGEST_COUNT:,} (2^31 - 1)",
            found=f"largest value {largest:,.0f}; no gene of a sample has so many reads",
            todo=_advice(find_counts) + "; if counts were divided or added up in too small a type, write them again",
        )
    fractional = _is_fraction(values)
    if fractional.any():
        kind, proven = _kind_of_fractions(counts, float(largest))
        if allow_fractional and not proven:
            return
        share, example = fractional.mean(), values[fractional][0]
        expected_counts = "; if they are expected counts (RSEM, salmon), allow_fractional=True (--allow-fractional)"
        raise InputError(
            "The values are not raw counts",
            where=where,
            expected="whole numbers, or expected counts, of which no two samples have one total"
            if allow_fractional
            else "whole numbers",
            found=f"{share:.0%} of the non-zero values are fractions such as {example:g}, the largest is {largest:g}: "
            f"they look {kind}",
            todo=_advice(find_counts) + ("" if proven else expected_counts),
        )
    if allow_fractional:
        return
    total = _equal_total(counts)
    if total is not None and PER_MILLION[0] <= total <= PER_MILLION[1]:
        raise InputError(
            "The values are not raw counts",
            where=where,
            expected="totals that differ between samples",
            found=f"whole numbers that add up to {total:,.0f} in every sample: they look like rounded TPM or CPM",
            todo=_advice(find_counts) + "; if they are counts, allow_fractional=True (--allow-fractional)",
        )


def check_depth(counts: sp.csr_matrix, where: str) -> None:
    """Refuse samples with more counts than a library has reads.

    Raises
    ------
    InputError
        The median of their totals is above `LARGEST_MEDIAN_TOTAL`.
    """
    median = float(np.median(np.asarray(counts.sum(axis=1, dtype=np.float64))))
    if median > LARGEST_MEDIAN_TOTAL:
        raise InputError(
            "The samples have more counts than a sequenced library has reads",
            where=where,
            expected=f"a median of at most {LARGEST_MEDIAN_TOTAL:,.0f} counts a sample",
            found=f"{median:,.0f}: they look like sums of base coverage (recount3), or sums over many samples",
            todo="divide base coverage by the length of a read and round it; if they are counts, such as sums over "
            "many cells, allow_deep=True (--allow-deep)",
        )


def check_numbers(dtype: np.dtype, where: str) -> None:
    """Refuse a matrix of texts, objects, truth values or complex numbers.

    Raises
    ------
    InputError
        The type is neither integer nor floating point.
    """
    if dtype.kind not in "iuf":
        raise InputError(
            "The matrix does not hold counts",
            where=where,
            expected="integers or floating-point numbers",
            found=f"values of type {dtype}",
            todo="convert it to numbers, such as adata.X = adata.X.astype('float32'), and write it again",
        )


def _is_fraction(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind in "iu":
        return np.zeros(values.shape, dtype=bool)
    return np.abs(values - np.rint(values)) > INTEGER_TOLERANCE


def _kind_of_fractions(counts: sp.csr_matrix, largest: float) -> tuple[str, bool]:
    """What fractions look like, and whether their totals prove it."""
    if largest < LARGEST_LOG_VALUE:
        values = counts.astype(np.float64)
        values.data = np.expm1(values.data)
        if (total := _equal_total(values)) is not None:
            return f"log-transformed: exp(x) - 1 adds up to {total:,.0f} in every sample", True
    if (total := _equal_total(counts)) is not None:
        return f"normalised (CPM, TPM or the like): they add up to {total:,.0f} in every sample", True
    return ("log-transformed" if largest < LARGEST_LOG_VALUE else "normalised, or expected counts"), False


def _equal_total(counts: sp.csr_matrix) -> float | None:
    """The total of every sample, if they agree beyond what counts do."""
    totals = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()[np.diff(counts.indptr) >= VALUES_OF_A_TOTAL]
    if len(totals) < SAMPLES_OF_A_SPREAD:
        return None
    low, middle, high = np.percentile(totals, [25, 50, 75])
    return float(middle) if high - low < EQUAL_TOTALS_SPREAD * middle else None


def _advice(find_counts: Callable[[], Iterable[str]]) -> str:
    places = list(find_counts())
    if places:
        return "raw counts are in " + ", or in ".join(places)
    return "pass the raw counts that these values were made from; this input holds none elsewhere"
