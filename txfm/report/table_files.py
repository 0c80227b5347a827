"""Tables of the page as parquet files."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from txfm.files import temporary_beside
from txfm.report.page import Section, Table


def table_frame(table: Table) -> pd.DataFrame:
    """The table as it is shown, without markup; a column of plain numbers as float64, others as text."""
    rows = [[Markup(cell).striptags() if isinstance(cell, Markup) else cell for cell in row] for row in table.rows]
    frame = pd.DataFrame(rows, columns=list(table.columns), dtype="object")
    for column in table.numbers & set(table.columns):
        numbers = pd.to_numeric(frame[column].str.replace(",", ""), errors="coerce")
        if numbers.notna().all():
            frame[column] = numbers.astype("float64")
    return frame


def write_tables(sections: Sequence[Section], folder: Path) -> None:
    """Write each table as FOLDER/<section>_<position>.parquet, its caption in the file's pandas attributes."""
    folder.mkdir(parents=True, exist_ok=True)
    for section in sections:
        for position, table in enumerate(section.tables, 1):
            frame = table_frame(table)
            frame.attrs["caption"] = table.caption
            path = folder / f"{section.key}_{position}.parquet"
            temporary = temporary_beside(path)
            frame.to_parquet(temporary, index=False)
            temporary.rename(path)
