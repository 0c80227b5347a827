"""Pictures of the models: curves of the training, and maps of the embeddings."""

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from txfm.report.corpus_figures import PANELS_PER_ROW, WIDTH_INCHES
from txfm.report.drawing import new_figure
from txfm.report.palette import Look, Theme, looks
from txfm.report.results import Build, TrainedModel

MAX_POINTS = 5000
LOWEST_DEVIANCE = -0.5  # an untrained model may start at -40, and would flatten all that follows
UMAP_SEED = 0
UMAP_NEIGHBOURS = 15
UMAP_EPOCHS = 200  # UMAP's own choice for large data; 500 for small data takes twice as long and looks the same


def curves(build: Build, theme: Theme) -> Figure:
    """Loss of each model; explained deviance and rank of the CLS embedding of all, against the samples seen."""
    models = [model for model in build.models if model.metrics]
    model_looks = looks([model.name for model in models])
    n_loss_rows = math.ceil(len(models) / PANELS_PER_ROW)
    figure = new_figure(WIDTH_INCHES, 2.3 * (n_loss_rows + 1) + 0.35)
    grid = figure.add_gridspec(n_loss_rows + 1, 2 * PANELS_PER_ROW)
    panels = []
    for index, model in enumerate(models):
        row, column = divmod(index, PANELS_PER_ROW)
        panels.append(figure.add_subplot(grid[row, 2 * column : 2 * column + 2]))
        _loss(panels[-1], model, model_looks[model.name])
    deviance = figure.add_subplot(grid[-1, :PANELS_PER_ROW])
    rank = figure.add_subplot(grid[-1, PANELS_PER_ROW:])
    for model in models:
        validation = [line for line in model.metrics if line["kind"] == "validation"]
        explained = [line for line in validation if line["explained_deviance"] is not None]
        style = _style(model_looks[model.name])
        deviance.plot(_thousands(explained), [line["explained_deviance"] for line in explained], **style)
        rank.plot(_thousands(validation), [line["cls_rank"] for line in validation], label=model.name, **style)
    deviance.set_title("explained deviance")
    deviance.axhline(0, color=theme.muted, linewidth=0.8)
    values = [
        line["explained_deviance"] for model in models for line in model.metrics if line.get("explained_deviance")
    ]
    low, high = min([0.0, *values]), max([0.02, *values])
    deviance.set_ylim(max(LOWEST_DEVIANCE, low - 0.02), high + 0.03)
    rank.set_title("rank of the embedding")
    rank.set_ylim(bottom=0)
    for axes in (*panels, deviance, rank):
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        axes.set_xlabel("samples seen (thousands)")
        axes.tick_params(axis="y", labelcolor=theme.muted)
    figure.legend(*rank.get_legend_handles_labels(), loc="outside lower left", ncols=min(3, len(models)))
    return figure


def _style(look: Look) -> dict[str, Any]:
    return {"color": look.colour, "linestyle": look.dash, "marker": look.marker, "markersize": 3.5, "linewidth": 1.8}


def _loss(axes: Axes, model: TrainedModel, look: Look) -> None:
    """Each model on its own scale: losses of other validation samples differ by orders of magnitude."""
    train = _whole_windows([line for line in model.metrics if line["kind"] == "train"])
    validation = [line for line in model.metrics if line["kind"] == "validation"]
    axes.plot(_thousands(train), [line["loss"] for line in train], color=look.colour, alpha=0.55, linewidth=1.0)
    axes.plot(_thousands(validation), [line["loss"] for line in validation], **_style(look))
    axes.set_title(f"loss: {model.name}")


def _whole_windows(train: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without a last line that is the mean of a few steps only: one batch is noise."""
    steps = [0, *(line["step"] for line in train)]
    short = len(train) > 1 and steps[-1] - steps[-2] < (steps[-2] - steps[-3]) / 2
    return train[:-1] if short else train


def _thousands(lines: list[dict[str, float]]) -> list[float]:
    return [line["samples_seen"] / 1000 for line in lines]


@dataclass(frozen=True, kw_only=True, eq=False)
class Map:
    """Two-dimensional positions of a model's samples.

    Attributes
    ----------
    model : str
    studies : numpy.ndarray (n_points,)
    positions : numpy.ndarray (n_points, 2)
    n_samples : int
        Before the draw.
    """

    model: str
    studies: np.ndarray
    positions: np.ndarray
    n_samples: int


def umap_map(model: str, embeddings: Path) -> Map:
    """UMAP of at most `MAX_POINTS` samples, drawn and laid out with a fixed seed.

    Parameters
    ----------
    model : str
    embeddings : Path
        Parquet file of `embed`.

    Raises
    ------
    ImportError
        umap-learn is not installed (extra ``report``).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # umap misses TensorFlow, for a variant that is not used here
        from umap import UMAP

    studies, vectors, n_samples = drawn_samples(embeddings)
    layout = UMAP(
        n_neighbors=min(UMAP_NEIGHBOURS, len(vectors) - 1), n_epochs=UMAP_EPOCHS, random_state=UMAP_SEED, n_jobs=1
    )
    return Map(
        model=model,
        studies=studies,
        positions=layout.fit_transform(vectors),
        n_samples=n_samples,
    )


def drawn_samples(embeddings: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """Studies and embeddings of at most `MAX_POINTS` samples in file order, and the number of all samples.

    The file is read group by group: the corpus' embeddings need not fit into memory.
    """
    file = pq.ParquetFile(embeddings)
    n_samples = file.metadata.num_rows
    drawn = np.arange(n_samples)
    if n_samples > MAX_POINTS:
        drawn = np.sort(np.random.default_rng(UMAP_SEED).choice(n_samples, MAX_POINTS, replace=False))
    dimensions = [name for name in file.schema_arrow.names if name[0] == "e" and name[1:].isdecimal()]
    parts, start = [], 0
    for group in range(file.num_row_groups):
        stop = start + file.metadata.row_group(group).num_rows
        rows = drawn[(drawn >= start) & (drawn < stop)] - start
        if len(rows):
            parts.append(file.read_row_group(group, ["study", *dimensions]).take(rows).to_pandas())
        start = stop
    frame = pd.concat(parts)
    return frame["study"].to_numpy(dtype=object), frame[dimensions].to_numpy(np.float32), n_samples


def maps(build: Build, layouts: list[Map], theme: Theme) -> Figure:
    """One panel a model, samples coloured by study."""
    study_looks = looks(build.studies)
    shown = [study for study in build.studies if any((layout.studies == study).any() for layout in layouts)]
    n_columns = min(PANELS_PER_ROW, len(layouts))
    n_rows = math.ceil(len(layouts) / n_columns)
    legend_rows = math.ceil(len(shown) / 4)
    figure = new_figure(WIDTH_INCHES, n_rows * min(3.3, 1.0 + WIDTH_INCHES / n_columns) + 0.25 + 0.25 * legend_rows)
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axes, layout in zip(panels, layouts, strict=False):
        order = sorted(shown, key=lambda study: -int((layout.studies == study).sum()))  # small studies on top
        for study in order:
            look, chosen = study_looks[study], layout.studies == study
            size = 4 if chosen.sum() > 100 else 16
            axes.scatter(
                *layout.positions[chosen].T,
                s=size,
                color=look.colour,
                marker=look.marker,
                linewidths=0,
                alpha=0.75,
                rasterized=True,
            )
        axes.set_title(layout.model)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel(f"{len(layout.studies):,} of {layout.n_samples:,} samples")
    for axes in panels[len(layouts) :]:
        axes.set_visible(False)
    handles = [
        Line2D(
            [],
            [],
            color=study_looks[study].colour,
            marker=study_looks[study].marker,
            linestyle="",
            label=study + (" [SIMULATED]" if study in build.simulated else ""),
        )
        for study in shown
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=min(4, len(handles)))
    return figure
