"""A grid of ablations on the page: differences to the default with their intervals, and what each cell cost."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from txfm.artifact.sums import sums_of
from txfm.report.charts import chart
from txfm.report.dot_charts import dot_chart
from txfm.report.drawing import Picture
from txfm.report.page import Section
from txfm.report.palette import Look
from txfm.report.results import Build
from txfm.report.score_records import metric_title
from txfm.report.tables import Cell, Column, Record, Table, number

MOST_ROWS_OPEN = 40
SIGNIFICANT, NOT_SIGNIFICANT, UNTESTED = "significant", "not significant", "not tested"
LOOKS = {
    SIGNIFICANT: Look(colour="#D55E00", marker="D", dash="-", hatch=""),
    NOT_SIGNIFICANT: Look(colour="#0072B2", marker="o", dash="-", hatch=""),
    UNTESTED: Look(colour="#8A8F98", marker="s", dash="-", hatch=""),
}


def grid_part(build: Build, path: Path, grid: Mapping[str, Any], figures: Path) -> Section:
    """Differences, the table with every p-value, and the costs of one grid."""
    name = f"ablation_{path.stem}"
    beside = [build.link(path.with_suffix(suffix), suffix) for suffix in (".parquet", ".tsv", ".md")]
    record = Markup("Record: {} ({}), sha256 <code>{}</code>.").format(
        build.link(path), Markup(", ").join(beside), sums_of(path)["sha256"]
    )
    return Section(
        key=name,
        title=f"Ablation grid {path.stem}",
        paragraphs=[record],
        warnings=list(grid.get("warnings", [])),
        pictures=_differences(name, grid, figures),
        tables=[_rows_table(name, path.stem, grid), *([_cells_table(name, grid)] if grid.get("cells") else [])],
        points=[sentence.replace("`", "") for sentence in grid.get("method", [])],
    )


def _cell(record: Record) -> str:
    return f"{record['factor']}: {record['alternative']}" if record["factor"] else "default"


def _metric(record: Record) -> str:
    """In words; two probes have an accuracy each, so the task is named."""
    title = metric_title(record.get("task") or record["metric"], record["metric"])
    return ", ".join(filter(None, [title, record["postprocessing"]]))


def _outcome(record: Record) -> str:
    if record.get("p_adjusted") is None:
        return UNTESTED
    return SIGNIFICANT if record["significant"] else NOT_SIGNIFICANT


def _differences(name: str, grid: Mapping[str, Any], figures: Path) -> list[Picture]:
    rows = [
        {
            "metric": f"{row['benchmark'].replace('_', ' ')}: {metric_title(row.get('task') or row['metric'], '')}",
            "panel": ", ".join(filter(None, [row["dataset"], row["metric"].replace("_", " "), row["postprocessing"]])),
            "line": _cell(row),
            "series": _outcome(row),
            "mean": row["difference"],
            "low": row.get("difference_low"),
            "high": row.get("difference_high"),
            "p": row.get("p"),
            "p_adjusted": row["p_adjusted"],
        }
        for row in grid["rows"]
        if row["difference"] is not None
    ]
    if not rows:
        return []
    drawn = pd.DataFrame(rows).astype(dict.fromkeys(("mean", "low", "high", "p", "p_adjusted"), "float64"))
    significant = drawn[drawn["series"] == SIGNIFICANT].sort_values("p_adjusted").to_dict("records")
    told = "; ".join(f"{row['line']}, {row['panel']}: {row['mean']:+.4f}" for row in significant)
    tooltips = {"line": "cell", "metric": "metric", "panel": "data", "mean": "difference", "low": "from", "high": "to"}
    spec = dot_chart(
        drawn,
        {series: look for series, look in LOOKS.items() if series in set(drawn["series"])},
        tooltips | {"p": "p", "p_adjusted": "adjusted p", "series": "outcome"},
        legend="adjusted p at most 0.05",
        reference=0,
    )
    return chart(
        name,
        spec,
        drawn,
        figures,
        title="Differences to the default",
        alt="Dots of the difference of each cell to the default with 95 % intervals. "
        + (f"Significant: {told}." if told else "None is significant."),
        caption="Dashed: no difference. Whiskers: 95 % interval of the difference, not adjusted for the number of "
        "alternatives; none where a cell has one seed. Panels of one metric share their axis.",
    )


def _rows_table(name: str, title: str, grid: Mapping[str, Any]) -> Table:
    def adjusted(record: Record) -> str:
        p = record.get("p_adjusted")
        return "" if p is None else f"{p:.2g}" + ("*" if record["significant"] else "")

    def interval(record: Record) -> str:
        ends = [record.get(f"difference_{end}") for end in ("low", "high")]
        return " to ".join(f"{end:+.4f}" for end in ends if end is not None)

    def data(record: Record) -> Cell:
        return f"{record['benchmark']}: {record['dataset']}"

    return Table(
        name=name,
        caption=f"Ablation grid {title}: difference to the default; * marks a significant one",
        columns=[
            Column(title="cell", text=_cell),
            Column(title="data", text=data),
            Column(title="metric", text=_metric),
            number("difference", "difference", "+.4f"),
            Column(title="95 % interval", text=interval, is_number=True),
            number("p", "p", ".2g"),
            Column(title="adjusted p", text=adjusted, is_number=True),
            number("sd of difference", "difference_sd", ".4f"),
            number("mean", "mean", ".4f"),
            number("sd", "sd", ".4f"),
            number("seeds", "n_seeds"),
        ],
        records=grid["rows"],
        folded=len(grid["rows"]) > MOST_ROWS_OPEN,
    )


def _cells_table(name: str, grid: Mapping[str, Any]) -> Table:
    return Table(
        name=f"{name}_cells",
        caption="What each cell was trained on, and what it cost",
        columns=[
            Column(title="cell", text=_cell),
            number("training samples", "samples"),
            number("genes", "genes"),
            number("samples seen", "samples_seen"),
            number("steps", "steps"),
            number("parameters", "parameters"),
            number("hours", "hours", ".3g"),
        ],
        records=grid.get("cells", []),
    )
