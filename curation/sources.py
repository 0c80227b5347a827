"""The table of sources: what a config needs, how large it is, under which licence, and how far each fact is trusted."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from curation.catalog import Annotation, Reference, RemoteFile, Study
from curation.config import read_project
from curation.plan import Plan, read_plan
from curation.sizes import human_size

HEADER = ("source", "role", "files", "bytes", "disk", "not verified", "licence")
# Widths of the two columns of words; with the longest names of config.yaml a line stays below 140 characters.
STATUS_WIDTH, LICENCE_WIDTH = 42, 32
WEAK = ("unverified", "inferred", "secondary")


@dataclass(frozen=True, kw_only=True)
class Source:
    """One entry of the catalogue, of whatever kind, as the table and the NOTICE show it.

    Attributes
    ----------
    name, title, licence : str
    role : str
        train, evaluation, annotation or reference.
    citation : mapping
        {"doi", "year", "text"}, or empty.
    files : tuple of RemoteFile
    status : mapping of str to str
        Fact about the entry -> how it is known; each file has its own.
    simulated : bool
        No instrument measured the counts.
    written : bool
        A step of the build writes the files (`simulation`); nothing is fetched.
    non_commercial : bool
        The licence forbids commercial use.
    """

    name: str
    title: str
    role: str
    citation: Mapping[str, object]
    licence: str
    files: tuple[RemoteFile, ...]
    status: Mapping[str, str]
    simulated: bool = False
    written: bool = False
    non_commercial: bool = False

    @classmethod
    def of(cls, entry: Study | Annotation | Reference, role: str) -> Source:
        """Build from an entry of any kind."""
        return cls(
            name=entry.name,
            title=entry.title or entry.name,
            role=role,
            citation=entry.citation,
            licence=entry.licence,
            files=(entry.file,) if isinstance(entry, Annotation) else tuple(entry.files.values()),
            status=entry.status,
            simulated=isinstance(entry, Study) and entry.simulated,
            written=isinstance(entry, Study) and entry.simulation is not None,
            non_commercial=isinstance(entry, Reference) and entry.non_commercial,
        )

    @property
    def fetched(self) -> tuple[RemoteFile, ...]:
        """Files that cross the network: no members of archives, and none that a step writes."""
        return () if self.written else tuple(file for file in self.files if file.addresses)

    @property
    def on_disk(self) -> tuple[RemoteFile, ...]:
        """Files that lie below sources/ in the end, archives and their members."""
        return () if self.written else self.files


def chosen_sources(plan: Plan, *, whole: bool = False) -> tuple[Source, ...]:
    """Return what a plan needs, or with `whole` everything that its sheets hold; training studies first."""
    catalog = plan.catalog
    studies = [study for name, study in catalog.studies.items() if whole or name in plan.studies]
    roles = {s.name: "evaluation" if s.name in plan.evaluation else s.role for s in studies}
    tables = list(catalog.annotation.values()) if whole else list(plan.annotations)
    history = [plan.annotation.history] if plan.annotation.history else []
    history = [catalog.references[h.name] if whole or h.name in plan.references else h for h in history]
    references = [catalog.references[name] for name in (catalog.references if whole else plan.references)]
    references = [entry for entry in references if entry.name not in {h.name for h in history}]
    return (
        *(Source.of(study, role) for role in ("train", "evaluation") for study in studies if roles[study.name] == role),
        *(Source.of(table, "annotation") for table in tables),
        *(Source.of(entry, "annotation") for entry in history),
        *(Source.of(reference, "reference") for reference in references),
    )


def print_sources(configs: Sequence[Path], *, whole: bool = False) -> None:
    """Print the table for config files merged over config.yaml; `whole` for all that their sheets hold."""
    print(sources_table(read_plan(read_project(configs), Path.cwd()), whole=whole))


def sources_table(plan: Plan, *, whole: bool = False) -> str:
    """Return sources as an aligned table with totals.

    The column `not verified` names facts whose status is weaker than verified, and says where a file has no checksum. A
    size that is known only roughly has a `~`, one that is not known at all is `?`.
    """
    sources = chosen_sources(plan, whole=whole)
    rows = [HEADER, *(_row(source, selected=source.name in plan.sources) for source in sources)]
    return "\n".join([*_aligned(rows), "", *_footer(sources, whole=whole)])


def _row(source: Source, *, selected: bool) -> tuple[str, ...]:
    role = ", ".join([source.role, *["simulated"] * source.simulated, *["not selected"] * (not selected)])
    licence = f"{source.licence}; NON-COMMERCIAL" if source.non_commercial else source.licence
    sizes = ("-", "-") if source.written else (_amount(source.fetched), _amount(source.on_disk))
    return (source.name, role, str(len(source.files)), *sizes, _not_verified(source), licence)


def _not_verified(source: Source) -> str:
    """Return weak facts by trust, weakest first, such as `unverified: size; secondary: licence, obs`."""
    facts = {pair for status in (source.status, *(file.status for file in source.files)) for pair in status.items()}
    words = []
    for trust in WEAK:
        weak = sorted(fact for fact, known in facts if known == trust)
        if weak:
            words.append(f"{trust}: {', '.join(weak)}")
    if any(file.md5 is None and file.sha256 is None for file in source.fetched):
        words.append("no checksum")
    return "; ".join(words) or "-"


def _amount(files: Iterable[RemoteFile]) -> str:
    files = list(files)
    known = sum(file.size or file.size_about or 0 for file in files)
    rough = "~" if any(file.size is None and file.size_about is not None for file in files) else ""
    unknown = any(file.size is None and file.size_about is None for file in files)
    if not known:
        return "?" if unknown else "0 B"
    return f"{rough}{human_size(known)}{' + ?' if unknown else ''}"


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return lines of a table in which the last two columns are wrapped."""
    lines: list[tuple[str, ...]] = []
    for row in rows:
        *first, status, licence = row
        words = zip_longest(_wrapped(status, STATUS_WIDTH), _wrapped(licence, LICENCE_WIDTH), fillvalue="")
        lines += [(*(first if i == 0 else [""] * len(first)), *pair) for i, pair in enumerate(words)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADER))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False)


def _footer(sources: Sequence[Source], *, whole: bool) -> list[str]:
    fetched = [file for source in sources for file in source.fetched]
    on_disk = [file for source in sources for file in source.on_disk]
    known = sum(file.size or 0 for file in fetched)
    rough = sum(file.size_about or 0 for file in fetched if file.size is None)
    unknown = sum(file.size is None and file.size_about is None for file in fetched)
    sizes = [f"{len(fetched)} files", f"{human_size(known)} known"]
    if rough:
        sizes.append(f"about {human_size(rough)} more")
    if unknown:
        sizes.append(f"{unknown} files of unknown size")
    chosen = "" if whole else " selected"
    lines = [f"{len(sources)} sources{chosen}; to fetch: {', '.join(sizes)}; on disk: {_amount(on_disk)}"]
    members = len(on_disk) - len(fetched)
    if members:
        lines.append(f"{members} files are members of archives; their archives stay beside them.")
    guarded = [source.name for source in sources if source.non_commercial]
    if guarded:
        lines.append(
            f"Not for commercial use: {', '.join(guarded)}. They are fetched only where select.references names them, "
            "and never passed on."
        )
    return lines
