"""Plot of the layers of networks, as Figure 3 of the paper: a metric a panel, a model a line, from input to output."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from txfm.report.dot_charts import WIDTH, look_encodings, metric_view
from txfm.report.palette import Look

N_COLUMNS = 2
HEIGHT = 190  # pixels


def with_layers(summary: pd.DataFrame) -> pd.DataFrame:
    """Scores of embedders that are named MODEL:LAYER, with the columns model and layer."""
    return summary.assign(
        model=[name.rpartition(":")[0] for name in summary["embedder"]],
        layer=[name.rpartition(":")[2] for name in summary["embedder"]],
    )


def layer_chart(
    frame: pd.DataFrame, model_looks: Mapping[str, Look], tooltips: Mapping[str, str], *, legend: str | None
) -> dict[str, Any]:
    """Vega-Lite of a metric against the layers.

    Parameters
    ----------
    frame : pandas.DataFrame
        metric, panel, layer (in the order of the network), series, mean, low and high.
        Panels of a metric share one axis.
    model_looks : mapping of str to Look
        Of every series, in the order of the legend.
    tooltips : mapping of str to str
        Column to its title, shown with exact values.
    legend : str, optional
        Title of the legend; without, there is none.
    """
    by_colour, by_shape = look_encodings(model_looks, legend)
    layers = list(dict.fromkeys(frame["layer"]))
    shared: dict[str, Any] = {
        "x": {"field": "layer", "type": "ordinal", "sort": layers, "title": None, "axis": {"labelAngle": -40}},
        "color": by_colour,
        "tooltip": [{"field": column, "title": title} for column, title in tooltips.items()],
    }
    y = {"type": "quantitative", "title": None, "scale": {"zero": False, "padding": 8}, "axis": {"tickCount": 5}}
    marks = [
        {
            "mark": {"type": "rule", "strokeWidth": 1.5, "opacity": 0.6},
            "encoding": shared | {"y": y | {"field": "low"}, "y2": {"field": "high"}},
        },
        {"mark": {"type": "line", "strokeWidth": 1.5}, "encoding": shared | {"y": y | {"field": "mean"}}},
        {
            "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
            "encoding": shared | {"y": y | {"field": "mean"}, "shape": by_shape},
        },
    ]
    unit = {"width": WIDTH // N_COLUMNS - 75, "height": HEIGHT, "layer": marks}
    views = []
    for metric in dict.fromkeys(frame["metric"]):
        panels = list(dict.fromkeys(frame.loc[frame["metric"] == metric, "panel"]))
        views.append(metric_view(metric, panels, unit, N_COLUMNS))
    n_columns = N_COLUMNS if (frame["panel"] == "").all() else 1
    return {"concat": views, "columns": n_columns, "resolve": {"scale": {"y": "independent"}}}
