"""Lists that fit into a line of the terminal."""

from collections.abc import Sequence

N_TOLD = 5


def first_few(names: Sequence[str]) -> str:
    """The first names, and how many follow."""
    rest = len(names) - N_TOLD
    return ", ".join(names[:N_TOLD]) + (f" and {rest:,} more" if rest > 0 else "")
