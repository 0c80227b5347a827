"""Thinning counts: what a study would look like had it been sequenced less deeply."""

import numpy as np
import scipy.sparse as sp


def thin_counts(counts: sp.csr_matrix, counts_per_sample: int, seed: int) -> sp.csr_matrix:
    """Keep each count of a sample with the same probability, so that about `counts_per_sample` are left.

    Parameters
    ----------
    counts : scipy.sparse.csr_matrix (n_samples, n_genes)
        Whole numbers.
    counts_per_sample : int
        Expected sum of a row; a row with fewer counts keeps all of them.
    seed : int
        Of the binomial draws.

    Returns
    -------
    scipy.sparse.csr_matrix
        Same shape, int64; never above the input. Zeros that the draw made are not stored.
    """
    counts = sp.csr_matrix(counts)
    totals = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    keep_share = np.minimum(1.0, counts_per_sample / np.maximum(totals, 1.0))
    drawn = np.random.default_rng(seed).binomial(
        counts.data.astype(np.int64), np.repeat(keep_share, np.diff(counts.indptr))
    )
    thinned = sp.csr_matrix((drawn, counts.indices.copy(), counts.indptr.copy()), shape=counts.shape)
    thinned.eliminate_zeros()
    return thinned
