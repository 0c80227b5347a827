"""Leading principal components of training cells, for probes that an embedding is too wide for."""

import numpy as np
from sklearn.decomposition import PCA

WIDEST_COVARIANCE = 2048  # dimensions; wider embeddings keep their precision and get a randomised PCA
PCA_SEED = 0  # of the randomised PCA


def leading_components(rows: np.ndarray, n_components: int) -> PCA:
    """Fit a PCA.

    Parameters
    ----------
    rows : numpy.ndarray (n, d)
        Training cells.
    n_components : int
        At most n and d.

    Returns
    -------
    sklearn.decomposition.PCA
        Exact, by the covariance, up to `WIDEST_COVARIANCE` dimensions; randomised above. Signs are arbitrary.
    """
    solver = "randomized" if rows.shape[1] > WIDEST_COVARIANCE else "covariance_eigh"
    return PCA(min(n_components, *rows.shape), svd_solver=solver, random_state=PCA_SEED).fit(rows)
