"""A user's own files that models and baselines are scored on, beside the evaluation studies of the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from curation.acquire.addresses import with_data_folder
from curation.errors import InputError

# benchmark -> the keys of an entry that name its columns, with the column where an entry names none
COLUMNS: Mapping[str, Mapping[str, str | None]] = {
    "perturbation": {"perturbation": "perturbation", "batch": "batch"},
    "cells": {"label": "cell_type", "batch": None},
}
KEYS = {"perturbation": ("perturbation", "batch", "control"), "cells": ("label", "batch")}
CONTROLS = "is_control"  # the column that names controls where `control` has no label of them


@dataclass(frozen=True, kw_only=True)
class EvaluationFile:
    """An entry of the config's `evaluation.files`.

    Attributes
    ----------
    path : str
        .h5ad, or .zarr of anndata; relative to the working folder.
    benchmark : {"perturbation", "cells"}
    perturbation, label, batch : str or None
        Columns of obs; None for the benchmark's default (`COLUMNS`).
    control : list of str
        Labels of controls of a screen; none: its column is_control.
    obsm : list of str
        Embeddings of the file that are scored beside the models.
    study : list of str
        Names of the file's study: models that were trained on it are refused.
    counts : str
        Where the raw counts are.
    gene_column : str or None
        Column of var with ids or symbols; None finds it.
    min_matched_share : float or None
        Least share of a model's genes; None for the benchmark's default.
    """

    path: str
    benchmark: str
    perturbation: str | None
    label: str | None
    batch: str | None
    control: list[str]
    obsm: list[str]
    study: list[str]
    counts: str
    gene_column: str | None
    min_matched_share: float | None

    @property
    def columns(self) -> dict[str, str]:
        """Key of the entry -> column of obs, for all that the benchmark reads."""
        named = {key: getattr(self, key) or column for key, column in COLUMNS[self.benchmark].items()}
        if self.benchmark == "perturbation" and not self.control:
            named["control"] = CONTROLS
        return {key: column for key, column in named.items() if column is not None}

    @property
    def labels(self) -> dict[str, list[str]]:
        """Column of obs -> labels that it has to have."""
        return {self.columns["perturbation"]: self.control} if self.control else {}

    @property
    def options(self) -> list[str]:
        """Options of `txfm evaluate`, but for the models."""
        single: dict[str, object] = {
            key: column for key, column in self.columns.items() if key in COLUMNS[self.benchmark]
        }
        single |= {"counts": self.counts, "gene-column": self.gene_column, "min-matched-share": self.min_matched_share}
        several = {"control": self.control, "obsm": self.obsm, "study": self.study}
        return [
            *(f"--{name}={value}" for name, value in single.items() if value is not None),
            *(word for name, values in several.items() if values for word in (f"--{name}", *values)),
        ]


def read_evaluation_files(
    entries: Mapping[str, Mapping[str, Any]], studies: Iterable[str]
) -> dict[str, EvaluationFile]:
    """Return all entries; whether the files are there and have the columns is not looked at.

    Parameters
    ----------
    entries : mapping
        `evaluation.files` of a config, defaults filled in.
    studies : iterable of str
        Of the catalogue, whose products have their names.

    Raises
    ------
    InputError
        A file has the name of a study, or a key that its benchmark does not know.
    """
    taken = set(studies)
    files = {name: EvaluationFile(**fields) for name, fields in entries.items()}
    for name, file in files.items():
        where = f"config, key evaluation.files.{name}"
        if name in taken:
            raise InputError(f"{name!r} is a study of the catalogue", where=where, todo="give the file another name")
        strange = {key for keys in KEYS.values() for key in keys if getattr(file, key)} - set(KEYS[file.benchmark])
        if strange:
            raise InputError(
                f"benchmark {file.benchmark} has no key {', '.join(sorted(strange))}",
                where=where,
                expected=", ".join(KEYS[file.benchmark]),
                todo="take it out, or choose the other benchmark",
            )
    return {name: replace(file, path=with_data_folder(file.path)) for name, file in files.items()}
