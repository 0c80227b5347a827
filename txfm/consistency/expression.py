"""The bootstrap: an embedding of a screen without a model, PCA of the log-normalised counts of its controls."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from txfm.baselines.log_counts import log_normalise_sparse
from txfm.consistency.cells import NpyEmbeddings, write_npy
from txfm.consistency.stores import Screen
from txfm.errors import InputError

LIBRARY_SIZE_COUNTS = 1e4
N_COMPONENTS = 50
N_GENES = 2_000
N_FIT_CELLS = 20_000  # of 8,248 genes at 2,500 counted ones a cell: 400 MB


@dataclass(frozen=True, kw_only=True, eq=False)
class ExpressionPca:
    """PCA of log-normalised expression on the most variable genes.

    Attributes
    ----------
    genes : numpy.ndarray
        Positions among the measured genes.
    mean : numpy.ndarray (n_genes,)
    components : numpy.ndarray (n_genes, n_components)
    n_fit_cells : int
    explained : float
        Share of the variance of these genes, in the cells of the fit.
    """

    genes: np.ndarray
    mean: np.ndarray
    components: np.ndarray
    n_fit_cells: int
    explained: float

    def transform(self, counts: sp.csr_matrix) -> np.ndarray:
        """Scores of cells from their counts over all measured genes."""
        expression = log_normalise_sparse(counts, LIBRARY_SIZE_COUNTS)[:, self.genes]
        return np.asarray(expression @ self.components) - self.mean @ self.components


def fit_expression_pca(
    screen: Screen, fit_cells: np.ndarray, *, n_components: int = N_COMPONENTS, n_genes: int = N_GENES, seed: int = 0
) -> ExpressionPca:
    """Fit in one pass over the screen, on at most 20,000 of some cells.

    Parameters
    ----------
    screen : Screen
    fit_cells : numpy.ndarray (n_cells,), bool
        Cells to draw from: the controls.
    n_components, n_genes : int
        Capped at what the cells of the fit allow.
    seed : int
        Of the draw.

    Raises
    ------
    InputError
        There are fewer than two such cells.
    """
    candidates = np.flatnonzero(fit_cells)
    if len(candidates) < 2:
        raise InputError(
            "The screen has too few controls for a PCA",
            where=str(screen.entries[0].path),
            expected="at least 2 cells whose is_control is true",
            found=f"{len(candidates)} of {screen.n_cells:,} cells",
            todo="correct `obs.control_labels` of the study",
        )
    if len(candidates) > N_FIT_CELLS:
        candidates = np.sort(np.random.default_rng(seed).choice(candidates, N_FIT_CELLS, replace=False))
    parts = []
    for start, block in screen.blocks():
        first, last = np.searchsorted(candidates, [start, start + block.shape[0]])
        parts.append(block[candidates[first:last] - start])
    expression = log_normalise_sparse(sp.vstack(parts, format="csr"), LIBRARY_SIZE_COUNTS).tocsc()
    mean = np.asarray(expression.mean(axis=0)).ravel()
    squares = np.asarray(expression.multiply(expression).mean(axis=0)).ravel()
    variance = squares - mean * mean
    genes = np.sort(np.argsort(-variance, kind="stable")[: min(n_genes, int((variance > 0).sum()))])
    chosen, mean = expression[:, genes], mean[genes]
    covariance = (chosen.T @ chosen).toarray() / len(candidates) - np.outer(mean, mean)
    variances, directions = np.linalg.eigh(covariance)
    order = np.argsort(-variances)[: min(n_components, len(candidates) - 1)]
    return ExpressionPca(
        genes=genes,
        mean=mean,
        components=directions[:, order],
        n_fit_cells=len(candidates),
        explained=float(variances[order].sum() / variances.sum()),
    )


def embed_by_pca(screen: Screen, pca: ExpressionPca, path: Path) -> NpyEmbeddings:
    """Write the scores of all cells of a screen to a .npy file, in one pass."""

    def scores() -> Iterator[np.ndarray]:
        for _, counts in screen.blocks():
            yield pca.transform(counts)

    return write_npy(path, scores(), screen.n_cells, pca.components.shape[1])
