"""A trained model on disk: model.safetensors (weights) and model.json (everything needed to trust and use them)."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file

from txfm.config import ModelConfig
from txfm.corpus import Corpus
from txfm.errors import InputError
from txfm.files import flush_to_disk, temporary_beside, write_json
from txfm.hardware import Hardware
from txfm.model import TxFM
from txfm.vocabulary import Vocabulary

if TYPE_CHECKING:
    from anndata import AnnData

FORMAT, FORMAT_VERSION = "txfm-model", "0.1"


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """Where a model's weights come from."""

    config: ModelConfig
    vocabulary: Vocabulary
    variant: str
    variant_digest: str
    corpus_digest: str | None
    studies: dict[str, dict[str, Any]]
    seed: int
    samples_seen: int
    steps: int
    final_metrics: dict[str, Any]

    @classmethod
    def of(
        cls,
        corpus: Corpus,
        config: ModelConfig,
        seed: int,
        samples_seen: int,
        steps: int,
        train_line: dict[str, Any] | None,
        validation_line: dict[str, Any] | None,
    ) -> "TrainingRecord":
        """The record of a run that has just ended."""
        return cls(
            config=config,
            vocabulary=corpus.vocabulary,
            variant=corpus.variant.name,
            variant_digest=corpus.variant.digest,
            corpus_digest=corpus.variant.corpus_digest,
            studies={
                store.study: {"recipe": store.recipe, "n_samples": store.n_samples, "simulated": store.simulated}
                for store in corpus.variant.of_split("train")
            },
            seed=seed,
            samples_seen=samples_seen,
            steps=steps,
            final_metrics={"train": train_line, "validation": validation_line},
        )


def is_finished(folder: Path) -> bool:
    """Whether the folder holds a model; model.json is written last."""
    return (folder / "model.json").is_file()


def save_model(folder: Path, network: TxFM, record: TrainingRecord, metrics: Path, hardware: Hardware) -> None:
    """Write the three files into a temporary folder, then rename them into `folder` (which may exist, empty).

    Parameters
    ----------
    folder : Path
    network : TxFM
    record : TrainingRecord
    metrics : Path
        The run's metrics.jsonl, copied.
    hardware : Hardware
    """
    temporary = temporary_beside(folder)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    save_file(
        {name: tensor.contiguous() for name, tensor in network.state_dict().items()}, temporary / "model.safetensors"
    )
    shutil.copyfile(metrics, temporary / "metrics.jsonl")
    shutil.copymode(
        temporary / "metrics.jsonl", temporary / "model.safetensors"
    )  # safetensors writes for the owner only
    card = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "licence": "Apache-2.0",
        "config": record.config.as_mapping(),
        "n_parameters": sum(parameter.numel() for parameter in network.parameters()),
        "variant": {"name": record.variant, "digest": record.variant_digest},
        "corpus_digest": record.corpus_digest,
        "training_studies": record.studies,
        "simulated_data": any(study["simulated"] for study in record.studies.values()),
        "seed": record.seed,
        "samples_seen": record.samples_seen,
        "steps": record.steps,
        "final_metrics": record.final_metrics,
        "software": {"torch": torch.__version__, "precision": hardware.precision, "git_commit": _git_commit()},
        "vocabulary": record.vocabulary.as_mapping(),
    }
    write_json(temporary / "model.json", card)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("metrics.jsonl", "model.safetensors", "model.json"):  # the json last: it marks the model as finished
        flush_to_disk(temporary / name)
        (temporary / name).rename(folder / name)
    temporary.rmdir()
    flush_to_disk(folder)


class PretrainedModel:
    """A trained model ready for use; made by `load`.

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
        self.network = network
        self.config = network.config
        self.vocabulary = vocabulary
        self.card = card

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.network.cls.device

    def embed(self, adata: "AnnData", **options: Any) -> np.ndarray:
        """Embed samples of raw counts: float32 (n_samples, width), row order kept.

        Options and errors: see `txfm.embed.embed`.
        """
        from txfm.embed import embed

        return embed(self, adata, **options)

    def gene_embeddings(self, which: str = "encoder") -> pd.DataFrame:
        """Learned vectors of the vocabulary's genes.

        Parameters
        ----------
        which : {"encoder", "decoder"}
            The gene's token vector (width - 1 numbers), or its row of the decoder's last layer (width numbers).

        Returns
        -------
        pandas.DataFrame
            Index ensembl_id; columns symbol, e0, e1, ...

        Raises
        ------
        InputError
            `which` is neither.
        """
        tables = {"encoder": self.network.gene_table.weight, "decoder": self.network.decoder_out.weight}
        if which not in tables:
            raise InputError("There are no such gene embeddings", expected="encoder or decoder", found=which)
        vectors = tables[which].detach().float().cpu().numpy()
        index = pd.Index(self.vocabulary.ensembl_ids, name="ensembl_id", dtype=object)
        frame = pd.DataFrame(vectors, index=index, columns=[f"e{column}" for column in range(vectors.shape[1])])
        frame.insert(0, "symbol", list(self.vocabulary.symbols))
        return frame


def load(folder: str | Path, device: str = "cpu") -> PretrainedModel:
    """Open a trained model.

    Parameters
    ----------
    folder : path
        With model.safetensors and model.json, as `train` writes it.
    device : str
        Where to put the weights.

    Returns
    -------
    PretrainedModel

    Raises
    ------
    InputError
        There is no model, its format is of another version, or weights and json do not belong together.
    """
    folder = Path(folder)
    if not is_finished(folder):
        raise InputError(
            "There is no trained model in this folder", where=str(folder), expected="model.json, model.safetensors"
        )
    card = json.loads((folder / "model.json").read_text())
    if card.get("format") != FORMAT or card.get("format_version") != FORMAT_VERSION:
        raise InputError(
            "This model's format cannot be read",
            where=str(folder / "model.json"),
            expected=f"{FORMAT}, version {FORMAT_VERSION}",
            found=f"{card.get('format')}, version {card.get('format_version')}",
            todo="use the version of txfm that wrote it",
        )
    vocabulary = Vocabulary.from_mapping(card.pop("vocabulary"))
    with torch.device("meta"):
        network = TxFM(ModelConfig(**card["config"]), len(vocabulary))
    try:
        network.load_state_dict(load_file(folder / "model.safetensors", device=device), assign=True)
    except (RuntimeError, OSError) as error:
        raise InputError(
            "The weights do not fit the model's description",
            where=str(folder / "model.safetensors"),
            found=str(error),
            todo="model.json and model.safetensors must come from the same training run",
        ) from error
    return PretrainedModel(network.requires_grad_(False).eval(), vocabulary, card)


def _git_commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:  # git is not installed
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
