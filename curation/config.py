"""The config of a run: several YAML files merged, checked and completed with defaults."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from curation.errors import InputError
from curation.schema_check import check, load_yaml, with_defaults

SCHEMA = Path(__file__).parent.parent / "workflow" / "schemas" / "config.schema.yaml"
# The Snakefile reads it before any --configfile.
PROJECT_CONFIG = Path("config.yaml")


def read_config(paths: Iterable[Path]) -> dict[str, Any]:
    """Return config files merged as Snakemake does with `--configfile`: mappings merge, all else replaces."""
    config: dict[str, Any] = {}
    for path in paths:
        document = load_yaml(path)
        if not isinstance(document, dict):
            raise InputError("a config file is a mapping", where=str(path), found=type(document).__name__)
        config = merge(config, document)
    return config


def read_project(configs: Sequence[Path]) -> dict[str, Any]:
    """Return config files merged over config.yaml of this folder, if there is one, as Snakemake does.

    Without `configs` it has to be there.
    """
    first = PROJECT_CONFIG.exists() or not configs
    again = bool(configs) and first and configs[0].exists() and configs[0].samefile(PROJECT_CONFIG)
    return read_config([*([PROJECT_CONFIG] if first else []), *configs[int(again) :]])


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return `above` merged over `below`."""
    merged = dict(copy.deepcopy(below))
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else copy.deepcopy(value)
    return merged


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """Check a config against workflow/schemas/config.schema.yaml and return it with the schema's defaults.

    Raises
    ------
    InputError
        A key is unknown (the nearest valid one is suggested), missing, or has a wrong value.
    """
    check(config, schema(), where="config")
    completed: dict[str, Any] = with_defaults(dict(config), schema())
    return completed


@cache
def schema() -> dict[str, Any]:
    """Return the config's JSON Schema."""
    loaded: dict[str, Any] = load_yaml(SCHEMA)
    return loaded
