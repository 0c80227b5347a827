"""Reading a model's folder: checked before anything of it is used, and nothing in it is ever run."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from txfm.artifact.format import DESCRIPTION, WEIGHTS, checked, damaged, is_finished
from txfm.artifact.sums import sums_of
from txfm.errors import InputError
from txfm.vocabulary import Vocabulary

PICKLES = frozenset({".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth"})


@dataclass(frozen=True, kw_only=True, eq=False)
class Artifact:
    """A checked model folder.

    Attributes
    ----------
    folder : Path
    card : dict
        model.json without the vocabulary, with the fields of today's version.
    vocabulary : Vocabulary
    """

    folder: Path
    card: dict[str, Any]
    vocabulary: Vocabulary

    def tensors(self, device: str = "cpu") -> dict[str, torch.Tensor]:
        """The weights by name.

        Raises
        ------
        InputError
            The file is no safetensors file.
        """
        try:
            return load_file(self.folder / WEIGHTS, device=device)
        except (SafetensorError, OSError) as error:
            raise damaged(str(self.folder / WEIGHTS), str(error)) from error

    def mismatch(self, found: object) -> InputError:
        """The error for weights that are not those of the description."""
        return InputError(
            "The weights do not fit the model's description",
            where=str(self.folder / WEIGHTS),
            found=str(found),
            todo=f"{DESCRIPTION} and {WEIGHTS} must come from the same training run",
        )


def read_artifact(folder: Path, verify: bool = True) -> Artifact:
    """Open a model's folder.

    Parameters
    ----------
    folder : Path
    verify : bool
        Compare bytes and sha256 of the files with model.json: a second for the 1.6 GB of L.

    Raises
    ------
    InputError
        There is no model, it holds a pickle, its format cannot be read, or a file is not as model.json says.
    """
    path = folder / DESCRIPTION
    if folder.is_dir():
        refuse_pickles(folder)
    if not is_finished(folder):
        raise InputError(
            "There is no trained model in this folder", where=str(folder), expected=f"{DESCRIPTION}, {WEIGHTS}"
        )
    try:
        parsed = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # neither JSON nor text
        raise damaged(str(path), str(error)) from error
    description = checked(parsed, str(path))
    vocabulary = _vocabulary(description.pop("vocabulary"), str(path))
    if not (folder / WEIGHTS).is_file():
        raise InputError("The model has no weights", where=str(folder), expected=WEIGHTS, todo="copy or pull it again")
    if verify:
        _compare_sums(folder, description["files"])
    return Artifact(folder=folder, card=description, vocabulary=vocabulary)


def refuse_pickles(folder: Path) -> None:
    """Refuse a folder that holds a pickle: we never open one, but another program that is shown the folder might.

    Raises
    ------
    InputError
    """
    pickles = sorted(file.name for file in folder.iterdir() if file.suffix.lower() in PICKLES)
    if pickles:
        raise InputError(
            "There is a pickle in the model's folder, and opening one runs whatever program it holds",
            where=str(folder),
            expected=f"{WEIGHTS} and no file that ends in {', '.join(sorted(PICKLES))}",
            found=", ".join(pickles),
            todo="delete these files, or move them elsewhere, if you know where they come from",
        )


def _compare_sums(folder: Path, files: dict[str, Any]) -> None:
    for name, stated in files.items():
        path = folder / name
        if Path(name).name != name:
            raise damaged(str(folder / DESCRIPTION), f"it names a file elsewhere: {name}")
        if not path.is_file():  # the log of the training may be left behind
            continue
        found = sums_of(path)
        if found != stated:
            raise InputError(
                "A file of the model is not the one that model.json names",
                where=str(path),
                expected=json.dumps(stated),
                found=json.dumps(found),
                todo="copy or pull the model again",
            )


def _vocabulary(mapping: dict[str, Any], where: str) -> Vocabulary:
    try:
        vocabulary = Vocabulary.from_mapping(mapping)
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(where, f"vocabulary: {error}") from error
    ids = vocabulary.ensembl_ids
    lengths = {
        len(ids),
        len(set(ids)),
        *map(len, (vocabulary.symbols, vocabulary.axis_positions, vocabulary.previous_symbols)),
    }
    if len(lengths) > 1 or not ids:
        raise damaged(where, "vocabulary: its lists are of different lengths, empty, or name a gene twice")
    return vocabulary
