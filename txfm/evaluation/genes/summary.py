"""Means over draws of the null, and whether two embedders differ by more than the draws do."""

import itertools

import numpy as np
import pandas as pd
from scipy import stats

from txfm.evaluation.relationships import UNION

KEYS = ["embedder", "kind", "task", "metric", "database", "n_components"]


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over the draws of the null.

    Parameters
    ----------
    scores : pandas.DataFrame
        `measure_recall`, with the columns embedder and kind.

    Returns
    -------
    pandas.DataFrame
        `KEYS`, mean, sd (NaN of one draw), n_draws, hits of the first draw, trials.
    """
    groups = scores.groupby(KEYS, sort=False, dropna=False)
    return groups.agg(
        mean=("value", "mean"), sd=("value", "std"), n_draws=("value", "size"), trials=("trials", "first")
    ).reset_index()


def compare(scores: pd.DataFrame) -> pd.DataFrame:
    """Every two embedders by their recall of the union: two-sided t-test over the draws, adjusted within a task.

    The draws of the null are all that varies: the test says nothing of another training of the same model.

    Parameters
    ----------
    scores : pandas.DataFrame
        As for `summarise`.

    Returns
    -------
    pandas.DataFrame
        task, first, second (embedders), difference (of the means), t, p_value, p_adjusted (Benjamini-Hochberg over the
        pairs of a task). t and p are NaN where a null is not drawn, or where no draw differs from another.
    """
    of_union = scores[(scores["metric"] == "recall") & (scores["database"] == UNION)]
    rows = []
    for task, of_task in of_union.groupby("task", sort=False):
        values = {name: group["value"].to_numpy() for name, group in of_task.groupby("embedder", sort=False)}
        for first, second in itertools.combinations(values, 2):
            a, b = values[first], values[second]
            t, p = np.nan, np.nan
            if min(len(a), len(b)) > 1 and a.std() + b.std() > 0:
                t, p = stats.ttest_ind_from_stats(a.mean(), a.std(ddof=1), len(a), b.mean(), b.std(ddof=1), len(b))
            rows.append((task, first, second, a.mean() - b.mean(), float(t), float(p)))
    table = pd.DataFrame(rows, columns=["task", "first", "second", "difference", "t", "p_value"])
    table["p_adjusted"] = np.nan
    for _, of_task in table[table["p_value"].notna()].groupby("task"):
        table.loc[of_task.index, "p_adjusted"] = stats.false_discovery_control(of_task["p_value"])
    return table
