"""Embedding a screen by a trained model that never saw it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from txfm.artifact.provenance import seen_among, studies_seen
from txfm.consistency.cells import NpyEmbeddings, write_npy
from txfm.consistency.stores import Screen
from txfm.embedder import Embedder
from txfm.embedding.run import in_vocabulary
from txfm.errors import InputError
from txfm.loading import load


def load_unaware(folder: Path, study: str, device: str) -> tuple[Embedder, dict[str, Any]]:
    """Open a model and return it with what the record of a table says of it.

    Raises
    ------
    InputError
        The model was trained on the study: phenoprints that it finds would choose its own training samples.
    """
    model = load(folder, device)
    studies = studies_seen(model.card)
    if seen_among([study], model.card):
        raise InputError(
            f"The model was trained on {study!r}, whose phenoprints it would choose",
            where=str(folder),
            expected=f"a model of a variant without {study}",
            found="trained on " + ", ".join(sorted(studies)),
            todo=f"train a variant with `without: [{study}]`, or leave --model out: PCA needs none",
        )
    return model, {
        "model": folder.name,
        "variant": model.card["variant"],
        "training_studies": sorted(studies),
        "samples_seen": model.card["samples_seen"],
    }


def embed_by_model(screen: Screen, model: Embedder, path: Path) -> NpyEmbeddings:
    """Write the model's embeddings of all cells of a screen to a .npy file, in one pass.

    Raises
    ------
    InputError
        The model was trained on another gene axis.
    """
    vocabulary = model.vocabulary
    axis = screen.axis_ids
    if max(vocabulary.axis_positions) >= len(axis) or tuple(axis[vocabulary.axis_positions]) != vocabulary.ensembl_ids:
        raise InputError(
            "The model was trained on another gene axis than that of the store",
            where=str(screen.entries[0].path),
            todo="take a model of the same build, or embed the store with `python -m txfm embed`",
        )
    place = np.full(len(axis), -1, dtype=np.int64)
    place[vocabulary.axis_positions] = np.arange(len(vocabulary))
    encoder = model.encoder(np.flatnonzero(np.isin(vocabulary.axis_positions, screen.measured)))

    def embeddings() -> Iterator[np.ndarray]:
        for _, block in screen.blocks():
            yield encoder.encode(in_vocabulary(block, place[screen.measured], len(vocabulary)))

    return write_npy(path, embeddings(), screen.n_cells, model.n_dimensions)
