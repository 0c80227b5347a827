"""A table of the page: raw records for files and machines, and how each column is shown to people."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from txfm.files import temporary_beside

Cell = str | Markup
Record = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column: its head, the text of a record, and whether it is set flush right and sorted as numbers."""

    title: str
    text: Callable[[Record], Cell]
    is_number: bool = False


def _is_ours(record: Record) -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the page, which is also figures/tables/NAME.parquet.

    Attributes
    ----------
    name : str
        Of its file, without .parquet; unique on the page.
    caption : str
    columns : sequence of Column
        The first one heads the rows.
    records : sequence of mappings
        A row each; values as they were measured, never rounded or cut.
    raw : pandas.DataFrame or None
        What the file holds where that is not the records (a row a number, where the page shows them side by side).
    folded : bool
        Shown on request only.
    is_published : callable
        Whether a record is of a publication: set apart from ours.
    """

    name: str
    caption: str
    columns: Sequence[Column]
    records: Sequence[Record]
    raw: pd.DataFrame | None = None
    folded: bool = False
    is_published: Callable[[Record], bool] = _is_ours

    def rows(self) -> list[list[Cell]]:
        """Texts of all cells."""
        return [[column.text(record) for column in self.columns] for record in self.records]

    def frame(self) -> pd.DataFrame:
        """Raw values, with the caption in the frame's attributes."""
        frame = pd.DataFrame(list(self.records)) if self.raw is None else self.raw.copy()
        frame.attrs["caption"] = self.caption
        return frame


def words(title: str, key: str, missing: str = "") -> Column:
    """A column of text as it is."""
    return Column(title=title, text=lambda record: missing if _is_missing(record, key) else str(record[key]))


def number(title: str, key: str, form: str = ",", missing: str = "") -> Column:
    """A column of numbers in a format; `missing` where there is none."""
    return Column(
        title=title,
        text=lambda record: missing if _is_missing(record, key) else format(record[key], form),
        is_number=True,
    )


def mean_and_sd(title: str, mean: str, sd: str, form: str = ".3f", missing: str = "") -> Column:
    """A column of `mean ± sd`; the mean alone where nothing varies."""

    def text(record: Record) -> str:
        if _is_missing(record, mean):
            return missing
        spread = "" if _is_missing(record, sd) else f" ± {format(record[sd], form)}"
        return format(record[mean], form) + spread

    return Column(title=title, text=text, is_number=True)


def digest(title: str, key: str) -> Column:
    """A column of the first characters of digests; the whole one on request, and in the file."""

    def text(record: Record) -> Cell:
        return Markup('<code title="{}">{}</code>').format(record[key], record[key][:12]) if record[key] else ""

    return Column(title=title, text=text)


def write_tables(tables: Sequence[Table], folder: Path) -> None:
    """Write each table as FOLDER/NAME.parquet, its caption in the file's pandas attributes; other files there go."""
    assert len({table.name for table in tables}) == len(tables)
    folder.mkdir(parents=True, exist_ok=True)
    for table in tables:
        write_frame(table.frame(), folder / f"{table.name}.parquet")
    for path in folder.glob("*.parquet"):
        if path.stem not in {table.name for table in tables}:
            path.unlink()  # of an earlier page


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a parquet file in one step."""
    temporary = temporary_beside(path)
    frame.to_parquet(temporary, index=False)
    temporary.rename(path)


def _is_missing(record: Record, key: str) -> bool:
    value = record.get(key)
    return value is None or (isinstance(value, float) and value != value)
