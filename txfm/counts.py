"""Telling raw counts from everything else that AnnData files hold in X."""

from collections.abc import Callable, Iterable

import numpy as np

from txfm.errors import InputError

INTEGER_TOLERANCE = 1e-3  # float noise of files that went through text or a scaling and back
LARGEST_LOG_VALUE = 20.0  # log1p of 4.9e8: no log-transformed count is larger


def looks_like_counts(values: np.ndarray) -> bool:
    """Whether there are values and all of them are whole numbers of 0 or more."""
    if values.size == 0 or values.dtype.kind not in "iuf":
        return False
    whole = np.isfinite(values).all() and values.min() >= 0
    return bool(whole and (np.abs(values - np.rint(values)) <= INTEGER_TOLERANCE).all())


def check_raw_counts(
    values: np.ndarray, where: str, allow_fractional: bool = False, find_counts: Callable[[], Iterable[str]] = tuple
) -> None:
    """Refuse values that are not raw counts.

    Parameters
    ----------
    values : numpy.ndarray
        Entries of the matrix; zeros may be left out.
    where : str
        What they are, for the message: "X" or "layers/counts".
    allow_fractional : bool
        Accept non-negative fractions: expected counts of RSEM, salmon or kallisto.
    find_counts : callable
        Asked only on a refusal: where the data holds raw counts, each place as advice.

    Raises
    ------
    InputError
        NaN or infinite, negative, or fractional values, with the evidence and what to pass instead.
    """
    if values.size == 0:
        return
    if not np.isfinite(values).all():
        n_bad = int((~np.isfinite(values)).sum())
        raise InputError(
            "The counts contain NaN or infinity", where=where, found=f"{n_bad:,} such values", todo=_advice(find_counts)
        )
    if values.min() < 0:
        found = f"smallest value {values.min():g}; negative values look like scaled or centred data"
        todo = _advice(find_counts)
        raise InputError("The values are not raw counts", where=where, expected="0 or more", found=found, todo=todo)
    if allow_fractional or np.issubdtype(values.dtype, np.integer):
        return
    fractional = np.abs(values - np.rint(values)) > INTEGER_TOLERANCE
    if not fractional.any():
        return
    largest = float(values.max())
    guess = "log-transformed" if largest < LARGEST_LOG_VALUE else "normalised, or expected counts"
    share, example = fractional.mean(), values[fractional][0]
    raise InputError(
        "The values are not raw counts",
        where=where,
        expected="whole numbers",
        found=f"{share:.0%} of the non-zero values are fractions such as {example:g}, the largest is {largest:g}: "
        f"they look {guess}",
        todo=_advice(find_counts)
        + "; if they are expected counts (RSEM, salmon), allow_fractional=True (--allow-fractional)",
    )


def _advice(find_counts: Callable[[], Iterable[str]]) -> str:
    places = list(find_counts())
    if places:
        return "raw counts are in " + ", or in ".join(places)
    return "pass the raw counts that these values were made from; this data holds none elsewhere"
