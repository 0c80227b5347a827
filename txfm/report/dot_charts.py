"""Plots of dots with whiskers: a metric a row of panels that share an axis, a thing that was measured a line."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from txfm.report.palette import Look

# Pixels
WIDTH = 900
NARROWEST_PANEL = 150
LINE_STEP, SERIES_STEP = 22, 10
LETTER, LONGEST_LABEL = 7, 310
SHAPES = {"o": "circle", "^": "triangle-up", "s": "square", "D": "diamond"}


def dot_chart(
    frame: pd.DataFrame,
    series_looks: Mapping[str, Look],
    tooltips: Mapping[str, str],
    *,
    legend: str | None = None,
    dodged: bool = False,
    reference: float | None = None,
) -> dict[str, Any]:
    """Vega-Lite of means with whiskers.

    Parameters
    ----------
    frame : pandas.DataFrame
        metric, panel, line, series, mean, low and high (NaN without a whisker); dodged, also place. All panels of a
        metric share one axis.
    series_looks : mapping of str to Look
        Of every series, in the order of the legend.
    tooltips : mapping of str to str
        Column to its title, shown with exact values.
    legend : str, optional
        Title of the legend of series; without, there is none.
    dodged : bool
        Series of a line are set one below the other, at their `place`.
    reference : float, optional
        Where a vertical line marks no effect.
    """
    lines, metrics = (list(dict.fromkeys(frame[column])) for column in ("line", "metric"))
    panels = {metric: list(dict.fromkeys(frame.loc[frame["metric"] == metric, "panel"])) for metric in metrics}
    label = min(LONGEST_LABEL, LETTER * max(map(len, lines)))
    side_by_side = all(len(of_metric) == 1 for of_metric in panels.values())
    n_columns = min(2, len(metrics)) if side_by_side else 1
    dots, whiskers = _layers(lines, series_looks, tooltips, legend, dodged)
    ground = {"mark": {"type": "rule", "strokeDash": [4, 3]}, "encoding": {"x": {"datum": reference}}}
    n_places = int(frame["place"].max()) + 1 if dodged else 1
    height = max(LINE_STEP, SERIES_STEP * n_places + 6)
    views = []
    for metric, of_metric in panels.items():
        has_whiskers = frame.loc[frame["metric"] == metric, "low"].notna().any()
        n_side = n_columns if side_by_side else _side_by_side(len(of_metric))
        labels = label * n_columns
        unit = {
            "width": max(NARROWEST_PANEL, (WIDTH - labels) // n_side - 30),
            "height": {"step": height, "for": "position"},
            "layer": [*([ground] if reference is not None else []), *([whiskers] if has_whiskers else []), dots],
        }
        views.append(metric_view(metric, of_metric, unit, n_side))
    return {"concat": views, "columns": n_columns, "resolve": {"scale": {"x": "independent"}}}


def metric_view(metric: str, panels: Sequence[str], unit: dict[str, Any], n_columns: int) -> dict[str, Any]:
    """A view of one metric: `unit` alone for the only panel "", or one for each panel, `n_columns` in a row."""
    view: dict[str, Any] = {"title": metric, "transform": [{"filter": {"field": "metric", "equal": metric}}]}
    if list(panels) == [""]:
        return view | unit
    header = {"title": None, "labelAnchor": "start"}
    facet = {"field": "panel", "type": "nominal", "sort": list(panels), "header": header}
    return view | {"facet": facet, "columns": n_columns, "spec": unit}


def look_encodings(series_looks: Mapping[str, Look], legend: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Colour and shape of every series, with one legend below, or none."""
    names = list(series_looks)
    key = None if legend is None else {"title": legend, "orient": "bottom", "columns": 3, "symbolOpacity": 1}
    colour = {"domain": names, "range": [look.colour for look in series_looks.values()]}
    shape = {"domain": names, "range": [SHAPES[look.marker] for look in series_looks.values()]}
    by_colour, by_shape = (
        {"field": "series", "type": "nominal", "scale": scale, "legend": key} for scale in (colour, shape)
    )
    return by_colour, by_shape


def _side_by_side(n_panels: int) -> int:
    """Panels in a row: three, but no row of one below."""
    return min(2 if n_panels == 4 else 3, n_panels)


def _layers(
    lines: Sequence[str],
    series_looks: Mapping[str, Look],
    tooltips: Mapping[str, str],
    legend: str | None,
    dodged: bool,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Dots, and the whiskers below them."""
    by_colour, by_shape = look_encodings(series_looks, legend)
    shared: dict[str, Any] = {
        "y": {"field": "line", "type": "nominal", "sort": list(lines), "title": None, "axis": {"ticks": False}},
        "color": by_colour,
        "tooltip": [{"field": column, "title": title} for column, title in tooltips.items()],
    }
    if dodged:
        shared["yOffset"] = {"field": "place", "type": "ordinal", "scale": {"paddingInner": 0.2}}
    x = {"type": "quantitative", "title": None, "scale": {"zero": False, "padding": 8}, "axis": {"tickCount": 5}}
    whiskers = {
        "mark": {"type": "rule", "strokeWidth": 2, "opacity": 0.75},
        "encoding": shared | {"x": x | {"field": "low"}, "x2": {"field": "high"}},
    }
    dots = {
        "mark": {"type": "point", "filled": True, "size": 55 if dodged else 80, "opacity": 1},
        "encoding": shared | {"x": x | {"field": "mean"}, "shape": by_shape},
    }
    return dots, whiskers


def with_places(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with place: how many series of a line come before one; a line has no room for those it lacks."""
    order = {name: number for number, name in enumerate(dict.fromkeys(frame["series"]))}
    ranks = frame["series"].map(order).groupby([frame["metric"], frame["panel"], frame["line"]]).rank(method="dense")
    return frame.assign(place=ranks.astype(int) - 1)


def with_whiskers(frame: pd.DataFrame, mean: str = "mean", sd: str = "sd") -> pd.DataFrame:
    """The frame with low and high: one standard deviation around the mean, at the mean where nothing varies."""
    spread = frame[sd].fillna(0.0)
    return frame.assign(low=frame[mean] - spread, high=frame[mean] + spread)
