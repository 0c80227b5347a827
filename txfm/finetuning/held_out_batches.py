"""Which experimental batches of a data set are held out for validation: whole ones, never single samples."""

import numpy as np
import pandas as pd

from txfm.errors import InputError
from txfm.finetuning.first_few import first_few

# Of the median batch. Barcodes and numbers measured of each cell (n_counts) have about one sample a value: holding out
# such values would be a random split of the cells. Plates, donors and lanes have more.
LEAST_SAMPLES = 5
MOST_OF_SHARE = 1.5  # a batch that would take the held-out samples beyond this part of the wanted share stays


def held_out_batches(
    obs: pd.DataFrame, column: str | None, share: float, seed: int, study_of_sample: np.ndarray | None = None
) -> np.ndarray:
    """Draw batches until about the wanted share of samples is held out; at least one, and no study's last one.

    Parameters
    ----------
    obs : pandas.DataFrame (n_samples)
        Labels of the samples.
    column : str or None
        That names each sample's batch.
    share : float
        Of the samples, between 0 and 1.
    seed : int
        Of the order in which batches are tried.
    study_of_sample : numpy.ndarray (n_samples,), str, optional
        Each study keeps training samples: validation compares with their mean. None = one study.

    Returns
    -------
    numpy.ndarray (n_samples,), bool
        True for held-out samples.

    Raises
    ------
    InputError
        There is no such column, it has gaps, fewer than two batches, or values that name no batches: fractions, or
        about one for each sample; or the share cannot be held out, because a study would have no training sample left.
    """
    if column is None or column not in obs.columns:
        raise InputError(
            "Nothing says which samples belong to one experimental batch, so none can be held out for validation"
            if column is None
            else f"The samples have no column {column!r}",
            where="obs",
            expected="--batch-column with one of " + _plausible(obs),
            found="no --batch-column" if column is None else f"--batch-column {column}",
            todo="name the column of obs with batches, donors or plates; or train on everything: --validation none",
        )
    labels, where = obs[column], f"column {column!r} of obs"
    if labels.isna().any():
        raise InputError(
            f"Some samples have no value in column {column!r}",
            where=where,
            expected="a batch for every sample",
            found=f"{int(labels.isna().sum()):,} of {len(labels):,} without",
            todo="fill the column, leave these samples out, or name another --batch-column",
        )
    if fault := _fault(labels):
        raise InputError(
            f"Column {column!r} names no experimental batches: held out, it would be a random split of the samples",
            where=where,
            expected="--batch-column with one of " + _plausible(obs),
            found=fault,
            todo="name the column of obs with batches, donors or plates; or train on everything: --validation none",
        )
    batch_of_sample, names = pd.factorize(labels.astype(str), sort=True)
    sizes = np.bincount(batch_of_sample)
    told = first_few([f"{name} ({size:,} samples)" for name, size in zip(names, sizes, strict=True)])
    if len(sizes) < 2:
        raise InputError(
            f"Column {column!r} has one batch, of which nothing can be held out",
            where=where,
            expected="two batches or more",
            found=told,
            todo="name another --batch-column, or train on all samples with --validation none",
        )
    studies = np.zeros(len(labels)) if study_of_sample is None else study_of_sample
    of_study_and_batch = pd.crosstab(studies, batch_of_sample).to_numpy()
    held, is_share_possible = _draw(sizes, of_study_and_batch, share * len(labels), seed)
    if not is_share_possible:
        raise InputError(
            "This share cannot be held out in whole batches: "
            + ("nothing" if len(of_study_and_batch) == 1 else "nothing of some study")
            + " would be left to train on",
            where=where,
            expected="training samples of every study beside the held-out batches",
            found=f"--validation-share {share}; {told}",
            todo="lower --validation-share, name a --batch-column with smaller batches, or train on all samples with "
            "--validation none",
        )
    return held[batch_of_sample]


def _fault(labels: pd.Series) -> str:
    """Why the values of a column without gaps cannot be names of batches; an empty text if they can."""
    if pd.api.types.is_float_dtype(labels):
        values = labels.to_numpy(dtype=float)
        fractions = values[values != np.floor(values)]  # infinity is whole
        if len(fractions):
            return f"numbers with fractions, such as {fractions[0]:.6g}"
    sizes = labels.value_counts()
    sizes = sizes[sizes > 0]  # a categorical column also counts the values that no sample has
    if len(sizes) > 1 and sizes.median() < LEAST_SAMPLES:
        return f"{len(sizes):,} values for {len(labels):,} samples, less than {LEAST_SAMPLES} in the median batch"
    return ""


def _plausible(obs: pd.DataFrame) -> str:
    """The columns that may name batches, for a message."""
    found = [str(name) for name, labels in obs.items() if not labels.isna().any() and labels.nunique() > 1]
    found = [name for name in found if not _fault(obs[name])]
    return ", ".join(found) or "obs' columns that names batches; it has none"


def _draw(sizes: np.ndarray, of_study_and_batch: np.ndarray, wanted: float, seed: int) -> tuple[np.ndarray, bool]:
    """Which batches are held out, and whether these are enough.

    Parameters
    ----------
    sizes : numpy.ndarray (n_batches,)
        Samples.
    of_study_and_batch : numpy.ndarray (n_studies, n_batches)
        The same by study.
    wanted : float
        Samples to hold out.
    seed : int
    """
    held, left, was_needed = np.zeros(len(sizes), dtype=bool), of_study_and_batch.sum(axis=1), False
    for batch in np.random.default_rng(seed).permutation(len(sizes)):
        total = sizes[held].sum()
        if total >= wanted or total + sizes[batch] > MOST_OF_SHARE * wanted:
            continue
        if (left > of_study_and_batch[:, batch]).all():
            held[batch] = True
            left = left - of_study_and_batch[:, batch]
        else:
            was_needed = True
    if not held.any():
        spare = np.flatnonzero((left[:, None] > of_study_and_batch).all(axis=0))
        if not len(spare):
            return held, False
        held[spare[np.argmin(sizes[spare])]] = True
    return held, not was_needed or sizes[held].sum() >= wanted
