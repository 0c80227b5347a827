"""Files of the catalogue: where the bytes come from and how they are recognised."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


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
        Bytes.
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
    md5: str | None = None
    sha256: str | None = None
    wheel_sha256: str | None = None
    refused_md5: Mapping[str, str] = field(default_factory=dict)
    status: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    def to_json(self) -> str:
        """Return every field as one line of JSON with sorted keys."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

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
    """A gene table: one file at sources/<name>/<file.path>; `hgnc` is the entry with HGNC's other names, if any."""

    name: str
    format: str
    licence: str
    file: RemoteFile
    hgnc: Annotation | None = None
    notes: str = ""

    def path(self, sources: Path) -> Path:
        """Return where the file lies below the folder of downloads."""
        return sources / self.name / self.file.path

    def to_json(self) -> str:
        """Return every field, that of `hgnc` included, as one line of JSON with sorted keys."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Annotation:
        """Read what `to_json` wrote."""
        return cls._from_mapping(json.loads(text))

    @classmethod
    def _from_mapping(cls, fields: Mapping[str, Any]) -> Annotation:
        hgnc = cls._from_mapping(fields["hgnc"]) if fields["hgnc"] else None
        return cls(**{**fields, "file": RemoteFile.from_mapping(fields["file"]), "hgnc": hgnc})
