"""Plot of the trainings: loss of each model; explained deviance and rank of the CLS embedding of all."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from txfm.report.dot_charts import SHAPES, WIDTH
from txfm.report.palette import Look, looks
from txfm.report.results import TrainedModel

PANELS_PER_ROW = 3
LOWEST_DEVIANCE = -0.5  # an untrained model may start at -40, and would flatten all that follows
MEASURES = {"loss": "loss", "explained_deviance": "explained deviance", "cls_rank": "rank of the embedding"}
DASHES = {"-": [1, 0], "--": [6, 4], ":": [2, 3], "-.": [6, 3, 2, 3]}
LEGEND = {"title": None, "orient": "bottom", "columns": 3, "symbolOpacity": 1}
COLUMNS = ["model", "kind", "step", "samples_seen", "measure", "value"]


def curve_frame(models: Sequence[TrainedModel]) -> pd.DataFrame:
    """A row a model, moment, kind (train, validation) and measure that is defined there."""
    rows = []
    for model in models:
        lines = [*_whole_windows([line for line in model.metrics if line["kind"] == "train"]), *model.validations()]
        for line in lines:
            measures = MEASURES if line["kind"] == "validation" else ["loss"]
            rows += [
                {"model": model.name, "measure": measure, "value": line[measure]}
                | {name: line[name] for name in ("kind", "step", "samples_seen")}
                for measure in measures
                if line[measure] is not None
            ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _whole_windows(train: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without a last line that is the mean of a few steps only: one batch is noise."""
    steps = [0, *(line["step"] for line in train)]
    short = len(train) > 1 and steps[-1] - steps[-2] < (steps[-2] - steps[-3]) / 2
    return train[:-1] if short else train


def curve_chart(frame: pd.DataFrame, names: Sequence[str]) -> dict[str, Any]:
    """Vega-Lite of `curve_frame`; `names` are all models of the page, whose order fixes the colours."""
    shown = [name for name in names if name in set(frame["model"])]
    model_looks = {name: look for name, look in looks(names).items() if name in shown}
    # Losses of other validation samples differ by orders of magnitude: each model has its own scale
    losses: dict[str, Any] = {
        "transform": [{"filter": {"field": "measure", "equal": "loss"}}],
        "title": MEASURES["loss"],
        **panels_by("model", shown, [_line("train", model_looks), *_marked_line(model_looks)]),
        "resolve": {"scale": {"y": "independent"}},
    }
    below = [
        _panel("explained_deviance", _marked_line(model_looks, deviance_scale(frame))),
        _panel("cls_rank", _marked_line(model_looks, {"zero": True})),
    ]
    return {"vconcat": [losses, {"hconcat": below}]}


def deviance_scale(frame: pd.DataFrame) -> dict[str, Any]:
    """Of explained deviance: what a frame holds of it, with 0, above `LOWEST_DEVIANCE`."""
    deviance = frame.loc[frame["measure"] == "explained_deviance", "value"]
    low, high = min([0.0, *deviance]), max([0.02, *deviance])
    return {"domain": [max(LOWEST_DEVIANCE, low - 0.02), high + 0.03]}


def panels_by(field: str, names: Sequence[str], layers: list[dict[str, Any]]) -> dict[str, Any]:
    """The same layers in a panel for each name, at most `PANELS_PER_ROW` side by side."""
    n_columns = min(PANELS_PER_ROW, len(names))
    return {
        "facet": {
            "field": field,
            "type": "nominal",
            "sort": names,
            "header": {"title": None, "labelAnchor": "start"},
        },
        "columns": n_columns,
        "spec": {"width": max(190, WIDTH // n_columns - 75), "height": 150, "layer": layers},
    }


def curve_axes(scale: dict[str, Any]) -> dict[str, Any]:
    """A value against the samples seen."""
    return {
        "x": {
            "field": "samples_seen",
            "type": "quantitative",
            "title": "samples seen",
            "axis": {"grid": False, "format": "~s", "tickCount": 5},
        },
        "y": {"field": "value", "type": "quantitative", "title": None, "scale": scale, "axis": {"tickCount": 5}},
    }


def _panel(measure: str, layers: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "title": MEASURES[measure],
        "transform": [{"filter": {"field": "measure", "equal": measure}}],
        "width": WIDTH // 2 - 75,
        "height": 200,
        "layer": layers,
    }


def _line(kind: str, model_looks: Mapping[str, Look], scale: dict[str, Any] | None = None) -> dict[str, Any]:
    thin = kind == "train"
    encoding = _encoding(model_looks, scale or {"zero": False})
    if not thin:
        dashes = [DASHES[look.dash] for look in model_looks.values()]
        encoding["strokeDash"] = _look("strokeDash", model_looks, dashes)["strokeDash"]
    return {
        "transform": [{"filter": {"field": "kind", "equal": kind}}],
        "mark": {"type": "line", "clip": True, "strokeWidth": 1 if thin else 2, "opacity": 0.55 if thin else 1},
        "encoding": encoding,
    }


def _marked_line(model_looks: Mapping[str, Look], scale: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    shapes = [SHAPES[look.marker] for look in model_looks.values()]
    marks = {
        "transform": [{"filter": {"field": "kind", "equal": "validation"}}],
        "mark": {"type": "point", "filled": True, "clip": True, "size": 45, "opacity": 1},
        "encoding": _encoding(model_looks, scale or {"zero": False})
        | _look("shape", model_looks, shapes)
        | {
            "tooltip": [
                {"field": "model", "title": "model"},
                {"field": "measure", "title": "measure"},
                {"field": "samples_seen", "title": "samples seen", "format": ","},
                {"field": "step", "title": "step", "format": ","},
                {"field": "value", "title": "value"},
            ]
        },
    }
    return [_line("validation", model_looks, scale), marks]


def _encoding(model_looks: Mapping[str, Look], scale: dict[str, Any]) -> dict[str, Any]:
    return curve_axes(scale) | _look("color", model_looks, [look.colour for look in model_looks.values()])


def _look(channel: str, model_looks: Mapping[str, Look], values: list[Any]) -> dict[str, Any]:
    scale = {"domain": list(model_looks), "range": values}
    return {channel: {"field": "model", "type": "nominal", "scale": scale, "legend": LEGEND}}
