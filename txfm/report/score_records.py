"""What a record of scores says of how they were made: settings, inputs, what was dropped or not scored, warnings."""

from collections.abc import Iterator, Mapping
from typing import Any

from txfm.evaluation.perturbation.settings import TASKS
from txfm.report.tables import Table, words

# Parts of the record that are shown as they are, in this order; `not_scored` and `warnings` have places of their own
PARTS = ("settings", "inputs", "screen", "cells", "dropped", "small_gene_sets", "embedders", "software")

IN_WORDS = {
    "nmi": "NMI",
    "ari": "ARI",
    "asw_label": "ASW of labels",
    "asw_batch": "ASW of batches",
    "macro_f1": "macro-F1",
    "mlp": "MLP",
}


def metric_title(task: str, metric: str) -> str:
    """A task and its metric in words, each once."""
    title = TASKS.get(task) or IN_WORDS.get(task, task.replace("_", " "))
    of_metric = IN_WORDS.get(metric, metric.replace("_", " "))
    if metric in (task, ""):
        return title
    return of_metric if of_metric.replace("-", " ").lower().startswith(title) else f"{title}: {of_metric}"


def record_tables(name: str, record: Mapping[str, Any]) -> list[Table]:
    """Settings and digests, a row a value; then what was not scored, with its reason. Both folded."""
    rows = [
        {"part": part, "what": what, "value": value}
        for part in PARTS
        for what, value in _leaves(_labelled(record.get(part)))
    ]
    tables = [
        Table(
            name=f"{name}_record",
            caption="How these scores were made: settings, inputs, what was dropped, embedders, software",
            columns=[words("part", "part"), words("what", "what"), words("value", "value")],
            records=rows,
            folded=True,
        )
    ]
    not_scored = [dict(row) for row in record.get("not_scored") or []]
    if not_scored:
        keys = list(dict.fromkeys(key for row in not_scored for key in row))
        tables.append(
            Table(
                name=f"{name}_not_scored",
                caption=f"Not scored, and why: {len(not_scored):,}",
                columns=[words(key, key) for key in keys],
                records=not_scored,
                folded=True,
            )
        )
    return tables


def dropped_in_words(record: Mapping[str, Any]) -> str:
    """One sentence: counts of what was dropped, and reasons with the embedders that they are of."""
    reasons: dict[str, list[str]] = {}
    counts = []
    for what, value in _leaves(record.get("dropped")):
        if not value.isdigit():
            reasons.setdefault(value, []).append(what)
        elif value != "0":
            counts.append(f"{value} {what}")
    named = [f"{', '.join(embedders)} ({reason})" for reason, embedders in reasons.items()]
    return f"Left out: {'; '.join([*counts, *named]) or 'nothing'}."


def _labelled(part: Any) -> Any:
    """A list of embedders as a mapping by label."""
    if isinstance(part, list) and all(isinstance(row, dict) and "label" in row for row in part):
        return {row["label"]: {name: value for name, value in row.items() if name != "label"} for row in part}
    return part


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Path and text of every plain value; a list of plain values is one."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, (*path, str(name)))
    elif isinstance(value, list) and any(isinstance(inner, Mapping | list) for inner in value):
        for index, inner in enumerate(value, 1):
            yield from _leaves(inner, (*path, str(index)))
    elif value is not None or path:
        yield ", ".join(path), ", ".join(map(str, value)) if isinstance(value, list) else str(value)
