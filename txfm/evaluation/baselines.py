"""PCA of log-normalised counts, fitted on the training samples that the model saw."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from txfm.corpus import Corpus

N_COMPONENTS = 50
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
        Of the training samples along each component.
    n_samples : int
        Training samples.
    """

    mean: np.ndarray
    components: np.ndarray
    variance: np.ndarray
    n_samples: int

    def transform(self, expression: sp.csr_matrix) -> np.ndarray:
        """Scores (n_samples, n_components) of log-normalised expression (n_samples, G)."""
        return np.asarray(expression @ self.components.T) - self.components @ self.mean


def log_normalise_sparse(counts: sp.csr_matrix, library_size: float) -> sp.csr_matrix:
    """`txfm.preprocess.log_normalise` of a sparse matrix (n_samples, n_genes): the sum is over the given genes.

    Parameters
    ----------
    counts : scipy.sparse.csr_matrix
        Raw counts.
    library_size : float
        L, in counts.

    Returns
    -------
    scipy.sparse.csr_matrix
        float64; a row without counts stays zero.
    """
    totals = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    factors = np.repeat(library_size / np.where(totals == 0, 1.0, totals), np.diff(counts.indptr))
    return sp.csr_matrix((np.log1p(counts.data * factors), counts.indices, counts.indptr), shape=counts.shape)


def fit_pca(passes: Callable[[], Iterable[sp.csr_matrix]], n_genes: int, n_components: int, seed: int = 0) -> Pca:
    """PCA in bounded memory: randomised subspace iteration (Halko, Martinsson and Tropp 2011, sec. 4.4), streamed.

    Parameters
    ----------
    passes : callable
        Each call gives all samples once, as blocks of expression (n, n_genes).
    n_genes : int
    n_components : int
        Capped at the number of genes, and at the number of samples less one.
    seed : int
        Of the random start.

    Returns
    -------
    Pca
        Centred, not scaled per gene. Memory: one block and n_genes x (n_components + 50) numbers.
    """
    width = min(n_components + EXTRA_DIRECTIONS, n_genes)
    basis = np.linalg.qr(np.random.default_rng(seed).standard_normal((n_genes, width)))[0]
    for _ in range(N_PASSES):
        image, total, n_samples = np.zeros((n_genes, width)), np.zeros(n_genes), 0
        for block in passes():
            image += block.T @ (block @ basis)
            total += np.asarray(block.sum(axis=0)).ravel()
            n_samples += block.shape[0]
        mean = total / n_samples
        image -= n_samples * np.outer(mean, mean @ basis)  # = (scatter matrix of the centred samples) @ basis
        within = basis.T @ image
        previous, basis = basis, np.linalg.qr(image)[0]
    scatter, rotation = np.linalg.eigh((within + within.T) / 2)
    kept = np.argsort(-scatter)[: min(n_components, n_genes, n_samples - 1)]
    return Pca(
        mean=mean,
        components=(previous @ rotation[:, kept]).T,
        variance=scatter[kept] / (n_samples - 1),
        n_samples=n_samples,
    )


def fit_pca_on_corpus(corpus: Corpus, library_size: float, n_components: int = N_COMPONENTS) -> Pca:
    """PCA of a variant's training samples over the genes of the reader's vocabulary.

    Parameters
    ----------
    corpus : Corpus
        The training split opened with ``shuffle=False`` and a vocabulary of genes that every study measured: every zero
        of the matrix is a measured one.
    library_size : float
        L, in counts; the sum is over these genes.
    n_components : int

    Raises
    ------
    AssertionError
        A study did not measure one of the genes.
    """
    assert corpus.measured.all(), "choose genes that every training study measured"
    n_genes = len(corpus.vocabulary)

    def one_pass() -> Iterable[sp.csr_matrix]:
        corpus.set_epoch(0)
        for batch in corpus:
            counts = sp.csr_matrix((batch.counts, batch.positions, batch.indptr), shape=(len(batch), n_genes))
            yield log_normalise_sparse(counts, library_size)

    return fit_pca(one_pass, n_genes, n_components)
