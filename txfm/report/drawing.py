"""From a drawing function to pictures for the page (SVG, light and dark), and the same as files."""

import base64
import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from txfm.report.palette import DARK, LIGHT, Theme
from txfm.report.tables import write_frame

Draw = Callable[[Theme], Figure]
PNG_DOTS_PER_INCH = 160


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture of the page, which is also figures/NAME.svg, .png and .parquet.

    Attributes
    ----------
    name : str
        File name below figures/, without its ending.
    title, alt, caption : str
        Heading, description for people who do not see it, and text below it.
    light, dark : str
        data: addresses of SVG images.
    spec : dict or None
        In Vega-Lite, of a picture that answers the pointer.
    """

    name: str
    title: str
    alt: str
    caption: str
    light: str
    dark: str
    spec: dict[str, Any] | None = None


def picture(
    name: str, draw: Draw, drawn: pd.DataFrame, folder: Path, *, title: str, alt: str, caption: str = ""
) -> Picture:
    """Draw for both themes with matplotlib; save the light one as SVG and PNG, and what is drawn as parquet.

    Parameters
    ----------
    name : str
    draw : callable
        Theme to Figure; called once a theme, with matplotlib's settings for it.
    drawn : pandas.DataFrame
        What the picture shows.
    folder : Path
        Where the files go.
    title, alt, caption : str

    Returns
    -------
    Picture
    """
    images = {}
    folder.mkdir(parents=True, exist_ok=True)
    for theme in (LIGHT, DARK):
        with _style(theme):
            figure = draw(theme)
            images[theme.name] = svg_address(_svg(figure, transparent=True))
            if theme is LIGHT:
                (folder / f"{name}.svg").write_bytes(_svg(figure, transparent=False))
                figure.savefig(folder / f"{name}.png", dpi=PNG_DOTS_PER_INCH, metadata={"Software": None})
    write_frame(drawn, folder / f"{name}.parquet")
    return Picture(name=name, title=title, alt=alt, caption=caption, light=images["light"], dark=images["dark"])


def svg_address(image: bytes) -> str:
    """An SVG image as a data: address."""
    return "data:image/svg+xml;base64," + base64.b64encode(image).decode()


def _svg(figure: Figure, *, transparent: bool) -> bytes:
    image = io.BytesIO()
    figure.savefig(image, format="svg", transparent=transparent, metadata={"Date": None, "Creator": None})
    return image.getvalue()


def _style(theme: Theme) -> AbstractContextManager[None]:
    return mpl.rc_context(
        {
            "axes.edgecolor": theme.line,
            "axes.facecolor": "none",
            "axes.labelcolor": theme.muted,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlecolor": theme.text,
            "axes.titlelocation": "left",
            "axes.titlesize": 10.5,
            "axes.titleweight": "bold",
            "figure.facecolor": theme.ground,
            "font.size": 9.5,
            "grid.color": theme.line,
            "grid.linewidth": 0.6,
            "legend.frameon": False,
            "legend.labelcolor": theme.text,
            "svg.hashsalt": "diverserna",  # same build, same page, byte for byte
            "text.color": theme.text,
            "xtick.color": theme.line,
            "xtick.labelcolor": theme.muted,
            "ytick.color": theme.line,
            "ytick.labelcolor": theme.text,
        }
    )


def new_figure(width_inches: float, height_inches: float) -> Figure:
    """An empty figure that lays its axes out without overlaps; no window, no global state."""
    return Figure(figsize=(width_inches, height_inches), layout="constrained")


def bare_bars(axes: Axes) -> None:
    """Horizontal bars read by their labels: no ticks, no frame but the base line."""
    axes.tick_params(axis="y", length=0)
    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([])
    axes.invert_yaxis()
