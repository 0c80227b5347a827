"""Picture of a comparison on a held-out study."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from txfm.evaluation.table import DEPTHS, METRIC_TITLES, embedder_title
from txfm.report.corpus_figures import WIDTH_INCHES
from txfm.report.drawing import new_figure
from txfm.report.palette import Look, Theme, looks


def setting_title(row: dict[str, Any]) -> str:
    """Embedder, genes and scaling in words."""
    title = embedder_title(row)
    if row["embedder"] == "shuffled_labels":
        return title
    genes = f", {row['genes']} genes" if row["embedder"] == "pca" else ""
    return f"{title}{genes}, {row['scaling']}"


def comparison(table: dict[str, Any], model_names: list[str], theme: Theme) -> Figure:
    """Mean and standard deviation of every setting: metrics side by side, depths one below the other."""
    model_looks = looks(model_names)
    settings = list(dict.fromkeys(setting_title(row) for row in table["rows"]))
    shown = [name for name in model_names if any(row["model"] == name for row in table["rows"])]
    figure = new_figure(WIDTH_INCHES, 2 * (0.8 + 0.33 * len(settings)) + 0.5 + 0.22 * len(shown))
    panels = figure.subplots(len(DEPTHS), len(METRIC_TITLES), sharex="col", sharey=True, squeeze=False)
    for depth_row, depth in zip(panels, DEPTHS, strict=True):
        for axes, (metric, title) in zip(depth_row, METRIC_TITLES.items(), strict=True):
            rows = [row for row in table["rows"] if row["depth"] == depth]
            _panel(axes, rows, metric, settings, model_looks, shown)
            axes.set_title(f"{title}\n{depth} counts")
            axes.grid(axis="both")
            axes.set_axisbelow(True)
            axes.tick_params(length=0)
    panels[0, 0].set_yticks(range(len(settings)), settings)
    panels[0, 0].set_ylim(len(settings) - 0.4, -0.6)
    handles = [
        Line2D([], [], color=model_looks[name].colour, marker=model_looks[name].marker, linestyle="", label=name)
        for name in shown
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=min(3, len(handles)))
    return figure


def _panel(
    axes: Axes,
    rows: list[dict[str, Any]],
    metric: str,
    settings: list[str],
    model_looks: dict[str, Look],
    shown: list[str],
) -> None:
    offsets = np.linspace(-0.24, 0.24, len(shown)) if len(shown) > 1 else np.zeros(1)
    for row in rows:
        look = model_looks[row["model"]]
        height = settings.index(setting_title(row)) + offsets[shown.index(row["model"])]
        mean, sd = row[metric]["mean"], row[metric]["sd"]
        axes.plot([mean - sd, mean + sd], [height, height], color=look.colour, linewidth=1.4, alpha=0.7)
        axes.plot(mean, height, color=look.colour, marker=look.marker, markersize=5, linestyle="")
