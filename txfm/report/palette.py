"""Colours: one per study in all pictures, told apart by colour-blind readers, on light and on dark ground."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Theme:
    """Colours of a picture's text, lines and ground."""

    name: str
    text: str
    muted: str
    line: str
    ground: str


LIGHT = Theme(name="light", text="#1b1f24", muted="#59636e", line="#d5dae0", ground="#ffffff")
DARK = Theme(name="dark", text="#e8eaed", muted="#a3abb5", line="#3b424b", ground="#15181c")

# Okabe and Ito (2008) without black and yellow, which vanish on dark or on white ground, and a grey.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8A8F98")
_MARKERS = ("o", "^", "s", "D")
_DASHES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")
_HATCHES = ("", "///", "...", "xxx")


@dataclass(frozen=True, kw_only=True)
class Look:
    """How one study or one model is drawn; past seven the colours repeat with another marker, dash and hatch."""

    colour: str
    marker: str
    dash: Literal["-", "--", ":", "-."]
    hatch: str


def looks(names: Sequence[str]) -> dict[str, Look]:
    """A look for each name, fixed by the order of the names."""
    return {
        name: Look(
            colour=_COLOURS[index % len(_COLOURS)],
            marker=_MARKERS[index // len(_COLOURS) % len(_MARKERS)],
            dash=_DASHES[index // len(_COLOURS) % len(_DASHES)],
            hatch=_HATCHES[index // len(_COLOURS) % len(_HATCHES)],
        )
        for index, name in enumerate(names)
    }
