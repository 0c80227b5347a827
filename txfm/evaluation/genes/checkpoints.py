"""Vectors of genes along a training (Figure 2): from its checkpoints, or from models saved on the way."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from txfm.artifact import is_finished
from txfm.errors import InputError
from txfm.evaluation.genes.gene_vectors import GeneEmbedder
from txfm.pretrained import KIND, load
from txfm.training.checkpoint import checkpoint_folders

# Table -> its tensor in state.safetensors
TENSORS = {"encoder": "model.gene_table.weight", "decoder": "model.decoder_out.weight"}


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingState:
    """The vectors of one moment of a training."""

    name: str
    step: int
    samples_seen: int
    embedder: GeneEmbedder


def read_states(folder: Path, finished: GeneEmbedder) -> Iterator[TrainingState]:
    """The states of a training, by step, the finished model's last; one at a time, to hold the vectors of one alone.

    Parameters
    ----------
    folder : Path
        With checkpoints ``step-<n>/`` of the training, or models that it saved, or both.
    finished : GeneEmbedder
        The model that the training ended with: a checkpoint does not name its genes.

    Raises
    ------
    InputError
        The model is no TxFM, the folder has no state, or one is of another training or damaged.
    """
    if finished.kind != KIND:
        raise InputError(
            "Checkpoints belong to a trained TxFM", where=finished.source, expected=f"kind {KIND}", found=finished.kind
        )
    if not folder.is_dir():
        raise InputError("There is no such folder of checkpoints", where=str(folder))
    # A hidden folder is half of a model, which a kill prevented from being renamed
    models = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".") and is_finished(path)]
    places = [(_of_checkpoint, path, _progress(path, finished)) for path in checkpoint_folders(folder)]
    places += [(_of_model, path, _card(path, finished)) for path in models]
    if not places:
        raise InputError(
            "No state of a training is in this folder",
            where=str(folder),
            expected="step-<n>/ with state.safetensors and state.json, or folders of models",
            found=", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing",
        )
    for read, path, facts in sorted(places, key=lambda place: place[2]["step"]):
        embedder = replace(finished, tables=read(path, finished), source=str(path))
        yield TrainingState(name=path.name, step=facts["step"], samples_seen=facts["samples_seen"], embedder=embedder)
    steps, samples_seen = finished.card["steps"], finished.card["samples_seen"]
    if all(facts["step"] != steps for _, _, facts in places):
        yield TrainingState(name=finished.label, step=steps, samples_seen=samples_seen, embedder=finished)


def n_training_samples(finished: GeneEmbedder) -> int:
    """Samples of an epoch."""
    return sum(study["n_samples"] for study in finished.card["training_studies"].values())


def _progress(path: Path, finished: GeneEmbedder) -> dict[str, Any]:
    try:
        state = json.loads((path / "state.json").read_text())
        found = {"variant_digest": state["identity"]["variant_digest"], "n_genes": state["identity"]["n_genes"]}
        progress = {name: int(state["progress"][name]) for name in ("step", "samples_seen")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError("A checkpoint cannot be read", where=str(path), found=str(error)) from error
    _refuse_others(path, found, finished)
    return progress


def _card(path: Path, finished: GeneEmbedder) -> dict[str, Any]:
    model = load(path)
    found = {"variant_digest": model.card["variant"]["digest"], "n_genes": len(model.vocabulary)}
    _refuse_others(path, found, finished)
    return {"step": model.card["steps"], "samples_seen": model.card["samples_seen"]}


def _refuse_others(path: Path, found: dict[str, Any], finished: GeneEmbedder) -> None:
    expected = {"variant_digest": finished.card["variant"]["digest"], "n_genes": len(finished.vocabulary)}
    if found != expected:
        raise InputError(
            "A checkpoint is of another training than the model",
            where=str(path),
            expected=", ".join(f"{name} {value}" for name, value in expected.items()),
            found=", ".join(f"{name} {value}" for name, value in found.items()),
            todo="name the model that this training ended with",
        )


def _of_checkpoint(path: Path, finished: GeneEmbedder) -> dict[str, np.ndarray]:
    try:
        with safe_open(path / "state.safetensors", "pt") as tensors:
            tables = {name: tensors.get_tensor(tensor).float().numpy() for name, tensor in TENSORS.items()}
    except (SafetensorError, OSError) as error:
        raise InputError("A checkpoint cannot be read", where=str(path), found=str(error)) from error
    if any(len(table) != len(finished.vocabulary) for table in tables.values()):
        raise InputError("The weights of a checkpoint do not fit its description", where=str(path))
    return tables


def _of_model(path: Path, finished: GeneEmbedder) -> dict[str, np.ndarray]:
    model = load(path)
    assert model.vocabulary.ensembl_ids == finished.vocabulary.ensembl_ids, "of the same variant"
    return dict(model.gene_tables())
