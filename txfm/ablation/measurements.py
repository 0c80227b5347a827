"""What was measured of every run of a grid, as one frame: from model.json, held-out tables and frames of scores."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from txfm.ablation.grid import TrainedCell
from txfm.errors import InputError
from txfm.evaluation.scores import read_scores
from txfm.evaluation.table import FORMAT as TABLE_FORMAT
from txfm.evaluation.table import METRIC_TITLES

COLUMNS = ("run", "benchmark", "dataset", "task", "metric", "postprocessing", "value", "hits", "trials")
MEASUREMENT = list(COLUMNS[1:6])
# Of the last validation; on held-out batches of the variant, so it says nothing between variants
VALIDATION = ("explained_deviance", "explained_deviance_masked", "pearson_masked", "cls_rank", "dead_gene_share")


def measurements(grid: Iterable[TrainedCell], files: Iterable[Path]) -> pd.DataFrame:
    """One row a run and measurement; repetitions of an evaluation (its seeds, folds, draws) are averaged.

    Parameters
    ----------
    grid : iterable of TrainedCell
    files : iterable of Path
        Tables of `txfm evaluate held-out` (.json), and folders with scores of its other verbs; a folder of
        `lack_of_scores` adds nothing.

    Returns
    -------
    pandas.DataFrame
        Columns `COLUMNS`; hits and trials are missing where a value is no share of things that were counted.

    Raises
    ------
    InputError
        A file is neither, or lacks a run of the grid; or there is no number at all.
    """
    grid, files = tuple(grid), tuple(files)
    names = {run.name for cell in grid for run in cell.runs}
    rows = [row for cell in grid for row in _validations(cell)]
    for path in files:
        if path.is_dir() and lack_of_scores(path):
            continue
        found = _of_frame(path) if path.is_dir() else list(_of_table(path))
        found = [row for row in found if row["run"] in names]
        if missing := sorted(names - {row["run"] for row in found}):
            raise InputError(
                "An evaluation lacks models of the grid",
                where=str(path),
                expected=f"all {len(names)} runs",
                found=f"{len(names) - len(missing)}; {', '.join(missing[:5])} missing",
                todo="evaluate all models of the grid together",
            )
        rows += found
    if not rows:
        raise InputError(
            "Nothing was measured of the models of the grid",
            where=", ".join(map(str, files)) or "--scores",
            expected="validation metrics in a model.json, a table of held-out samples, or a folder with scores",
            found="; ".join(filter(None, (lack_of_scores(path) for path in files if path.is_dir()))) or "none of these",
            todo="evaluate the models, and name what was written with --scores",
        )
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict.fromkeys(("value", "hits", "trials"), float))


def lack_of_scores(folder: Path) -> str:
    """Why a folder of scores holds no number, as where there are no databases of related genes; "" where it holds some.

    Raises
    ------
    InputError
        It is no folder of scores.
    """
    _, record = read_scores(folder)
    return "; ".join(row["reason"] for row in record["not_scored"]) if record["n_scores"] == 0 else ""


def _validations(cell: TrainedCell) -> Iterator[dict[str, Any]]:
    for run in cell.runs:
        validation = run.card["final_metrics"].get("validation") or {}
        for metric in VALIDATION:
            if validation.get(metric) is not None:
                yield _row(run.name, "validation", cell.cell.variant, "held-out batches", metric, validation[metric])


def _of_table(path: Path) -> Iterator[dict[str, Any]]:
    try:
        table = json.loads(path.read_text())
        known = table.get("format") == TABLE_FORMAT
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, AttributeError) as error:
        raise InputError("A table of scores cannot be read", where=str(path), found=str(error)) from error
    if not known:
        raise InputError(
            "A file holds no scores",
            where=str(path),
            expected="a table of `txfm evaluate held-out`, or a folder with scores.parquet",
        )
    for row in table["rows"]:
        if row["embedder"] == "txfm" and row["scaling"] == "standardised":
            for metric, title in METRIC_TITLES.items():
                name = f"{title}, {row['depth']} counts"
                yield _row(row["model"], "held_out", table["held_out"]["study"], metric, name, row[metric]["mean"])


def _of_frame(path: Path) -> list[dict[str, Any]]:
    scores, _ = read_scores(path)
    scores = scores[scores["primary"] & (scores["kind"] == "txfm")]
    by_run = scores.groupby(["embedder", *MEASUREMENT], sort=False, dropna=False)[["value", "hits", "trials"]]
    found = by_run.mean().reset_index().rename(columns={"embedder": "run"})
    return [{str(name): value for name, value in row.items()} for row in found.to_dict("records")]


def _row(run: str, benchmark: str, dataset: str, task: str, metric: str, value: float) -> dict[str, Any]:
    return {
        "run": run,
        "benchmark": benchmark,
        "dataset": dataset,
        "task": task,
        "metric": metric,
        "postprocessing": "",
        "value": float(value),
        "hits": None,
        "trials": None,
    }
