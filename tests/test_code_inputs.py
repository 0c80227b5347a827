"""The `code=` inputs of the workflow's rules are the modules that their steps import."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMMON = ROOT / "workflow" / "rules" / "common.smk"
VERBS = ("genes", "simulate", "curate", "assemble", "compose", "verify")
# What these decide reaches a step as a parameter, or as the words of an error, or is about memory.
NOT_CODE = {"allocator.py", "catalog.py", "config.py", "entries.py", "errors.py", "schema_check.py"}


def _modules(tree: ast.AST) -> Iterator[Path]:
    """Files of curation that some source imports, packages as their __init__.py."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "curation":
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.split(".")[0] == "curation"]
        for name in names:
            path = ROOT / Path(*name.split("."))
            yield from (file for file in (path.with_suffix(".py"), path / "__init__.py") if file.exists())


def _closure(tree: ast.AST, seen: set[Path]) -> set[Path]:
    for file in _modules(tree):
        if file not in seen and file.name not in NOT_CODE:
            seen.add(file)
            _closure(ast.parse(file.read_text()), seen)
    return seen


def _imported_by(verb: str) -> list[str]:
    """Modules behind a verb of `python -m curation`, below curation/, sorted; its helpers in __main__ included."""
    functions = {
        node.name: node
        for node in ast.parse((ROOT / "curation" / "__main__.py").read_text()).body
        if isinstance(node, ast.FunctionDef)
    }
    wanted, trees = [verb.replace("-", "_")], []
    for name in wanted:
        trees.append(functions[name])
        called = {node.id for node in ast.walk(functions[name]) if isinstance(node, ast.Name)}
        wanted += sorted((called & functions.keys()) - set(wanted))
    found: set[Path] = set()
    for tree in trees:
        _closure(tree, found)
    root_package = ROOT / "curation" / "__init__.py"
    return sorted(str(file.relative_to(ROOT / "curation")) for file in found - {root_package})


def _declared() -> dict[str, list[str]]:
    source = COMMON.read_text()
    start = source.index("CODE = {")
    return ast.literal_eval(source[start + len("CODE = ") : source.index("\n}\n", start) + 2])


@pytest.mark.parametrize("verb", VERBS)
def test_the_code_inputs_of_a_step_are_the_modules_it_imports(verb: str) -> None:
    imported = _imported_by(verb)
    assert _declared()[verb] == imported, f"in workflow/rules/common.smk, set CODE[{verb!r}] to {imported}"


def test_a_held_out_study_is_curated_by_the_same_modules_as_a_training_study() -> None:
    assert _imported_by("curate-evaluation") == _imported_by("curate")


def test_every_step_of_the_workflow_with_code_inputs_is_checked_here() -> None:
    rules = "".join(path.read_text() for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")))
    assert set(_declared()) == set(VERBS)
    assert all(f'code("{verb}")' in rules for verb in VERBS)
