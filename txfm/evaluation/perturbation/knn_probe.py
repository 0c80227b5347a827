"""k nearest neighbours across batches: which perturbation the training cells around a test cell vote for."""

from typing import Literal

import numpy as np
import scipy.sparse as sp
from sklearn.neighbors import NearestNeighbors

from txfm.errors import InputError
from txfm.evaluation.components import WIDEST_COVARIANCE, leading_components
from txfm.evaluation.perturbation.accuracy import Accuracy, count_hits
from txfm.evaluation.perturbation.linear_probe import checked_probe, rows_of_known

# Tx-Evaluation's configuration; distances and similarities become weights as in its code
N_NEIGHBOURS, N_COMPONENTS = 251, 32
NEAREST, TEMPERATURE = 1e-5, 0.07
ROWS_AT_A_TIME = 1024


def knn_probe(
    embedding: np.ndarray,
    labels: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    n_neighbours: int = N_NEIGHBOURS,
    *,
    metric: Literal["euclidean", "cosine"] = "euclidean",
    n_components: int | None = N_COMPONENTS,
) -> Accuracy:
    """Let the training cells around each test cell vote for its class.

    Parameters
    ----------
    embedding : numpy.ndarray (n, d)
    labels : numpy.ndarray (n,)
    train, test : numpy.ndarray
        Positions of rows, or masks (n,). Test cells whose class no training cell has are left out.
    n_neighbours : int
        At most half of the training cells, made odd.
    metric : {"euclidean", "cosine"}
        A vote weighs 1 / (distance + 1e-5), or exp(similarity / 0.07) of vectors scaled to length 1.
    n_components : int, optional
        Of a PCA fitted on the training cells, for the cosine after the scaling; None: none.

    Returns
    -------
    Accuracy
        A class without a vote is never named. Ties go to the class that is first by name. Chance depends on how
        unequal the classes are: score permuted labels beside it.

    Raises
    ------
    InputError
        Fewer than two classes, no test cell of a known class, an unknown metric, or what is given does not fit or is
        not finite.
    """
    if metric not in ("euclidean", "cosine"):
        raise InputError("There is no such metric", expected="euclidean or cosine", found=metric)
    embedding, labels, train, test = checked_probe(embedding, labels, train, test)
    classes, targets = np.unique(labels[train], return_inverse=True)
    test, test_targets = rows_of_known(labels, test, classes)
    exact = np.float64 if embedding.shape[1] <= WIDEST_COVARIANCE else embedding.dtype
    around, among = (embedding[rows].astype(exact) for rows in (test, train))
    if metric == "cosine":
        around, among = _unit(around), _unit(among)
    if n_components is not None:
        pca = leading_components(among, n_components)
        around, among = pca.transform(around), pca.transform(among)
    k = odd_neighbours(n_neighbours, len(train))
    search = None if metric == "cosine" else NearestNeighbors(n_neighbors=k).fit(among)
    top1 = top5 = 0
    for start in range(0, len(test), ROWS_AT_A_TIME):
        cells = around[start : start + ROWS_AT_A_TIME]
        if search is None:
            similarity = cells @ among.T
            indices = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
            weights = np.exp(np.take_along_axis(similarity, indices, axis=1) / TEMPERATURE)
        else:
            distances, indices = search.kneighbors(cells)
            weights = 1 / (distances + NEAREST)
        rows = np.repeat(np.arange(len(cells)), k)
        shape = (len(cells), len(classes))
        votes = sp.csr_matrix((weights.ravel(), (rows, targets[indices].ravel())), shape=shape).toarray()
        votes[votes == 0] = -np.inf
        of_cells = test_targets[start : start + ROWS_AT_A_TIME]
        voted = np.isfinite(votes[np.arange(len(cells)), of_cells])
        hits = count_hits(votes, np.where(voted, of_cells, -1))
        top1, top5 = top1 + hits[0], top5 + hits[1]
    return Accuracy(top1_hits=top1, top5_hits=top5, n_cells=len(test), n_classes=len(classes))


def odd_neighbours(wanted: int, n_cells: int) -> int:
    """At most half of the cells, odd, at least 1."""
    k = max(1, min(wanted, n_cells // 2))
    return k if k % 2 else k - 1


def _unit(rows: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms == 0, 1, norms)
