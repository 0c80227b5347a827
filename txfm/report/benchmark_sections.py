"""Section of the page about benchmarks: every folder of scores, every grid of ablations, and the paper's values."""

import json
from collections.abc import Hashable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from txfm.ablation.table import FORMAT as ABLATION_FORMAT
from txfm.evaluation.scores import read_scores
from txfm.report.corpus_figures import WIDTH_INCHES
from txfm.report.drawing import Picture, new_figure, picture
from txfm.report.page import Cell, Section, Table
from txfm.report.palette import Theme, looks
from txfm.report.published import CITATION, published_tables
from txfm.report.results import Build


def benchmarks_section(build: Build, figures: Path) -> Section:
    """Scores of `txfm evaluate` below evaluation/, grids below ablation/, and published anchors."""
    paragraphs: list[Cell] = []
    pictures: list[Picture] = []
    tables: list[Table] = []
    folders = sorted(path.parent for path in (build.folder / "evaluation").rglob("scores.json"))
    for folder in folders:
        frame, _ = read_scores(folder)
        label = folder.relative_to(build.folder).as_posix()
        for benchmark, dataset in frame[["benchmark", "dataset"]].drop_duplicates().itertuples(index=False):
            chosen = frame[(frame["benchmark"] == benchmark) & (frame["dataset"] == dataset) & frame["primary"]]
            if chosen.empty:
                paragraphs.append(f"{label}: {benchmark} on {dataset} has no primary metric.")
                continue
            summary = summarise(chosen)
            tables.append(_scores_table(summary, f"{benchmark} on {dataset} ({label}): mean ± sd over seeds"))
            pictures.append(
                picture(
                    f"benchmark_{len(pictures) + 1}_{benchmark}",
                    partial(score_figure, summary),
                    figures,
                    title=f"{benchmark} on {dataset}",
                    alt=f"Points with whiskers, mean and standard deviation over seeds, on {dataset}. "
                    + " ".join(_words(row) for row in summary.to_dict("records")),
                    caption="Mean and standard deviation over seeds of primary metrics, in each metric's own unit.",
                )
            )
    if not folders:
        paragraphs.append(
            Markup(
                "There are no scores yet: <code>python -m txfm evaluate</code> with perturbation, cells, genes or "
                "layers makes them, with an <code>--out</code> folder below results/{}/evaluation."
            ).format(build.name)
        )
    grids = [json.loads(path.read_text()) | {"name": path.stem} for path in _jsons(build.folder / "ablation")]
    grids = [grid for grid in grids if grid.get("format") == ABLATION_FORMAT]
    tables += [_grid_table(grid) for grid in grids]
    if not grids:
        paragraphs.append(Markup("There are no ablations yet: <code>snakemake ablation --cores N</code> makes them."))
    return Section(
        key="benchmarks",
        title="Benchmarks",
        paragraphs=[*paragraphs, CITATION],
        pictures=pictures,
        tables=[*tables, *published_tables()],
    )


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean, sd (n - 1; NaN for one value) and number of values by embedder, metric and post-processing."""
    titles = scores["task"] + ": " + scores["metric"]
    chosen = scores["postprocessing"] != ""
    titles = titles.where(~chosen, titles + ", " + scores["postprocessing"])
    groups = scores.assign(title=titles).groupby(["embedder", "title"], sort=False)["value"]
    return groups.agg(mean="mean", sd="std", n="count").reset_index()


def _words(row: dict[Hashable, Any]) -> str:
    return f"{row['embedder']}, {row['title']}: {_mean_sd(row)}."


def _mean_sd(row: dict[Hashable, Any]) -> str:
    return f"{row['mean']:.4g}" + ("" if pd.isna(row["sd"]) else f" ± {row['sd']:.2g}")


def _scores_table(summary: pd.DataFrame, caption: str) -> Table:
    titles = list(dict.fromkeys(summary["title"]))
    cells = {(row["embedder"], row["title"]): _mean_sd(row) for row in summary.to_dict("records")}
    embedders = dict.fromkeys(summary["embedder"])
    rows = [[name, *(cells.get((name, title), "not measured") for title in titles)] for name in embedders]
    return Table(caption=caption, columns=["embedder", *titles], rows=rows, numbers=frozenset(titles))


def score_figure(summary: pd.DataFrame, theme: Theme) -> Figure:
    """A panel a metric, an embedder a line: point at the mean, whiskers of one standard deviation."""
    titles, embedders = (list(dict.fromkeys(summary[column])) for column in ("title", "embedder"))
    styles = looks(embedders)
    figure = new_figure(WIDTH_INCHES, len(titles) * (0.7 + 0.28 * len(embedders)))
    for axes, title in zip(figure.subplots(len(titles), 1, squeeze=False)[:, 0], titles, strict=True):
        for row in summary[summary["title"] == title].to_dict("records"):
            style = styles[row["embedder"]]
            whisker = None if pd.isna(row["sd"]) else row["sd"]
            position = embedders.index(row["embedder"])
            axes.errorbar(row["mean"], position, xerr=whisker, fmt=style.marker, color=style.colour, capsize=3)
        axes.set_title(title)
        axes.set_yticks(range(len(embedders)), embedders)
        axes.set_ylim(len(embedders) - 0.5, -0.5)
        axes.grid(axis="x")
        axes.tick_params(length=0)
    return figure


def _jsons(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json"))


def _grid_table(grid: dict[str, Any]) -> Table:
    numbers = ["mean", "sd", "difference", "adjusted p"]
    rows = []
    for row in grid["rows"]:
        metric = ", ".join(filter(None, [row["metric"], row["postprocessing"]]))
        cell = f"{row['factor']}: {row['alternative']}" if row["factor"] else "default"
        p = _optional(row["p_adjusted"], ".2g") + ("*" if row["significant"] else "")
        values = [f"{row['mean']:.4f}", _optional(row["sd"], ".4f"), _optional(row["difference"], "+.4f"), p]
        rows.append([cell, f"{row['benchmark']}: {row['dataset']}", metric, *values])
    caption = f"Ablation grid {grid['name']}: difference to the default; * marks a significant one"
    return Table(caption=caption, columns=["cell", "data", "metric", *numbers], rows=rows, numbers=frozenset(numbers))


def _optional(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"
