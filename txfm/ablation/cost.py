"""What each cell of a grid cost, and whether all cost the same."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from txfm.ablation.grid import TrainedCell

# The last batch of a budget may be short
LARGEST_DIFFERENCE = 0.01


def costs(grid: Iterable[TrainedCell]) -> pd.DataFrame:
    """One row a cell: factor, alternative, and means over its seeds.

    Returns
    -------
    pandas.DataFrame
        samples (distinct, of training), genes (of the vocabulary), samples_seen, steps, parameters, hours (of the
        training steps on the machine that trained; missing where a log is).
    """
    rows = []
    for trained in grid:
        cards = [run.card for run in trained.runs]
        hours = [np.nan if run.hours is None else run.hours for run in trained.runs]
        rows.append(
            {
                "factor": trained.cell.factor,
                "alternative": trained.cell.alternative,
                "samples": int(sum(study["n_samples"] for study in cards[0]["training_studies"].values())),
                "genes": trained.runs[0].n_genes,
                "samples_seen": int(np.mean([card["samples_seen"] for card in cards])),
                "steps": int(np.mean([card["steps"] for card in cards])),
                "parameters": int(cards[0]["n_parameters"]),
                "hours": float(np.mean(hours)),
            }
        )
    return pd.DataFrame(rows)


def unequal_compute(cost: pd.DataFrame) -> list[str]:
    """One sentence for each cell that saw another number of samples than the default."""
    default = cost.iloc[0]["samples_seen"]
    return [
        f"{row.factor}: {row.alternative} saw {row.samples_seen:,} samples, the default {default:,}: not equal compute"
        for row in cost.itertuples()
        if abs(row.samples_seen - default) > LARGEST_DIFFERENCE * default
    ]
