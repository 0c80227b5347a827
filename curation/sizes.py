"""Sizes as people read them."""

from __future__ import annotations


def human_size(n_bytes: int) -> str:
    """Return a size in decimal units with three digits."""
    size = float(n_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
