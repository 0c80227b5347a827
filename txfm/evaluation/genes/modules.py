"""Modules of genes: Leiden communities of a neighbour graph of their learned vectors."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import NearestNeighbors

from txfm.errors import InputError
from txfm.evaluation.genes.settings import ModuleSettings
from txfm.evaluation.seeded_igraph import load_igraph, seeded


@dataclass(frozen=True, kw_only=True, eq=False)
class Modules:
    """A partition of genes.

    Attributes
    ----------
    module_of : numpy.ndarray (n,), int64
        0 = the largest; -1 = in a community that is too small.
    modularity : float
        Of the partition, at the resolution that it was found with.
    agreement : float
        Mean adjusted Rand index between the partitions of the seeds: how much of it is chance. NaN of one seed.
    """

    module_of: np.ndarray
    modularity: float
    agreement: float

    @property
    def n_modules(self) -> int:
        """Without the communities that are too small."""
        return int(self.module_of.max()) + 1

    def members(self) -> list[np.ndarray]:
        """Rows of each module, the largest first."""
        return [np.flatnonzero(self.module_of == module) for module in range(self.n_modules)]


def find_modules(vectors: np.ndarray, settings: ModuleSettings) -> Modules:
    """Leiden communities (Traag et al. 2019, Sci. Rep. 9, 5233) of the graph of nearest neighbours by cosine.

    An edge joins two genes if either is among the other's neighbours; its weight is their cosine. Of the seeds'
    partitions the one of the highest modularity is taken.

    Parameters
    ----------
    vectors : numpy.ndarray (n, d)
        After `project`. A gene whose vector is zero has no neighbours.
    settings : ModuleSettings
        Neighbours are capped by n - 1; the modularity is that of Reichardt and Bornholdt.

    Raises
    ------
    InputError
        The package igraph is not installed, or no two genes are alike.
    """
    igraph = load_igraph("Modules of genes", "leave --modules out")
    graph = neighbour_graph(vectors, min(settings.n_neighbours, len(vectors) - 1))
    if not graph.nnz:
        raise InputError("No two genes have a cosine above zero: there are no modules")
    edges = igraph.Graph(n=len(vectors), edges=np.column_stack([graph.row, graph.col]))
    partitions = []
    for seed in settings.seeds:
        with seeded(igraph, seed):
            partitions.append(
                edges.community_leiden(
                    "modularity",
                    weights=graph.data,
                    resolution=settings.resolution,
                    n_iterations=-1,  # until nothing improves
                )
            )
    modularities = [
        edges.modularity(partition, weights=graph.data, resolution=settings.resolution) for partition in partitions
    ]
    labels = [np.array(partition.membership) for partition in partitions]
    agreements = [adjusted_rand_score(first, second) for i, first in enumerate(labels) for second in labels[i + 1 :]]
    best = int(np.argmax(modularities))
    return Modules(
        module_of=_by_size(labels[best], settings.min_module_genes),
        modularity=float(modularities[best]),
        agreement=float(np.mean(agreements)) if agreements else float("nan"),
    )


def neighbour_graph(vectors: np.ndarray, n_neighbours: int) -> sp.coo_matrix:
    """Edges i < j between nearest neighbours, weighted by the cosine; only those above zero."""
    is_vector = np.flatnonzero(np.any(vectors != 0, axis=1))
    search = NearestNeighbors(n_neighbors=min(n_neighbours, max(1, len(is_vector) - 1)), metric="cosine")
    if len(is_vector) < 2:
        return sp.coo_matrix((len(vectors), len(vectors)))
    distances, neighbours = search.fit(vectors[is_vector]).kneighbors()  # of no query: a gene is not its own neighbour
    first = np.repeat(is_vector, neighbours.shape[1])
    second, cosine = is_vector[neighbours.ravel()], 1 - distances.ravel()
    is_alike = cosine > 0
    pairs = np.column_stack([np.minimum(first, second), np.maximum(first, second)])[is_alike]
    pairs, where = np.unique(pairs, axis=0, return_index=True)
    shape = (len(vectors), len(vectors))
    return sp.coo_matrix((cosine[is_alike][where], (pairs[:, 0], pairs[:, 1])), shape=shape)


def _by_size(labels: np.ndarray, min_genes: int) -> np.ndarray:
    """Number communities by size, ties by their first gene; small ones -1."""
    names, first, sizes = np.unique(labels, return_index=True, return_counts=True)
    number_of = np.full(len(names), -1, dtype=np.int64)
    order = np.lexsort((first, -sizes))
    kept = order[sizes[order] >= min_genes]
    number_of[kept] = np.arange(len(kept))
    return number_of[np.searchsorted(names, labels)]
