"""Maps of the embeddings: a two-dimensional layout of a model's samples, and their picture."""

import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from txfm.report.corpus_figures import PANELS_PER_ROW, WIDTH_INCHES
from txfm.report.drawing import new_figure
from txfm.report.palette import Theme, looks
from txfm.report.results import Build

MAX_POINTS = 5000
UMAP_SEED = 0
UMAP_NEIGHBOURS = 15
UMAP_EPOCHS = 200  # UMAP's own choice for large data; 500 for small data takes twice as long and looks the same


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

    def frame(self) -> pd.DataFrame:
        """A row a sample."""
        return pd.DataFrame(
            {"model": self.model, "study": self.studies, "x": self.positions[:, 0], "y": self.positions[:, 1]}
        )


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
