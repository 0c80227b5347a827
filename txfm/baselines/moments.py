"""Sums over the training samples of each study, in one pass."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from txfm.baselines.log_counts import log_normalise_sparse
from txfm.baselines.training_samples import blocks
from txfm.corpus import Corpus


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Per study and gene; zero where the study did not measure the gene.

    Attributes
    ----------
    measured : numpy.ndarray (S, G), bool
    n_samples : numpy.ndarray (S,), int64
    log_sum : numpy.ndarray (S, G)
        Of log-normalised counts.
    sum, square_sum : numpy.ndarray (S, G)
        Of normalised counts, without the logarithm, and of their squares.
    """

    measured: np.ndarray
    n_samples: np.ndarray
    log_sum: np.ndarray
    sum: np.ndarray
    square_sum: np.ndarray

    def mean_log(self) -> np.ndarray:
        """Mean log-normalised count (G,) over the samples whose study measured the gene."""
        weights = (self.n_samples[:, None] * self.measured).sum(axis=0)
        return self.log_sum.sum(axis=0) / np.maximum(weights, 1)

    def mean_and_variance(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance (n - 1) of normalised counts within each study: two arrays (S, G)."""
        n = np.maximum(self.n_samples, 1)[:, None]
        mean = self.sum / n
        return mean, np.maximum(self.square_sum - n * mean**2, 0.0) / np.maximum(n - 1, 1)


def training_moments(training: Corpus, library_size: float) -> Moments:
    """Sum the training samples.

    Parameters
    ----------
    training : Corpus
    library_size : float
        L, in counts; the sum of a sample is over the reader's vocabulary.
    """
    n_studies, n_genes = training.measured.shape
    sums = {name: np.zeros((n_studies, n_genes)) for name in ("log_sum", "sum", "square_sum")}
    n_samples = np.zeros(n_studies, dtype=np.int64)
    for batch, counts in blocks(training):
        expression = log_normalise_sparse(counts, library_size)
        normalised = sp.csr_matrix((np.expm1(expression.data), expression.indices, expression.indptr), counts.shape)
        size = len(batch)
        of_study = sp.csr_matrix((np.ones(size), (batch.study_index, np.arange(size))), shape=(n_studies, size))
        for name, values in (("log_sum", expression), ("sum", normalised), ("square_sum", normalised.power(2))):
            sums[name] += (of_study @ values).toarray()
        n_samples += np.bincount(batch.study_index, minlength=n_studies)
    return Moments(measured=training.measured, n_samples=n_samples, **sums)
