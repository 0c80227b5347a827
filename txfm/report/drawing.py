"""From a drawing function to pictures for the page (SVG, light and dark) and a PNG file."""

import base64
import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from txfm.report.palette import DARK, LIGHT, Theme

Draw = Callable[[Theme], Figure]
PNG_DOTS_PER_INCH = 160


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture of the page.

    Attributes
    ----------
    name : str
        File name below figures/, without .png.
    title, alt, caption : str
        Heading, description for people who do not see it, and text below it.
    light, dark : str
        data: addresses of SVG images.
    """

    name: str
    title: str
    alt: str
    caption: str
    light: str
    dark: str


def picture(name: str, draw: Draw, folder: Path, *, title: str, alt: str, caption: str = "") -> Picture:
    """Draw for both themes and save the light one as PNG.

    Parameters
    ----------
    name : str
    draw : callable
        Theme to Figure; called once a theme, with matplotlib's settings for it.
    folder : Path
        Where the PNG goes.
    title, alt, caption : str

    Returns
    -------
    Picture
    """
    images = {}
    for theme in (LIGHT, DARK):
        with _style(theme):
            figure = draw(theme)
            image = io.BytesIO()
            figure.savefig(image, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
            images[theme.name] = "data:image/svg+xml;base64," + base64.b64encode(image.getvalue()).decode()
            if theme is LIGHT:
                folder.mkdir(parents=True, exist_ok=True)
                figure.savefig(folder / f"{name}.png", dpi=PNG_DOTS_PER_INCH, metadata={"Software": None})
    return Picture(name=name, title=title, alt=alt, caption=caption, light=images["light"], dark=images["dark"])


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
