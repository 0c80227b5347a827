"""Addresses of files: what the catalogue writes, parsed."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from curation.errors import InputError

DATA_VARIABLE = "DIVERSERNA_DATA"
DEFAULT_DATA_FOLDER = "../shared/data"
# Schemes that a sheet may hold and that need a resolver of their own; the value says who makes the file.
UNRESOLVED = {
    "simulate": "`python -m curation simulate` writes this file; it cannot be fetched",
    "gdc": "the resolver for GDC files is not built yet",
    "cellxgene": "the resolver for CELLxGENE datasets is not built yet",
    "figshare-listing": "the resolver for figshare listings is not built yet",
}
_PYPI = re.compile(r"^pypi:(?P<package>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9.!+_-]+)#(?P<member>.+)$")


@dataclass(frozen=True, kw_only=True)
class WebAddress:
    """A file at a web server."""

    url: str


@dataclass(frozen=True, kw_only=True)
class LocalAddress:
    """A file on this machine."""

    path: Path


@dataclass(frozen=True, kw_only=True)
class WheelAddress:
    """A member of a wheel at the user's package index."""

    package: str
    version: str
    member: str

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"{self.package}=={self.version}"


Address = WebAddress | LocalAddress | WheelAddress


def parse_address(text: str) -> Address:
    """Parse an address of the catalogue.

    Parameters
    ----------
    text : str
        `https://...`, `http://...`, `file:PATH` (with `$DIVERSERNA_DATA`, by default ../shared/data seen from the
        current folder) or `pypi:PACKAGE==VERSION#member/path`.

    Raises
    ------
    InputError
        The scheme is unknown, or needs a resolver that is not there.
    """
    scheme, _, rest = text.partition(":")
    if scheme in ("http", "https"):
        return WebAddress(url=text)
    if scheme == "file":
        folder = os.environ.get(DATA_VARIABLE) or DEFAULT_DATA_FOLDER
        return LocalAddress(path=Path(rest.replace(f"${DATA_VARIABLE}", folder)))
    if scheme == "pypi":
        found = _PYPI.match(text)
        if not found:
            raise InputError("a pypi address is malformed", where=text, expected="pypi:PACKAGE==VERSION#member/path")
        return WheelAddress(**found.groupdict())
    if scheme in UNRESOLVED:
        raise InputError(
            UNRESOLVED[scheme],
            where=text,
            todo="leave the study out of the selected variants"
            if scheme != "simulate"
            else "run the workflow's simulate step",
        )
    known = ["https", "http", "file", "pypi", *UNRESOLVED]
    raise InputError("unknown kind of address", where=text, expected=", ".join(f"{name}:" for name in known))
