"""Check YAML documents against JSON Schemas, with messages that name the key and the nearest valid name."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from curation.errors import InputError


def load_yaml(path: Path) -> Any:
    """Return the document in `path`.

    Raises
    ------
    InputError
        The file is missing, is not UTF-8 or is not YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("a file is missing", where=str(path), todo="correct the path") from None
    except UnicodeDecodeError as error:
        raise InputError(
            "this is not UTF-8", where=str(path), found=str(error), todo="save the file in the encoding UTF-8"
        ) from None
    except yaml.YAMLError as error:
        raise InputError("this is not YAML", where=str(path), found=" ".join(str(error).split())) from None


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return advice for a mistyped name: the nearest valid one, or the list of all."""
    choices = sorted(str(choice) for choice in valid)
    close = difflib.get_close_matches(str(name), choices, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"use one of: {', '.join(choices)}" if choices else "nothing is defined here yet"


def require_known(name: str, valid: Iterable[str], kind: str, where: str) -> None:
    """Refuse a name that is none of `valid`.

    Raises
    ------
    InputError
        With the nearest valid name; `kind` is what it would be a name of.
    """
    valid = list(valid)
    if name not in valid:
        raise InputError(f"unknown {kind} {name!r}", where=where, todo=nearest(name, valid))


def check(document: Any, schema: dict[str, Any], *, where: str) -> None:
    """Raise `InputError` for the first (outermost) violation of `schema`.

    Parameters
    ----------
    document
        What YAML gave.
    schema
        A JSON Schema, draft 2020-12.
    where
        Names the document in the message; the path of the key is added.
    """
    errors = list(jsonschema.Draft202012Validator(schema).iter_errors(document))
    if not errors:
        return
    error = min(errors, key=lambda found: (len(found.absolute_path), [str(step) for step in found.absolute_path]))
    place = key_path(error.absolute_path)
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = error.schema.get("properties", {})
        extra = sorted(str(key) for key in error.instance if key not in known)
        full = ".".join(filter(None, [place, extra[0]]))
        raise InputError(f"unknown key {extra[0]!r}", where=f"{where}, key {full}", todo=nearest(extra[0], known))
    if error.validator == "required" and isinstance(error.instance, dict):
        missing = next(key for key in error.validator_value if key not in error.instance)
        full = ".".join(filter(None, [place, missing]))
        raise InputError(f"key {missing!r} is missing", where=f"{where}, key {full}", todo="add it")
    if error.validator == "enum":
        raise InputError(
            f"{error.instance!r} is not a value of this key",
            where=f"{where}, key {place}",
            expected=", ".join(str(value) for value in error.validator_value),
            todo=nearest(str(error.instance), (str(value) for value in error.validator_value)),
        )
    description = error.schema.get("description", "") if isinstance(error.schema, dict) else ""
    # the validator's own words for a broken `oneOf` repeat the whole entry and say nothing
    what = "the keys of this entry do not go together" if error.validator == "oneOf" else error.message
    raise InputError(what, where=f"{where}, key {place or '(top)'}", expected=" ".join(description.split()))


def key_path(steps: Iterable[str | int]) -> str:
    """Return `a.b[0].c` for the steps into a document."""
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.lstrip(".")


def with_defaults(document: Any, schema: dict[str, Any], root: dict[str, Any] | None = None) -> Any:
    """Return a copy of a valid `document` in which absent keys have the `default` of their schema.

    Follows `properties`, `additionalProperties`, `items` and `$ref`, which is all that our schemas nest defaults in.
    """
    root = root if root is not None else schema
    if "$ref" in schema:
        target: Any = root
        for step in schema["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        schema = target | {key: value for key, value in schema.items() if key != "$ref"}
    if isinstance(document, list) and isinstance(schema.get("items"), dict):
        return [with_defaults(item, schema["items"], root) for item in document]
    if not isinstance(document, dict):
        return copy.deepcopy(document)
    properties, others = schema.get("properties", {}), schema.get("additionalProperties", {})
    filled = {}
    for key, value in document.items():
        inner = properties.get(key, others)
        filled[key] = with_defaults(value, inner, root) if isinstance(inner, dict) else copy.deepcopy(value)
    for key, inner in properties.items():
        if key not in filled and isinstance(inner, dict) and "default" in inner:
            filled[key] = with_defaults(inner["default"], inner, root)
    return filled
