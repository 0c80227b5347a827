"""Dependencies point one way: curation and txfm share stores on disk (docs/corpus-format.md) and no line of code."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# What a room may not import, however deep: a corpus builder needs no torch, a downstream team no pipeline.
FORBIDDEN = {
    "curation": {"txfm", "torch", "snakemake", "scanpy", "workflow"},
    "txfm": {"curation", "snakemake", "scanpy", "pysradb", "workflow"},
}


def _imports(source: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names.add(str(node.module).split(".")[0])
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {
            "importlib.import_module",
            "import_module",
            "__import__",
        }:
            names |= {
                arg.value.split(".")[0]
                for arg in node.args
                if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
            }
    return names


@pytest.mark.parametrize("room", sorted(FORBIDDEN))
def test_no_module_of_a_room_imports_what_belongs_to_another(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    wrong = {str(file.relative_to(ROOT)): sorted(_imports(file.read_text()) & FORBIDDEN[room]) for file in files}
    wrong = {file: names for file, names in wrong.items() if names}
    assert not wrong, f"{room} reaches into another room: {wrong}; share a file format instead (docs/corpus-format.md)"


@pytest.mark.parametrize("room", sorted(FORBIDDEN))
def test_loading_every_module_of_a_room_loads_nothing_of_another(room: str) -> None:
    """Also what a dependency would pull in: counted in a fresh interpreter."""
    program = (
        "import importlib, json, pkgutil, sys\n"
        f"import {room}\n"
        f"for module in pkgutil.walk_packages({room}.__path__, '{room}.'):\n"
        "    if not module.name.endswith('__main__'):\n"
        "        importlib.import_module(module.name)\n"
        f"print(sorted({FORBIDDEN[room]!r} & sys.modules.keys()))\n"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "[]"


def test_import_txfm_alone_loads_neither_the_pipeline_nor_torch() -> None:
    program = f"import txfm, sys; print(sorted({FORBIDDEN['txfm'] | {'torch'}!r} & sys.modules.keys()))"
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
