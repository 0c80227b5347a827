"""From counts to the vector of a baseline: one small class a kind.

Shapes: n samples, G vocabulary, d width. A gene that the data did not measure is not zero: it takes the mean of the
training samples whose study measured it, so that it says nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np

from txfm.preprocess import log_normalise

Arrays = Mapping[str, np.ndarray]


class Features(Protocol):
    """What a fit leaves behind."""

    @classmethod
    def of(cls, arrays: Arrays, config: Mapping[str, Any]) -> Self:
        """From the weights and `config` of an artifact; KeyError if one is missing."""

    def arrays(self) -> dict[str, np.ndarray]:
        """The weights of an artifact."""

    @property
    def n_dimensions(self) -> int:
        """Width d of a vector."""

    def vectors(self, counts: np.ndarray, visible: np.ndarray) -> np.ndarray:
        """Vectors (n, d) of counts (n, G) float64, zero where not measured; `visible` (G,) bool: genes to be used."""

    def gene_tables(self) -> dict[str, np.ndarray]:
        """Learned vectors of genes (G, n): "encoder" and "decoder", or neither."""


def imputed(values: np.ndarray, visible: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """`values` (n, G) with the mean at the genes that are not visible."""
    return np.where(visible, values, mean)


@dataclass(frozen=True, kw_only=True, eq=False)
class PcaFeatures:
    """Scores on principal components of log-normalised counts.

    Attributes
    ----------
    mean : numpy.ndarray (G,)
    components : numpy.ndarray (d, G)
    scale : numpy.ndarray (d,)
        What the scores are divided by: 1, or for the standardised variant the standard deviation over training samples.
    library_size : float
    """

    mean: np.ndarray
    components: np.ndarray
    scale: np.ndarray
    library_size: float

    @classmethod
    def of(cls, arrays: Arrays, config: Mapping[str, Any]) -> Self:
        """See `Features.of`."""
        names = ("mean", "components", "scale")
        return cls(**{name: arrays[name] for name in names}, library_size=config["library_size_counts"])

    def arrays(self) -> dict[str, np.ndarray]:
        """See `Features.arrays`."""
        return {"mean": self.mean, "components": self.components, "scale": self.scale}

    @property
    def n_dimensions(self) -> int:
        """See `Features.n_dimensions`."""
        return len(self.components)

    def vectors(self, counts: np.ndarray, visible: np.ndarray) -> np.ndarray:
        """See `Features.vectors`."""
        expression = imputed(log_normalise(counts, self.library_size), visible, self.mean)
        return (expression @ self.components.T - self.components @ self.mean) / self.scale

    def gene_tables(self) -> dict[str, np.ndarray]:
        """The loadings."""
        return {"encoder": self.components.T, "decoder": self.components.T}


@dataclass(frozen=True, kw_only=True, eq=False)
class LogCountFeatures:
    """Log-normalised counts of all genes or of some.

    Attributes
    ----------
    mean : numpy.ndarray (G,)
    chosen : numpy.ndarray (d,), int64
        Vocabulary positions; the library size is that of all genes all the same.
    library_size : float
    """

    mean: np.ndarray
    chosen: np.ndarray
    library_size: float

    @classmethod
    def of(cls, arrays: Arrays, config: Mapping[str, Any]) -> Self:
        """See `Features.of`."""
        return cls(mean=arrays["mean"], chosen=arrays["chosen"], library_size=config["library_size_counts"])

    def arrays(self) -> dict[str, np.ndarray]:
        """See `Features.arrays`."""
        return {"mean": self.mean, "chosen": self.chosen}

    @property
    def n_dimensions(self) -> int:
        """See `Features.n_dimensions`."""
        return len(self.chosen)

    def vectors(self, counts: np.ndarray, visible: np.ndarray) -> np.ndarray:
        """See `Features.vectors`."""
        expression = log_normalise(counts, self.library_size)[:, self.chosen]
        return imputed(expression, visible[self.chosen], self.mean[self.chosen])

    def gene_tables(self) -> dict[str, np.ndarray]:
        """Nothing was learned about genes."""
        return {}


@dataclass(frozen=True, kw_only=True, eq=False)
class ScviFeatures:
    """Mean of the latent variable of an scVI model: its encoder, without scvi-tools.

    Linear layers with batch normalisation (by the statistics of the training) and ReLU over log(1 + count), then one
    linear layer (Lopez et al. 2018, Nat. Methods 15, 1053).

    Attributes
    ----------
    mean : numpy.ndarray (G,)
        Of log(1 + count) over training samples.
    layers : sequence of mappings
        weight (n_out, n_in), bias, norm_weight, norm_bias, norm_mean, norm_variance (n_out,) of each hidden layer.
    latent_weight, latent_bias : numpy.ndarray (d, n_hidden), (d,)
    gene_decoder : numpy.ndarray (G, n_hidden)
        Weights of the decoder's layer that gives the proportions of genes.
    norm_epsilon : float
    """

    mean: np.ndarray
    layers: tuple[Mapping[str, np.ndarray], ...]
    latent_weight: np.ndarray
    latent_bias: np.ndarray
    gene_decoder: np.ndarray
    norm_epsilon: float

    PARTS = ("weight", "bias", "norm_weight", "norm_bias", "norm_mean", "norm_variance")

    @classmethod
    def of(cls, arrays: Arrays, config: Mapping[str, Any]) -> Self:
        """See `Features.of`."""
        layers = [{part: arrays[f"layers.{i}.{part}"] for part in cls.PARTS} for i in range(config["n_layers"])]
        names = ("mean", "latent_weight", "latent_bias", "gene_decoder")
        return cls(**{name: arrays[name] for name in names}, layers=tuple(layers), norm_epsilon=config["norm_epsilon"])

    def arrays(self) -> dict[str, np.ndarray]:
        """See `Features.arrays`."""
        layers = {f"layers.{i}.{part}": array for i, layer in enumerate(self.layers) for part, array in layer.items()}
        names = ("mean", "latent_weight", "latent_bias", "gene_decoder")
        return {name: getattr(self, name) for name in names} | layers

    @property
    def n_dimensions(self) -> int:
        """See `Features.n_dimensions`."""
        return len(self.latent_bias)

    def vectors(self, counts: np.ndarray, visible: np.ndarray) -> np.ndarray:
        """See `Features.vectors`."""
        hidden = imputed(np.log1p(counts), visible, self.mean)
        for layer in self.layers:
            scale = layer["norm_weight"] / np.sqrt(layer["norm_variance"] + self.norm_epsilon)
            linear = hidden @ layer["weight"].T + layer["bias"]
            hidden = np.maximum((linear - layer["norm_mean"]) * scale + layer["norm_bias"], 0.0)
        return hidden @ self.latent_weight.T + self.latent_bias

    def gene_tables(self) -> dict[str, np.ndarray]:
        """Weights of the encoder's first and of the decoder's last layer."""
        return {"encoder": self.layers[0]["weight"].T, "decoder": self.gene_decoder}


# Kind of an artifact -> what its weights mean
FEATURES: Mapping[str, type[Features]] = {
    "pca": PcaFeatures,
    "lognorm": LogCountFeatures,
    "hvg": LogCountFeatures,
    "scvi": ScviFeatures,
}
