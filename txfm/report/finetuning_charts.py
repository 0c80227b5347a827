"""Plot of fine-tunings: validation of the fine-tuned model beside the same training from scratch, a panel an entry."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from txfm.report.dot_charts import WIDTH
from txfm.report.palette import looks
from txfm.report.results import FineTuned
from txfm.report.training_charts import LEGEND, LOWEST_DEVIANCE, PANELS_PER_ROW

TRAININGS = {"finetuned": "fine-tuned; its first point is the pretrained model", "from_scratch": "from scratch"}
MEASURES = {"explained_deviance": "explained deviance", "loss": "loss"}
COLUMNS = ["finetuning", "training", "step", "samples_seen", "measure", "value"]


def validation_frame(entries: Sequence[FineTuned]) -> pd.DataFrame:
    """A row an entry, training, validation and measure that is defined there."""
    rows = [
        {"finetuning": entry.name, "training": title, "measure": measure, "value": line[measure]}
        | {name: line[name] for name in ("step", "samples_seen")}
        for entry in entries
        for training, title in TRAININGS.items()
        for line in entry.report["curves"][training] or ()
        for measure in MEASURES
        if line[measure] is not None
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def validation_chart(frame: pd.DataFrame) -> dict[str, Any]:
    """Vega-Lite of `validation_frame`."""
    deviance = frame.loc[frame["measure"] == "explained_deviance", "value"]
    low, high = min([0.0, *deviance]), max([0.02, *deviance])
    scales: dict[str, dict[str, Any]] = {
        "explained_deviance": {"domain": [max(LOWEST_DEVIANCE, low - 0.02), high + 0.03]},
        "loss": {"zero": False},
    }
    return {"vconcat": [_panels(frame, measure, scale) for measure, scale in scales.items()]}


def _panels(frame: pd.DataFrame, measure: str, scale: dict[str, Any]) -> dict[str, Any]:
    names = list(dict.fromkeys(frame["finetuning"]))
    n_columns = min(PANELS_PER_ROW, len(names))
    titles = list(TRAININGS.values())
    colours = [look.colour for look in looks(titles).values()]
    encoding = {
        "x": {
            "field": "samples_seen",
            "type": "quantitative",
            "title": "samples seen",
            "axis": {"grid": False, "format": "~s", "tickCount": 5},
        },
        "y": {"field": "value", "type": "quantitative", "title": None, "scale": scale, "axis": {"tickCount": 5}},
        "color": {
            "field": "training",
            "type": "nominal",
            "scale": {"domain": titles, "range": colours},
            "legend": LEGEND | {"columns": 1},
        },
    }
    tooltip = [
        {"field": "finetuning", "title": "fine-tuning"},
        {"field": "training", "title": "training"},
        {"field": "samples_seen", "title": "samples seen", "format": ","},
        {"field": "step", "title": "step", "format": ","},
        {"field": "value", "title": MEASURES[measure]},
    ]
    return {
        "transform": [{"filter": {"field": "measure", "equal": measure}}],
        "title": MEASURES[measure],
        "facet": {
            "field": "finetuning",
            "type": "nominal",
            "sort": names,
            "header": {"title": None, "labelAnchor": "start"},
        },
        "columns": n_columns,
        "spec": {
            "width": max(190, WIDTH // n_columns - 75),
            "height": 150,
            "layer": [
                {"mark": {"type": "line", "clip": True, "strokeWidth": 2}, "encoding": encoding},
                {
                    "mark": {"type": "point", "filled": True, "clip": True, "size": 45, "opacity": 1},
                    "encoding": encoding | {"tooltip": tooltip},
                },
            ],
        },
        # Losses of other samples differ by orders of magnitude; explained deviance is on one scale
        "resolve": {"scale": {"y": "independent" if measure == "loss" else "shared", "x": "independent"}},
    }
