"""The records of benchmarks hold every number that decides a score, taken from the code."""

import ast
import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from txfm.consistency.statistic import N_NULL_CELLS
from txfm.evaluation.cells import constants as of_cells
from txfm.evaluation.perturbation import constants as of_screens
from txfm.evaluation.perturbation.lisi import N_NEIGHBOURS, PERPLEXITY
from txfm.evaluation.scores import LIBRARIES, software

# They bound memory or messages, or belong to an option that the benchmark does not use
DECIDE_NOTHING = {"BLOCK_MIB", "GENES_AT_A_TIME", "NAMED_LABELS", "ROWS_AT_A_TIME", "TEMPERATURE"}


def named_numbers(module: Path) -> set[str]:
    """Names in capitals that a module gives a number, or several."""
    found = set()
    for statement in ast.parse(module.read_text()).body:
        if isinstance(statement, ast.Assign) and any(
            isinstance(part, ast.Constant) and type(part.value) in (int, float) for part in ast.walk(statement.value)
        ):
            targets = (name for target in statement.targets for name in ast.walk(target) if isinstance(name, ast.Name))
            found |= {name.id for name in targets if name.id.isupper()}
    return found


@pytest.mark.parametrize("module", [of_cells, of_screens])
def test_the_record_has_every_named_number_of_the_benchmark(module) -> None:
    path = Path(module.__file__)
    mentioned = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
    mentioned |= {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
    numbers = {name for each in path.parent.glob("*.py") for name in named_numbers(each)}
    assert len(numbers) > 3
    assert numbers - DECIDE_NOTHING - {"DEFAULT"} <= mentioned
    assert json.loads(json.dumps(module.constants())) == module.constants()


def test_numbers_are_those_of_the_code() -> None:
    found = of_screens.constants()
    assert (found["ilisi"]["n_neighbours"], found["ilisi"]["perplexity"]) == (N_NEIGHBOURS, PERPLEXITY) == (90, 30)
    assert found["pcst"]["n_null_cells"] == N_NULL_CELLS == 10_000
    assert found["split"] == {"seed": 42, "train_share": 0.7}


def test_a_library_that_is_not_installed_has_no_version() -> None:
    versions = software()
    assert set(LIBRARIES) < set(versions)
    assert versions["scikit-learn"]
    assert (versions["efaar-benchmarking"] is None) == (find_spec("efaar_benchmarking") is None)
