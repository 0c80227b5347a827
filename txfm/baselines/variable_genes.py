"""Genes that vary most, by normalised dispersion (Satija et al. 2015, Nat. Biotechnol. 33, 495; scanpy's "seurat")."""

import numpy as np

from txfm.baselines.moments import Moments

N_BINS = 20


def most_variable(moments: Moments, n_genes: int) -> np.ndarray:
    """Positions of the genes that vary most within studies, ascending.

    Each study judges the genes that it measured and detected; a difference between studies makes no gene variable. A
    gene is taken the earlier the more studies have it among their first `n_genes`, then the larger its mean normalised
    dispersion over the studies that judged it; ties go to the earlier gene.

    Parameters
    ----------
    moments : Moments
    n_genes : int
        Capped at the genes that some study judged.
    """
    means, variances = moments.mean_and_variance()
    scores = np.full(means.shape, np.nan)
    for study in np.flatnonzero(moments.n_samples >= 2):
        judged = np.flatnonzero(moments.measured[study] & (means[study] > 0))
        scores[study, judged] = normalised_dispersion(means[study, judged], variances[study, judged])
    n_top = np.zeros(means.shape[1], dtype=np.int64)
    for row in scores:
        ranked = np.sort(row[np.isfinite(row)])[::-1]
        if len(ranked):
            n_top += np.nan_to_num(row, nan=-np.inf) >= ranked[min(n_genes, len(ranked)) - 1]
    n_judges = np.isfinite(scores).sum(axis=0)
    mean_score = np.where(n_judges > 0, np.nansum(scores, axis=0) / np.maximum(n_judges, 1), -np.inf)
    order = np.lexsort((np.arange(len(n_top)), -mean_score, -n_top))
    return np.sort(order[: min(n_genes, int((n_judges > 0).sum()))])


def normalised_dispersion(mean: np.ndarray, variance: np.ndarray, n_bins: int = N_BINS) -> np.ndarray:
    """Dispersion of genes beside that of genes of similar expression.

    Parameters
    ----------
    mean, variance : numpy.ndarray (n,)
        Of normalised counts, without the logarithm; every mean is above 0.
    n_bins : int
        Bins of equal width of log(1 + mean).

    Returns
    -------
    numpy.ndarray (n,)
        ``(d - mean(d of the bin)) / sd(d of the bin)`` with ``d = log(variance / mean)`` and n - 1 in the sd; 1 for a
        gene that is alone in its bin; NaN for a gene that does not vary.
    """
    scores = np.full(len(mean), np.nan)
    varying = np.flatnonzero(variance > 0)
    if not len(varying):
        return scores
    dispersion = np.log(variance[varying] / mean[varying])
    level = np.log1p(mean)
    edges = np.linspace(level.min(), level.max(), n_bins + 1)[1:-1]
    bins = np.searchsorted(edges, level[varying], side="left")  # a gene on an edge belongs to the bin below
    for index in np.unique(bins):
        inside = np.flatnonzero(bins == index)
        values = dispersion[inside]
        spread = values.std(ddof=1) if len(inside) > 1 else 0.0
        # alone in its bin, or all alike: scanpy's convention
        scores[varying[inside]] = (values - values.mean()) / spread if spread > 0 else 1.0
    return scores
