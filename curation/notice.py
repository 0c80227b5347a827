"""NOTICE of a corpus: every source's citation, licence and address, and what of it is in the corpus."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from curation.config import read_project
from curation.plan import Plan, read_plan
from curation.sources import Source, chosen_sources

WIDTH = 100
SECTIONS = {
    "train": ("Training studies", "Counts derived from these files are in the corpus."),
    "evaluation": ("Evaluation studies", "Held out: no count of these files is in the corpus."),
    "annotation": ("Gene annotation", "Gene ids and symbols of the corpus come from these files."),
    "reference": ("Reference tables", "Fetched for evaluation: nothing of these files is in the corpus."),
}


def write_notice(configs: Sequence[Path], out: Path) -> None:
    """Write the NOTICE for config files merged over config.yaml."""
    write_text(notice(read_plan(read_project(configs), Path.cwd())), out)


def write_text(text: str, out: Path) -> None:
    """Write a NOTICE under its name in one step; a failure leaves what was there."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.part")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def notice(plan: Plan) -> str:
    """Return the NOTICE of the corpus that a plan builds, as text with a line end at its end."""
    sources = chosen_sources(plan)
    blocks = [
        f"NOTICE of the corpus {plan.name}",
        _wrapped(
            "This corpus is derived from the sources below. Each keeps its own licence and terms; cite the sources "
            "that you use. Changes made: counts were filtered, mapped to one list of genes and split into training and "
            "validation samples."
        ),
    ]
    guarded = [f"{table.name} ({table.licence})" for table in plan.catalog.references.values() if table.non_commercial]
    if guarded:
        blocks.append(
            _wrapped(
                f"Licensed for non-commercial use only: {', '.join(guarded)}. They are not part of this corpus and are "
                "not distributed with it: whoever needs them fetches them from their address, under their own licence."
            )
        )
    for role, (title, what) in SECTIONS.items():
        entries = [source for source in sources if source.role == role]
        if entries:
            blocks += [f"{title}\n{'=' * len(title)}", what, *map(_entry, entries)]
    return "\n\n".join(blocks) + "\n"


def _entry(source: Source) -> str:
    lines = [f"{source.name}: {source.title}"]
    if source.citation:
        lines.append(_field("Cite", _citation(source.citation)))
    lines.append(_field("Licence", source.licence))
    if source.non_commercial:
        lines.append(_field("Use", "non-commercial only; not part of the corpus, not distributed with it"))
    if source.simulated:
        lines.append(_field("Counts", "simulated; no instrument measured them"))
    for file in source.fetched:
        lines += [_field("File", file.path), *(f"    From: {address}" for address in file.addresses)]
    return "\n".join(lines)


def _citation(citation: Mapping[str, object]) -> str:
    doi = citation.get("doi")
    return f"{citation['text']} ({citation['year']})." + (f" https://doi.org/{doi}" if doi else "")


def _field(label: str, text: str) -> str:
    return textwrap.fill(
        f"{label}: {text}",
        WIDTH,
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH)
