"""The table of sources: what a config needs, how large it is, under which licence, and how far each fact is trusted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from curation.catalog import RemoteFile
from curation.config import read_config
from curation.plan import Plan, read_plan

HEADER = ("source", "role", "assay", "files", "size", "checksum", "not verified", "licence")


def print_sources(configs: Sequence[Path]) -> None:
    """Print the table for config files, later ones merged over earlier ones."""
    plan = read_plan(read_config(configs), Path.cwd())
    print(sources_table(plan))


def sources_table(plan: Plan) -> str:
    """Return the sources that a plan needs as an aligned table, studies first.

    The column `not verified` names facts whose status is weaker than verified; a size that is unknown shows as `?`.
    """
    rows = [HEADER]
    for name in plan.studies:
        study, files = plan.catalog.studies[name], plan.sources[name].values()
        role = "evaluation" if name in plan.evaluation else "train"
        assay = f"{study.assay}, simulated" if study.simulated else study.assay
        weak = {f"{fact} {trust}" for fact, trust in study.status.items() if trust != "verified"} | _weak(files)
        rows.append((name, role, assay, *_files(files), ", ".join(sorted(weak)) or "-", study.licence))
    for table in plan.annotations:
        rows.append(
            (
                table.name,
                "annotation",
                "-",
                *_files([table.file]),
                ", ".join(sorted(_weak([table.file]))) or "-",
                table.licence,
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def human_size(n_bytes: int) -> str:
    """Return a size in decimal units with three digits."""
    size = float(n_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _files(files: Iterable[RemoteFile]) -> tuple[str, str, str]:
    """Return number, size and kind of checksum of some files."""
    files = list(files)
    known = [file.size for file in files if file.size is not None]
    size = "?" if not known else human_size(sum(known)) + ("" if len(known) == len(files) else " + ?")
    kinds = ["sha256" if file.sha256 else "md5" if file.md5 else "none" for file in files]
    return str(len(files)), size, ", ".join(sorted(set(kinds)))


def _weak(files: Iterable[RemoteFile]) -> set[str]:
    return {f"{fact} {trust}" for file in files for fact, trust in file.status.items() if trust != "verified"}
