"""Vectors of every layer of a TxFM, of one forward pass."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from txfm.embedder import Embedder, Encoder
from txfm.embedding.network_encoder import NetworkEncoder
from txfm.embedding.options import PLAIN, EncoderOptions
from txfm.errors import InputError
from txfm.evaluation.embedders import Embedding
from txfm.pretrained import PretrainedModel


class AllLayers(Embedder):
    """A TxFM whose embedding is the vectors of several of its layers, one after the other.

    Parameters
    ----------
    model : PretrainedModel
    layers : sequence of str
        Of `ModelConfig.layer_names`; none = all of them.

    Raises
    ------
    InputError
        The model has no such layer, or one is named twice.
    """

    def __init__(self, model: PretrainedModel, layers: Sequence[str] = ()) -> None:
        self.layers = tuple(layers) or tuple(model.config.layer_names)
        if len(set(self.layers)) < len(self.layers) or not set(self.layers) <= set(model.config.layer_names):
            raise InputError(
                "These layers cannot be scored",
                expected="each once, of " + ", ".join(model.config.layer_names),
                found=", ".join(self.layers),
            )
        super().__init__(model.vocabulary, {**model.card, "n_dimensions": len(self.layers) * model.config.width})
        self._model = model

    def encoder(self, visible: np.ndarray, options: EncoderOptions = PLAIN) -> Encoder:
        """See `Embedder.encoder`; the layer of the options is not looked at."""
        return _LayersEncoder(NetworkEncoder(self._model.network, visible, options), self.layers)

    def gene_tables(self) -> Mapping[str, np.ndarray]:
        """See `Embedder.gene_tables`."""
        return self._model.gene_tables()


class _LayersEncoder:
    def __init__(self, encoder: NetworkEncoder, layers: tuple[str, ...]) -> None:
        self._encoder, self._layers = encoder, layers

    def encode(self, counts: sp.csr_matrix) -> np.ndarray:
        """Vectors float32 (n_samples, layers x width) of raw counts (n_samples, G)."""
        return self._encoder.encode_layers(counts, self._layers).reshape(counts.shape[0], -1)


def by_layer(embedding: Embedding, layers: Sequence[str]) -> Iterator[Embedding]:
    """The vectors of `AllLayers` as an embedding a layer, labelled ``model:layer``."""
    for layer, values in zip(layers, np.split(embedding.values, len(layers), axis=1), strict=True):
        yield replace(
            embedding,
            label=f"{embedding.label}:{layer}",
            values=values,
            identity={**embedding.identity, "layer": layer},
        )
