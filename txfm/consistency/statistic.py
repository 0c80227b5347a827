"""The statistic of a perturbation and its p-value under two readings of the null distribution (paper, sec. C.2)."""

from dataclasses import dataclass

import numpy as np

from txfm.consistency.align import sums_by_group
from txfm.consistency.cells import Cells, Embeddings
from txfm.errors import InputError

N_NULL_CELLS = 10_000  # sec. C.2
NULL_READINGS = ("pooled", "per_perturbation")
MEANS_AT_A_TIME = 128  # x 10,000 null cells x 8 bytes = 10 MB


@dataclass(frozen=True, kw_only=True, eq=False)
class Consistency:
    """Consistency of every perturbation, in the order of `Cells.perturbations`.

    Attributes
    ----------
    n_cells : numpy.ndarray (n,), int64
    statistic : numpy.ndarray (n,)
        Mean over a perturbation's cells of the cosine to the mean of its other cells; NaN for fewer than two cells.
    p_pooled : numpy.ndarray (n,)
        Null: cosines of random cells to the means of all perturbations, in one distribution. NaN without a statistic.
    p_per_perturbation : numpy.ndarray (n,)
        Null: cosines of random cells to the mean of this perturbation.
    n_null_cells, n_null : int
        Random cells, and cosines of the pooled null.
    n_zero : int
        Cells without a direction, such as the only one of a batch; their cosines are 0.
    """

    n_cells: np.ndarray
    statistic: np.ndarray
    p_pooled: np.ndarray
    p_per_perturbation: np.ndarray
    n_null_cells: int
    n_null: int
    n_zero: int


def measure_consistency(
    embeddings: Embeddings, cells: Cells, *, n_null_cells: int = N_NULL_CELLS, seed: int = 0
) -> Consistency:
    """Measure in two passes over aligned embeddings: means, then cosines to the mean of the other cells.

    Parameters
    ----------
    embeddings : Embeddings
        Aligned (`align`), or raw ones to leave the alignment out.
    cells : Cells
    n_null_cells : int
        Random cells of the null, controls among them, drawn uniformly without replacement; all if there are fewer.
        Cells of a perturbation are left out of its own null.
    seed : int
        Decides these cells and nothing else.

    Returns
    -------
    Consistency
        p = (1 + number of null cosines >= statistic) / (1 + number of null cosines).

    Raises
    ------
    InputError
        No perturbation has two cells.
    """
    assert len(cells) == embeddings.shape[0], "one label for each embedding"
    n_perturbations, width = len(cells.perturbations), embeddings.shape[1]
    labelled = cells.perturbation >= 0
    sizes = np.bincount(cells.perturbation[labelled], minlength=n_perturbations)
    scored = np.flatnonzero(sizes >= 2)
    if len(scored) == 0:
        raise InputError(
            "No perturbation has two cells, so none can be consistent",
            expected="cells with a perturbation that is no control",
            found=f"{labelled.sum():,} such cells of {n_perturbations:,} perturbations",
            todo="check the study's `obs.perturbation` and `obs.control_labels`",
        )
    chosen = _draw(len(cells), n_null_cells, seed)

    sums = np.zeros((n_perturbations, width))
    null_cells = np.empty((len(chosen), width))
    n_zero = filled = 0
    for start, block in embeddings.blocks():
        codes = cells.perturbation[start : start + len(block)]
        present, block_sums = sums_by_group(block, codes)
        known = present >= 0
        sums[present[known]] += block_sums[known]
        n_zero += int((~block.any(axis=1)).sum())
        rows = chosen[np.searchsorted(chosen, start) : np.searchsorted(chosen, start + len(block))] - start
        null_cells[filled : filled + len(rows)] = block[rows]
        filled += len(rows)

    totals = np.zeros(n_perturbations)
    for start, block in embeddings.blocks():
        codes = cells.perturbation[start : start + len(block)]
        rows = np.flatnonzero((codes >= 0) & (sizes[codes] >= 2))
        own = block[rows]
        others = sums[codes[rows]] - own
        totals += np.bincount(codes[rows], weights=_cosines(own, others), minlength=n_perturbations)
    statistic = np.full(n_perturbations, np.nan)
    statistic[scored] = totals[scored] / sizes[scored]

    above, n_of_each, above_own = _compare(
        _unit(null_cells), cells.perturbation[chosen], _unit(sums[scored]), scored, statistic[scored]
    )
    pooled, per_perturbation = np.full((2, n_perturbations), np.nan)
    n_null = int(n_of_each.sum())
    pooled[scored] = (1 + above) / (1 + n_null)
    per_perturbation[scored] = (1 + above_own) / (1 + n_of_each)
    return Consistency(
        n_cells=sizes.astype(np.int64),
        statistic=statistic,
        p_pooled=pooled,
        p_per_perturbation=per_perturbation,
        n_null_cells=len(chosen),
        n_null=n_null,
        n_zero=n_zero,
    )


def _draw(n_cells: int, n_null_cells: int, seed: int) -> np.ndarray:
    if n_cells <= n_null_cells:
        return np.arange(n_cells)
    return np.sort(np.random.default_rng(seed).choice(n_cells, n_null_cells, replace=False))


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1; rows of zeros stay."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms == 0, 1.0, norms)


def _cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.einsum("ij,ij->i", left, right) / np.where(norms == 0, 1.0, norms)


def _compare(
    null_cells: np.ndarray, labels: np.ndarray, means: np.ndarray, scored: np.ndarray, statistic: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return numbers of null cosines of each scored perturbation: >= it in the pool; in its own null; >= it in that."""
    ascending = np.sort(statistic)
    # Cosines of the pool by the number of statistics that they reach.
    reached = np.zeros(len(scored) + 1, dtype=np.int64)
    n_of_each = np.zeros(len(scored), dtype=np.int64)
    above_own = np.zeros(len(scored), dtype=np.int64)
    for start in range(0, len(scored), MEANS_AT_A_TIME):
        own = slice(start, start + MEANS_AT_A_TIME)
        cosines = null_cells @ means[own].T
        in_null = labels[:, None] != scored[own]
        n_of_each[own] = in_null.sum(axis=0)
        above_own[own] = (in_null & (cosines >= statistic[own])).sum(axis=0)
        reached += np.bincount(np.searchsorted(ascending, cosines[in_null], side="right"), minlength=len(reached))
    # A cosine that reaches k statistics is >= the k smallest.
    at_least = reached[::-1].cumsum()[::-1]
    return at_least[np.searchsorted(ascending, statistic, side="left") + 1], n_of_each, above_own
