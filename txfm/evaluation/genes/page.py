"""The scores of genes as a page for people."""

import pandas as pd

from txfm.evaluation.genes.recall import METRICS
from txfm.evaluation.genes.run import GeneResults
from txfm.evaluation.relationships import MEAN, UNION

TITLE = "# Relationship recall of the vectors of genes"
READING = (
    "Recall in %: the share of related pairs whose cosine is among the lowest 5 % or the highest 5 % of a null of "
    "random pairs; mean ± sd over the draws of the null. Chance is 10.",
    f"{UNION}: the different pairs of all databases, the benchmark's single number. {MEAN}: unweighted mean of the "
    "databases.",
    *(f"{metric}: {meaning}." for metric, meaning in METRICS.items()),
    "Differences are tested on the pairs of the union that both embedders have; pairs that share a gene count as "
    "dependent. The tests say nothing of another training of the same model.",
)


def without_relations(reason: str) -> str:
    """The page of a benchmark that has nothing to measure by."""
    return "\n".join([TITLE, "", f"Not measured: {reason}.", ""])


def markdown(results: GeneResults, summary: pd.DataFrame, comparisons: pd.DataFrame) -> str:
    """The tables for people."""
    lines = [TITLE, ""]
    lines += [f"Warning: {warning}." for warning in results.warnings]
    lines += [f"Not measured: {label}, {reason}." for label, reason in results.dropped.items()]
    databases = [name for name in summary["database"].unique() if name not in (UNION, MEAN)]
    for task, of_task in summary.groupby("task", sort=False):
        lines += ["", f"## {str(task).capitalize()}", ""]
        lines += [f"| embedder | metric | components | {' | '.join((UNION, MEAN, *databases))} |"]
        lines += ["|---|---|---:|" + "---:|" * (len(databases) + 2)]
        for (label, metric), rows in of_task.groupby(["embedder", "metric"], sort=False):
            of_database = rows.set_index("database")
            numbers = [_number(of_database.loc[name]) for name in (UNION, MEAN, *databases)]
            lines.append(f"| {label} | {metric} | {rows['n_components'].iloc[0]:,} | {' | '.join(numbers)} |")
        tested = comparisons[comparisons["task"] == task]
        if len(tested):
            columns = ("first", "second", "pairs", "difference of the union", "adjusted p")
            lines += ["", f"| {' | '.join(columns)} |", "|---|---|---:|---:|---:|"]
            for row in tested.to_dict("records"):
                p = "-" if pd.isna(row["p_adjusted"]) else f"{row['p_adjusted']:.2g}"
                difference = f"{100 * row['difference']:+.2f} ± {100 * row['sd']:.2f}"
                lines.append(f"| {row['first']} | {row['second']} | {row['pairs']:,} | {difference} | {p} |")
    for report in results.modules:
        lines += [
            "",
            f"## Modules of {report.embedder} ({report.table})",
            "",
            "| score | of | value |",
            "|---|---|---:|",
        ]
        lines += [
            f"| {row['metric']} | {row['dataset']} | {row['value']:.4g} |" for row in report.scores.to_dict("records")
        ]
    lines += ["", "## How to read it", "", *(f"- {sentence}" for sentence in READING), ""]
    return "\n".join(lines)


def _number(row: pd.Series) -> str:
    if pd.isna(row["mean"]):
        return "no pairs"
    spread = "" if pd.isna(row["sd"]) else f" ± {100 * row['sd']:.2f}"
    return f"{100 * row['mean']:.2f}{spread}"
