"""iLISI: how well batches mix in the neighbourhood of a cell (Korsunsky et al. 2019).

Equal to `scib_metrics.lisi_knn` 0.5.10 and, with 3 x perplexity neighbours, to Tx-Evaluation's metric; neither is
called, because the first brings jax and the second is no package.

Shapes: n cells, k neighbours.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.neighbors import NearestNeighbors

from txfm.errors import InputError
from txfm.evaluation.checked_arrays import checked_embedding, checked_labels, refuse_constant

N_NEIGHBOURS, PERPLEXITY = 90, 30  # scib's; the cell itself is among the 90
TXEVAL_PERPLEXITY = 83  # Tx-Evaluation: a third of k = 251, rounded down
N_BISECTIONS, TOLERANCE = 50, 1e-5
ROWS_AT_A_TIME = 4096


@dataclass(frozen=True, kw_only=True, eq=False)
class Neighbourhoods:
    """Weighted neighbours of every cell, itself not among them.

    Attributes
    ----------
    indices : numpy.ndarray (n, k), int64
    weights : numpy.ndarray (n, k)
        Sum to 1.
    """

    indices: np.ndarray
    weights: np.ndarray

    def lisi(self, labels: np.ndarray) -> np.ndarray:
        """Inverse Simpson index of labels around every cell (n,): from 1 to the number of labels."""
        names, codes = np.unique(labels, return_inverse=True)
        out = np.empty(len(self.indices))
        for start in range(0, len(out), ROWS_AT_A_TIME):
            rows = slice(start, start + ROWS_AT_A_TIME)
            around, weights = codes[self.indices[rows]], self.weights[rows]
            place = around + len(names) * np.arange(len(around))[:, None]
            shares = np.bincount(place.ravel(), weights.ravel(), minlength=len(names) * len(around))
            out[rows] = 1 / (shares.reshape(len(around), -1) ** 2).sum(axis=1)
        return out


def neighbourhoods(
    embedding: np.ndarray, n_neighbours: int = N_NEIGHBOURS, perplexity: float = PERPLEXITY
) -> Neighbourhoods:
    """Neighbours by Euclidean distance d, weighted by exp(-beta d) with the entropy log(perplexity).

    Parameters
    ----------
    embedding : numpy.ndarray (n, d)
    n_neighbours : int
        The cell itself counts, but has no weight; at most n.
    perplexity : float
        At most a third of the neighbours, rounded down.
    """
    n_neighbours = min(n_neighbours, len(embedding))
    perplexity = min(perplexity, max(1, n_neighbours // 3))
    search = NearestNeighbors(n_neighbors=n_neighbours - 1).fit(np.asarray(embedding))
    distances, indices = search.kneighbors()
    weights = np.concatenate(
        [
            _weights(distances[start : start + ROWS_AT_A_TIME], np.log(perplexity))
            for start in range(0, len(distances), ROWS_AT_A_TIME)
        ]
    )
    return Neighbourhoods(indices=indices, weights=weights)


def ilisi(
    embedding: np.ndarray, batch: np.ndarray, n_neighbours: int = N_NEIGHBOURS, perplexity: float = PERPLEXITY
) -> float:
    """Mixing of batches: 0 where every cell has only its own batch around it, 1 for equal weights of all.

    The mean LISI of each batch's cells, then the mean over batches, scaled by (value - 1) / (number of batches - 1).
    This is one reading of "averaged across all batches"; see docs/evaluation-perturbation.md.

    Parameters
    ----------
    embedding : numpy.ndarray (n, d)
    batch : numpy.ndarray (n,)
    n_neighbours, perplexity
        See `neighbourhoods`.

    Raises
    ------
    InputError
        There are fewer than two batches, or three cells, all cells have the same vector, or what is given does not
        fit or is not finite.

    Notes
    -----
    Batches of unequal size cannot reach 1: `ilisi_of` on permuted labels is the most that can be expected.
    """
    embedding = checked_embedding(embedding)
    batch = checked_labels(batch, len(embedding), "batches")
    if len(embedding) < 3 or len(np.unique(batch)) < 2:
        raise InputError(
            "Mixing of batches cannot be measured",
            expected="three cells in two batches, or more",
            found=f"{len(embedding):,} cells, {len(np.unique(batch)):,} batches",
        )
    refuse_constant(embedding)
    return ilisi_of(neighbourhoods(embedding, n_neighbours, perplexity).lisi(batch), batch)


def ilisi_of(lisi: np.ndarray, batch: np.ndarray) -> float:
    """The score of `ilisi` of the LISI of every cell (n,)."""
    _, codes, sizes = np.unique(batch, return_inverse=True, return_counts=True)
    return float(((np.bincount(codes, lisi) / sizes).mean() - 1) / (len(sizes) - 1))


def _weights(distances: np.ndarray, target: float) -> np.ndarray:
    """exp(-beta d) / sum, with beta of each row found by bisection from 1, doubling or halving without a bound."""
    beta = np.ones(len(distances))
    low, high = np.full(len(distances), -np.inf), np.full(len(distances), np.inf)
    weights = np.empty_like(distances)
    open_rows = np.arange(len(distances))
    for _ in range(N_BISECTIONS + 1):
        d, b = distances[open_rows], beta[open_rows, None]
        unscaled = np.exp(-d * b)
        total = unscaled.sum(axis=1)
        # All so far away that nothing is left of the weights: entropy 0, as in the reference
        safe = np.where(total == 0, 1, total)
        entropy = np.where(total == 0, 0, np.log(safe) + beta[open_rows] * (d * unscaled).sum(axis=1) / safe)
        weights[open_rows] = unscaled / safe[:, None]
        excess = entropy - target
        going_on = np.abs(excess) >= TOLERANCE
        open_rows, excess = open_rows[going_on], excess[going_on]
        if len(open_rows) == 0:
            break
        up = excess > 0
        now = beta[open_rows]
        low[open_rows] = np.where(up, now, low[open_rows])
        high[open_rows] = np.where(up, high[open_rows], now)
        middle = (low[open_rows] + high[open_rows]) / 2
        beta[open_rows] = np.where(np.isfinite(middle), middle, np.where(up, now * 2, now / 2))
    # Neighbours that are all at one place, or none with a weight, count alike
    total = weights.sum(axis=1, keepdims=True)
    return np.where(total > 0, weights / np.where(total > 0, total, 1), 1 / distances.shape[1])
