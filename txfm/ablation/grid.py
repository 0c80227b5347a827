"""The cells of a grid, and the trained models that belong to each."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from txfm.artifact.format import METRICS
from txfm.artifact.read import read_artifact
from txfm.errors import InputError

FIELDS = ("factor", "alternative", "variant", "model")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One alternative of a factor; the default's factor and alternative are empty."""

    factor: str
    alternative: str
    variant: str
    model: str

    @property
    def is_default(self) -> bool:
        """Whether the others are compared with it."""
        return not self.factor


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """One training of a cell.

    Attributes
    ----------
    name : str
        Of its folder, <variant>.<model>.s<seed>.
    card : dict
        model.json without its vocabulary.
    n_genes : int
        Of the vocabulary.
    hours : float or None
        Of the training's steps, validations and waiting aside; None where its log is missing.
    """

    name: str
    card: dict[str, Any]
    n_genes: int
    hours: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedCell:
    """A cell with its runs, by seed."""

    cell: Cell
    runs: tuple[Run, ...]


def read_cells(text: str) -> tuple[Cell, ...]:
    """Parse `--cells`.

    Raises
    ------
    InputError
        It is not a list of cells, not one of them is the default, or two have one name or the same models.
    """
    expected = '[{"factor": "", "alternative": "", "variant": ..., "model": ...}, ...], the default with empty names'
    try:
        found = json.loads(text)
        cells = tuple(Cell(**{name: str(entry.pop(name)) for name in FIELDS}) for entry in found)
        left = [entry for entry in found if entry]
    except (json.JSONDecodeError, TypeError, AttributeError, KeyError) as error:
        raise InputError("--cells is no grid", expected=expected, found=f"{text[:80]} ({error!r})") from error
    if left or sum(cell.is_default for cell in cells) != 1:
        raise InputError("--cells is no grid", expected=expected, found=text[:200])
    for what, key in (("one name", ("factor", "alternative")), ("the same models", ("variant", "model"))):
        found = [tuple(getattr(cell, name) for name in key) for cell in cells]
        if repeated := sorted({": ".join(each) for each in found if found.count(each) > 1}):
            raise InputError(f"Two cells of --cells have {what}", expected="each once", found=", ".join(repeated))
    return cells


def read_grid(cells: Iterable[Cell], folders: Iterable[Path]) -> tuple[TrainedCell, ...]:
    """Read model.json of every folder and sort the folders into cells, the default first.

    Raises
    ------
    InputError
        A folder belongs to no cell, a cell has no folder, lacks a seed that another has, or has one twice.
    """
    runs: dict[tuple[str, str], list[Run]] = {}
    for folder in folders:
        variant, model, _ = _parts(folder)
        artifact = read_artifact(folder, verify=False)
        run = Run(name=folder.name, card=artifact.card, n_genes=len(artifact.vocabulary), hours=_hours(folder))
        runs.setdefault((variant, model), []).append(run)
    cells = sorted(cells, key=lambda cell: not cell.is_default)
    wanted = {(cell.variant, cell.model) for cell in cells}
    if wanted != set(runs):
        raise InputError(
            "The models are not those of the grid",
            expected=", ".join(sorted(map(".".join, wanted))),
            found=", ".join(sorted(map(".".join, runs))) or "none",
            todo="name a folder <variant>.<model>.s<seed> for every cell, and no other",
        )
    _refuse_other_seeds(runs)
    return tuple(
        TrainedCell(
            cell=cell, runs=tuple(sorted(runs[cell.variant, cell.model], key=lambda run: int(run.card["seed"])))
        )
        for cell in cells
    )


def _refuse_other_seeds(runs: Mapping[tuple[str, str], Iterable[Run]]) -> None:
    """A mean over other seeds is of other trainings: a killed run would pass for a difference."""
    seeds = {".".join(cell): sorted(int(run.card["seed"]) for run in of_cell) for cell, of_cell in runs.items()}
    wanted = sorted({seed for found in seeds.values() for seed in found})
    if wrong := {name: found for name, found in seeds.items() if found != wanted}:
        raise InputError(
            "Cells of the grid do not have the same seeds",
            where="; ".join(sorted(wrong)),
            expected=f"seeds {', '.join(map(str, wanted))}, each once a cell",
            found="; ".join(f"{name}: {', '.join(map(str, wrong[name]))}" for name in sorted(wrong)),
            todo="train what is missing, or leave its seed out of all cells",
        )


def _parts(folder: Path) -> tuple[str, str, str]:
    parts = folder.name.split(".")
    if len(parts) != 3:
        raise InputError("A folder is no run of a grid", where=str(folder), expected="<variant>.<model>.s<seed>")
    return parts[0], parts[1], parts[2]


def _hours(folder: Path) -> float | None:
    """Time of the training steps, from the rates that the log has."""
    path = folder / METRICS
    if not path.is_file():
        return None
    return sum(_seconds(map(json.loads, path.read_text().splitlines()))) / 3600


def _seconds(lines: Iterable[dict[str, Any]]) -> Iterator[float]:
    seen = 0
    for line in lines:
        if line["kind"] == "train":
            yield (line["samples_seen"] - seen) / line["samples_per_s"]
            seen = line["samples_seen"]
