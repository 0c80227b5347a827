"""Delimited text, plain or gz, in chunks of whole lines parsed by polars."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import polars as pl

from curation.errors import InputError

# 8 MB of text a chunk: up to 4 million numbers, 32 MB once parsed and as much again while they are turned.
CHUNK_BYTES = 8 * 2**20
# Lines that the first row of a table may take; a prime that opens no quotes would else be followed to the end.
MAX_QUOTED_LINES = 50


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
            if isinstance(error, OSError) and error.errno is not None:  # of the system, not of gzip
                raise
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

    Notes
    -----
    A byte order mark is no part of the first line.
    """
    with whole_file(path) as handle:
        lines = [handle.readline().decode("utf-8", "replace") for _ in range(n)]
    if not all(lines):
        if "\r" in lines[0].rstrip("\r\n"):
            raise InputError(
                "the lines end as on old Macs",
                where=str(path),
                expected="lines that end with a line feed, alone or after a carriage return",
                found="carriage returns alone",
                todo="turn them into line feeds (tr '\\r' '\\n'), and give the result an address in the catalogue",
            )
        raise InputError(
            "the file is too short",
            where=str(path),
            expected=f"at least {n} lines",
            found=f"{sum(map(bool, lines))} lines",
            todo="delete it and fetch it again, or correct its format in the catalogue",
        )
    return [line.rstrip("\r\n").removeprefix("\ufeff") for line in lines]


def line_chunks(path: Path, *, skip: int, quoted: bool = False) -> Generator[bytes, None, None]:
    """Yield the file after `skip` lines in pieces that end with a line's end; `quoted` fields may hold line ends."""
    with whole_file(path) as handle:
        for _ in range(skip):
            handle.readline()
        rest = b""
        while piece := handle.read(CHUNK_BYTES):
            piece = rest + piece
            cut = piece.rfind(b"\n") + 1
            while quoted and cut and piece.count(b'"', 0, cut) % 2:
                cut = piece.rfind(b"\n", 0, cut - 1) + 1
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


def separator_of(path: Path, *, among: str = "\t,;") -> str:
    """Return the separator that the first line uses most; the first of equals. A blank counts only without others."""
    line = read_lines(path, 1)[0]
    found = max(among.replace(" ", ""), key=line.count)
    return " " if " " in among and " " in line and found not in line else found


def header_of(path: Path, separator: str, *, skip: int = 0) -> list[str]:
    """Return the names of the value columns: the header without the field above the row names.

    R's write.csv leaves that field out; pandas writes it empty. Which of the two it is shows in the first row of
    values.
    """
    lines = read_lines(path, skip + 2)[skip:]
    while (
        sum(line.count('"') for line in lines[1:]) % 2 and len(lines) < MAX_QUOTED_LINES
    ):  # a quoted field goes on on the next line
        lines = read_lines(path, skip + len(lines) + 1)[skip:]
    names, first_row = split_line(lines[0], separator), split_line("\n".join(lines[1:]), separator)
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
