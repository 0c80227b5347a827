"""Plot of fine-tunings: validation of the fine-tuned model beside the same training from scratch, a panel an entry."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from txfm.report.palette import looks
from txfm.report.results import FineTuned
from txfm.report.training_charts import LEGEND, curve_axes, deviance_scale, panels_by

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
    scales = {"explained_deviance": deviance_scale(frame), "loss": {"zero": False}}
    return {"vconcat": [_panels(frame, measure, scale) for measure, scale in scales.items()]}


def _panels(frame: pd.DataFrame, measure: str, scale: dict[str, Any]) -> dict[str, Any]:
    names = list(dict.fromkeys(frame["finetuning"]))
    titles = list(TRAININGS.values())
    colours = [look.colour for look in looks(titles).values()]
    encoding = curve_axes(scale) | {
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
    layers = [
        {"mark": {"type": "line", "clip": True, "strokeWidth": 2}, "encoding": encoding},
        {
            "mark": {"type": "point", "filled": True, "clip": True, "size": 45, "opacity": 1},
            "encoding": encoding | {"tooltip": tooltip},
        },
    ]
    return {
        "transform": [{"filter": {"field": "measure", "equal": measure}}],
        "title": MEASURES[measure],
        **panels_by("finetuning", names, layers),
        # Losses of other samples differ by orders of magnitude; explained deviance is on one scale
        "resolve": {"scale": {"y": "independent" if measure == "loss" else "shared", "x": "independent"}},
    }
