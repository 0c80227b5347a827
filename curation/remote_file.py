"""Files of the catalogue: where the bytes come from and how they are recognised."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Events and sessions, the two tables of Ensembl's core database that the history of a gene id needs
HISTORY_FILES = ("stable_id_event.txt.gz", "mapping_session.txt.gz")


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """One file of a source: it has addresses, or it is a member of another file of its source.

    Attributes
    ----------
    path : str
        Where it belongs, below sources/<entry>/.
    addresses : tuple of str
        Primary first, then mirrors; empty for a member of an archive.
    archive, member : str or None
        Path of another file of the same source, and the name inside it that this file is.
    size : int or None
        Bytes; of the member, not of its archive. The sums are the member's too.
    size_about : int or None
        Bytes to expect where `size` is not known; for a `gdc:` address, of all files that the receipt lists. Nothing is
        checked against it.
    md5, sha256 : str or None
        Sums of the file, lower-case hex.
    wheel_sha256 : str or None
        Sum of the wheel that a `pypi:` address opens.
    refused_md5 : mapping of str to str
        Sums of files that look like this one and are not -> why (the study's `do_not_use`).
    status : mapping of str to str
        Fact -> verified, secondary, inferred or unverified.
    note : str
    """

    path: str
    addresses: tuple[str, ...] = ()
    archive: str | None = None
    member: str | None = None
    size: int | None = None
    size_about: int | None = None
    md5: str | None = None
    sha256: str | None = None
    wheel_sha256: str | None = None
    refused_md5: Mapping[str, str] = field(default_factory=dict)
    status: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    def to_json(self) -> str:
        """Return every field as one line of JSON with sorted keys."""
        return json.dumps(self.to_mapping(), sort_keys=True)

    def to_mapping(self) -> dict[str, Any]:
        """Return the fields; those that few files have only where they are set."""
        return _without_unset(dataclasses.asdict(self), "archive", "member", "size_about")

    @classmethod
    def from_mapping(cls, fields: Mapping[str, Any]) -> RemoteFile:
        """Build from a sheet's entry (with its path) or from parsed JSON."""
        return cls(**{**fields, "addresses": tuple(fields.get("addresses", ()))})

    @classmethod
    def from_json(cls, text: str) -> RemoteFile:
        """Read what `to_json` wrote."""
        return cls.from_mapping(json.loads(text))


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """A gene table: one file at sources/<name>/<file.path>.

    `hgnc` is the entry with HGNC's other names, `history` the reference with the history of Ensembl's ids, cut down to
    `HISTORY_FILES`; both may be missing. `ensembl_release` is the release of the table, where it is known.
    """

    name: str
    format: str
    licence: str
    file: RemoteFile
    hgnc: Annotation | None = None
    history: Reference | None = None
    ensembl_release: int | None = None
    notes: str = ""
    title: str = ""
    citation: Mapping[str, Any] = field(default_factory=dict)
    alternatives: tuple[Mapping[str, Any], ...] = ()
    status: Mapping[str, str] = field(default_factory=dict)

    def path(self, sources: Path) -> Path:
        """Return where the file lies below the folder of downloads."""
        return sources / self.name / self.file.path

    def for_axis(self) -> Annotation:
        """Return the table without what only people read, so that a better citation does not build the axis again."""
        hgnc = self.hgnc.for_axis() if self.hgnc else None
        history = self.history.for_axis() if self.history else None
        return dataclasses.replace(self, hgnc=hgnc, history=history, title="", citation={}, alternatives=(), status={})

    def history_paths(self, sources: Path) -> tuple[Path, ...]:
        """Return where events and sessions of the history lie, () without one."""
        return tuple(sources / self.history.name / file for file in HISTORY_FILES) if self.history else ()

    def to_json(self) -> str:
        """Return every field, those of `hgnc` and `history` included, as one line of JSON with sorted keys."""
        return json.dumps(self._to_mapping(), sort_keys=True)

    def _to_mapping(self) -> dict[str, Any]:
        fields = _without_unset(
            dataclasses.asdict(self), *("title", "citation", "alternatives", "status", "history", "ensembl_release")
        )
        built: dict[str, Any] = {"file": self.file.to_mapping(), "hgnc": self.hgnc and self.hgnc._to_mapping()}
        if self.history:
            built["history"] = self.history.to_mapping()
        return {**fields, **built}

    @classmethod
    def from_json(cls, text: str) -> Annotation:
        """Read what `to_json` wrote."""
        return cls._from_mapping(json.loads(text))

    @classmethod
    def _from_mapping(cls, fields: Mapping[str, Any]) -> Annotation:
        built = {
            "file": RemoteFile.from_mapping(fields["file"]),
            "hgnc": cls._from_mapping(fields["hgnc"]) if fields["hgnc"] else None,
            "history": Reference.from_mapping(fields["history"]) if fields.get("history") else None,
            "alternatives": tuple(fields.get("alternatives", ())),
        }
        return cls(**{**fields, **built})


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Tables at sources/<name>/ that only `Annotation.history` and evaluation read; `files` maps path to file."""

    name: str
    title: str
    citation: Mapping[str, Any]
    licence: str
    files: Mapping[str, RemoteFile]
    non_commercial: bool = False
    alternatives: tuple[Mapping[str, Any], ...] = ()
    notes: str = ""
    status: Mapping[str, str] = field(default_factory=dict)

    def for_axis(self) -> Reference:
        """Return the tables without what only people read."""
        return dataclasses.replace(self, title="", citation={}, licence="", alternatives=(), notes="", status={})

    def to_mapping(self) -> dict[str, Any]:
        """Return every field."""
        files = {path: file.to_mapping() for path, file in self.files.items()}
        return {**dataclasses.asdict(self), "files": files}

    @classmethod
    def from_mapping(cls, fields: Mapping[str, Any]) -> Reference:
        """Build from what `to_mapping` returns."""
        files = {path: RemoteFile.from_mapping(file) for path, file in fields["files"].items()}
        return cls(**{**fields, "files": files, "alternatives": tuple(fields["alternatives"])})


def _without_unset(fields: dict[str, Any], *keys: str) -> dict[str, Any]:
    """Return fields without those of `keys` that are null or empty, so that entries without them keep their JSON."""
    return {key: value for key, value in fields.items() if value or key not in keys}
