"""A fitted baseline, used like a TxFM."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from txfm.artifact import Artifact, Provenance, write_artifact
from txfm.artifact.provenance import software
from txfm.baselines.features import FEATURES, Features
from txfm.embedder import Embedder, Encoder
from txfm.embedding.options import PLAIN, EncoderOptions
from txfm.errors import InputError
from txfm.vocabulary import Vocabulary

BATCH_SAMPLES = 256  # dense at a time: 90 MB of 44,349 genes


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
                .encode(sp.csr_matrix(np.ones((1, len(artifact.vocabulary)))))
                .shape[1]
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise artifact.mismatch(error) from error
        if width != model.n_dimensions:
            raise artifact.mismatch(f"vectors of {width} numbers, not {model.n_dimensions}")
        return model

    def save(self, folder: Path) -> None:
        """Write the baseline; see `txfm.artifact.write_artifact`."""
        tensors = {name: torch.from_numpy(array) for name, array in self.features.arrays().items()}
        write_artifact(folder, tensors, self.vocabulary, self.card)

    def encoder(self, visible: np.ndarray, options: EncoderOptions = PLAIN) -> Encoder:
        """See `Embedder.encoder`.

        Raises
        ------
        InputError
            Another layer or precision is asked for than a baseline has.
        """
        if options.model_layer != PLAIN.model_layer or options.precision != PLAIN.precision:
            raise InputError(
                "A baseline has no layers and one precision",
                where=f"model of kind {self.card['kind']}",
                expected=f"layer {PLAIN.model_layer}, {PLAIN.precision}",
                found=f"layer {options.model_layer}, {options.precision}",
                todo="leave model_layer and precision out (--model-layer, --precision)",
            )
        is_visible = np.zeros(len(self.vocabulary), dtype=bool)
        is_visible[visible] = True
        return _BaselineEncoder(self.features, is_visible, options.batch_size or BATCH_SAMPLES)

    def gene_tables(self) -> Mapping[str, np.ndarray]:
        """See `Embedder.gene_tables`."""
        return self.features.gene_tables()


class _BaselineEncoder:
    """`Encoder` of a baseline."""

    def __init__(self, features: Features, visible: np.ndarray, batch_size: int) -> None:
        self._features, self._visible, self._batch_size = features, visible, batch_size

    def encode(self, counts: sp.csr_matrix) -> np.ndarray:
        out = np.empty((counts.shape[0], self._features.n_dimensions), dtype=np.float32)
        for start in range(0, len(out), self._batch_size):
            rows = counts[start : start + self._batch_size].astype(np.float64).toarray()
            out[start : start + len(rows)] = self._features.vectors(rows, self._visible)
        return out
