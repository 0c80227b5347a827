"""What goes over a connection: a request as it was read, and an answer before any fault was applied to it."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qs, unquote, urlsplit

REASONS = {
    200: "OK",
    202: "Accepted",
    206: "Partial Content",
    302: "Found",
    404: "Not Found",
    405: "Method Not Allowed",
    412: "Precondition Failed",
    416: "Range Not Satisfiable",
    429: "Too Many Requests",
    502: "Bad Gateway",
    503: "Service Unavailable",
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request; header names are in lower case, and `target` is path and query as they were sent."""

    method: str
    scheme: str
    host: str
    target: str
    headers: dict[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        """The target without its query, decoded."""
        return unquote(self.target.partition("?")[0])

    @property
    def query(self) -> dict[str, str]:
        """The last value of each parameter of the query and, for a form, of the body."""
        text = urlsplit(self.target).query
        if self.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            text += "&" + self.body.decode()
        return {key: values[-1] for key, values in parse_qs(text).items()}


@dataclass(frozen=True, kw_only=True)
class Body:
    """Bytes in memory, or a stretch of a file on disk."""

    content: bytes = b""
    path: Path | None = None
    start: int = 0
    size: int = 0

    @classmethod
    def of(cls, content: bytes) -> Body:
        """Bytes in memory."""
        return cls(content=content, size=len(content))

    def part(self, start: int, stop: int) -> Body:
        """Bytes start to stop."""
        if self.path is None:
            return Body.of(self.content[start:stop])
        return Body(path=self.path, start=self.start + start, size=stop - start)

    def read(self) -> bytes:
        """All bytes."""
        if self.path is None:
            return self.content
        with self.path.open("rb") as handle:
            return self.seek(handle).read(self.size)

    def seek(self, handle: BinaryIO) -> BinaryIO:
        """Move a handle of the file to the first byte."""
        handle.seek(self.start)
        return handle


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Status, headers and body; `chunked` for servers that do not know the length beforehand."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Body = field(default_factory=Body)
    etag: str = ""
    chunked: bool = False

    @classmethod
    def of_json(cls, document: Any, status: int = 200) -> Answer:
        """An API's answer."""
        return cls.of_bytes(json.dumps(document).encode(), "application/json", status)

    @classmethod
    def of_bytes(cls, content: bytes, kind: str, status: int = 200) -> Answer:
        """A page."""
        return cls(status=status, headers={"Content-Type": kind}, body=Body.of(content))

    @classmethod
    def redirect(cls, url: str) -> Answer:
        """Look elsewhere."""
        return cls(status=302, headers={"Location": url})


def gzipped(content: bytes) -> bytes:
    """Compress as fast as can be."""
    return gzip.compress(content, compresslevel=1, mtime=0)
