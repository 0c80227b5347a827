"""The format of model.json: its fields, its versions, and what became of older ones. In words: docs/model-format.md."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from txfm.errors import InputError

FORMAT, FORMAT_VERSION = "txfm-model", "1.1"
WEIGHTS, DESCRIPTION, METRICS, README = "model.safetensors", "model.json", "metrics.jsonl", "README.md"
FINETUNING = "finetune.json"
NAMES = (WEIGHTS, DESCRIPTION, README, METRICS, FINETUNING)  # the last two may be missing
KINDS = ("txfm", "pca", "lognorm", "hvg", "scvi")
# Minor versions add what a reader may ignore; before 1.0 each was a format of its own
SUPPORTED_MAJOR = "1"
SUPPORTED_BEFORE = ("0.1",)
NOTHING = type(None)

# In the order in which they are written
FIELDS: dict[str, tuple[type, ...]] = {
    "format": (str,),
    "format_version": (str,),
    "kind": (str,),
    "licence": (str,),
    "files": (dict,),
    "config": (dict,),
    "n_parameters": (int,),
    "n_dimensions": (int,),
    "variant": (dict,),
    "corpus_digest": (str, NOTHING),
    "training_studies": (dict,),
    "held_out": (list, NOTHING),
    "simulated_data": (bool,),
    "parent": (dict, NOTHING),
    "seed": (int,),
    "samples_seen": (int,),
    "steps": (int,),
    "final_metrics": (dict,),
    "software": (dict,),
    "vocabulary": (dict,),
}


def is_finished(folder: Path) -> bool:
    """Whether the folder holds a model; model.json is written last."""
    return (folder / DESCRIPTION).is_file()


def checked(description: Any, where: str) -> dict[str, Any]:
    """Check what was parsed from a model.json, and bring an older version up to today's fields.

    Parameters
    ----------
    description : any
        The parsed file.
    where : str
        Its path, for messages.

    Returns
    -------
    dict
        With every field of `FIELDS`, and those that a later minor version added.

    Raises
    ------
    InputError
        It is no model.json, of a version that cannot be read, or a field is missing or of another type.
    """
    if not isinstance(description, dict):
        raise damaged(where, f"a {type(description).__name__}")
    version = str(description.get("format_version"))
    known = version.split(".")[0] == SUPPORTED_MAJOR or version in SUPPORTED_BEFORE
    if description.get("format") != FORMAT or not known:
        raise InputError(
            "This model's format cannot be read",
            where=where,
            expected=f"{FORMAT}, version {SUPPORTED_MAJOR}.x or {' or '.join(SUPPORTED_BEFORE)}",
            found=f"{description.get('format')}, version {version}",
            todo="install the version of txfm that wrote it, or a later one",
        )
    description = _from_0_1(description) if version == "0.1" else description
    for field, kinds in FIELDS.items():
        if field not in description:
            raise damaged(where, f"there is no field {field!r}")
        # bool is an int in Python, and no number in JSON
        if type(description[field]) not in kinds:
            raise damaged(where, f"field {field!r} is a {type(description[field]).__name__}")
    if version not in SUPPORTED_BEFORE and WEIGHTS not in description["files"]:
        raise damaged(where, f"its files have no {WEIGHTS}")
    for field in _unsound_parts(description):
        raise damaged(where, f"a part of field {field!r} is missing or of another type")
    if description["kind"] not in KINDS:
        raise InputError(
            "This kind of model is not known",
            where=where,
            expected=", ".join(KINDS),
            found=description["kind"],
            todo="install the version of txfm that wrote it, or a later one",
        )
    return description


def damaged(where: str, found: str) -> InputError:
    """The error for a file that is not as it was written."""
    return InputError(
        "A file of the model is damaged",
        where=where,
        expected="what docs/model-format.md describes",
        found=found,
        todo="copy or pull the model again",
    )


def _unsound_parts(description: dict[str, Any]) -> Iterator[str]:
    """Fields whose content lacks what other modules rely on."""
    if not all(isinstance(description["variant"].get(name), str) for name in ("name", "digest")):
        yield "variant"
    studies = description["training_studies"].values()
    if not all(isinstance(study, dict) and isinstance(study.get("n_samples"), int) for study in studies):
        yield "training_studies"
    if description["parent"] is not None and not isinstance(description["parent"].get("training_studies"), list):
        yield "parent"


def _from_0_1(description: dict[str, Any]) -> dict[str, Any]:
    """0.1 knew one kind of model, no sums and no held-out studies: an empty `files` is never compared with anything."""
    config = description.get("config")
    width = config.get("width") if isinstance(config, dict) else None
    return description | {"kind": "txfm", "files": {}, "n_dimensions": width, "held_out": None, "parent": None}
