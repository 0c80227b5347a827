"""From scores to a table: mean and standard deviation of every metric over its seeds."""

import pandas as pd


def summarise(frame: pd.DataFrame) -> pd.DataFrame:
    """One row an embedder, task and metric.

    Parameters
    ----------
    frame : pandas.DataFrame
        Of `txfm.evaluation.scores`.

    Returns
    -------
    pandas.DataFrame
        embedder, task, metric, mean, sd (ddof 1; NaN of one value), n_values; in the order of the scores.
    """
    groups = frame.groupby(["embedder", "task", "metric"], sort=False)["value"]
    table = groups.agg(["mean", "std", "size"]).reset_index()
    return table.rename(columns={"std": "sd", "size": "n_values"})
