"""What training needs to know of its samples beforehand: mean expression, and how many samples detect each gene."""

from dataclasses import dataclass

import numpy as np

from txfm.corpus import Corpus
from txfm.preprocess import SIZE_FACTORS

SAMPLES_PER_STUDY = (
    20_000  # stores are shuffled when written, so the first rows are a random sample; the full K562 has 502,080
)


@dataclass(frozen=True, kw_only=True, eq=False)
class MeanExpression:
    """Means over training samples.

    Attributes
    ----------
    by_study : numpy.ndarray (n_studies, G), float64
        Of ``normalised count + 1``, whatever the preprocessing: what validation is compared with. 1 where the study did
        not measure the gene.
    overall : numpy.ndarray (G,), float64
        Of ``exp(x) = preprocessed count + 1``: where the decoder starts. Over the studies that measured the gene,
        weighted by their number of training samples.
    """

    by_study: np.ndarray
    overall: np.ndarray


def mean_expression(train: Corpus, library_size: float, preprocessing: str = "library_size_log1p") -> MeanExpression:
    """Means per gene, per study and overall, from up to `SAMPLES_PER_STUDY` rows of each study.

    Parameters
    ----------
    train : Corpus
    library_size : float
        L, in counts.
    preprocessing : str
        A name of `SIZE_FACTORS`, which `overall` follows.

    Returns
    -------
    MeanExpression
    """
    n_studies, n_genes = train.measured.shape
    sums = {name: np.zeros((n_studies, n_genes)) for name in {"library_size_log1p", preprocessing}}
    n_rows = np.zeros(n_studies)
    for study, rows in train.first_rows(SAMPLES_PER_STUDY):
        row_of_entry = np.repeat(np.arange(len(rows)), np.diff(rows.indptr))
        library = np.bincount(row_of_entry, weights=rows.counts, minlength=len(rows))
        for name, sums_SG in sums.items():
            scaled = rows.counts / SIZE_FACTORS[name](library, library_size)[row_of_entry]
            sums_SG[study] += np.bincount(rows.positions, weights=scaled, minlength=n_genes)
        n_rows[study] += len(rows)
    n_samples = np.array([train.samples_by_study()[study] for study in train.studies], dtype=float)
    weights = n_samples[:, None] * train.measured
    means = {name: sums_SG / np.maximum(n_rows, 1)[:, None] for name, sums_SG in sums.items()}
    overall = (weights * means[preprocessing]).sum(axis=0) / np.maximum(weights.sum(axis=0), 1)
    return MeanExpression(by_study=1 + means["library_size_log1p"], overall=1 + overall)


def mask_log_weights(train: Corpus, temperature: float) -> np.ndarray | None:
    """Logarithms of the weights that genes are shown with: ``tau * log m_i`` (Table 5d).

    Parameters
    ----------
    train : Corpus
    temperature : float
        tau; 0 = uniform.

    Returns
    -------
    numpy.ndarray (G,), float64
        m_i is the number of training samples that detect gene i. A gene that none detects counts as detected once: its
        weight stays finite for every tau. None for tau = 0.
    """
    return temperature * np.log(np.maximum(train.n_detected, 1)) if temperature else None
