"""What every benchmark tells people: the end of its page, and what is missing from its table."""

import sys
from collections.abc import Iterable, Mapping, Sequence


def page_end(
    columns: Sequence[str], not_scored: Iterable[Sequence[str]], warnings: Sequence[str], method: Iterable[str]
) -> list[str]:
    """Lines of scores.md after the tables.

    Parameters
    ----------
    columns : sequence of str
        Titles of the columns of `not_scored`; the last is the reason.
    not_scored : iterable of sequence of str
        Rows of what has no number; without any, the section is left out.
    warnings : sequence of str
        Without any, the section is left out.
    method : iterable of str
        How to read the page, one sentence each.
    """
    lines = [f"| {' | '.join(row)} |" for row in not_scored]
    if lines:
        lines = ["## Not scored", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", *lines, ""]
    if warnings:
        lines += ["## Warnings", "", *(f"- {text}" for text in warnings), ""]
    return [*lines, "## How to read it", "", *(f"- {sentence}" for sentence in method), ""]


def tell_not_scored(not_scored: Iterable[Mapping[str, str]], warnings: Iterable[str]) -> None:
    """Print to stderr what has no number and why, and what to beware of.

    Parameters
    ----------
    not_scored : iterable of mapping
        Of a record: ``reason``, and what it is the reason of.
    warnings : iterable of str
    """
    for row in not_scored:
        place = ", ".join(value for name, value in row.items() if name != "reason" and value)
        print(f"not scored: {place}: {row['reason']}", file=sys.stderr)
    for text in warnings:
        print(f"warning: {text}", file=sys.stderr)
