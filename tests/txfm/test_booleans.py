"""True and false as files have them: read as they are meant, or refused."""

import numpy as np
import pandas as pd
import pytest

from txfm.booleans import strict_booleans
from txfm.errors import InputError

MEANT = [True, False, False]


@pytest.mark.parametrize(
    "values",
    [
        np.array(MEANT),
        MEANT,
        np.array([1, 0, 0]),
        np.array([1.0, 0.0, 0.0], dtype=np.float32),
        np.array(["True", "False", "false"]),
        pd.Series(["True", "False", "False"], dtype="category"),
        pd.Series(MEANT, dtype="boolean"),
        pd.Series(MEANT, index=[2, 1, 0]),
        np.array(MEANT, dtype=object),
    ],
)
def test_what_can_only_mean_one_thing_is_read(values):
    found = strict_booleans(values, "here")
    assert found.dtype == bool
    assert found.tolist() == MEANT


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.array([1.0, np.nan, 0.0]), r"1 of 3 values are missing, the first in row 1"),
        (pd.Series([True, None, False], dtype="boolean"), "are missing"),
        (np.array([True, None, False], dtype=object), "are missing"),
        (np.array([0, 2, 1]), "2"),
        (np.array(["yes", "no", "no"]), "yes, no"),
        (np.array(["True", "", "False"]), "where: here"),
    ],
)
def test_what_may_mean_either_is_refused(values, found):
    with pytest.raises(InputError, match=rf"(?s)what is true and what is false.*{found}"):
        strict_booleans(values, "here")
