"""The tables of docs/model-format.md against the committed models of today's version."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from document_tables import table_rows
from safetensors import safe_open

from txfm.artifact.format import FIELDS, FORMAT_VERSION, KINDS, NAMES
from txfm.artifact.provenance import parent_of
from txfm.artifact.read import PICKLES

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "model-format.md"
GOLDEN = ROOT / "tests" / "golden" / "models" / FORMAT_VERSION
TYPES = {"string": str, "integer": int, "bool": bool, "object": dict, "array": list, "null": type(None)}


def table(first_header: str) -> list[list[str]]:
    """Return the rows of the table whose first header is this."""
    return table_rows(DOCUMENT, f"| {first_header} |")


def fields(first_header: str) -> dict[str, tuple[type, ...]]:
    """Return name and types of each row of a table of fields."""
    return {row[0].strip("`"): tuple(TYPES[kind] for kind in row[1].split(" or ")) for row in table(first_header)}


def card(kind: str) -> dict[str, Any]:
    return json.loads((GOLDEN / kind / "model.json").read_text())


def fits(found: dict[str, Any], promised: dict[str, tuple[type, ...]]) -> bool:
    return list(found) == list(promised) and all(type(found[name]) in kinds for name, kinds in promised.items())


def shapes(kind: str) -> dict[str, tuple[list[int], str]]:
    """Return shape and type of every tensor of a committed model."""
    with safe_open(GOLDEN / kind / "model.safetensors", "numpy") as weights:
        slices = {name: weights.get_slice(name) for name in weights.keys()}  # noqa: SIM118 - it is no mapping
        return {name: (part.get_shape(), part.get_dtype()) for name, part in slices.items()}


def test_the_fields_of_model_json_are_those_of_the_code() -> None:
    assert fields("field") == FIELDS
    assert list(fields("field")) == list(FIELDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_committed_model_has_the_fields_of_the_tables_in_their_order(kind: str) -> None:
    found = card(kind)
    assert fits(found, fields("field"))
    studies = found["training_studies"].values()
    assert studies
    assert all(fits(study, fields("field of an entry of `training_studies`")) for study in studies)
    assert fits(found["vocabulary"], fields("field of `vocabulary`"))
    assert fits(parent_of("parent", found), fields("field of `parent`"))


def test_the_kinds_and_the_refused_files_are_those_of_the_code() -> None:
    row = next(row for row in table("field") if row[0] == "`kind`")
    assert tuple(re.findall(r"`(\w+)`", row[2])) == KINDS
    paragraph = DOCUMENT.read_text().split("**No pickle.**")[1].split("\n\n")[0]
    assert set(re.findall(r"`(\.\w+)`", paragraph)) == PICKLES


def test_the_tree_has_the_files_of_the_code_and_the_committed_models_have_no_other() -> None:
    tree = re.findall(r"^[├└]── (\S+) ", DOCUMENT.read_text(), re.MULTILINE)
    assert sorted(tree) == sorted(NAMES)
    row = next(row for row in table("field") if row[0] == "`files`")
    named = set(re.findall(r"`([\w.]+)`", row[2]))
    assert named == set(NAMES) - {"model.json", "README.md"}
    for kind in KINDS:
        found = {path.name for path in (GOLDEN / kind).iterdir()}
        assert found <= set(NAMES)
        assert set(card(kind)["files"]) == found & named


def test_the_tensors_of_a_txfm_are_those_of_the_table() -> None:
    found, config = shapes("txfm"), card("txfm")["config"]
    sizes = {"G": len(card("txfm")["vocabulary"]["symbols"]), "D": config["width"]}
    promised = {}
    for names, shape in table("tensor of `txfm`"):
        first, *rest = re.findall(r"`([^`]+)`", names)
        names_of_row = [first, *(first.rpartition(".")[0] + name for name in rest)]
        of_each = shape.split("; ") if "; " in shape else [shape] * len(names_of_row)
        for name, text in zip(names_of_row, of_each, strict=True):
            n_blocks = config["n_decoder_blocks" if name.startswith("decoder") else "n_blocks"]
            for block in range(n_blocks) if "<n>" in name else (0,):
                promised[name.replace("<n>", str(block))] = ([_size(part, sizes) for part in text.split(", ")], "F32")
    assert found == promised


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "txfm"])
def test_the_tensors_of_a_baseline_are_those_of_the_table(kind: str) -> None:
    found, stated = shapes(kind), card(kind)
    sizes = {
        "G": len(stated["vocabulary"]["symbols"]),
        "d": stated["n_dimensions"],
        "h": stated["config"].get("n_hidden"),
    }
    rows = [row for row in table("tensor of") if row[0] == f"`{kind}`"]
    assert {
        row[1].strip("`").replace("<n>", "0"): [_size(part, sizes) for part in row[2].split(", ")] for row in rows
    } == {name: shape for name, (shape, _) in found.items()}
    kinds = {name: "I64" if name == "chosen" else "F64" for name in found}
    if kind == "scvi":
        kinds = {name: "F64" if name == "mean" else "F32" for name in found}
    assert {name: kind_of_number for name, (_, kind_of_number) in found.items()} == kinds


def test_the_newest_version_of_the_table_is_that_of_the_code() -> None:
    versions = [row[0] for row in table("version")]
    assert versions[-1] == FORMAT_VERSION
    assert DOCUMENT.read_text().startswith(f"# A model on disk, format {FORMAT_VERSION}\n")
    assert {path.name for path in GOLDEN.parent.iterdir()} == set(versions)


def _size(text: str, sizes: dict[str, Any]) -> int:
    """Evaluate a dimension such as `G`, `D - 1` or `3 D`."""
    found = re.fullmatch(r"(?:(\d+) )?([GDdh])(?: - (\d+))?", text)
    assert found is not None, text
    return int(found[1] or 1) * sizes[found[2]] - int(found[3] or 0)
