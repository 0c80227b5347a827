"""Vectors of genes made comparable: standardised, then projected on their principal components."""

from collections.abc import Mapping

import numpy as np
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

# Components by kind of model and table; paper, app. B (gene-gene relationships)
COMPONENTS: Mapping[tuple[str, str], int] = {("txfm", "encoder"): 32, ("txfm", "decoder"): 256}
OTHER_COMPONENTS = 1024  # scVI's weights and the loadings of a PCA


def components_of(kind: str, table: str) -> int:
    """Components that a table of a kind of model is projected on, where it has so many columns and genes."""
    return COMPONENTS.get((kind, table), OTHER_COMPONENTS)


def project(vectors: np.ndarray, is_fitted: np.ndarray, n_components: int) -> np.ndarray:
    """Standardise each dimension over some genes, and project on principal components of these genes.

    Parameters
    ----------
    vectors : numpy.ndarray (G, d)
    is_fitted : numpy.ndarray (G,), bool
        Genes that mean, deviation and components are taken from.
    n_components : int
        Capped by d and by the number of fitted genes. The first k columns are the projection on k components.

    Returns
    -------
    numpy.ndarray (G, min(n_components, d, genes)), float64
        Of all genes.
    """
    fitted = np.asarray(vectors[is_fitted], dtype=np.float64)
    scaler = StandardScaler().fit(fitted)
    # By the covariance: exact like an SVD of the matrix, without its cost for 17,000 genes, and without a random start
    pca = PCA(min(n_components, *fitted.shape), svd_solver="covariance_eigh").fit(scaler.transform(fitted))
    return pca.transform(scaler.transform(np.asarray(vectors, dtype=np.float64)))
