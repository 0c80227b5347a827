"""Entries of a catalogue and a config that come as JSON on the command line, checked before any file is opened."""

from __future__ import annotations

import json
from typing import Any

from curation.catalog import Study
from curation.catalog_check import check_pattern
from curation.config import schema
from curation.errors import InputError
from curation.recipe import Recipe
from curation.schema_check import check


def read_study(text: str) -> Study:
    """Return the study of `--study`, which `Plan.study_json` writes."""
    entry = _mapping(text, "--study")
    try:
        study = Study.from_mapping(entry)
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            "this is no entry of a study",
            where="--study",
            expected="every field of curation.catalog.Study, as `snakemake -n -p` prints the command",
            found=f"{type(error).__name__}: {error}",
            todo="let the workflow call this step, or copy its command and change that",
        ) from None
    for label, source in study.obs.columns.items():
        if source.pattern is not None:
            check_pattern(source.pattern, where=f"--study, key obs.{label}.pattern")
    return study


def read_recipe(text: str) -> Recipe:
    """Return the recipe of `--recipe`; fields that are absent get their default."""
    fields = _mapping(text, "--recipe")
    check(fields, schema()["$defs"]["recipe"], where="--recipe")
    return Recipe.from_mapping(fields)


def read_split(text: str) -> tuple[float, int]:
    """Return the share of samples for validation and the seed of `--split`."""
    fields = _mapping(text, "--split")
    fields_schema = schema()["properties"]["split"]
    check(fields, fields_schema | {"required": sorted(fields_schema["properties"])}, where="--split")
    return float(fields["validation_share"]), int(fields["seed"])


def _mapping(text: str, option: str) -> dict[str, Any]:
    try:
        entry = json.loads(text)
    except ValueError as error:
        raise InputError(f"this is not JSON: {error}", where=option, found=text[:200]) from None
    if not isinstance(entry, dict):
        raise InputError("this is no JSON object", where=option, expected='{"key": value, ...}', found=text[:200])
    return entry
