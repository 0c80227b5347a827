"""Random counts of cells and of bulk samples, many at a time."""

from __future__ import annotations

import numpy as np
from scipy import sparse

# Values in one block of samples. Bulk samples have few zeros, so that all arrays of a block together take some 80 bytes
# a value: 8 million of them made a peak of 957 MB
BLOCK_VALUES = 2_500_000
MAX_BLOCK_ROWS = 1_024
# Standard deviation of a gene's log expression between bulk samples
BULK_SD = 0.6
# Rounded TPM of a cell sum to about this
TPM = 1_000_000


def rows_per_block(n_genes: int) -> int:
    """Return how many samples of `n_genes` genes are drawn at a time."""
    return int(np.clip(BLOCK_VALUES // n_genes, 1, MAX_BLOCK_ROWS))


def mean_counts(expression: np.ndarray, n_detected: float) -> np.ndarray:
    """Return the mean count of each gene at which a cell of depth 1 shows `n_detected` genes.

    A gene of mean m is seen with probability m / (1 + m); the common factor is found by bisection.
    """
    low, high = 0.0, 60.0  # exponents of 2: 1 to 10^18 counts
    for _ in range(80):
        middle = (low + high) / 2
        mean = expression * 2.0**middle
        if float((mean / (1 + mean)).sum()) < min(n_detected, 0.6 * len(expression)):
            low = middle
        else:
            high = middle
    return (expression * 2.0**low).astype(np.float32)


def cell_counts(rng: np.random.Generator, mean: np.ndarray) -> sparse.csr_matrix:
    """Draw geometric counts, which are negative binomial with variance mean + mean^2.

    Parameters
    ----------
    rng : Generator
    mean : ndarray of float32, shape (n_cells, n_genes)

    Returns
    -------
    csr_matrix of int32
        P(count >= k) = p^k with p = mean / (1 + mean), from one uniform number a value: only the few values that are
        not zero cost more.
    """
    uniform = rng.random(mean.shape, dtype=np.float32)
    seen = mean / (1 + mean)
    cells, genes = np.nonzero(uniform < seen)
    at = np.maximum(uniform[cells, genes], 2.0**-24).astype(np.float64)
    counts = np.floor(np.log(at) / np.log(seen[cells, genes].astype(np.float64)))
    return _matrix(np.maximum(counts, 1), cells, genes, mean.shape)


def bulk_counts(rng: np.random.Generator, mean: np.ndarray) -> sparse.csr_matrix:
    """Draw log-normal numbers around `mean` and round them; genes far below one count stay at zero."""
    values = mean * np.exp(BULK_SD * rng.standard_normal(mean.shape, dtype=np.float32))
    values = np.rint(values)
    samples, genes = np.nonzero(values)
    return _matrix(values[samples, genes], samples, genes, mean.shape)


def rounded_tpm(counts: sparse.csr_matrix, rows: np.ndarray, lengths: np.ndarray) -> sparse.csr_matrix:
    """Return the counts with some rows turned into transcripts per million and rounded, as atlases keep Smart-seq2.

    `lengths` of the genes are what makes TPM differ from counts times a number: no two genes share a step.
    """
    chosen = np.repeat(rows, np.diff(counts.indptr))
    rates = np.where(chosen, counts.data / lengths[counts.indices], 0.0)
    totals = np.bincount(np.repeat(np.arange(len(rows)), np.diff(counts.indptr)), weights=rates, minlength=len(rows))
    tpm = np.rint(rates * np.repeat(TPM / np.maximum(totals, 1e-9), np.diff(counts.indptr)))
    values = np.where(chosen, tpm, counts.data).astype(np.int32)
    scaled = sparse.csr_matrix((values, counts.indices, counts.indptr), shape=counts.shape)
    scaled.eliminate_zeros()
    return scaled


def log_normalised(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return log(1 + counts scaled to 10,000), float32: what many files hold in X."""
    totals = np.maximum(1, np.asarray(counts.sum(axis=1)).ravel())
    values = np.log1p(counts.data * np.repeat(1e4 / totals, np.diff(counts.indptr)))
    return sparse.csr_matrix((values.astype(np.float32), counts.indices, counts.indptr), shape=counts.shape)


def _matrix(values: np.ndarray, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, ...]) -> sparse.csr_matrix:
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=shape[0]))])
    return sparse.csr_matrix((values.astype(np.int32), columns.astype(np.int32), indptr), shape=shape)
