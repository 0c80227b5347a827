"""Fitting the baselines that need nothing but sums over the training samples."""

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from txfm.artifact import Provenance
from txfm.baselines.features import LogCountFeatures, PcaFeatures
from txfm.baselines.log_counts import log_normalise_sparse
from txfm.baselines.model import Baseline
from txfm.baselines.moments import training_moments
from txfm.baselines.pca import N_PASSES, fit_pca
from txfm.baselines.training_samples import blocks
from txfm.baselines.variable_genes import N_BINS, most_variable
from txfm.corpus import Corpus
from txfm.errors import InputError

N_COMPONENTS = 50
N_TOP_GENES = 2000
LIBRARY_SIZE_COUNTS = 1e5  # as TxFM (sec. A.2)


def pca(
    training: Corpus,
    *,
    n_components: int = N_COMPONENTS,
    standardised: bool = False,
    library_size: float = LIBRARY_SIZE_COUNTS,
    seed: int = 0,
) -> Baseline:
    """PCA of log-normalised counts, centred, not scaled per gene; streamed, in bounded memory.

    Parameters
    ----------
    training : Corpus
        The training split opened with ``shuffle=False`` and a vocabulary of genes that every study measured: every zero
        of the matrix is a measured one.
    n_components : int
        Capped by the number of genes and of samples.
    standardised : bool
        Divide each component's score by its standard deviation over the training samples, which gives weak components
        the weight of strong ones, and their noise, too.
    library_size : float
        L, in counts; the sum of a sample is over these genes.
    seed : int
        Of the random start.

    Raises
    ------
    AssertionError
        A study did not measure one of the genes.
    """
    assert training.measured.all(), "choose genes that every training study measured"

    def one_pass() -> Iterator[sp.csr_matrix]:
        for _, counts in blocks(training):
            yield log_normalise_sparse(counts, library_size)

    fitted = fit_pca(one_pass, training.n_samples, len(training.vocabulary), n_components, seed)
    deviation = np.sqrt(np.maximum(fitted.variance, 0.0))
    scale = np.where(deviation > 0, deviation, 1.0) if standardised else np.ones_like(deviation)
    features = PcaFeatures(mean=fitted.mean, components=fitted.components, scale=scale, library_size=library_size)
    return Baseline.fitted(
        "pca",
        features,
        training.vocabulary,
        Provenance.of(training.variant),
        config={
            "library_size_counts": library_size,
            "n_components": features.n_dimensions,
            "n_passes": N_PASSES,
            "scaling": "standardised" if standardised else "raw",
        },
        seed=seed,
        n_samples=fitted.n_samples,
        fit={"explained_variance_share": fitted.explained_variance_share},
    )


def log_counts(
    training: Corpus, *, n_top_genes: int | None = None, library_size: float = LIBRARY_SIZE_COUNTS
) -> Baseline:
    """Library-normalised log counts of the reader's vocabulary (kind lognorm), or of the genes that vary most (hvg).

    Parameters
    ----------
    training : Corpus
        The training split; studies may have measured different genes.
    n_top_genes : int, optional
        How many genes are kept: `txfm.baselines.variable_genes.most_variable`. None = all.
    library_size : float
        L, in counts; the sum of a sample is over the whole vocabulary, also for hvg.

    Raises
    ------
    InputError
        No study has two samples in which a gene varies.
    """
    moments = training_moments(training, library_size)
    config: dict[str, float] = {"library_size_counts": library_size}
    chosen = np.arange(len(training.vocabulary))
    if n_top_genes is not None:
        chosen = most_variable(moments, n_top_genes)
        config |= {"n_top_genes": len(chosen), "n_bins": N_BINS}
        if not len(chosen):
            raise InputError(
                "No gene varies within a study, so there are none that vary most",
                where=f"variant {training.variant.name}",
                expected="a study of two samples or more",
            )
    return Baseline.fitted(
        "lognorm" if n_top_genes is None else "hvg",
        LogCountFeatures(mean=moments.mean_log(), chosen=chosen, library_size=library_size),
        training.vocabulary,
        Provenance.of(training.variant),
        config=config,
        seed=0,
        n_samples=int(moments.n_samples.sum()),
    )
