"""Entries of sparse matrices as text: three numbers a line."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from curation.errors import InputError
from curation.readers.read_ahead import read_ahead
from curation.readers.text import line_chunks, read_lines, whole_file


def read_sizes(path: Path) -> tuple[int, tuple[int, int, int]]:
    """Return the number of header lines of a Matrix Market file and (rows, columns, entries).

    Raises
    ------
    InputError
        It is another kind of file, or of matrix.
    """
    with whole_file(path) as handle:
        first = handle.readline().decode("utf-8", "replace").removeprefix("\ufeff").strip()
        kind = first.lower().split()
        if kind[:3] != ["%%matrixmarket", "matrix", "coordinate"] or kind[4:] != ["general"] or "pattern" in kind:
            raise InputError(
                "this is not a Matrix Market coordinate file with values",
                where=f"{path}, line 1",
                expected="%%MatrixMarket matrix coordinate integer (or real) general",
                found=repr(first[:80]),
                todo="check the format in the catalogue",
            )
        n_header = 1
        for line in handle:
            n_header += 1
            if not line.startswith(b"%") and line.strip():
                sizes = line.split()
                if len(sizes) == 3 and all(field.isdigit() for field in sizes):
                    return n_header, (int(sizes[0]), int(sizes[1]), int(sizes[2]))
                break
    raise InputError(
        "the size line is missing or wrong",
        where=str(path),
        expected="three numbers",
        found=f"line {n_header}",
        todo="fetch the file again",
    )


def entries(path: Path, *, skip: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield (rows, columns, values) after `skip` lines; rows and columns count from 0.

    Raises
    ------
    InputError
        A line is not three numbers.
    """
    first_line = read_lines(path, skip + 1)[skip] if skip else read_lines(path, 1)[0]
    separator = "\t" if "\t" in first_line else " "
    dtype: type[pl.DataType] = pl.Int64
    for chunk in read_ahead(line_chunks(path, skip=skip)):
        try:
            frame = _parse(chunk, separator, dtype)
        except pl.exceptions.PolarsError:
            dtype = pl.Float64
            try:
                frame = _parse(chunk, separator, dtype)
            except pl.exceptions.PolarsError as error:
                raise _not_three_numbers(path, str(error).splitlines()[0]) from error
        if frame.null_count().sum_horizontal().item():
            raise _not_three_numbers(path, "a line with less")
        yield frame["row"].to_numpy() - 1, frame["column"].to_numpy() - 1, frame["value"].to_numpy()


def _parse(chunk: bytes, separator: str, dtype: type[pl.DataType]) -> pl.DataFrame:
    schema: dict[str, type[pl.DataType]] = {"row": pl.Int64, "column": pl.Int64, "value": dtype}
    return pl.read_csv(io.BytesIO(chunk), has_header=False, separator=separator, schema=schema, quote_char=None)


def _not_three_numbers(path: Path, found: str) -> InputError:
    return InputError(
        "an entry cannot be read",
        where=str(path),
        expected="row, column and value, separated by a blank or a tab",
        found=found,
        todo="check that the file is whole",
    )
