"""Mean expression of the training samples: where the decoder starts, and what validation is compared with."""

from dataclasses import dataclass

import numpy as np

from txfm.corpus import Corpus

SAMPLES_PER_STUDY = (
    20_000  # stores are shuffled when written, so the first rows are a random sample; the full K562 has 502,080
)


@dataclass(frozen=True, kw_only=True, eq=False)
class MeanExpression:
    """Means of ``exp(x) = normalised count + 1`` over training samples.

    Attributes
    ----------
    by_study : numpy.ndarray (n_studies, G), float64
        1 where the study did not measure the gene.
    overall : numpy.ndarray (G,), float64
        Over the studies that measured the gene, weighted by their number of training samples.
    """

    by_study: np.ndarray
    overall: np.ndarray


def mean_expression(train: Corpus, library_size: float) -> MeanExpression:
    """Mean of the Poisson target per gene, per study and overall, from up to `SAMPLES_PER_STUDY` rows of each study."""
    n_studies, n_genes = train.measured.shape
    totals = np.zeros((n_studies, n_genes))
    n_rows = np.zeros(n_studies)
    for study, rows in train.first_rows(SAMPLES_PER_STUDY):
        lengths = np.diff(rows.indptr)
        row_of_entry = np.repeat(np.arange(len(rows)), lengths)
        library = np.bincount(row_of_entry, weights=rows.counts, minlength=len(rows))
        share = rows.counts / library[row_of_entry]
        totals[study] += np.bincount(rows.positions, weights=share * library_size, minlength=n_genes)
        n_rows[study] += len(rows)
    by_study = 1 + totals / np.maximum(n_rows, 1)[:, None]
    n_samples = np.array([train.samples_by_study()[study] for study in train.studies], dtype=float)
    weights = n_samples[:, None] * train.measured
    overall = (weights * by_study).sum(axis=0) / np.maximum(weights.sum(axis=0), 1)
    return MeanExpression(by_study=by_study, overall=np.maximum(overall, 1.0))
