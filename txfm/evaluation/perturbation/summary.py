"""From scores to a table: the best post-processing of each embedder and task, a fixed one beside it, the average."""

import math
from collections.abc import Sequence

import pandas as pd

from txfm.evaluation.perturbation.settings import TASKS

AVERAGE, SCORED = "average", "average of scored tasks"


def task_scores(frame: pd.DataFrame) -> pd.DataFrame:
    """Score of each embedder, task and post-processing: mean over seeds, then over the primary metrics.

    Parameters
    ----------
    frame : pandas.DataFrame
        Of `txfm.evaluation.scores`. Every primary metric of the benchmark lies between 0 and 1, or below for structural
        integrity.

    Returns
    -------
    pandas.DataFrame
        embedder, task, postprocessing, score and sd (ddof 1, over the seeds of the mean of the metrics; NaN where
        nothing is drawn), both times 100, as Table 2 of the paper prints and averages them; n_seeds.
    """
    rows = []
    primary = frame[frame["primary"]]
    for (embedder, task, postprocessing), of_task in primary.groupby(
        ["embedder", "task", "postprocessing"], sort=False
    ):
        means = of_task.groupby("metric")["value"].mean()
        seeds = sorted(of_task["seed"].dropna().unique().tolist())
        by_seed = [
            of_task[(of_task["seed"] == seed) | of_task["seed"].isna()].groupby("metric")["value"].mean().mean()
            for seed in seeds
        ]
        rows.append(
            {
                "embedder": embedder,
                "task": task,
                "postprocessing": postprocessing,
                "score": 100 * means.mean(),
                "sd": 100 * float(pd.Series(by_seed).std(ddof=1)) if len(seeds) > 1 else math.nan,
                "n_seeds": len(seeds),
            }
        )
    return pd.DataFrame(rows, columns=["embedder", "task", "postprocessing", "score", "sd", "n_seeds"])


def summarise(frame: pd.DataFrame, fixed: str, tasks: Sequence[str] = tuple(TASKS)) -> pd.DataFrame:
    """The best post-processing of each embedder and task, as in the paper, beside a fixed one.

    The best is chosen on the very cells that it is reported on: it is optimistic, and the fixed one is not.

    Parameters
    ----------
    frame : pandas.DataFrame
        Of `txfm.evaluation.scores`.
    fixed : str
        A post-processing. Consistency, whose alignment is its own, has the same score on both sides.
    tasks : sequence of str
        Of the run.

    Returns
    -------
    pandas.DataFrame
        A row an embedder and task, in the order of `tasks`: embedder, task, best_postprocessing, best, best_sd, fixed,
        fixed_sd; NaN where there is no score. Then, for each embedder, "average" over all `tasks` (NaN if one is
        missing) and "average of scored tasks", of those that some embedder has on that side: NaN as well for one that
        lacks such a task, whose failure takes nothing from the others.
    """
    scores = task_scores(frame)
    rows = []
    for embedder, of_embedder in scores.groupby("embedder", sort=False):
        for task in tasks:
            candidates = of_embedder[of_embedder["task"] == task]
            at_fixed = candidates[candidates["postprocessing"].isin([fixed, ""])]
            best = candidates.loc[candidates["score"].idxmax()] if len(candidates) else None
            rows.append(
                {
                    "embedder": embedder,
                    "task": task,
                    "best_postprocessing": "" if best is None else best["postprocessing"],
                    "best": math.nan if best is None else best["score"],
                    "best_sd": math.nan if best is None else best["sd"],
                    "fixed": at_fixed["score"].iloc[0] if len(at_fixed) else math.nan,
                    "fixed_sd": at_fixed["sd"].iloc[0] if len(at_fixed) else math.nan,
                }
            )
    columns = ["embedder", "task", "best_postprocessing", "best", "best_sd", "fixed", "fixed_sd"]
    table = pd.DataFrame(rows, columns=columns)
    averages = []
    sides = {side: table.pivot(index="embedder", columns="task", values=side) for side in ("best", "fixed")}
    scored = {side: values.columns[values.notna().any()] for side, values in sides.items()}
    for embedder in dict.fromkeys(table["embedder"]):
        for name in (AVERAGE, SCORED):
            row: dict[str, object] = {"embedder": embedder, "task": name, "best_postprocessing": ""}
            for side, values in sides.items():
                of_tasks = values.loc[embedder, list(tasks) if name == AVERAGE else scored[side]]
                row[side] = float(of_tasks.mean(skipna=False)) if len(of_tasks) else math.nan
            averages.append(row)
    return pd.concat([table, pd.DataFrame(averages, columns=columns)], ignore_index=True) if averages else table
