"""obs and var of anndata files, decoded row by row from the file, whichever version wrote them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
import pandas as pd

from curation.errors import InputError
from curation.readers.windows import Window


class _Column(Protocol):
    def read(self, first: int, last: int) -> list[str]:
        """Return the values of rows `first` to `last` - 1."""


class AnnDataFrame:
    """obs or var of an h5ad file or a Zarr store (`curation.readers.matrix_reader.Samples`).

    Known encodings: groups with categorical sub-groups, nullable columns and nullable strings (anndata >= 0.8), groups
    with `__categories` (0.7), compound datasets (0.6). Missing values become "". Only wanted columns are read, and
    none is held for more rows than a window.

    Parameters
    ----------
    item : group or dataset of h5py, group of zarr
    where : str
        For messages.
    columns : frozenset of str or None
        Columns to read; None for all.
    index : str or None
        Array that holds the ids; None for the one that the table names.
    """

    def __init__(
        self, item: Any, *, where: str, columns: frozenset[str] | None = None, index: str | None = None
    ) -> None:
        self._item = item
        self._where = where
        if _is_array(item):
            names = list(item.dtype.names or ())
            self._index_name = next((name for name in ("index", "_index") if name in names), names[0] if names else "")
            names = [name for name in names if name != self._index_name]
        else:
            self._index_name = index or _text(item.attrs.get("_index", "_index"))
            names = [name for name in _column_names(item) if name != self._index_name]
        if not _is_array(item) and self._index_name not in item:
            raise InputError(
                "the table of samples or genes has no index",
                where=where,
                expected=f"an array {self._index_name!r}",
                found=", ".join(names) or "an empty table",
                todo="the file is damaged or not of anndata: fetch it again, or check its format in the catalogue",
            )
        self._index = self._column(self._index_name)
        assert self._index is not None, "an index is a column"
        readable = {name: name for name in names if _is_array(item) or _is_column(item[name])}
        self.columns = tuple(readable)
        wanted = [name for name in readable if columns is None or name in columns]
        self._columns = {name: column for name in wanted if (column := self._column(name)) is not None}
        self._length = _length(item if _is_array(item) else item[self._index_name])

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._length

    def frame(self, first: int, last: int) -> pd.DataFrame:
        """Return rows `first` to `last` - 1 as strings."""
        columns = {name: column.read(first, last) for name, column in self._columns.items()}
        ids = self.ids(first, last)
        for name, values in columns.items():
            if len(values) != len(ids):
                raise InputError(
                    "a column of the table has another length than its index",
                    where=self._where,
                    expected=f"{len(ids)} values of rows {first} to {last - 1}",
                    found=f"{len(values)} in column {name!r}",
                    todo="the file is damaged: fetch it again",
                )
        return pd.DataFrame(columns, index=pd.Index(ids, dtype=object))

    def ids(self, first: int, last: int) -> list[str]:
        """Return the index of rows `first` to `last` - 1."""
        assert self._index is not None
        return self._index.read(first, last)

    def column(self, name: str) -> list[str]:
        """Return one column of all rows."""
        column = self._column(name)
        assert column is not None, "the caller has seen the name in `columns`"
        return column.read(0, len(self))

    def _column(self, name: str) -> _Column | None:
        if _is_array(self._item):
            return _Field(self._item, name)
        item = self._item[name]
        if "__categories" in self._item and name in self._item["__categories"]:
            return _Categorical(item, _all_strings(self._item["__categories"][name]))
        return _column_of(item)


class _Plain:
    def __init__(self, array: Any) -> None:
        self._window = Window(array)

    def read(self, first: int, last: int) -> list[str]:
        return _strings(self._window.read(first, last))


class _Field:
    """A field of a compound dataset."""

    def __init__(self, table: Any, name: str) -> None:
        self._table = table
        self._name = name

    def read(self, first: int, last: int) -> list[str]:
        return _strings(self._table[first:last][self._name])


class _Categorical:
    def __init__(self, codes: Any, categories: list[str]) -> None:
        self._codes = Window(codes)
        self._names = np.array([*categories, ""], dtype=object)  # code -1, missing, picks the last

    def read(self, first: int, last: int) -> list[str]:
        found: list[str] = self._names[self._codes.read(first, last)].tolist()
        return found


class _Masked:
    """A nullable column."""

    def __init__(self, item: Any) -> None:
        self._values = Window(item["values"])
        self._mask = Window(item["mask"])

    def read(self, first: int, last: int) -> list[str]:
        values = _strings(self._values.read(first, last))
        return ["" if gone else value for value, gone in zip(values, self._mask.read(first, last), strict=False)]


def _column_of(item: Any) -> _Column | None:
    if _is_array(item):
        return _Plain(item)
    if "codes" in item:
        return _Categorical(item["codes"], _all_strings(item["categories"]))
    return _Masked(item) if "values" in item and "mask" in item else None


def _all_strings(item: Any) -> list[str]:
    column = _column_of(item)
    assert column is not None, "categories are a column"
    return column.read(0, _length(item))


def _length(item: Any) -> int:
    return int((item if _is_array(item) else item["codes" if "codes" in item else "values"]).shape[0])


def _is_array(item: Any) -> bool:
    return hasattr(item, "dtype")


def _is_column(item: Any) -> bool:
    if _is_array(item):
        return len(item.shape) == 1
    return "codes" in item or ("values" in item and "mask" in item)


def _column_names(group: Any) -> list[str]:
    """Return the names in their order; a name with a slash is a group within a group, which only column-order tells."""
    order = group.attrs.get("column-order")
    names: Iterable[Any] = group if order is None else order
    return [name for name in map(_text, names) if name != "__categories" and name in group]


def _strings(values: np.ndarray) -> list[str]:
    return [_text(value) for value in values.tolist()] if values.dtype.kind in "OSTU" else [_text(v) for v in values]


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if value is None or (isinstance(value, float | np.floating) and np.isnan(value)):
        return ""
    return str(value)
