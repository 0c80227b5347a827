"""The comparison as json, parquet and tsv (a row a cell and metric) and as markdown (for people)."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from txfm.ablation.comparison import ALPHA
from txfm.ablation.cost import unequal_compute
from txfm.artifact.provenance import git_commit, txfm_version
from txfm.files import temporary_beside

FORMAT, FORMAT_VERSION = "txfm-ablation", "0.1"
METHOD = (
    "Mean and sd (n - 1) over training seeds; repetitions within an evaluation are averaged first.",
    "Share of consistent perturbations: two-proportion z-test on hits and trials averaged over seeds, data sets pooled "
    "in rows of dataset `all`. Everything else: Welch's t-test between training seeds; none with one seed a cell.",
    "sd and 95% interval of a difference: of two means; binomial for shares, between seeds for other values.",
    f"p adjusted by Benjamini and Hochberg over all alternatives of a metric; * marks adjusted p <= {ALPHA:g}.",
    "Validation metrics are measured on held-out batches of the cell's own variant: variants are not compared by them.",
)


def as_mapping(
    rows: pd.DataFrame, cost: pd.DataFrame, sources: dict[str, str], warnings: Sequence[str] = ()
) -> dict[str, Any]:
    """Everything, ready for json; what is missing is null. `warnings` are beside those of unequal compute."""
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "txfm": txfm_version(),
        "git_commit": git_commit(),
        "sources": sources,
        "warnings": [*unequal_compute(cost), *warnings],
        "method": list(METHOD),
        "cells": _records(cost),
        "rows": _records(rows),
    }


def markdown(table: dict[str, Any]) -> str:
    """The table for people: costs, then one table a data set."""
    lines = ["# Ablations", "", *(f"**{sentence}.**" for sentence in table["warnings"])]
    lines += ["## Cells", "", "| cell | training samples | genes | samples seen | steps | parameters | hours |"]
    lines += ["|---|---:|---:|---:|---:|---:|---:|"]
    for cell in table["cells"]:
        hours = "" if cell["hours"] is None else f"{cell['hours']:.3g}"
        lines.append(
            f"| {_title(cell)} | {cell['samples']:,} | {cell['genes']:,} | {cell['samples_seen']:,} "
            f"| {cell['steps']:,} | {cell['parameters']:,} | {hours} |"
        )
    for benchmark, dataset in dict.fromkeys((row["benchmark"], row["dataset"]) for row in table["rows"]):
        lines += ["", f"## {benchmark}: {dataset}", ""]
        lines += [
            "| metric | cell | mean | sd | seeds | difference | its sd | 95% interval | p | adjusted p |",
            "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        ]
        for row in table["rows"]:
            if (row["benchmark"], row["dataset"]) == (benchmark, dataset):
                metric = ", ".join(filter(None, [f"{row['task']}: {row['metric']}", row["postprocessing"]]))
                star = "*" if row["significant"] else ""
                lines.append(
                    f"| {metric} | {_title(row)} | {row['mean']:.4f} | {_number(row['sd'], '.4f')} | {row['n_seeds']} "
                    f"| {_number(row['difference'], '+.4f')} | {_number(row['difference_sd'], '.4f')} "
                    f"| {_interval(row)} | {_number(row['p'], '.2g')} "
                    f"| {_number(row['p_adjusted'], '.2g')}{star} |"
                )
    lines += ["", "## How to read it", "", *(f"- {sentence}" for sentence in table["method"]), ""]
    return "\n".join(lines)


def write(rows: pd.DataFrame, table: dict[str, Any], out: Path) -> None:
    """Write OUT.json, and .parquet, .tsv and .md beside it; the json appears last."""
    for suffix in (".parquet", ".tsv", ".md", ".json"):
        path = out.with_suffix(suffix)
        temporary = temporary_beside(path)
        match suffix:
            case ".parquet":
                rows.to_parquet(temporary, index=False)
            case ".tsv":
                rows.to_csv(temporary, sep="\t", index=False)
            case ".md":
                temporary.write_text(markdown(table))
            case _:
                temporary.write_text(json.dumps(table, indent=1, allow_nan=False) + "\n")
        temporary.rename(path)


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
        for row in json.loads(frame.to_json(orient="records", double_precision=15))
    ]


def _title(row: dict[str, Any]) -> str:
    return f"{row['factor']}: {row['alternative']}" if row["factor"] else "default"


def _interval(row: dict[str, Any]) -> str:
    ends = [_number(row[f"difference_{end}"], "+.4f") for end in ("low", "high")]
    return " to ".join(filter(None, ends))


def _number(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"
