"""Which experimental batches of a data set are held out for validation: whole ones, never single samples."""

import numpy as np
import pandas as pd

from txfm.errors import InputError

MOST_OF_SHARE = 1.5  # a batch that would take the held-out samples beyond this part of the wanted share stays


def held_out_batches(obs: pd.DataFrame, column: str | None, share: float, seed: int) -> np.ndarray:
    """Draw batches until about the wanted share of samples is held out; at least one, and never the last one.

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

    Returns
    -------
    numpy.ndarray (n_samples,), bool
        True for held-out samples.

    Raises
    ------
    InputError
        There is no such column, it has gaps, or fewer than two batches.
    """
    if column is None or column not in obs.columns:
        raise InputError(
            "Nothing says which samples belong to one experimental batch, so none can be held out for validation"
            if column is None
            else f"The samples have no column {column!r}",
            expected="--batch-column with one of " + (", ".join(map(str, obs.columns)) or "obs' columns; it has none"),
            todo="name the column of obs with batches, donors or plates; or train on everything: --validation none",
        )
    labels = obs[column]
    if labels.isna().any():
        raise InputError(
            f"Some samples have no value in column {column!r}",
            found=f"{int(labels.isna().sum()):,} of {len(labels):,}",
            todo="fill the column, leave these samples out, or name another --batch-column",
        )
    batch_of_sample, names = pd.factorize(labels.astype(str), sort=True)
    sizes = np.bincount(batch_of_sample)
    if len(sizes) < 2:
        raise InputError(
            f"Column {column!r} has one batch, of which nothing can be held out",
            expected="two batches or more",
            found=", ".join(map(str, names)),
            todo="name another --batch-column, or train on all samples with --validation none",
        )
    wanted, held = share * len(labels), np.zeros(len(sizes), dtype=bool)
    for batch in np.random.default_rng(seed).permutation(len(sizes)):
        total = sizes[held].sum()
        if total < wanted and total + sizes[batch] <= MOST_OF_SHARE * wanted:
            held[batch] = True
    if not held.any():
        held[np.argmin(sizes)] = True
    return held[batch_of_sample]
