"""Perturbation consistency, the paper's and EFAAR's: which perturbations move their cells in a common direction."""

from collections.abc import Collection
from typing import Literal

import numpy as np
import pandas as pd

from txfm.consistency.align import align, sums_by_group
from txfm.consistency.cells import ArrayEmbeddings, Cells, Embeddings
from txfm.consistency.statistic import N_NULL_CELLS, NULL_READINGS, measure_consistency
from txfm.errors import InputError
from txfm.evaluation.checked_arrays import checked_embedding, checked_labels

SIGNIFICANT = 0.01  # paper, sec. C.2
EFAAR_SIGNIFICANT = 0.05  # Tx-Evaluation
LEAST_NULL = 20  # perturbations of EFAAR's null: with fewer, p <= 0.05 is above all of it or nothing
COLUMNS = ("perturbation", "n_cells", "statistic", "p_value", "p_pooled", "p_per_perturbation")


def perturbation_consistency(
    embedding: np.ndarray,
    perturbation: np.ndarray,
    batch: np.ndarray,
    control: str | Collection[str],
    null: Literal["pooled", "per_perturbation"] = "pooled",
    seed: int = 0,
    *,
    aligned: bool = False,
    n_null_cells: int = N_NULL_CELLS,
) -> pd.DataFrame:
    """Measure the consistency of every perturbation as the paper does (sec. C.2).

    The cells are aligned: PCA of the controls with all components, then every batch to mean 0 and variance 1 over
    all of its cells. The statistic of a perturbation is the mean over its cells of the cosine to the mean of its other
    cells. Its p-value is (1 + number of null cosines >= statistic) / (1 + number of null cosines), where the null holds
    cosines of `n_null_cells` random cells, controls among them, to means of perturbations other than their own.

    Parameters
    ----------
    embedding : numpy.ndarray (n, d)
    perturbation : numpy.ndarray (n,), str
        Guides of a gene pooled under its name; "" for a cell without a label, which is aligned and may be drawn for the
        null, but is not scored.
    batch : numpy.ndarray (n,)
    control : str or collection of str
        Labels of controls, which are not scored.
    null : {"pooled", "per_perturbation"}
        Which reading of "the null distribution" `p_value` follows: one of all perturbations, or one for each. The frame
        has both.
    seed : int
        Which cells the null holds; none if there are no more than `n_null_cells`.
    aligned : bool
        The embedding is aligned already.
    n_null_cells : int

    Returns
    -------
    pandas.DataFrame
        A row a perturbation, by name: perturbation, n_cells, statistic, p_value, p_pooled, p_per_perturbation; NaN
        where a perturbation has one cell. The score of a screen is the share with p_value < 0.01: shuffled labels give
        about 0, because cosines of single cells are compared with a mean of cosines.

    Raises
    ------
    InputError
        Fewer than two controls, no perturbation with two cells, what is given does not fit or is not finite, or an
        unknown reading.
    """
    if null not in NULL_READINGS:
        raise InputError("There is no such null distribution", expected=" or ".join(NULL_READINGS), found=str(null))
    embedding = checked_embedding(embedding)
    perturbation = checked_labels(perturbation, len(embedding), "perturbations")
    batch = checked_labels(batch, len(embedding), "batches")
    labels = [control] if isinstance(control, str) else list(control)
    cells = Cells.from_labels(perturbation, np.isin(perturbation, labels), batch)
    embeddings: Embeddings = ArrayEmbeddings(embedding)
    measured = measure_consistency(
        embeddings if aligned else align(embeddings, cells), cells, n_null_cells=n_null_cells, seed=seed
    )
    return pd.DataFrame(
        {
            "perturbation": np.array(cells.perturbations, dtype=object),
            "n_cells": measured.n_cells,
            "statistic": measured.statistic,
            "p_value": measured.p_pooled if null == "pooled" else measured.p_per_perturbation,
            "p_pooled": measured.p_pooled,
            "p_per_perturbation": measured.p_per_perturbation,
        },
        columns=list(COLUMNS),
    )


def efaar_consistency(
    embedding: np.ndarray, perturbation: np.ndarray, null_perturbations: Collection[str]
) -> pd.DataFrame:
    """Measure consistency as EFAAR and Tx-Evaluation do (`pert_signal_consistency_benchmark`, efaar-benchmarking 1.0).

    The statistic is the mean cosine of all pairs of a perturbation's cells; p = 1 - the share of the null that is below
    it, where the null holds the statistics of perturbations that should do nothing, such as of unexpressed genes.

    Parameters
    ----------
    embedding : numpy.ndarray (n, d)
        After any post-processing.
    perturbation : numpy.ndarray (n,), str
        Leave out controls, or cells with any other label that is not to be scored, by "".
    null_perturbations : collection of str
        At least one of them with two cells; with fewer than `LEAST_NULL`, 0.05 is no step of p and a benchmark has no
        score.

    Returns
    -------
    pandas.DataFrame
        A row a perturbation that is none of the null, by name: perturbation, n_cells, statistic, p_value; NaN for one
        cell. The score is the share of p-values <= 0.05; its chance is 5 %.

    Raises
    ------
    InputError
        No perturbation of the null has two cells, or what is given does not fit or is not finite.
    """
    embedding = checked_embedding(embedding)
    perturbation = checked_labels(perturbation, len(embedding), "perturbations")
    cells = Cells.from_labels(perturbation, np.zeros(len(perturbation), dtype=bool), np.zeros(len(perturbation)))
    n = len(cells.perturbations)
    sizes = np.bincount(cells.perturbation[cells.perturbation >= 0], minlength=n)
    sums, n_directed = np.zeros((n, embedding.shape[1])), np.zeros(n)
    for start, block in ArrayEmbeddings(embedding).blocks():
        codes = cells.perturbation[start : start + len(block)]
        norms = np.linalg.norm(block, axis=1, keepdims=True)
        block /= np.where(norms == 0, 1, norms)
        present, block_sums = sums_by_group(block, codes)
        sums[present[present >= 0]] += block_sums[present >= 0]
        directed = (codes >= 0) & (norms[:, 0] > 0)
        n_directed += np.bincount(codes[directed], minlength=n)
    # The sum over all pairs of unit vectors is the squared length of their sum, less each with itself
    statistic = np.full(n, np.nan)
    several = sizes >= 2
    pairs = sizes[several] * (sizes[several] - 1)
    statistic[several] = ((sums[several] ** 2).sum(axis=1) - n_directed[several]) / pairs
    is_null = np.isin(np.array(cells.perturbations), list(null_perturbations))
    null = np.sort(statistic[is_null & several])
    if len(null) == 0:
        raise InputError(
            "There is no null distribution",
            expected="perturbations of unexpressed genes with two cells or more",
            found=f"{int(is_null.sum()):,} such perturbations, none with two cells",
        )
    p_value = np.where(np.isnan(statistic), np.nan, 1 - np.searchsorted(null, statistic) / len(null))
    frame = pd.DataFrame(
        {
            "perturbation": np.array(cells.perturbations, dtype=object),
            "n_cells": sizes.astype(np.int64),
            "statistic": statistic,
            "p_value": p_value,
        }
    )
    return frame[~is_null].reset_index(drop=True)
