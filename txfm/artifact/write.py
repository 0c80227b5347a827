"""Writing a model's folder: complete, or not there at all."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from txfm.artifact.format import (
    DESCRIPTION,
    FIELDS,
    FINETUNING,
    FORMAT,
    FORMAT_VERSION,
    METRICS,
    NAMES,
    README,
    WEIGHTS,
    checked,
)
from txfm.artifact.readme import readme
from txfm.artifact.sums import sums_of
from txfm.files import flush_to_disk, temporary_beside, write_json
from txfm.vocabulary import Vocabulary

LICENCE = "Apache-2.0"  # of the weights; the training studies keep their own


def write_artifact(
    folder: Path,
    tensors: Mapping[str, torch.Tensor],
    vocabulary: Vocabulary,
    description: Mapping[str, Any],
    metrics: Path | None = None,
    finetuning: Mapping[str, Any] | None = None,
) -> None:
    """Write a model into a temporary folder, then rename its files into `folder` (which may exist, empty).

    Parameters
    ----------
    folder : Path
    tensors : mapping of str to torch.Tensor
        On any device.
    vocabulary : Vocabulary
    description : mapping
        The fields of model.json that only the caller knows: all but format, licence, files and vocabulary.
    metrics : Path, optional
        The run's metrics.jsonl, copied.
    finetuning : mapping, optional
        Of a fine-tuned model: finetune.json.

    Raises
    ------
    InputError
        A field of the description is missing or of another type.
    """
    temporary = temporary_beside(folder)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary / WEIGHTS)
        if metrics is not None:
            shutil.copyfile(metrics, temporary / METRICS)
        if finetuning is not None:
            write_json(temporary / FINETUNING, dict(finetuning))
        known = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "licence": LICENCE,
            "files": {path.name: sums_of(path) for path in sorted(temporary.iterdir())},
            "vocabulary": vocabulary.as_mapping(),
        }
        card = checked({**description, **known}, str(folder / DESCRIPTION))
        card = {field: card[field] for field in FIELDS}
        (temporary / README).write_text(readme(card, folder.name), encoding="utf-8")
        shutil.copymode(temporary / README, temporary / WEIGHTS)  # safetensors writes for the owner only
        write_json(temporary / DESCRIPTION, card)
        folder.mkdir(parents=True, exist_ok=True)
        for name in sorted(NAMES, key=lambda name: name == DESCRIPTION):  # it comes last: it marks a model as finished
            if (temporary / name).exists():
                flush_to_disk(temporary / name)
                (temporary / name).rename(folder / name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    flush_to_disk(folder)
