"""Fitting scVI (Lopez et al. 2018) with scvi-tools (extra `scvi`), which is imported on first use and never again.

What is kept is the encoder, as plain arrays: embedding needs no scvi-tools.
"""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

from txfm.artifact import Provenance
from txfm.baselines.features import ScviFeatures
from txfm.baselines.model import Baseline
from txfm.baselines.training_samples import blocks
from txfm.corpus import Corpus
from txfm.errors import InputError

N_LATENT = 50
MAX_SAMPLES = 100_000  # in memory: some 2.5 GB at 3,000 detected genes a sample


@dataclass(frozen=True, kw_only=True)
class ScviSettings:
    """Settings of a fit; the defaults are those of scvi-tools, but for the width of the latent space."""

    n_latent: int = N_LATENT
    """Width of an embedding; as many as PCA has components. scvi-tools: 10."""
    n_hidden: int = 128
    """Width of a hidden layer."""
    n_layers: int = 1
    """Hidden layers of encoder and decoder."""
    max_epochs: int | None = None
    """Passes over the samples; None = scvi-tools' rule, 400 up to 20,000 samples and fewer beyond."""
    max_samples: int = MAX_SAMPLES
    """A larger variant is reduced to so many samples, drawn at random."""


def scvi(training: Corpus, settings: ScviSettings, seed: int = 0) -> Baseline:
    """scVI with the study as batch, zero-inflated negative binomial; the encoder does not see the study.

    Parameters
    ----------
    training : Corpus
        The training split opened with ``shuffle=True`` and a vocabulary of genes that every study measured.
    settings : ScviSettings
    seed : int
        Of weights and order.

    Raises
    ------
    InputError
        scvi-tools is not installed.
    AssertionError
        A study did not measure one of the genes.
    """
    assert training.measured.all(), "choose genes that every training study measured"
    package = _scvi_tools()
    counts, study_index = _drawn(training, settings.max_samples)
    package.settings.seed = seed
    studies = pd.Categorical(np.array(training.studies)[study_index])
    samples = anndata.AnnData(counts, obs=pd.DataFrame({"study": studies}, index=np.arange(len(studies)).astype(str)))
    package.model.SCVI.setup_anndata(samples, batch_key="study")
    model = package.model.SCVI(
        samples, n_latent=settings.n_latent, n_hidden=settings.n_hidden, n_layers=settings.n_layers
    )
    model.train(max_epochs=settings.max_epochs, enable_progress_bar=False)
    features = features_of(model, counts)
    n_epochs = int(model.trainer.current_epoch)
    return Baseline.fitted(
        "scvi",
        features,
        training.vocabulary,
        Provenance.of(training.variant),
        config={
            **vars(settings),
            "max_epochs": n_epochs,
            "max_samples": len(studies),
            "gene_likelihood": model.module.gene_likelihood,
            "batch_key": "study",
            "norm_epsilon": features.norm_epsilon,
        },
        seed=seed,
        n_samples=n_epochs * len(studies),
        packages={"scvi-tools": package.__version__},
    )


def features_of(model: Any, counts: sp.csr_matrix) -> ScviFeatures:
    """The encoder of a fitted ``scvi.model.SCVI`` as plain arrays; `counts` are what it was fitted on.

    Raises
    ------
    AssertionError
        The model is not of the kind that `scvi` fits.
    """
    module = model.module
    assert module.log_variational, "the encoder must see log counts"
    assert not module.encode_covariates, "the encoder must see nothing but counts"
    layers, epsilon = [], set()
    for linear, norm, *_ in module.z_encoder.encoder.fc_layers:
        epsilon.add(norm.eps)
        tensors = (linear.weight, linear.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var)
        layers.append({part: _array(tensor) for part, tensor in zip(ScviFeatures.PARTS, tensors, strict=True)})
    (norm_epsilon,) = epsilon
    latent = module.z_encoder.mean_encoder
    log_counts = sp.csr_matrix(counts, dtype=np.float64).log1p()
    return ScviFeatures(
        mean=np.asarray(log_counts.mean(axis=0)).ravel(),
        layers=tuple(layers),
        latent_weight=_array(latent.weight),
        latent_bias=_array(latent.bias),
        gene_decoder=_array(module.decoder.px_scale_decoder[0].weight),
        norm_epsilon=norm_epsilon,
    )


def _array(tensor: Any) -> np.ndarray:
    return tensor.detach().cpu().numpy().copy()


def _drawn(training: Corpus, max_samples: int) -> tuple[sp.csr_matrix, np.ndarray]:
    """Counts (n, G) float32 and study of the first samples of a shuffled epoch: a random draw."""
    parts, studies, n_samples = [], [], 0
    for batch, counts in blocks(training):
        parts.append(counts.astype(np.float32))
        studies.append(batch.study_index)
        n_samples += len(batch)
        if n_samples >= max_samples:
            break
    return sp.vstack(parts, format="csr")[:max_samples], np.concatenate(studies)[:max_samples]


def _scvi_tools() -> ModuleType:
    try:
        import scvi as package
    except ImportError as error:
        raise InputError(
            "Fitting scVI needs the package scvi-tools",
            found=str(error),
            todo="pip install 'diverserna[scvi]', or pip install scvi-tools; to use a fitted one, nothing is needed",
        ) from error
    return package
