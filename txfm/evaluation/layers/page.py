"""scores.md of the layers: a table a model, a row a layer."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from txfm.evaluation.cells.settings import TITLES
from txfm.evaluation.telling import page_end

METHOD = (
    "Mean ± sd over the seeds. block1 ...: the CLS token after each block of the encoder; cls: the embedding, which is "
    "the last block after the final norm; decoder1 ...: the hidden vector after each block of the decoder.",
    "The largest of a column is bold. It is found on the samples that it is reported on: choose a layer on other data.",
    "What the metrics are: docs/evaluation-cells.md, and docs/evaluation-perturbation.md for those of a screen.",
)


def markdown(summary: pd.DataFrame, primary: set[tuple[str, str]], record: Mapping[str, Any]) -> str:
    """The page; `primary` are the tasks and metrics that get a column."""
    simulated = " (SIMULATED)" if record["inputs"]["samples"]["simulated"] else ""
    lines = [f"# {record['dataset']}{simulated}: layers", ""]
    shown = summary[[key in primary for key in zip(summary["task"], summary["metric"], strict=True)]]
    for model, of_model in shown.groupby("model", sort=False):
        lines += [f"## {model}", "", *_table(of_model)]
    not_scored = [(row["embedder"], row["task"], row["reason"]) for row in record["not_scored"]]
    return "\n".join(lines + page_end(("layer", "task", "reason"), not_scored, record["warnings"], METHOD))


def _table(of_model: pd.DataFrame) -> list[str]:
    keys = list(dict.fromkeys(zip(of_model["task"], of_model["metric"], of_model["postprocessing"], strict=True)))
    titles = [
        TITLES.get((task, metric), f"{task} {metric}") + (f" ({treatment})" if treatment else "")
        for task, metric, treatment in keys
    ]
    layers = list(dict.fromkeys(of_model["layer"]))
    cells = {
        (row["layer"], (row["task"], row["metric"], row["postprocessing"])): (float(row["mean"]), float(row["sd"]))
        for row in of_model.to_dict("records")
    }
    best = {key: max(cells[layer, key][0] for layer in layers if (layer, key) in cells) for key in keys}
    lines = ["| layer | " + " | ".join(titles) + " |", "|---|" + "---:|" * len(keys)]
    for layer in layers:
        texts = []
        for key in keys:
            if (layer, key) not in cells:
                texts.append("not measured")
                continue
            mean, sd = cells[layer, key]
            number = f"**{mean:.3f}**" if mean == best[key] else f"{mean:.3f}"
            texts.append(number if math.isnan(sd) else f"{number} ± {sd:.3f}")
        lines.append(f"| {layer} | " + " | ".join(texts) + " |")
    return [*lines, ""]
