"""Library-normalised log counts of sparse samples."""

import numpy as np
import scipy.sparse as sp


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
