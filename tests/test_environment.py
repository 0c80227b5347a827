"""pyproject.toml, environment.yml and requirements.lock say the same; the packages import what they declare."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
# pip's name -> conda's name, where they differ
CONDA_NAMES = {
    "huggingface-hub": "huggingface_hub",
    "igraph": "python-igraph",
    "matplotlib": "matplotlib-base",
    "snakemake": "snakemake-minimal",
    "torch": "pytorch",
}
# pip's name -> what it is imported as, where they differ
MODULES = {
    "google-crc32c": "google_crc32c",
    "huggingface-hub": "huggingface_hub",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
    "scvi-tools": "scvi",
    "umap-learn": "umap",
    "vl-convert-python": "vl_convert",
}
# Extras that are neither locked nor in the conda environment, with the reason.
NOT_LOCKED = {
    "relations": "brings scvi-tools and more beside text files, which --no-deps installs alone",
    "scvi": "brings 30 packages for one optional baseline",
}
# Declared and never imported by the two packages, with the reason.
NOT_IMPORTED = {
    "pygments": "snakemake --report needs it",
    "snakemake": "runs the workflow; the packages are called by it",
}


def _project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _requirements(*extras: str) -> dict[str, SpecifierSet]:
    """Direct dependencies and those of some extras: canonical name -> range."""
    project = _project()
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    found = [Requirement(line) for line in lines]
    return {canonicalize_name(requirement.name): requirement.specifier for requirement in found}


def _all_requirements() -> dict[str, SpecifierSet]:
    return _requirements(*(extra for extra in _project()["optional-dependencies"] if extra not in NOT_LOCKED))


def _locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}


def _imported(package: str) -> set[str]:
    """Top-level modules from elsewhere that a package imports, at any depth of its functions."""
    found = set()
    for file in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"curation", "txfm"}


def test_the_conda_environment_has_the_dependencies_of_pyproject_in_the_same_ranges() -> None:
    entries = [
        entry for entry in yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"] if entry != "pip"
    ]
    conda = {requirement.name: requirement.specifier for requirement in map(Requirement, entries)}
    wanted = {CONDA_NAMES.get(name, name): specifier for name, specifier in _all_requirements().items()}
    wanted["python"] = SpecifierSet(_project()["requires-python"])
    change = [f"add `{name}{wanted[name]}`" for name in sorted(wanted.keys() - conda.keys())]
    change += [f"remove `{name}`" for name in sorted(conda.keys() - wanted.keys())]
    change += [
        f"`{name}{conda[name]}` should be `{name}{wanted[name]}`"
        for name in sorted(wanted.keys() & conda.keys())
        if wanted[name] != conda[name]
    ]
    assert not change, f"environment.yml is not pyproject.toml's twin; in environment.yml: {'; '.join(change)}"


def test_the_lock_file_pins_every_dependency_inside_its_range() -> None:
    locked = _locked()
    wrong = [
        f"{name}{specifier} is locked as {locked.get(name, 'nothing')}"
        for name, specifier in _all_requirements().items()
        if name not in locked or not specifier.contains(locked[name])
    ]
    assert not wrong, f"{'; '.join(wrong)}: run `make lock`"


def test_the_lock_file_pins_the_torch_that_results_were_made_with_and_leaves_cuda_to_it() -> None:
    locked = _locked()
    assert locked["torch"] == "2.13.0"
    assert not [name for name in locked if re.match("nvidia-|cuda-|triton", name)]


def test_the_lock_file_is_made_of_every_extra_but_those_that_are_not_locked() -> None:
    named = set(re.findall(r"--extra (\w+)", (ROOT / ".ci" / "lock").read_text()))
    assert named == set(_project()["optional-dependencies"]) - NOT_LOCKED.keys()


def test_the_lock_file_names_no_host_and_no_folder() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert all(re.fullmatch(r"#.*|[a-z0-9.-]+==[^\s/]+( ; [^/]+)?", line) for line in lines)
    assert not any("://" in line for line in lines)


@pytest.mark.parametrize(
    ("package", "extras"),
    [("txfm", ("report", "remote", "hub", "evaluate", "scvi")), ("curation", ("report", "pipeline"))],
)
def test_a_package_imports_only_what_it_declares(package: str, extras: tuple[str, ...]) -> None:
    modules = {MODULES.get(name, name) for name in _requirements(*extras)}
    missing = _imported(package) - modules
    assert not missing, (
        f"{package} imports {sorted(missing)}: declare them in pyproject.toml and environment.yml, then `make lock`"
    )


def test_every_declared_dependency_is_imported_or_has_a_reason() -> None:
    declared = _requirements("pipeline", "report")
    imported = _imported("txfm") | _imported("curation")
    unused = {name for name in declared if MODULES.get(name, name) not in imported} - NOT_IMPORTED.keys()
    assert not unused, (
        f"nothing imports {sorted(unused)}: remove them from pyproject.toml and environment.yml, then `make lock`"
    )


def test_every_dependency_has_its_reason_in_the_decision_page() -> None:
    page = (ROOT / "docs" / "decisions" / "0001-dependencies.md").read_text()
    missing = [name for name in _all_requirements() | _requirements(*NOT_LOCKED) if f"`{name}`" not in page]
    assert not missing, f"give a reason for {missing} in docs/decisions/0001-dependencies.md"
