"""scores.md of the benchmark: the table for people, with what is needed to judge it."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from txfm.evaluation.perturbation.settings import TASKS, Settings
from txfm.evaluation.perturbation.summary import AVERAGE, SCORED, task_scores
from txfm.evaluation.telling import page_end

TITLES = {**TASKS, "efaar": "consistency (EFAAR)"}
METHOD = (
    "All scores x 100; mean over seeds, then over the metrics of a task.",
    "Average: of all tasks; of scored tasks: of those that some embedder has, for embedders that have them all.",
    "Best: the post-processing with the highest score of that embedder and task, as in the paper. It is chosen on the "
    "cells that it is reported on, and so is optimistic; the fixed one is not.",
    "iLISI: mixing of batches among 90 neighbours (perplexity 30), scaled to 0-1; mean of a batch, then over batches.",
    "Linear probe, kNN: mean of top-1 and top-5 accuracy on other batches; kNN has controls as a class, the probe not.",
    "Consistency: share of perturbations with p < 0.01 on an alignment of its own (pooled null).",
    "Relationships: recall of known pairs in the extreme 5 % of cosines on either side, mean of databases; chance 10.",
    "Invertibility: mean of Spearman's correlation and structural integrity of a ridge decoder on new perturbations in "
    "other batches; a prediction of 0 everywhere has an integrity of 50.",
    "random: independent normal numbers in place of an embedding: the floor of every task but iLISI, whose top it is.",
)

# By `vary_splits`: what an sd over seeds holds
SPREAD = {
    False: "±: sd over seeds. All of them split the cells alike (seed 42, as in Tx-Evaluation): it holds first weights "
    "and drawn cells alone, and is no error of a score. How much other batches and perturbations change it: "
    "--vary-splits.",
    True: "±: sd over seeds. Each has a split of its own (42 + seed): it holds other batches and "
    "perturbations as well.",
}


def markdown(frame: pd.DataFrame, summary: pd.DataFrame, record: Mapping[str, Any], settings: Settings) -> str:
    """The page."""
    screen = record["screen"]
    simulated = " (SIMULATED)" if record["inputs"]["screen"]["simulated"] else ""
    dropped = "; ".join(f"{number:,} {reason}" for reason, number in record["dropped"].items()) or "none"
    lines = [
        f"# {record['dataset']}{simulated}: six tasks on perturbations",
        "",
        f"{screen['n_cells']:,} cells, {screen['n_perturbations']:,} perturbations, {screen['n_controls']:,} controls, "
        f"{screen['n_batches']:,} batches. Cells not scored: {dropped}.",
        "",
        *_table("Best post-processing of each task", summary, "best", settings),
        *_table(f"Fixed post-processing: {settings.fixed}", summary, "fixed", settings),
        *_candidates(frame, settings),
    ]
    not_scored = [
        (row["embedder"], TITLES.get(row["task"], row["task"]), row["postprocessing"] or "-", row["reason"])
        for row in record["not_scored"]
    ]
    columns = ("embedder", "task", "post-processing", "reason")
    return "\n".join(lines + page_end(columns, not_scored, record["warnings"], (SPREAD[settings.vary_splits], *METHOD)))


def _table(title: str, summary: pd.DataFrame, side: str, settings: Settings) -> list[str]:
    names = {**{task: TASKS[task] for task in settings.tasks}, AVERAGE: "average", SCORED: "average (scored tasks)"}
    lines = [f"## {title}", "", "| embedder | " + " | ".join(names.values()) + " |", "|---|" + "---:|" * len(names)]
    for embedder in dict.fromkeys(summary["embedder"]):
        of_embedder = summary[summary["embedder"] == embedder].set_index("task")
        cells = []
        for task in names:
            row = of_embedder.loc[task]
            text = _number(row[side], row[f"{side}_sd"])
            cells.append(
                f"{text} ({row['best_postprocessing']})" if side == "best" and row["best_postprocessing"] else text
            )
        lines.append(f"| {embedder} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _candidates(frame: pd.DataFrame, settings: Settings) -> list[str]:
    scores = task_scores(frame)
    lines = [
        "## All candidates",
        "",
        "| embedder | post-processing | " + " | ".join(TASKS[t] for t in settings.tasks) + " |",
    ]
    lines.append("|---|---|" + "---:|" * len(settings.tasks))
    for embedder in dict.fromkeys(scores["embedder"]):
        for postprocessing in settings.postprocessings:
            of_row = scores[(scores["embedder"] == embedder) & scores["postprocessing"].isin([postprocessing, ""])]
            by_task = of_row.set_index("task")
            cells = [
                _number(by_task.loc[task, "score"], by_task.loc[task, "sd"]) if task in by_task.index else "-"
                for task in settings.tasks
            ]
            lines.append(f"| {embedder} | {postprocessing} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _number(value: float, sd: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.2f}" if math.isnan(sd) else f"{value:.2f} ± {sd:.2f}"
