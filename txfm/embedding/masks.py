"""Which genes are shown, and averages over several choices."""

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from txfm.embedder import Embedder, Encoder
from txfm.embedding.options import EmbeddingOptions


def visible_genes(measured: np.ndarray, options: EmbeddingOptions) -> list[np.ndarray]:
    """Vocabulary positions (int64, ascending) that each mask shows of measured genes (G,): the same for all samples."""
    if options.genes == "all":
        return [np.flatnonzero(measured)]
    masks = []
    for seed in range(options.n_masks):
        drawn = np.random.default_rng(seed).permutation(len(measured))
        masks.append(np.sort(drawn[measured[drawn]][: int(options.genes)]))
    return masks


class MaskedEncoder:
    """The mean of a model's vectors over masks (`txfm.embedder.Encoder`).

    Parameters
    ----------
    embedder : Embedder
    measured : numpy.ndarray (G,), bool
        Genes of the vocabulary that the samples measured.
    options : EmbeddingOptions

    Raises
    ------
    InputError
        The model has no such layer or precision.
    """

    def __init__(self, embedder: Embedder, measured: np.ndarray, options: EmbeddingOptions) -> None:
        masks = visible_genes(measured, options)
        self._encoders: Sequence[Encoder] = [embedder.encoder(visible, options) for visible in masks]

    def encode(self, counts: sp.csr_matrix) -> np.ndarray:
        """Vectors float32 (n_samples, d) of raw counts (n_samples, G)."""
        total = self._encoders[0].encode(counts)
        for encoder in self._encoders[1:]:
            total += encoder.encode(counts)
        return total / np.float32(len(self._encoders))
