"""Tables of our documents, read back so that tests can hold them against the code."""

from __future__ import annotations

from pathlib import Path


def table_rows(document: Path, beginning: str) -> list[list[str]]:
    """Return the cells of the first table whose header line begins so, without header and rule."""
    lines = document.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(beginning))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows
