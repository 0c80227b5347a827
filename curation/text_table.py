"""Tables and differences as people read them on a terminal."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], *, left: int) -> list[str]:
    """Return the lines of a table whose first `left` columns begin, and whose others end, at one place."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def signed(number: int | None) -> str:
    """Return a difference with its sign and thousands, or a dash."""
    return "-" if number is None else f"{number:+,}" if number else "0"
