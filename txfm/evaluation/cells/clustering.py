"""Agreement of Louvain clusters with labels, at the best of several resolutions (Kedzierska et al. 2025)."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.neighbors import NearestNeighbors

from txfm.errors import InputError
from txfm.evaluation.checked_arrays import checked_embedding, checked_labels, refuse_constant
from txfm.evaluation.seeded_igraph import load_igraph, seeded

N_NEIGHBOURS = 15  # scanpy's default; a sample counts as its own first neighbour
RESOLUTIONS = tuple(round(0.2 * step, 1) for step in range(1, 11))


@dataclass(frozen=True, kw_only=True)
class Clustering:
    """The clustering that agrees best with the labels.

    Attributes
    ----------
    nmi : float
        Normalised mutual information, arithmetic mean of the entropies; 0 to 1.
    ari : float
        Adjusted Rand index (Hubert and Arabie); 0 by chance, at most 1.
    resolution : float
        Where the NMI is largest; the smallest of equals.
    n_clusters : int
    nmi_of_resolution : tuple of (float, float)
    """

    nmi: float
    ari: float
    resolution: float
    n_clusters: int
    nmi_of_resolution: tuple[tuple[float, float], ...]


def clustering_scores(
    embedding: np.ndarray,
    labels: np.ndarray,
    *,
    resolutions: tuple[float, ...] = RESOLUTIONS,
    n_neighbours: int = N_NEIGHBOURS,
    seed: int = 0,
) -> Clustering:
    """Search Louvain's resolution for the largest NMI.

    The graph joins two samples if either is among the other's nearest neighbours (Euclidean, on the embedding itself),
    without weights: the graph that scanpy's `louvain` clusters by default. Leiden gives other values.

    Parameters
    ----------
    embedding : numpy.ndarray (n, d)
    labels : numpy.ndarray (n,)
    resolutions : tuple of float
        Of the modularity (Reichardt and Bornholdt), ascending.
    n_neighbours : int
        The sample itself among them.
    seed : int
        Of the order in which Louvain visits samples.

    Raises
    ------
    InputError
        Fewer than two labels or three samples; all have the same vector; what is given does not fit or is not
        finite; the package igraph is not installed.
    """
    embedding = checked_embedding(embedding)
    labels = checked_labels(labels, len(embedding), "labels")
    if len(set(labels)) < 2 or len(labels) < 3:
        raise InputError(
            "There is nothing to cluster by",
            expected="three samples of two labels",
            found=f"{len(labels):,} samples of {len(set(labels))} labels",
        )
    igraph = load_igraph("Clusters", "leave clusters out (--tasks)")
    refuse_constant(embedding)
    order = by_value(embedding)  # Louvain depends on the order of the vertices, and the file's shall not matter
    embedding, labels = embedding[order], labels[order]
    edges = neighbour_graph(embedding, n_neighbours)
    graph = igraph.Graph(n=len(labels), edges=np.column_stack([edges.row, edges.col]))
    found = []
    for resolution in resolutions:
        with seeded(igraph, seed):
            clusters = graph.community_multilevel(resolution=resolution).membership
        found.append((normalized_mutual_info_score(labels, clusters), clusters))
    best = int(np.argmax([nmi for nmi, _ in found]))
    nmi, clusters = found[best]
    return Clustering(
        nmi=float(nmi),
        ari=float(adjusted_rand_score(labels, clusters)),
        resolution=resolutions[best],
        n_clusters=len(set(clusters)),
        nmi_of_resolution=tuple((at, float(nmi)) for at, (nmi, _) in zip(resolutions, found, strict=True)),
    )


def by_value(embedding: np.ndarray) -> np.ndarray:
    """An order of the rows (n, d) that depends on nothing but their values."""
    rows = np.ascontiguousarray(embedding)
    return np.argsort(rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel(), kind="stable")


def neighbour_graph(embedding: np.ndarray, n_neighbours: int) -> sp.coo_matrix:
    """Edges (upper triangle) between samples of which one is among the other's neighbours."""
    n = len(embedding)
    n_others = min(n_neighbours, n) - 1
    neighbours = NearestNeighbors(n_neighbors=n_others).fit(embedding).kneighbors(return_distance=False)
    pairs = sp.csr_matrix(
        (np.ones(n * n_others, np.int8), neighbours.ravel(), np.arange(n + 1) * n_others), shape=(n, n)
    )
    return sp.coo_matrix(sp.triu(pairs.maximum(pairs.T), k=1))
