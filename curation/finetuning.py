"""The config's `finetuning`: which trained model goes on with which samples."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from curation.acquire.addresses import with_data_folder
from curation.errors import InputError
from curation.schema_check import require_known
from curation.variants import Variant

FILES = (".h5ad", ".zarr")
OF_A_FILE = ("batch_column", "study", "gene_column")  # keys that say nothing of a variant


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """An entry of the config's `finetuning`.

    Attributes
    ----------
    variant, model : str
        Of the trained model.
    model_seed : int
    data : str
        Path of a file, or name of a selected variant.
    batch_column : str or None
        Of a file: names its experimental batches.
    validation_share : float
    study, gene_column : str or None
        Of a file: the options of `txfm finetune`.
    counts : str
    min_matched_share : float or None
    seed : int
    set : mapping
        Fields of training that change.
    """

    variant: str
    model: str
    model_seed: int
    data: str
    batch_column: str | None
    validation_share: float
    study: str | None
    counts: str
    gene_column: str | None
    min_matched_share: float | None
    seed: int
    set: Mapping[str, Any]

    @property
    def is_file(self) -> bool:
        """Whether the samples are those of a file, and not of a variant."""
        return self.data.endswith(FILES)

    @property
    def parent(self) -> str:
        """The trained model's folder."""
        return f"{self.variant}.{self.model}.s{self.model_seed}"

    @property
    def options(self) -> list[str]:
        """Options of `txfm finetune`, but for model, data and places."""
        named = {
            "batch-column": self.batch_column,
            "validation-share": self.validation_share if self.is_file else None,
            "study": self.study,
            "counts": self.counts if self.is_file else None,
            "gene-column": self.gene_column,
            "min-matched-share": self.min_matched_share,
            "seed": self.seed,
            "set": json.dumps(self.set, sort_keys=True),
        }
        return [f"--{name}={value}" for name, value in named.items() if value is not None]


def read_finetuning(
    entries: Mapping[str, Mapping[str, Any]],
    runs: Iterable[tuple[str, str, int]],
    variants: Mapping[str, Variant],
) -> dict[str, FineTuning]:
    """Return all entries; whether files are there and have the columns is not looked at.

    Parameters
    ----------
    entries : mapping
        `finetuning` of a config, defaults filled in.
    runs : iterable of (str, str, int)
        (variant, model, seed) of every model that is trained.
    variants : mapping of str to Variant
        The selected ones.

    Raises
    ------
    InputError
        A model is not trained or a variant not selected, a key does not go with the data, or the model was trained on
        other samples of a study of the variant.
    """
    by_folder = {f"{variant}.{model}.s{seed}": (variant, model, seed) for variant, model, seed in runs}
    found = {}
    for name, fields in entries.items():
        where = f"config, key finetuning.{name}"
        require_known(fields["model"], by_folder, "trained model", f"{where}.model")
        variant, model, seed = by_folder[fields["model"]]
        entry = FineTuning(**{**fields, "variant": variant, "model": model, "model_seed": seed})
        if entry.is_file:
            _check_file(entry, where)
            entry = replace(entry, data=with_data_folder(entry.data))
        else:
            _check_variant(entry, variants, where)
        found[name] = entry
    return found


def _check_file(entry: FineTuning, where: str) -> None:
    if entry.batch_column is None:
        raise InputError(
            "nothing says which samples of the file belong to one experimental batch",
            where=where,
            expected="`batch_column: NAME`, a column of obs with plates, donors or lanes",
            todo="add the key: whole batches are held out",
        )


def _check_variant(entry: FineTuning, variants: Mapping[str, Variant], where: str) -> None:
    if entry.data not in variants and ("/" in entry.data or "." in entry.data):
        raise InputError(
            "these samples cannot be fine-tuned on",
            where=f"{where}.data",
            expected=f"a path that ends with {' or '.join(FILES)}, or a variant of select.variants",
            found=entry.data,
            todo="write the samples as .h5ad, with their batches in a column of obs",
        )
    require_known(entry.data, variants, "selected variant", f"{where}.data")
    strange = [key for key in OF_A_FILE if getattr(entry, key) is not None]
    if strange:
        raise InputError(
            f"a variant has no {', '.join(strange)}",
            where=where,
            expected=f"{', '.join(OF_A_FILE)} of a file only: a variant holds its validation batches out",
            todo="take it out, or name a file",
        )
    trained_on = variants[entry.variant].studies
    others = [
        study for study, recipe in variants[entry.data].studies.items() if trained_on.get(study, recipe) != recipe
    ]
    if others:
        raise InputError(
            f"the model was trained on {', '.join(others)} under another recipe, with other held-out batches",
            where=where,
            expected="studies that the model has not seen, or the same recipes",
            found=f"model {entry.parent}, data {entry.data}",
            todo="choose another variant or model",
        )
