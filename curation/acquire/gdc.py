"""Which files of the Genomic Data Commons pass some filters: asked once, then pinned in a table that is committed."""

from __future__ import annotations

import datetime
import fcntl
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

from curation.acquire.addresses import GdcAddress, parse_address
from curation.acquire.failures import GivenUpError, TryAgainError
from curation.acquire.http import Patience, get_json, persist
from curation.errors import InputError

FILES_URL = "https://api.gdc.cancer.gov/files"
# Files in one answer: half a MB of JSON, 3 MB once parsed, which is what memory holds beside the listing itself
PAGE_FILES = 500
# Column of the listing -> field of the files endpoint
FIELDS = {
    "file_id": "file_id",
    "file_name": "file_name",
    "md5": "md5sum",
    "size": "file_size",
    "aliquot": "cases.samples.portions.analytes.aliquots.submitter_id",
    "case": "cases.submitter_id",
    "project": "cases.project.project_id",
    "primary_site": "cases.primary_site",
    "sample_type": "cases.samples.sample_type",
}
COLUMNS = tuple(FIELDS)
# Column -> what its values look like, as a pattern and in words. Both names become names on disk.
_FORMS = {
    "file_id": (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "a UUID in lower case"),
    "file_name": (re.compile(r"[A-Za-z0-9_][^/\\\x00-\x1f\x7f-\U0010ffff]{0,199}"), "a file name without a folder"),
    "md5": (re.compile(r"[0-9a-f]{32}"), "32 hexadecimal digits"),
    "size": (re.compile(r"[1-9][0-9]{0,14}"), "a number of bytes above 0"),
}
_OTHER_FORM = (re.compile(r"[^\x00-\x1f\x7f]*"), "one line without tabs")
# Columns with few different values, which are kept once
_FEW = ("project", "primary_site", "sample_type")
_FIRST_LINE = re.compile(
    r"# address: (?P<address>gdc:.+); listed: (?P<listed>\d{4}-\d\d-\d\d); "
    r"(?P<n_files>[\d,]+) files; (?P<n_bytes>[\d,]+) bytes"
)
_FIRST_LINE_FORM = "# address: gdc:FIELD=VALUE; listed: YYYY-MM-DD; N files; N bytes"


@dataclass(frozen=True, kw_only=True, slots=True)
class GdcFile:
    """One file: a row of the listing. Where a file belongs to several aliquots or cases, they are joined by ';'."""

    file_id: str
    file_name: str
    md5: str
    size: int
    aliquot: str = ""
    case: str = ""
    project: str = ""
    primary_site: str = ""
    sample_type: str = ""

    def row(self) -> str:
        """Return the values in the order of `COLUMNS`, separated by tabs."""
        return "\t".join(str(getattr(self, column)) for column in COLUMNS)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The files that passed the filters of an address on a day (YYYY-MM-DD), by file_id."""

    address: GdcAddress
    listed: str
    files: tuple[GdcFile, ...]

    @property
    def n_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def lines(self) -> Iterator[str]:
        """Yield the table, line by line."""
        n_files = len(self.files)
        yield f"# address: {address_text(self.address)}; listed: {self.listed}; {n_files} files; {self.n_bytes} bytes\n"
        yield "\t".join(COLUMNS) + "\n"
        for file in self.files:
            yield file.row() + "\n"


class _MalformedError(Exception):
    """A value does not have its column's form."""

    def __init__(self, column: str, expected: str, found: str) -> None:
        super().__init__(f"{column} {found!r} is not {expected}")
        self.column, self.expected, self.found = column, expected, found


def address_text(address: GdcAddress) -> str:
    """Return the address as the catalogue writes it."""
    return "gdc:" + ";".join(f"{field}={value}" for field, value in address.filters)


def list_files(address: GdcAddress, patience: Patience) -> list[GdcFile]:
    """Ask the files endpoint for every file that passes the filters; public files only, as no token is sent.

    Parameters
    ----------
    address : GdcAddress
        Filters by the endpoint's own field names; a field that stands there twice may have either value.
    patience : Patience

    Returns
    -------
    list of GdcFile
        By file_id.

    Raises
    ------
    GivenUpError
        No file passes, a field is unknown, a value is malformed, or the listing changes whenever it is read.
    """
    return persist(lambda: _read_pages(address, patience), patience)


def pinned_listing(address: GdcAddress, path: Path, patience: Patience) -> Listing:
    """Return the listing that is pinned at `path`; ask for it and pin it if there is none.

    Raises
    ------
    GivenUpError
        The pinned listing is that of another address, or the GDC gave none.
    InputError
        The pinned listing is malformed.
    """
    pinned = read_listing(path)
    if pinned is None:
        with _claimed(path) as handle:
            # Another process may have pinned it while this one waited.
            pinned = read_listing(path) or _pin(address, path, handle, patience)
    if sorted(pinned.address.filters) != sorted(address.filters):
        source = path.name.split(".")[0]
        raise GivenUpError(
            f"the files pinned in {path} are those of {address_text(pinned.address)}, the catalogue now says "
            f"{address_text(address)}",
            todo=f"to list the files anew: python -m curation resolve --refresh {source}",
        )
    return pinned


def refresh_listing(address: GdcAddress, path: Path, patience: Patience) -> Listing:
    """Ask the GDC again and replace what is pinned at `path`, which stays as it is if there is no answer."""
    with _claimed(path) as handle:
        return _pin(address, path, handle, patience)


def read_listing(path: Path) -> Listing | None:
    """Read a pinned listing; None if there is none.

    Raises
    ------
    InputError
        The table was edited or is not whole; names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise _malformed(path, 1, "text in UTF-8", "other bytes") from None
    first = _FIRST_LINE.fullmatch(lines[0])
    if not first:
        raise _malformed(path, 1, _FIRST_LINE_FORM, lines[0])
    header = lines[1] if len(lines) > 1 else ""
    if header.split("\t") != list(COLUMNS):
        raise _malformed(path, 2, " ".join(COLUMNS), header)
    if lines[-1]:
        raise _malformed(path, len(lines), "a newline at the end of the last row", "a row that is cut")
    files = tuple(_row(path, number, line) for number, line in enumerate(lines[2:-1], start=3))
    for number, (one, other) in enumerate(pairwise(files), start=4):
        if one.file_id >= other.file_id:
            raise _malformed(path, number, f"a file_id that sorts after {one.file_id}", other.file_id)
    address = parse_address(first["address"])
    if not isinstance(address, GdcAddress):
        raise _malformed(path, 1, _FIRST_LINE_FORM, lines[0])
    listing = Listing(address=address, listed=first["listed"], files=files)
    stated = tuple(int(first[name].replace(",", "")) for name in ("n_files", "n_bytes"))
    if stated != (len(files), listing.n_bytes):
        expected = f"{stated[0]} files of {stated[1]} bytes, as the line says"
        raise _malformed(path, 1, expected, f"{len(files)} files of {listing.n_bytes} bytes")
    return listing


def _row(path: Path, number: int, line: str) -> GdcFile:
    values = line.split("\t")
    if len(values) != len(COLUMNS):
        raise _malformed(path, number, f"{len(COLUMNS)} columns separated by tabs", f"{len(values)} columns")
    try:
        return _file(dict(zip(COLUMNS, values, strict=True)))
    except _MalformedError as error:
        raise _malformed(path, number, f"{error.expected} in column {error.column}", error.found) from None


def _malformed(path: Path, number: int, expected: str, found: str) -> InputError:
    source = path.name.split(".")[0]
    return InputError(
        "a pinned listing of the GDC is malformed",
        where=f"{path}, line {number}",
        expected=expected,
        found=found or "an empty line",
        todo=f"restore the file from version control, or list anew: python -m curation resolve --refresh {source}",
    )


def _file(values: Mapping[str, str]) -> GdcFile:
    for column, value in values.items():
        form, words = _FORMS.get(column, _OTHER_FORM)
        if not form.fullmatch(value):
            raise _MalformedError(column, words, value)
    names = {column: value for column, value in values.items() if column != "size"}
    names.update((column, sys.intern(names[column])) for column in _FEW)
    return GdcFile(**names, size=int(values["size"]))


def _read_pages(address: GdcAddress, patience: Patience) -> list[GdcFile]:
    """Read the whole listing once; `TryAgainError` if it changed meanwhile."""
    values: dict[str, list[str]] = {}
    for field, value in address.filters:
        values.setdefault(field, []).append(value)
    terms = [{"op": "in", "content": {"field": field, "value": value}} for field, value in values.items()]
    question: dict[str, Any] = {
        "filters": {"op": "and", "content": terms},
        "fields": ",".join(FIELDS.values()),
        "format": "JSON",
        "size": PAGE_FILES,
        "sort": "file_id:asc",
    }
    files: dict[str, GdcFile] = {}
    start, total = 0, None
    while total is None or start < total:
        hits, stated = _page(get_json(FILES_URL, patience, post={**question, "from": start}))
        if stated == 0:
            raise GivenUpError(
                f"no file of the GDC passes the filters {address_text(address)}",
                todo="correct the filters in the catalogue: field names are those of the GDC's files endpoint",
            )
        if total not in (None, stated):
            raise TryAgainError(f"the GDC's listing changed while it was read: {total:,} files, then {stated:,}")
        if not hits:
            raise TryAgainError(f"the GDC's listing ended after {start:,} of {stated:,} files")
        files.update((file.file_id, file) for file in map(_from_hit, hits))
        start, total = start + len(hits), stated
    if len(files) != total:
        raise TryAgainError(
            f"the GDC's listing changed while it was read: {len(files):,} of {total:,} files are distinct"
        )
    return [files[file_id] for file_id in sorted(files)]


def _page(answer: Any) -> tuple[list[Any], int]:
    """Return the hits of an answer, and how many files it says there are."""
    try:
        hits, total = answer["data"]["hits"], answer["data"]["pagination"]["total"]
    except (KeyError, TypeError):
        raise GivenUpError("the GDC's answer has no data.hits or no data.pagination.total") from None
    if not isinstance(hits, list) or not isinstance(total, int):
        raise GivenUpError("the GDC's answer has no list in data.hits or no number in data.pagination.total")
    if answer.get("warnings"):
        raise GivenUpError(f"the GDC warns about the question: {answer['warnings']}")
    return hits, total


def _from_hit(hit: Any) -> GdcFile:
    values = {column: ";".join(sorted(set(_leaves(hit, field.split("."))))) for column, field in FIELDS.items()}
    try:
        return _file(values)
    except _MalformedError as error:
        raise GivenUpError(f"the GDC lists a file ({values['file_id'] or 'without an id'}) whose {error}") from None


def _leaves(node: Any, names: list[str]) -> Iterator[str]:
    """Yield every value below `names`, through the lists on the way; nothing where a level is missing."""
    if isinstance(node, list):
        for item in node:
            yield from _leaves(item, names)
    elif names:
        if isinstance(node, dict):
            yield from _leaves(node.get(names[0]), names[1:])
    elif node is not None:
        yield str(node)


def _pin(address: GdcAddress, path: Path, handle: IO[bytes], patience: Patience) -> Listing:
    today = datetime.date.today().isoformat()
    listing = Listing(address=address, listed=today, files=tuple(list_files(address, patience)))
    handle.truncate(0)
    handle.writelines(line.encode() for line in listing.lines())
    handle.flush()
    os.fsync(handle.fileno())
    Path(handle.name).replace(path)
    return listing


@contextmanager
def _claimed(path: Path) -> Iterator[IO[bytes]]:
    """Give the temporary file beside `path`, locked: one process lists, the others wait and find the listing there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    while True:
        with partial.open("ab") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"another process is listing {path.stem}; waiting for it", file=sys.stderr)
                fcntl.flock(handle, fcntl.LOCK_EX)
            if not _is_at(handle, partial):
                continue  # the other process renamed or removed it
            try:
                yield handle
            finally:
                if _is_at(handle, partial):
                    partial.unlink()
            return


def _is_at(handle: IO[bytes], path: Path) -> bool:
    try:
        return os.fstat(handle.fileno()).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False
