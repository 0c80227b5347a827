"""Labels of simulated samples, and why a study or a recipe does not want one, by the words of the catalogue."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from curation.simulate.study import MISSING, Samples, SimulatedPart

LABELS = ("batch", "perturbation", "cell_type", "cell_line", "donor", "tissue", "technology")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe of the rehearsal's config: its fields, and what they mean in this simulation.

    `phenoprints` are the perturbations that pass its table of p-values; `kept_elsewhere` the ids of samples that the
    stores of the studies in `drop_samples_of` hold.
    """

    name: str
    fields: Mapping[str, Any]
    phenoprints: frozenset[str] = frozenset()
    kept_elsewhere: frozenset[str] = frozenset()

    def threshold(self, field_name: str, technology: str, default: float) -> float:
        """Return a threshold for samples of a technology."""
        value = self.fields.get("per_technology", {}).get(technology, {}).get(field_name, self.fields.get(field_name))
        return default if value is None else value


def describe(
    samples: Samples, part: SimulatedPart, entry: Mapping[str, Any], recipe: Recipe
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the labels of some samples, and why the study or the recipe does not want one ("" for a candidate)."""
    n = len(samples.ids)
    columns = {name: values.astype(str).astype(object) for name, values in samples.obs.items()}
    columns |= {name: np.full(n, value, dtype=object) for name, value in part.constants.items()}
    labels = {label: _label(entry["obs"].get(label), samples.ids, columns, part.name) for label in LABELS}
    controls = np.isin(labels["perturbation"].astype(str), entry["obs"].get("control_labels", []))
    kind = np.array(
        [entry.get("count_kinds_by_technology", {}).get(value, entry["count_kind"]) for value in labels["technology"]]
    )
    unwanted = [("no_metadata", ~samples.has_metadata)]
    for rule in entry.get("filters", []):
        values = columns[rule["column"]].astype(str)
        unwanted.append(
            (rule["reason"], ~np.isin(values, rule["keep"]) if "keep" in rule else np.isin(values, rule["drop"]))
        )
    taken = recipe.fields.get("count_kinds", ("umi", "reads", "expected", "mixed"))
    unwanted += [(f"count_kind_{name}", kind == name) for name in sorted(set(kind)) if name not in taken]
    if recipe.fields.get("perturbations") == "controls":
        unwanted.append(("not_a_control", ~controls))
    if recipe.fields.get("perturbations") == "phenoprint":
        wanted = np.isin(labels["perturbation"].astype(str), sorted(recipe.phenoprints))
        unwanted.append(("perturbation_without_phenoprint", ~controls & ~wanted))
    if "batch" in entry["obs"]:
        unwanted.append(("no_batch", labels["batch"] == MISSING))
    return labels | {"is_control": controls, "count_kind": kind}, first_reason(unwanted, n)


def first_reason(unwanted: list[tuple[str, np.ndarray]], n: int) -> np.ndarray:
    """Return the first reason that holds for each of `n` samples, "" where none does."""
    reasons = np.full(n, "", dtype=object)
    for reason, holds in unwanted:
        reasons[holds & (reasons == "")] = reason
    return reasons


def _label(
    source: Mapping[str, Any] | None, ids: list[str], columns: Mapping[str, np.ndarray], part: str
) -> np.ndarray:
    if source is None:
        return np.full(len(ids), MISSING, dtype=object)
    if "column" in source:
        return columns[source["column"]]
    if "pattern" in source:
        found = [re.search(source["pattern"], sample) for sample in ids]
        return np.array([match.group(1) if match else MISSING for match in found], dtype=object)
    return np.full(len(ids), source.get("constant", part), dtype=object)
