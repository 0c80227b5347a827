"""Whether K visible genes leave anything to learn from: a gene that is shown is no task."""

import numpy as np

from txfm.config import ModelConfig
from txfm.corpus import Corpus
from txfm.errors import InputError


def refuse_nothing_masked(config: ModelConfig, n_genes: int) -> None:
    """Refuse a K that shows the whole vocabulary.

    Parameters
    ----------
    config : ModelConfig
    n_genes : int
        G, after a cap on the vocabulary.

    Raises
    ------
    InputError
        K is G or more.
    """
    if config.n_visible_genes < n_genes:
        return
    raise InputError(
        "Every gene of the vocabulary would be shown to the encoder, so nothing would be masked",
        where="model field n_visible_genes",
        expected=f"fewer than the vocabulary's {n_genes:,} genes",
        found=f"{config.n_visible_genes:,}",
        todo=f"set n_visible_genes to {max(1, n_genes // 4):,}, a quarter of them, or to another number below",
    )


def masked_shares(corpus: Corpus, config: ModelConfig) -> dict[str, float]:
    """Share of each study's measured genes that stays masked in each of its samples; 0 where all are shown."""
    n_measured_S = np.count_nonzero(corpus.measured, axis=1)
    n_masked_S = np.maximum(n_measured_S - config.n_visible_genes, 0)
    return dict(zip(corpus.studies, (n_masked_S / np.maximum(n_measured_S, 1)).tolist(), strict=True))
