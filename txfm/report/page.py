"""The page: sections of sentences, pictures and tables, rendered with one template."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from txfm.report.charts import javascript, page_config
from txfm.report.drawing import Picture
from txfm.report.palette import DARK, LIGHT
from txfm.report.tables import Cell, Table


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section of the page, or a part of one; what it cannot show it says in `paragraphs`."""

    key: str
    title: str
    paragraphs: Sequence[Cell] = ()
    warnings: Sequence[Cell] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    points: Sequence[Cell] = ()
    code: Sequence[tuple[str, str]] = field(default=())
    parts: "Sequence[Section]" = ()

    def all_tables(self) -> Iterator[Table]:
        """Its own tables, then those of its parts."""
        yield from self.tables
        for part in self.parts:
            yield from part.all_tables()

    def all_pictures(self) -> Iterator[Picture]:
        """Its own pictures, then those of its parts."""
        yield from self.pictures
        for part in self.parts:
            yield from part.all_pictures()


def render(
    name: str,
    facts: Sequence[tuple[str, str]],
    simulated: Sequence[str],
    sections: Sequence[Section],
    figures: str = "figures",
    notes: Sequence[str] = (),
) -> str:
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
    figures : str
        The folder of pictures, as the page's links name it.
    notes : sequence of str
        What the whole page lacks.

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
    has_charts = any(picture.spec for section in sections for picture in section.all_pictures())
    page = environment.get_template("template.html").render(
        name=name,
        facts=facts,
        simulated=simulated,
        sections=sections,
        figures=figures,
        notes=notes,
        light=LIGHT,
        dark=DARK,
        javascript=Markup(javascript()) if has_charts else "",
        configs={theme.name: page_config(theme) for theme in (LIGHT, DARK)},
    )
    return page + "\n"


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
