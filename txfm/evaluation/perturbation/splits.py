"""Splits of Tx-Evaluation: training batches and perturbations, and two test sets in other batches."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from txfm.booleans import strict_booleans
from txfm.errors import InputError
from txfm.evaluation.checked_arrays import checked_labels

SPLIT_SEED, TRAIN_SHARE = 42, 0.7  # Tx-Evaluation, data_split.py


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Rows of each part, ascending, int64; controls of a part's batches are among them.

    Attributes
    ----------
    train : numpy.ndarray
        Training batches and perturbations.
    test1 : numpy.ndarray
        Other batches, the same perturbations.
    test2 : numpy.ndarray
        The batches of test1, other perturbations.
    """

    train: np.ndarray
    test1: np.ndarray
    test2: np.ndarray


def split_screen(
    perturbation: np.ndarray,
    batch: np.ndarray,
    is_control: np.ndarray,
    *,
    seed: int = SPLIT_SEED,
    train_share: float = TRAIN_SHARE,
    batches: Sequence[str] | None = None,
    perturbations: Sequence[str] | None = None,
) -> Split:
    """Split by batch and by perturbation.

    Both lists are shuffled, batches first; the first 70 % (rounded down) of each are for training. A perturbation of
    test1 that no training cell has is left out.

    Parameters
    ----------
    perturbation, batch : numpy.ndarray (n,), str
    is_control : numpy.ndarray (n,), bool
    seed : int
    train_share : float
    batches, perturbations : sequence of str, optional
        What is shuffled, in this order. None: by name, so that the order of the rows says nothing. Tx-Evaluation takes
        them in order of appearance among the cells that are no controls.

    Raises
    ------
    InputError
        Too few batches or perturbations: a part would be empty; or arrays do not fit, or have missing values.
    """
    perturbation = checked_labels(perturbation, len(perturbation), "perturbations")
    batch = checked_labels(batch, len(perturbation), "batches")
    is_treated = ~strict_booleans(checked_labels(is_control, len(perturbation), "marks of controls"), "is_control")
    batches = sorted(set(batch[is_treated])) if batches is None else list(batches)
    perturbations = sorted(set(perturbation[is_treated])) if perturbations is None else list(perturbations)
    # The generator that Tx-Evaluation uses, for the same splits
    random = np.random.RandomState(seed)
    shuffled_batches, shuffled_perturbations = random.permutation(batches), random.permutation(perturbations)
    n_batches, n_perturbations = (int(len(each) * train_share) for each in (batches, perturbations))
    in_train_batch = pd.Series(batch).isin(shuffled_batches[:n_batches]).to_numpy()
    in_test_batch = pd.Series(batch).isin(shuffled_batches[n_batches:]).to_numpy()
    is_known = pd.Series(perturbation).isin(shuffled_perturbations[:n_perturbations]).to_numpy()
    train = is_treated & in_train_batch & is_known
    trained = pd.Series(perturbation).isin(np.unique(perturbation[train])).to_numpy()
    parts = {
        "train": train,
        "test1": is_treated & in_test_batch & is_known & trained,
        "test2": is_treated & in_test_batch & ~is_known,
    }
    if empty := [name for name, rows in parts.items() if not rows.any()]:
        raise InputError(
            f"The screen cannot be split: {', '.join(empty)} would be empty",
            expected=f"2 batches and 2 perturbations or more, {train_share:.0%} of each for training, in common cells",
            found=f"{len(batches):,} batches, {len(perturbations):,} perturbations",
        )
    return Split(**{name: _with_controls(rows, batch, ~is_treated) for name, rows in parts.items()})


def _with_controls(rows: np.ndarray, batch: np.ndarray, is_control: np.ndarray) -> np.ndarray:
    return np.flatnonzero(rows | (is_control & np.isin(batch, np.unique(batch[rows]))))
