"""A trained TxFM: written at the end of a training, opened for use."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from txfm.artifact import Artifact, Provenance, read_artifact, write_artifact
from txfm.artifact.provenance import software
from txfm.config import ModelConfig
from txfm.embedder import Embedder, Encoder
from txfm.embedding.network_encoder import NetworkEncoder
from txfm.embedding.options import PLAIN, EncoderOptions
from txfm.errors import InputError
from txfm.hardware import Hardware
from txfm.model import TxFM
from txfm.vocabulary import Vocabulary

if TYPE_CHECKING:
    from txfm.corpus import Corpus

KIND = "txfm"


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """Where a model's weights come from.

    Attributes
    ----------
    config : ModelConfig
    vocabulary : Vocabulary
    provenance : Provenance
        The training data.
    seed, samples_seen, steps : int
    final_metrics : dict
        The last lines "train" and "validation" of the metrics.
    parent : dict or None
        Of a fine-tuned model: `txfm.artifact.parent_of` the model that it was started from.
    """

    config: ModelConfig
    vocabulary: Vocabulary
    provenance: Provenance
    seed: int
    samples_seen: int
    steps: int
    final_metrics: dict[str, Any]
    parent: dict[str, Any] | None = None

    @classmethod
    def of(
        cls,
        corpus: "Corpus",
        config: ModelConfig,
        seed: int,
        samples_seen: int,
        steps: int,
        train_line: dict[str, Any] | None,
        validation_line: dict[str, Any] | None,
        parent: dict[str, Any] | None = None,
    ) -> "TrainingRecord":
        """The record of a run that has just ended."""
        return cls(
            config=config,
            vocabulary=corpus.vocabulary,
            provenance=Provenance.of(corpus.variant),
            seed=seed,
            samples_seen=samples_seen,
            steps=steps,
            final_metrics={"train": train_line, "validation": validation_line},
            parent=parent,
        )


def save_model(
    folder: Path,
    network: TxFM,
    record: TrainingRecord,
    metrics: Path | None,
    hardware: Hardware,
    finetuning: Mapping[str, Any] | None = None,
) -> None:
    """Write a trained network; see `txfm.artifact.write_artifact`.

    Parameters
    ----------
    folder : Path
    network : TxFM
    record : TrainingRecord
    metrics : Path, optional
        The run's metrics.jsonl, copied.
    hardware : Hardware
    finetuning : mapping, optional
        Of a fine-tuned model: finetune.json.
    """
    description = {
        "kind": KIND,
        "config": record.config.as_mapping(),
        "n_parameters": sum(parameter.numel() for parameter in network.parameters()),
        "n_dimensions": record.config.width,
        **record.provenance.as_mapping(record.parent),
        "seed": record.seed,
        "samples_seen": record.samples_seen,
        "steps": record.steps,
        "final_metrics": record.final_metrics,
        "software": software(precision=hardware.precision),
    }
    write_artifact(folder, network.state_dict(), record.vocabulary, description, metrics, finetuning)


class PretrainedModel(Embedder):
    """A trained TxFM ready for use; made by `txfm.load`.

    Attributes
    ----------
    network : TxFM
        In evaluation mode, float32.
    config : ModelConfig
    vocabulary : Vocabulary
    card : dict
        model.json without the vocabulary.
    """

    def __init__(self, network: TxFM, vocabulary: Vocabulary, card: dict[str, Any]) -> None:
        super().__init__(vocabulary, card)
        self.network = network
        self.config = network.config

    @classmethod
    def of(cls, artifact: Artifact, device: str) -> "PretrainedModel":
        """The network of an artifact of kind txfm.

        Raises
        ------
        InputError
            Weights and description do not belong together.
        """
        # A later minor version may add fields, but none that changes what the weights do (docs/model-format.md)
        known = {field.name for field in fields(ModelConfig)}
        config = {name: value for name, value in artifact.card["config"].items() if name in known}
        try:
            with torch.device("meta"):
                network = TxFM(ModelConfig(**config), len(artifact.vocabulary))
            network.load_state_dict(artifact.tensors(device), assign=True)
        except (RuntimeError, TypeError) as error:  # of torch; of a configuration that lacks a field
            raise artifact.mismatch(error) from error
        return cls(network.requires_grad_(False).eval(), artifact.vocabulary, artifact.card)

    @property
    def device(self) -> torch.device:
        """Where the weights are, and where it computes."""
        return self.network.cls.device

    def encoder(self, visible: np.ndarray, options: EncoderOptions = PLAIN) -> Encoder:
        """See `Embedder.encoder`."""
        return NetworkEncoder(self.network, visible, options)

    def gene_tables(self) -> Mapping[str, np.ndarray]:
        """See `Embedder.gene_tables`."""
        weights = {"encoder": self.network.gene_table.weight, "decoder": self.network.decoder_out.weight}
        return {name: weight.detach().float().cpu().numpy() for name, weight in weights.items()}


def load(folder: str | Path, device: str = "cpu", verify: bool = True) -> PretrainedModel:
    """Open a trained TxFM; `txfm.load` opens baselines as well.

    Parameters
    ----------
    folder : path
        With model.safetensors and model.json, as `train` writes it.
    device : str
        Where to put the weights.
    verify : bool
        Compare the sha256 of the files with model.json.

    Raises
    ------
    InputError
        There is no model, it is a baseline, its format cannot be read, or weights and json do not belong together.
    """
    artifact = read_artifact(Path(folder), verify)
    if artifact.card["kind"] != KIND:
        raise InputError(
            "This model is no TxFM",
            where=str(folder),
            expected=f"kind {KIND}",
            found=artifact.card["kind"],
            todo="baselines can be embedded with and evaluated, but have no network to go on with",
        )
    return PretrainedModel.of(artifact, device)
