"""Names that two rooms share: the config's schema and the dataclasses that its entries become."""

from __future__ import annotations

import dataclasses

from curation.catalog import SCHEMA
from curation.config import schema
from curation.recipe import Recipe
from curation.schema_check import load_yaml, with_defaults
from curation.simulate import Screen
from txfm.config import CHOICES, PRESETS, ModelConfig


def test_a_recipe_of_the_config_has_the_fields_and_defaults_of_recipe() -> None:
    recipe = schema()["$defs"]["recipe"]
    assert Recipe.from_mapping(with_defaults({}, recipe)) == Recipe()
    assert recipe["properties"].keys() == {entry.name for entry in dataclasses.fields(Recipe)}


def test_a_model_of_the_config_has_the_fields_of_model_config() -> None:
    properties = set(schema()["$defs"]["model"]["properties"])
    assert properties == {"preset"} | {field.name for field in dataclasses.fields(ModelConfig)}


def test_the_choices_of_a_model_are_those_of_txfm() -> None:
    properties = schema()["$defs"]["model"]["properties"]
    found = {name: tuple(entry["enum"]) for name, entry in properties.items() if "enum" in entry and name != "preset"}
    assert found == CHOICES


def test_the_presets_of_the_config_are_those_of_txfm() -> None:
    assert schema()["$defs"]["model"]["properties"]["preset"]["enum"] == list(PRESETS)


def test_a_simulation_of_the_catalogue_has_the_fields_of_screen() -> None:
    properties = set(load_yaml(SCHEMA)["$defs"]["simulation"]["properties"])
    assert properties == {field.name for field in dataclasses.fields(Screen)}
