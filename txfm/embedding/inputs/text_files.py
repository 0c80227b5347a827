"""Text files, plain or gzip: lines, and what damage of a gzip stream is called."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from txfm.errors import InputError

GZIP_MAGIC = b"\x1f\x8b"


@contextmanager
def open_text(path: Path) -> Iterator[IO[bytes]]:
    """Give the unpacked bytes of a file; gzip is known by its first bytes, not by its name.

    Raises
    ------
    InputError
        The gzip stream is damaged or ends early.
    """
    with path.open("rb") as handle:
        is_gzip = handle.read(2) == GZIP_MAGIC
    with gzip.open(path, "rb") if is_gzip else path.open("rb") as handle:
        try:
            yield cast(IO[bytes], handle)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(
                "The file ends early or is damaged",
                where=str(path),
                expected="a whole gzip file",
                found=str(error),
                todo="copy or download it again",
            ) from error


def read_lines(path: Path) -> list[str]:
    """Every line of a small file, without line ends and empty lines at its end.

    Raises
    ------
    InputError
        It is damaged.
    """
    with open_text(path) as handle:
        lines = handle.read().decode("utf-8", "replace").removeprefix("\ufeff").split("\n")
    lines = [line.rstrip("\r") for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def separator_of(line: str) -> str:
    """What separates the fields of a line: the tab, comma or semicolon that it has most of; a tab if it has none."""
    return max("\t,;", key=line.count)


def first_field(line: str, separator: str) -> tuple[str, str]:
    """The first field of a line without its quotes, and the rest after the separator."""
    if line.startswith('"'):
        name, _, rest = line[1:].partition(f'"{separator}')
        return name.removesuffix('"'), rest
    name, _, rest = line.partition(separator)
    return name, rest
