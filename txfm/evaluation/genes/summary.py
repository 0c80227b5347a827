"""Means over draws of the null, and whether two embedders differ on the pairs of related genes."""

import itertools
from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from txfm.evaluation.genes.recall import RecalledPairs

KEYS = ["embedder", "kind", "task", "metric", "database", "n_components"]


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over the draws of the null.

    Parameters
    ----------
    scores : pandas.DataFrame
        Frames of `measure_recall`, with the columns embedder and kind.

    Returns
    -------
    pandas.DataFrame
        `KEYS`, mean, sd (NaN of one draw), n_draws, hits of the first draw, trials.
    """
    groups = scores.groupby(KEYS, sort=False, dropna=False)
    return groups.agg(
        mean=("value", "mean"), sd=("value", "std"), n_draws=("value", "size"), trials=("trials", "first")
    ).reset_index()


def compare(recalled: Mapping[tuple[str, str], RecalledPairs]) -> pd.DataFrame:
    """Every two embedders by their recall of the union, on the pairs that both have; adjusted within a task.

    What the databases list is the sample: the test says whether one embedder would recall more of other related genes,
    and nothing of another training of the same model.

    Parameters
    ----------
    recalled : mapping of (str, str) to RecalledPairs
        By embedder and task.

    Returns
    -------
    pandas.DataFrame
        task, first, second (embedders), pairs (that both have), difference (of the recalls), sd (of the difference, see
        `sd_of_difference`), p_value (two-sided, normal), p_adjusted (Benjamini-Hochberg over the embedders of a task).
        p is NaN without spread: no draws, and all pairs differ alike.
    """
    rows = []
    for task in dict.fromkeys(task for _, task in recalled):
        pairs_of = {embedder: found for (embedder, other), found in recalled.items() if other == task}
        for first, second in itertools.combinations(pairs_of, 2):
            genes, one, other = on_common_pairs(pairs_of[first], pairs_of[second])
            difference, sd = np.nan, np.nan
            if len(genes):
                difference, sd = one.mean() - other.mean(), sd_of_difference(genes, one, other)
            p = 2 * stats.norm.sf(abs(difference) / sd) if sd > 0 else np.nan
            rows.append((task, first, second, len(genes), difference, sd, p))
    table = pd.DataFrame(rows, columns="task first second pairs difference sd p_value".split())
    table["p_adjusted"] = np.nan
    for _, of_task in table[table["p_value"].notna()].groupby("task"):
        table.loc[of_task.index, "p_adjusted"] = stats.false_discovery_control(of_task["p_value"])
    return table


def on_common_pairs(first: RecalledPairs, second: RecalledPairs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs that two embedders have, and the hits of both.

    Returns
    -------
    genes : numpy.ndarray (p, 2), int64
        A number a gene.
    first, second : numpy.ndarray (n_draws, p), bool
        Each with its own number of draws.
    """
    names = np.concatenate([first.genes.ravel(), second.genes.ravel()])
    codes, distinct = pd.factorize(names)
    pairs = np.sort(codes.reshape(-1, 2), axis=1)
    keys = pairs[:, 0] * len(distinct) + pairs[:, 1]
    n = len(first.genes)
    _, in_first, in_second = np.intersect1d(keys[:n], keys[n:], assume_unique=True, return_indices=True)
    return pairs[in_first], first.is_hit[:, in_first], second.is_hit[:, in_second]


def sd_of_difference(genes: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """Standard deviation of the difference of two recalls of the same pairs.

    Pairs that share a gene are not independent: covariances of such pairs are added to the variance (for dyadic data:
    Aronow, Samii and Assenova 2015, Polit. Anal. 23, 564), which is at least that of independent pairs. The spread of
    both means over the draws of the null is added.

    Parameters
    ----------
    genes : numpy.ndarray (p, 2), int64
    first, second : numpy.ndarray (n_draws, p), bool
    """
    differences = first.mean(axis=0) - second.mean(axis=0)
    deviations = differences - differences.mean()
    sum_of_gene = np.bincount(genes.ravel(), weights=np.repeat(deviations, 2))
    of_independent = float((deviations**2).sum())
    of_pairs = max(float((sum_of_gene**2).sum()) - of_independent, of_independent) / len(deviations) ** 2
    draws = [hits.mean(axis=1) for hits in (first, second)]
    return float(np.sqrt(of_pairs + sum(found.var(ddof=1) / len(found) for found in draws if len(found) > 1)))
