"""Differences to the default with p-values, adjusted over all alternatives that a metric compares."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy.stats import norm, ttest_ind
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportions_ztest

from txfm.ablation.grid import TrainedCell
from txfm.ablation.measurements import MEASUREMENT

ALPHA = 0.05
CONFIDENCE = 1 - ALPHA
Z_TEST, T_TEST = "two-proportion z", "Welch t"
INTERVAL = ("difference_sd", "difference_low", "difference_high")
CONSISTENCY = "pcst"  # the task whose shares are of perturbations


def compare(grid: Iterable[TrainedCell], measured: pd.DataFrame) -> pd.DataFrame:
    """One row a cell and metric.

    Parameters
    ----------
    grid : iterable of TrainedCell
        The default first.
    measured : pandas.DataFrame
        Of `measurements`.

    Returns
    -------
    pandas.DataFrame
        factor, alternative, variant, model; benchmark, dataset, task, metric, postprocessing; n_seeds, mean and sd over
        seeds (sd missing for one seed); difference to the default's mean, with its sd (of the difference of two means)
        and the two ends of its 95% interval; test, p, p_adjusted; significant. What the default or a cell without a
        possible test cannot have is missing.

        The share of consistent perturbations is tested by the two-proportion z-test on hits and trials averaged over
        seeds: a perturbation that every seed scores is one perturbation. Those of several data sets are pooled as well
        (sec. C.2): rows whose dataset is "all". Other values are tested by Welch's t-test between the seeds of two
        cells, shares of cells and of pairs among them: these are many and depend on each other, so that the spread
        between trainings is far above the binomial one. Adjusted by Benjamini and Hochberg over all alternatives with a
        p-value in the same metric.
    """
    grid = tuple(grid)
    measured = _without_other_counts(measured)
    pooled = _pooled(measured)
    measured = pd.concat([measured, pooled], ignore_index=True) if len(pooled) else measured
    rows = []
    for _, of_metric in measured.groupby(MEASUREMENT, sort=False, dropna=False):
        about = of_metric.iloc[0][MEASUREMENT].to_dict()
        by_run = of_metric.set_index("run")
        default = by_run[by_run.index.isin([run.name for run in grid[0].runs])]
        of_cells = []
        for trained in grid:
            own = by_run[by_run.index.isin([run.name for run in trained.runs])]
            if len(own) == 0:
                continue
            row = vars(trained.cell) | about | {"n_seeds": len(own), "mean": own["value"].mean()}
            row |= {"sd": own["value"].std(ddof=1), "difference": np.nan}
            row |= dict.fromkeys(INTERVAL, np.nan) | {"test": "", "p": np.nan}
            if not trained.cell.is_default and len(default):
                row["difference"] = row["mean"] - default["value"].mean()
                row["test"], row["p"] = two_sided_p(own, default)
                row |= dict(zip(INTERVAL, spread_of_difference(own, default), strict=True))
            of_cells.append(row)
        for row, adjusted in zip(of_cells, adjust([row["p"] for row in of_cells]), strict=True):
            rows.append(row | {"p_adjusted": adjusted, "significant": bool(adjusted <= ALPHA)})
    return pd.DataFrame(rows)


def two_sided_p(own: pd.DataFrame, default: pd.DataFrame) -> tuple[str, float]:
    """The test that fits two cells' measurements (columns value, hits, trials; a row a seed), and its two-sided p.

    Values with trials are tested as shares of independent things.
    NaN where none is possible: one seed a cell, no spread at all, or no trials.
    """
    if _are_shares(own, default):
        hits, trials = _hits_and_trials(own, default)
        pooled = hits.sum() / trials.sum()
        return Z_TEST, float(proportions_ztest(hits, trials)[1]) if 0 < pooled < 1 else 1.0
    values = own["value"].to_numpy(float), default["value"].to_numpy(float)
    if min(map(len, values)) < 2 or all(np.ptp(found) == 0 for found in values):
        return "", np.nan
    return T_TEST, float(ttest_ind(*values, equal_var=False).pvalue)


def spread_of_difference(own: pd.DataFrame, default: pd.DataFrame) -> tuple[float, float, float]:
    """Standard deviation of the difference of two cells' means, and the ends of its 95% interval around it.

    Of shares: from the binomial variances of both (Wald). Of other values: from the variances between seeds, with
    Welch's degrees of freedom. NaN where `two_sided_p` has no test.
    """
    difference = float(own["value"].mean() - default["value"].mean())
    if _are_shares(own, default):
        hits, trials = _hits_and_trials(own, default)
        sd = float(np.sqrt((hits / trials * (1 - hits / trials) / trials).sum()))
        half = float(norm.ppf((1 + CONFIDENCE) / 2)) * sd
        return sd, difference - half, difference + half
    if two_sided_p(own, default)[0] != T_TEST:
        return np.nan, np.nan, np.nan
    values = own["value"].to_numpy(float), default["value"].to_numpy(float)
    low, high = ttest_ind(*values, equal_var=False).confidence_interval(CONFIDENCE)
    sd = float(np.sqrt(sum(found.var(ddof=1) / len(found) for found in values)))
    return sd, float(low), float(high)


def _are_shares(own: pd.DataFrame, default: pd.DataFrame) -> bool:
    return bool(own["trials"].notna().all() and default["trials"].notna().all())


def _hits_and_trials(own: pd.DataFrame, default: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Of both, averaged over seeds."""
    hits, trials = (np.array([float(own[name].mean()), float(default[name].mean())]) for name in ("hits", "trials"))
    return hits, trials


def adjust(p: Iterable[float]) -> np.ndarray:
    """Adjusted p-values by Benjamini and Hochberg; NaN stays NaN and is no test."""
    raw = np.array(list(p), dtype=float)
    adjusted = np.full(len(raw), np.nan)
    tested = ~np.isnan(raw)
    if tested.any():
        adjusted[tested] = multipletests(raw[tested], alpha=ALPHA, method="fdr_bh")[1]
    return adjusted


def _without_other_counts(measured: pd.DataFrame) -> pd.DataFrame:
    """Hits and trials of perturbations alone; missing elsewhere."""
    counts = measured[["hits", "trials"]].where(measured["task"] == CONSISTENCY)
    return measured.assign(hits=counts["hits"], trials=counts["trials"])


def _pooled(measured: pd.DataFrame) -> pd.DataFrame:
    """Counts of several data sets added up, where a metric counts."""
    counted = measured[measured["trials"].notna()]
    keys = ["run", *(column for column in MEASUREMENT if column != "dataset")]
    rows = []
    for key, found in counted.groupby(keys, sort=False, dropna=False):
        if len(found) > 1:
            hits, trials = float(found["hits"].sum()), float(found["trials"].sum())
            row = dict(zip(keys, key, strict=True))
            rows.append(row | {"dataset": "all", "hits": hits, "trials": trials, "value": hits / trials})
    return pd.DataFrame(rows, columns=measured.columns)
