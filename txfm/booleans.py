"""Columns of true and false as people's files have them."""

import numpy as np
import pandas as pd

from txfm.errors import InputError

WORDS = {"true": True, "false": False}


def strict_booleans(values: object, where: str) -> np.ndarray:
    """Read true and false; what may mean either is refused, because a cast makes the text "False" and a NaN true.

    Parameters
    ----------
    values : array-like (n,)
        bool; the numbers 0 and 1; or the words true and false in any case, as text or categories. A Series is taken by
        position.
    where : str
        For the message.

    Returns
    -------
    numpy.ndarray (n,), bool

    Raises
    ------
    InputError
        A value is missing or something else.
    """
    given = pd.Series(np.asarray(values, dtype=object) if isinstance(values, list | tuple) else values)
    if given.dtype == bool:
        return given.to_numpy()
    missing = given.isna().to_numpy()
    if missing.any():
        _refuse(
            where, f"{int(missing.sum()):,} of {len(given):,} values are missing, the first in row {missing.argmax():,}"
        )
    distinct = {value: _meaning(value) for value in given.unique().tolist()}
    if strange := [str(value) for value, meaning in distinct.items() if meaning is None]:
        _refuse(where, ", ".join(strange[:5]))
    return given.map(distinct).to_numpy(dtype=bool)


def _meaning(value: object) -> bool | None:
    if isinstance(value, str):
        return WORDS.get(value.strip().lower())
    return bool(value) if value in (0, 1) else None


def _refuse(where: str, found: str) -> None:
    raise InputError(
        "This does not say what is true and what is false",
        where=where,
        expected="true or false for every row: bool, 0 and 1, or these words",
        found=found,
        todo="fill what is missing, or write the column as bool",
    )
