"""scores.md of the benchmark: the table for people, with what is needed to judge it."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from txfm.evaluation.cells.probes import DEFAULT
from txfm.evaluation.cells.settings import TITLES
from txfm.evaluation.telling import page_end

METHOD = (
    "Mean ± sd over the seeds; one number alone where nothing is drawn. All metrics but the "
    "number of clusters: the larger, the better.",
    "NMI, ARI: Louvain clusters of the graph of 15 nearest neighbours (Euclidean, no PCA), ten resolutions from 0.2 to "
    "2.0, the one of the largest NMI. It is chosen by the labels that it is scored on, as in the paper: an upper "
    "bound; clusters is their number there. Chance: ARI 0; NMI above 0, see random.",
    "ASW: (silhouette of the labels + 1) / 2; 0.5 says nothing. ASW batch: mean of 1 - |silhouette of the batch| "
    "within a label, then over labels (scib); 1 is perfect mixing, which random numbers come near.",
    "Linear, MLP: classifiers on standardised dimensions, tested on other batches (a quarter of them) where there are "
    "three or more; learning rate and end of training are chosen on a fifth of the training cells. The MLP of more "
    f"than {DEFAULT.mlp_widest:,} dimensions sees {DEFAULT.mlp_components} principal components of the training cells. "
    "Macro-F1: mean over labels.",
    "random: independent normal numbers in place of an embedding: the floor of all but ASW batch, whose top it is.",
)


def markdown(summary: pd.DataFrame, record: Mapping[str, Any]) -> str:
    """The page."""
    cells, settings = record["cells"], record["settings"]
    simulated = " (SIMULATED)" if record["inputs"]["cells"]["simulated"] else ""
    dropped = "; ".join(f"{number:,} {reason}" for reason, number in record["dropped"].items()) or "none"
    lines = [
        f"# {record['dataset']}{simulated}: {settings['label']}",
        "",
        f"{cells['n_cells']:,} cells, {len(cells['cells_of_label'])} labels, {len(cells['cells_of_batch']) or 'no'} "
        f"batches. Always naming the largest label is right in {cells['largest_label_share']:.3f} of cells. "
        f"Cells not scored: {dropped}.",
        "",
        *table(summary),
    ]
    not_scored = [(row["embedder"], row["task"], row["reason"]) for row in record["not_scored"]]
    return "\n".join(lines + page_end(("embedder", "task", "reason"), not_scored, record["warnings"], METHOD))


def table(summary: pd.DataFrame) -> list[str]:
    """Lines of the table: a row an embedder, a column a metric that some embedder has."""
    numbers = {
        (row["embedder"], row["task"], row["metric"]): _number(row["metric"], row["mean"], row["sd"])
        for row in summary.to_dict("records")
    }
    shown = {key: title for key, title in TITLES.items() if any(found[1:] == key for found in numbers)}
    lines = ["| embedder | " + " | ".join(shown.values()) + " |", "|---|" + "---:|" * len(shown)]
    lines += [
        f"| {embedder} | " + " | ".join(numbers.get((embedder, *key), "not measured") for key in shown) + " |"
        for embedder in dict.fromkeys(summary["embedder"])
    ]
    return [*lines, ""]


def _number(metric: str, mean: float, sd: float) -> str:
    digits = 1 if metric == "n_clusters" else 3
    return f"{mean:.{digits}f}" if math.isnan(sd) else f"{mean:.{digits}f} ± {sd:.{digits}f}"
