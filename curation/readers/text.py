"""Delimited text, plain or gz, in chunks of whole lines parsed by polars."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import polars as pl

from curation.blocks import NO_METADATA
from curation.errors import InputError

# 16 MB of text a chunk: polars needs about ten times that while it parses.
CHUNK_BYTES = 16 * 2**20


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading bytes, unpacking gzip by its magic bytes, not by its name."""
    with path.open("rb") as handle:
        is_gzip = handle.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if is_gzip else path.open("rb")  # type: ignore[return-value]  # the caller closes it


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Give the unpacked bytes of a file; what a damaged gzip stream raises becomes an InputError.

    Raises
    ------
    InputError
        The gzip stream ends early or is damaged.
    """
    with open_bytes(path) as handle:
        try:
            yield handle
        except (EOFError, OSError, zlib.error) as error:
            raise InputError(
                "the file ends early or is damaged",
                where=str(path),
                expected="a whole gzip file",
                found=str(error),
                todo="delete it and fetch it again",
            ) from error


def read_lines(path: Path, n: int) -> list[str]:
    """Return the first `n` lines without their line ends.

    Raises
    ------
    InputError
        There are fewer.
    """
    with whole_file(path) as handle:
        lines = [handle.readline().decode("utf-8", "replace") for _ in range(n)]
    if not all(lines):
        raise InputError(
            "the file is too short",
            where=str(path),
            expected=f"at least {n} lines",
            found=f"{sum(map(bool, lines))} lines",
            todo="delete it and fetch it again, or correct its format in the catalogue",
        )
    return [line.rstrip("\r\n") for line in lines]


def line_chunks(path: Path, *, skip: int) -> Iterator[bytes]:
    """Yield the file after `skip` lines in pieces that end with a line's end."""
    with whole_file(path) as handle:
        for _ in range(skip):
            handle.readline()
        rest = b""
        while piece := handle.read(CHUNK_BYTES):
            piece = rest + piece
            cut = piece.rfind(b"\n") + 1
            rest = piece[cut:]
            if cut:
                yield piece[:cut]
        if rest.strip():
            yield rest + b"\n"


def read_table(path: Path, **options: Any) -> pl.DataFrame:
    """Return a small table as strings, read whole; `options` are those of polars.read_csv.

    Raises
    ------
    InputError
        It is damaged, empty, or not a table.
    """
    with whole_file(path) as handle:
        content = handle.read()
    try:
        return pl.read_csv(content, infer_schema=False, **options)
    except pl.exceptions.PolarsError as error:
        raise InputError(
            "this is not a table",
            where=str(path),
            expected="rows with the same number of fields",
            found=str(error).splitlines()[0],
            todo="check that the file is whole, and its format in the catalogue",
        ) from error


def split_line(line: str, separator: str) -> list[str]:
    """Return the fields of one line, quotes taken off."""
    frame = pl.read_csv(
        io.BytesIO(line.encode() + b"\n"), has_header=False, separator=separator, infer_schema=False, quote_char='"'
    )
    return [value if value is not None else "" for value in frame.row(0)]


def separator_of(path: Path) -> str:
    """Return the separator that the first line uses: tab, comma or semicolon, whichever occurs most."""
    line = read_lines(path, 1)[0]
    return max("\t,;", key=line.count)


def header_of(path: Path, separator: str, *, skip: int = 0) -> list[str]:
    """Return the names of the value columns: the header without the field above the row names.

    R's write.csv leaves that field out; pandas writes it empty. Which of the two it is shows in the first row of
    values.
    """
    lines = read_lines(path, skip + 2)[skip:]
    names, first_row = split_line(lines[0], separator), split_line(lines[1], separator)
    if len(names) == len(first_row) - 1:
        return names
    if len(names) == len(first_row):
        return names[1:]
    raise InputError(
        "the header does not fit the rows",
        where=f"{path}, line {skip + 1}",
        expected=f"{len(first_row)} fields, or one less (R leaves out the field above the row names)",
        found=f"{len(names)} fields",
        todo="check that the separator and the number of header lines are right",
    )


def numeric_chunks(
    path: Path, *, separator: str, n_values: int, skip: int, n_labels: int = 1
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield (row names, float64 values of shape (rows, n_values)); `n_labels` leading text columns, the first is the
    name.

    Raises
    ------
    InputError
        A field is empty or not a number, or a row has another number of fields.
    """
    labels = [f"label_{i}" for i in range(n_labels)]
    schema: dict[str, type[pl.DataType]] = dict.fromkeys(labels, pl.String)
    schema |= {f"value_{i}": pl.Float64 for i in range(n_values)}
    for chunk in line_chunks(path, skip=skip):
        try:
            frame = pl.read_csv(
                io.BytesIO(chunk),
                has_header=False,
                separator=separator,
                schema=schema,
                quote_char='"',
                null_values=["NA", ""],
            )
        except pl.exceptions.PolarsError as error:
            raise InputError(
                "a row of the table cannot be read",
                where=str(path),
                expected=f"a name and {n_values} numbers a row, separated by {separator!r}",
                found=str(error).splitlines()[0],
                todo="check orientation and separator in the catalogue, and that the file is whole",
            ) from error
        values = frame.drop(labels)
        if values.null_count().sum_horizontal().item():
            row = int(np.flatnonzero(values.select(pl.any_horizontal(pl.all().is_null())).to_series().to_numpy())[0])
            raise InputError(
                "a value is missing",
                where=f"{path}, row {frame[row, 0]!r}",
                expected=f"{n_values} numbers",
                found="an empty field or NA, or a row that is too short",
                todo="check that the file is whole; a table of counts has no missing values",
            )
        yield frame[labels[0]].fill_null("").to_list(), values.to_numpy()


def read_metadata(path: Path) -> pd.DataFrame:
    """Return a table of sample metadata as strings, indexed by its first column; empty fields and NA become ""."""
    separator = separator_of(path)
    names = header_of(path, separator)
    # the row names have no column name of their own in the frame, so a metadata column "index" cannot clash with them
    frame = read_table(path, has_header=False, skip_rows=1, separator=separator, null_values=["NA"])
    table = frame.fill_null("").to_pandas()
    table = table.set_index(table.columns[0])
    table.index.name = None
    table.columns = pd.Index(names)
    return table


def join_metadata(sample_ids: list[str], metadata: pd.DataFrame | None, *, where: str) -> pd.DataFrame:
    """Return metadata rows for `sample_ids`, in their order; a sample without a row gets "" and is marked NO_METADATA.

    Raises
    ------
    InputError
        An id occurs twice, or not one of the samples has metadata.
    """
    duplicated = pd.Index(sample_ids)[pd.Index(sample_ids).duplicated()]
    if len(duplicated):
        raise InputError(
            f"{len(duplicated)} sample ids occur more than once",
            where=where,
            expected="one id a sample",
            found=", ".join(map(str, duplicated[:3])),
            todo="split the file into parts in the catalogue, one a source file, so that ids are unique in a part",
        )
    if metadata is None:
        return pd.DataFrame(index=pd.Index(sample_ids))
    if sample_ids and not metadata.index.isin(sample_ids).any():
        raise InputError(
            "no sample has a row in the metadata",
            where=where,
            expected=f"ids like {sample_ids[0]!r} in the first column of the metadata",
            found=", ".join(repr(str(name)) for name in metadata.index[:3]),
            todo="check that the metadata file belongs to this part",
        )
    joined = metadata[~metadata.index.duplicated()].reindex(sample_ids).fillna("")
    known = joined.index.isin(metadata.index)
    return joined if known.all() else joined.assign(**{NO_METADATA: ~known})
