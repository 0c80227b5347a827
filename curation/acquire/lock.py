"""sources.lock.yaml: what the repositories' APIs answered once, so that later builds get the same files."""

from __future__ import annotations

import dataclasses
import datetime
import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from curation.errors import InputError

HEADER = """\
# Files of the catalogue whose url a repository's API gave, or whose sha256 the catalogue does not have: as they were
# found the first time. A build takes them from here and does not ask again. Written by the pipeline; commit it.
# To look a source up anew, because its repository replaced a file: python -m curation resolve --refresh SOURCE
"""
# YAML's C parser where libyaml is there: ten times faster
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """A file as it was found.

    Attributes
    ----------
    address : str
        The catalogue's address that was looked up; another address there makes the entry void.
    urls : tuple of str
        Where the bytes are, in the order to try.
    size : int or None
        Bytes.
    md5, sha256 : str or None
        Sums of the file, lower-case hex.
    resolved : str
        Day, as YYYY-MM-DD.
    note : str
        What the repository calls this version.
    """

    address: str
    urls: tuple[str, ...]
    size: int | None
    md5: str | None
    sha256: str | None
    resolved: str
    note: str = ""


Entries = dict[str, dict[str, Pinned]]


class SourcesLock:
    """The lock file; read again whenever another process replaced it.

    Parameters
    ----------
    path : Path
        Need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None
        self._entries: Entries = {}

    def entries(self) -> Mapping[str, Mapping[str, Pinned]]:
        """Return source -> file -> what is pinned.

        Raises
        ------
        InputError
            The file is malformed.
        """
        try:
            state = self.path.stat()
        except FileNotFoundError:
            return {}
        seen = (state.st_ino, state.st_size, state.st_mtime_ns)
        if seen != self._seen:
            self._entries, self._seen = _read(self.path), seen
        return self._entries

    def get(self, source: str, file: str) -> Pinned | None:
        """Return what is pinned for a file of a source, or None."""
        return self.entries().get(source, {}).get(file)

    def put(self, source: str, file: str, pinned: Pinned) -> None:
        """Pin a file; what other processes pinned meanwhile stays."""
        with self._locked():
            entries = _read(self.path)
            if entries.get(source, {}).get(file) != pinned:
                entries.setdefault(source, {})[file] = pinned
                _write(self.path, entries)

    def drop(self, source: str, file: str | None = None) -> None:
        """Forget one file of a source, or all of them."""
        if not self.path.exists():
            return
        with self._locked():
            entries = _read(self.path)
            files = entries.get(source, {})
            dropped = list(files) if file is None else [name for name in files if name == file]
            if dropped:
                entries[source] = {name: pinned for name, pinned in files.items() if name not in dropped}
                _write(self.path, entries)

    def pin(self, source: str, file: str) -> Pin:
        """Return the place of one file in this lock."""
        return Pin(lock=self, source=source, file=file)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the file's lock, and be sure that it is the lock of the file that has the name now."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            with self.path.open("ab") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX)
                if self.path.exists() and os.fstat(handle.fileno()).st_ino == self.path.stat().st_ino:
                    yield
                    return


@dataclass(frozen=True, kw_only=True)
class Pin:
    """One file's place in the lock."""

    lock: SourcesLock
    source: str
    file: str

    @property
    def listing(self) -> Path:
        """Where the listing of a set of files is pinned, for thousands of entries are slow as YAML."""
        name = ".".join(Path(self.file).with_suffix("").parts)
        return self.lock.path.with_suffix("") / f"{self.source}.{name}.tsv"

    def get(self) -> Pinned | None:
        """Return what is pinned, or None."""
        return self.lock.get(self.source, self.file)

    def put(self, pinned: Pinned) -> None:
        """Pin the file."""
        self.lock.put(self.source, self.file, pinned)


def today() -> str:
    """Return the day for `Pinned.resolved`."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def _write(path: Path, entries: Entries) -> None:
    plain = {
        source: {file: _plain(pinned) for file, pinned in sorted(files.items())}
        for source, files in sorted(entries.items())
        if files
    }
    body = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=200) if plain else ""
    # one name for all: only the holder of the lock writes here
    partial = path.with_name(f".{path.name}.part")
    with partial.open("w", encoding="utf-8") as handle:
        handle.write(HEADER + body)
        handle.flush()
        os.fsync(handle.fileno())
    partial.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _plain(pinned: Pinned) -> dict[str, Any]:
    fields = {**dataclasses.asdict(pinned), "urls": list(pinned.urls)}
    return {key: value for key, value in fields.items() if value not in (None, "")}


def _read(path: Path) -> Entries:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise _malformed(path, "", "text in UTF-8", str(error)) from None
    try:
        document = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise _malformed(path, "", "YAML", " ".join(str(error).split())) from None
    return {
        source: {file: _pinned(path, f"{source}.{file}", fields) for file, fields in files.items()}
        for source, files in _mapping(path, "", {} if document is None else document).items()
        if _mapping(path, source, files)
    }


def _mapping(path: Path, key: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise _malformed(path, key, "a mapping of names", repr(value))
    return value


def _is_sum(digits: int, value: Any) -> bool:
    return value is None or (isinstance(value, str) and re.fullmatch(f"[0-9a-f]{{{digits}}}", value) is not None)


# Key -> what its value has to be, in words and as a test
_FIELDS: Mapping[str, tuple[str, Any]] = {
    "address": ("an address of the catalogue", lambda value: isinstance(value, str) and ":" in value),
    "urls": (
        "a list of urls",
        lambda value: isinstance(value, list) and all(isinstance(url, str) and ":" in url for url in value),
    ),
    "size": ("a number of bytes", lambda value: value is None or (type(value) is int and value >= 0)),
    "md5": ("32 lower-case hex digits", lambda value: _is_sum(32, value)),
    "sha256": ("64 lower-case hex digits", lambda value: _is_sum(64, value)),
    "resolved": (
        "a day as 'YYYY-MM-DD'",
        lambda value: isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value) is not None,
    ),
    "note": ("text", lambda value: isinstance(value, str)),
}
_OPTIONAL: Mapping[str, Any] = {"urls": [], "size": None, "md5": None, "sha256": None, "note": ""}


def _pinned(path: Path, key: str, value: Any) -> Pinned:
    fields = {**_OPTIONAL, **_mapping(path, key, value)}
    if isinstance(fields.get("resolved"), datetime.date):  # a hand that left the quotes out
        fields["resolved"] = fields["resolved"].isoformat()
    for name, (expected, holds) in _FIELDS.items():
        if name not in fields:
            raise _malformed(path, f"{key}.{name}", expected, "no such key")
        if not holds(fields[name]):
            raise _malformed(path, f"{key}.{name}", expected, repr(fields[name]))
    for name in fields:
        if name not in _FIELDS:
            from curation.schema_check import nearest  # it brings jsonschema, which no download needs

            raise _malformed(path, f"{key}.{name}", nearest(name, _FIELDS), "an unknown key")
    return Pinned(**{**fields, "urls": tuple(fields["urls"])})


def _malformed(path: Path, key: str, expected: str, found: str) -> InputError:
    return InputError(
        "the lock file is malformed",
        where=f"{path}, key {key}" if key else str(path),
        expected=expected,
        found=found,
        todo="restore it from version control, or delete it: the next fetch looks every file up again",
    )
