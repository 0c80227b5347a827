"""A fitted baseline, used like a TxFM."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from txfm.artifact import Artifact, Provenance, write_artifact
from txfm.artifact.provenance import software
from txfm.baselines.features import FEATURES, Features
from txfm.embedder import Embedder, Encoder
from txfm.vocabulary import Vocabulary


class Baseline(Embedder):
    """A fitted baseline ready for use; made by `txfm.load` or by `txfm.baselines.fit`. It computes on the CPU.

    Attributes
    ----------
    features : Features
        What the fit left behind.
    vocabulary : Vocabulary
    card : dict
        model.json without the vocabulary.
    """

    def __init__(self, features: Features, vocabulary: Vocabulary, card: dict[str, Any]) -> None:
        super().__init__(vocabulary, card)
        self.features = features

    @classmethod
    def fitted(
        cls,
        kind: str,
        features: Features,
        vocabulary: Vocabulary,
        provenance: Provenance,
        *,
        config: Mapping[str, Any],
        seed: int,
        n_samples: int,
        steps: int = 0,
        fit: Mapping[str, Any] | None = None,
        packages: Mapping[str, str] | None = None,
    ) -> "Baseline":
        """A baseline that was just fitted.

        Parameters
        ----------
        kind : str
            A key of `FEATURES`.
        features : Features
        vocabulary : Vocabulary
        provenance : Provenance
            Of the training samples.
        config : mapping
            Every setting of the fit.
        seed, n_samples, steps : int
            Of the fit; samples with repetition.
        fit : mapping, optional
            What was measured on the training samples.
        packages : mapping, optional
            Versions of further software.
        """
        card = {
            "kind": kind,
            "config": dict(config),
            "n_parameters": sum(array.size for array in features.arrays().values()),
            "n_dimensions": features.n_dimensions,
            **provenance.as_mapping(),
            "seed": seed,
            "samples_seen": n_samples,
            "steps": steps,
            "final_metrics": {"fit": dict(fit)} if fit else {},
            "software": software(**(packages or {})),
        }
        return cls(features, vocabulary, card)

    @classmethod
    def of(cls, artifact: Artifact) -> "Baseline":
        """The baseline of an artifact.

        Raises
        ------
        InputError
            Weights and description do not belong together.
        """
        arrays = {name: tensor.numpy() for name, tensor in artifact.tensors().items()}
        try:
            features = FEATURES[artifact.card["kind"]].of(arrays, artifact.card["config"])
            model = cls(features, artifact.vocabulary, artifact.card)
            width = (
                model.encoder(np.arange(len(artifact.vocabulary)))
                .encode(np.ones((1, len(artifact.vocabulary))))
                .shape[1]
            )
        except (KeyError, ValueError, IndexError) as error:
            raise artifact.mismatch(error) from error
        if width != model.n_dimensions:
            raise artifact.mismatch(f"vectors of {width} numbers, not {model.n_dimensions}")
        return model

    def save(self, folder: Path) -> None:
        """Write the baseline; see `txfm.artifact.write_artifact`."""
        tensors = {name: torch.from_numpy(array) for name, array in self.features.arrays().items()}
        write_artifact(folder, tensors, self.vocabulary, self.card)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return torch.device("cpu")

    def encoder(self, visible: np.ndarray, batch_size: int | None = None) -> Encoder:
        """See `Embedder.encoder`; the batch size changes nothing."""
        is_visible = np.zeros(len(self.vocabulary), dtype=bool)
        is_visible[visible] = True
        return _BaselineEncoder(self.features, is_visible)

    def gene_tables(self) -> Mapping[str, np.ndarray]:
        """See `Embedder.gene_tables`."""
        return self.features.gene_tables()


class _BaselineEncoder:
    """`Encoder` of a baseline."""

    def __init__(self, features: Features, visible: np.ndarray) -> None:
        self._features, self._visible = features, visible

    def encode(self, counts: np.ndarray) -> np.ndarray:
        return self._features.vectors(counts.astype(np.float64), self._visible).astype(np.float32)
