"""Which study each sample of a file belongs to: what is compared with the studies that a model has seen."""

import numpy as np
import pandas as pd

from txfm.errors import InputError
from txfm.finetuning.first_few import first_few

COLUMN = "study"


def study_of_samples(obs: pd.DataFrame, given: str | None, file_name: str) -> np.ndarray:
    """The study that a file's column `study` names, sample by sample; a name given by hand is for those without.

    Parameters
    ----------
    obs : pandas.DataFrame (n_samples)
        Labels of the samples.
    given : str or None
        ``--study``.
    file_name : str
        The file's name without its suffixes: the study, where neither the column nor `given` says it.

    Returns
    -------
    numpy.ndarray (n_samples,), str objects

    Raises
    ------
    InputError
        A name is given, but the column names the study of every sample: it cannot be renamed from outside, because then
        a study that the model has seen would pass under another name.
    """
    name = given or file_name
    if COLUMN not in obs.columns:
        return np.full(len(obs), name, dtype=object)
    column = obs[COLUMN]
    stated = column.astype(str).str.strip()
    is_stated = column.notna() & (stated != "")
    named = sorted(stated[is_stated].unique())
    if given is not None and len(obs) and is_stated.all() and named != [given]:
        raise InputError(
            f"The file's column {COLUMN!r} names the study of every sample, so --study cannot give another name",
            where=f"column {COLUMN!r} of obs",
            expected="no --study; or samples without a study, which get its name",
            found=f"--study {given}; the column has {first_few(named)}",
            todo="leave --study out; give the column another name in the file if its values are no studies",
        )
    return stated.where(is_stated, name).to_numpy(dtype=object)
