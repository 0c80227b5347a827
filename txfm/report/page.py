"""The page: sections of sentences, pictures and tables, rendered with one template."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from txfm.report.drawing import Picture
from txfm.report.palette import DARK, LIGHT

Cell = str | Markup


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; columns named in `numbers` are set flush right.

    Attributes
    ----------
    caption : str
    columns : sequence of str
        The first one heads the rows.
    rows : sequence of sequences of str
    numbers : frozenset of str
    folded : bool
        Shown on request only.
    published : bool
        Values of a publication, set apart from ours.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    numbers: frozenset[str] = frozenset()
    folded: bool = False
    published: bool = False


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section of the page; what it cannot show it says in `paragraphs`."""

    key: str
    title: str
    paragraphs: Sequence[Cell] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    points: Sequence[Cell] = ()
    code: Sequence[tuple[str, str]] = field(default=())


def render(name: str, facts: Sequence[tuple[str, str]], simulated: Sequence[str], sections: Sequence[Section]) -> str:
    """Render the page.

    Parameters
    ----------
    name : str
        Of the build.
    facts : sequence of (str, str)
        Label and value, at the top.
    simulated : sequence of str
        Studies to warn about.
    sections : sequence of Section

    Returns
    -------
    str
        HTML that loads nothing.
    """
    environment = Environment(
        loader=PackageLoader("txfm.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("template.html")
    return (
        template.render(name=name, facts=facts, simulated=simulated, sections=sections, light=LIGHT, dark=DARK) + "\n"
    )


def study_cell(title: str) -> Cell:
    """A study's title with the mark of a simulation set off."""
    study, mark, rest = title.partition(" [SIMULATED]")
    return Markup('{} <strong class="simulated">SIMULATED</strong>{}').format(study, rest) if mark else title


def citation_cell(study: dict[str, Any] | None) -> Cell:
    """A study's reference, linked by its DOI."""
    citation = (study or {}).get("citation") or {}
    text = citation.get("text") or citation.get("doi") or "not stated in the corpus"
    year = f" ({citation['year']})" if citation.get("year") else ""
    if not citation.get("doi"):
        return f"{text}{year}"
    return Markup('<a href="https://doi.org/{}">{}</a>{}').format(citation["doi"], text, year)


def short(digest: str) -> Cell:
    """The first characters of a digest; the whole one on request."""
    return Markup('<code title="{}">{}</code>').format(digest, digest[:12])
