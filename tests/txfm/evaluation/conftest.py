"""The oracle's inputs and values: answers of the original programs on simulated cells."""

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ORACLE = Path(os.environ.get("DIVERSERNA_ORACLE", Path(__file__).parents[4] / "shared" / "oracle"))


@dataclass(frozen=True)
class Oracle:
    """Cells of a simulated screen (n, 48), and what the authors' programs said of them."""

    folder: Path

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        return dict(np.load(self.folder / f"{name}.npz"))

    def values(self, name: str) -> dict[str, Any]:
        return json.loads((self.folder / f"{name}.json").read_text())

    @cached_property
    def cells(self) -> dict[str, np.ndarray]:
        return self.arrays("inputs_pert")

    @property
    def embedding(self) -> np.ndarray:
        return self.cells["emb"]

    @property
    def perturbation(self) -> np.ndarray:
        return self.cells["pert"]

    @property
    def batch(self) -> np.ndarray:
        return self.cells["batch"]

    @property
    def control(self) -> str:
        return str(self.cells["control"])

    @property
    def is_control(self) -> np.ndarray:
        return self.perturbation == self.control


@pytest.fixture(scope="session")
def oracle() -> Oracle:
    if not (ORACLE / "inputs_pert.npz").is_file():
        pytest.skip("the oracle is not here: set DIVERSERNA_ORACLE")
    return Oracle(ORACLE)
