"""From a source's own columns to the columns that every store has."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from curation.catalog import ObsSource, Study
from curation.errors import InputError
from curation.qc import require_column

LABELS = ("batch", "perturbation", "cell_type", "cell_line", "donor", "tissue", "technology")
# A study whose catalogue entry names no batch is one batch
WHOLE_STUDY = "all"


def label_samples(obs: pd.DataFrame, study: Study, part_name: str, *, where: str) -> pd.DataFrame:
    """Return `LABELS` and `is_control` for the samples of one part, in their order.

    Parameters
    ----------
    obs : DataFrame
        Index: the source's sample ids; columns: its own, as strings.
    study : Study
        Its `obs` mapping says where each label comes from; a label without a source is "" ("not recorded").
    part_name : str
        Value of labels that come from the part.
    where : str
        Names the file in an error message.

    Raises
    ------
    InputError
        A column is not there, or a sample id does not match the pattern.
    """
    table: dict[str, np.ndarray] = {}
    for label in LABELS:
        source = study.obs.columns.get(label)
        table[label] = _values(obs, source, label, part_name, where) if source else np.full(len(obs), "", dtype=object)
    if study.obs.batch is None:
        table["batch"][:] = WHOLE_STUDY
    table["is_control"] = np.isin(table["perturbation"].astype(str), list(study.obs.control_labels))
    return pd.DataFrame(table, index=obs.index)


def _values(obs: pd.DataFrame, source: ObsSource, label: str, part_name: str, where: str) -> np.ndarray:
    if source.column is not None:
        require_column(obs, source.column, where=where, wanted_by=f"`obs.{label}` of the study")
        return obs[source.column].astype(str).to_numpy(dtype=object)
    if source.pattern is not None:
        return _matches(obs.index, re.compile(source.pattern), label, where)
    return np.full(len(obs), part_name if source.part else source.constant, dtype=object)


def _matches(sample_ids: pd.Index, pattern: re.Pattern[str], label: str, where: str) -> np.ndarray:
    found = [pattern.search(str(sample)) for sample in sample_ids]
    missing = [str(sample) for sample, match in zip(sample_ids, found, strict=True) if match is None]
    if missing:
        raise InputError(
            f"{len(missing)} sample ids do not match the pattern of `obs.{label}`",
            where=where,
            expected=pattern.pattern,
            found=", ".join(missing[:3]),
            todo="correct the pattern in the catalogue",
        )
    return np.array([match.group(1) for match in found if match], dtype=object)


def wanted_columns(study: Study) -> dict[str, str]:
    """Return the columns of the source's metadata that the catalogue names, each with the key that names it."""
    labels = {
        source.column: f"`obs.{label}` of the study"
        for label, source in study.obs.columns.items()
        if source.column is not None
    }
    return labels | {rule.column: "`filters` of the study" for rule in study.filters}


class LabelBook:
    """Numbers the values of each label in the order in which they come; a value is held once, however many samples."""

    def __init__(self) -> None:
        self._codes: dict[str, dict[str, int]] = {label: {} for label in LABELS}

    def codes(self, label: str, values: np.ndarray) -> np.ndarray:
        """Return the int32 numbers of `values` (strings), new ones included."""
        known = self._codes[label]
        places, distinct = pd.factorize(values)
        numbers = [known.setdefault(str(value), len(known)) for value in distinct]
        return np.array(numbers, dtype=np.int32)[places] if numbers else np.empty(0, dtype=np.int32)

    def values(self, label: str) -> np.ndarray:
        """Return the values of a label; the number of each is its place."""
        return np.array(list(self._codes[label]), dtype=object)
