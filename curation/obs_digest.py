"""Digests of the tables of a store, column by column and chunk by chunk: what verify gets from whole tables."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import zarr

from curation.obs_writer import OBS_COLUMNS
from curation.store import VAR_COLUMNS

KNOWN = frozenset((*OBS_COLUMNS, *VAR_COLUMNS))
# Rows read at a time: one chunk of a store's obs
READ_ROWS = 2**16


def table_digest(group: zarr.Group) -> str:
    """Return the digest of `obs` or `var` as docs/corpus-format.md defines it, in memory of one chunk.

    Columns that a later minor version added do not count.
    """
    attributes = group.attrs.asdict()
    index = str(attributes["_index"])
    order: Any = attributes["column-order"]
    total = hashlib.sha256()
    for title, name in [("index", index), *((name, name) for name in map(str, order) if name in KNOWN)]:
        total.update(f"{title}\x1f".encode())
        first = True
        for values in _texts(group[name]):
            text = "\n".join(values)
            total.update((text if first else f"\n{text}").encode())
            first = False
        total.update(b"\x1e")
    return total.hexdigest()


def _texts(column: zarr.Array | zarr.Group) -> Iterator[list[str]]:
    """Yield the values of a column as text."""
    if isinstance(column, zarr.Array):
        yield from ([str(value) for value in chunk.tolist()] for chunk in _chunks(column))
        return
    codes, categories = column["codes"], column["categories"]
    assert isinstance(codes, zarr.Array)
    assert isinstance(categories, zarr.Array)
    names = np.array([str(name) for name in np.asarray(categories[:]).tolist()], dtype=object)
    yield from (names[chunk].tolist() for chunk in _chunks(codes))


def _chunks(array: zarr.Array) -> Iterator[np.ndarray]:
    for start in range(0, array.shape[0], READ_ROWS):
        yield np.asarray(array[start : start + READ_ROWS])
