"""Addresses of files: what the catalogue writes, parsed. Nothing is asked of any server here."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from curation.errors import InputError

DATA_VARIABLE = "DIVERSERNA_DATA"
DEFAULT_DATA_FOLDER = "../shared/data"


@dataclass(frozen=True, kw_only=True)
class WebAddress:
    """A file at a web server; more than one url where the same host serves it twice, in the order to try."""

    urls: tuple[str, ...]


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


@dataclass(frozen=True, kw_only=True)
class ListedAddress:
    """A file by its name in a listing that a repository's API gives: its url is not known before the API was asked.

    Attributes
    ----------
    repository : str
        figshare (article), zenodo (record), cellxgene (collection) or geo (series).
    container : str
        Identifier of the article, record, collection or series.
    name : str
        File name; for cellxgene the title of a dataset.
    """

    repository: str
    container: str
    name: str


@dataclass(frozen=True, kw_only=True)
class RunTableAddress:
    """The table of runs of a study at the Sequence Read Archive (SRP...); its bytes are made from the API's answer."""

    study: str


@dataclass(frozen=True, kw_only=True)
class GdcAddress:
    """All files of the Genomic Data Commons that pass some filters: field of the files endpoint -> value."""

    filters: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class BucketAddress:
    """An object in a public bucket: scheme s3 or gs."""

    scheme: str
    bucket: str
    key: str


Address = WebAddress | LocalAddress | WheelAddress | ListedAddress | RunTableAddress | GdcAddress | BucketAddress

# Scheme -> the form that a message shows
FORMS = {
    "https": "https://HOST/PATH",
    "http": "http://HOST/PATH",
    "file": f"file:PATH (with ${DATA_VARIABLE})",
    "pypi": "pypi:PACKAGE==VERSION#member/path",
    "figshare": "figshare:FILE_ID or figshare:ARTICLE/FILE_NAME",
    "zenodo": "zenodo:RECORD/FILE_NAME",
    "cellxgene": "cellxgene:COLLECTION_ID/DATASET TITLE",
    "geo": "geo:GSE000000/FILE_NAME",
    "sra": "sra:SRP000000",
    "gdc": "gdc:FIELD=VALUE;FIELD=VALUE",
    "s3": "s3://BUCKET/KEY",
    "gs": "gs://BUCKET/KEY",
}
SIMULATE = "simulate"
_PYPI = re.compile(r"(?P<package>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9.!+_-]+)#(?P<member>.+)")
# figshare.com/ndownloader answers 202 with an empty body since January 2026; these two hosts do not.
_FIGSHARE = ("https://ndownloader.figshare.com/files/{}", "https://api.figshare.com/v2/file/download/{}")
_LISTED = {
    "figshare": re.compile(r"(?P<container>\d+)/(?P<name>.+)"),
    "zenodo": re.compile(r"(?P<container>\d+)/(?P<name>.+)"),
    "cellxgene": re.compile(r"(?P<container>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/(?P<name>.+)"),
    "geo": re.compile(r"(?P<container>GSE\d+)/(?P<name>[^/]+)"),
}
_GDC_TERM = re.compile(r"\s*(?P<field>[a-z_.]+)=(?P<value>[^;]+)")


def parse_address(text: str) -> Address:
    """Parse an address of the catalogue.

    Parameters
    ----------
    text : str
        One of the forms in `FORMS`. In `file:` addresses `$DIVERSERNA_DATA` is the variable of that name, by default
        ../shared/data seen from the current folder.

    Raises
    ------
    InputError
        The scheme is unknown, the rest does not have its form, or the file is one that `curation simulate` writes.
    """
    scheme, _, rest = text.partition(":")
    if scheme == SIMULATE:
        raise InputError(
            "`python -m curation simulate` writes this file; it cannot be fetched",
            where=text,
            todo="run the workflow's simulate step",
        )
    if scheme not in _PARSERS:
        raise InputError("unknown kind of address", where=text, expected=", ".join(f"{name}:" for name in _PARSERS))
    address = _PARSERS[scheme](text, rest)
    if address is None:
        raise InputError(f"a {scheme} address is malformed", where=text, expected=FORMS[scheme])
    return address


def with_data_folder(path: str) -> str:
    """Return a path in which `$DIVERSERNA_DATA` is the variable of that name, by default ../shared/data."""
    return path.replace(f"${DATA_VARIABLE}", os.environ.get(DATA_VARIABLE) or DEFAULT_DATA_FOLDER)


def needs_listing(text: str) -> bool:
    """Return whether the url of an address is known only after an API was asked, so that it belongs in the lock."""
    return text.partition(":")[0] in ("zenodo", "cellxgene", "geo", "gdc", "sra") or bool(
        re.match(r"figshare:\d+/", text)
    )


def figshare_urls(file_id: int | str) -> tuple[str, ...]:
    """Return the two hosts' urls of a figshare file."""
    return tuple(form.format(file_id) for form in _FIGSHARE)


def _web(text: str, rest: str) -> Address | None:
    try:
        return WebAddress(urls=(text,)) if urlsplit(text).hostname else None
    except ValueError:  # such as http://[::1
        return None


def _local(text: str, rest: str) -> Address | None:
    return LocalAddress(path=Path(with_data_folder(rest))) if rest else None


def _wheel(text: str, rest: str) -> Address | None:
    found = _PYPI.fullmatch(rest)
    return WheelAddress(**found.groupdict()) if found else None


def _figshare(text: str, rest: str) -> Address | None:
    return WebAddress(urls=figshare_urls(rest)) if rest.isdigit() else _listed(text, rest)


def _listed(text: str, rest: str) -> Address | None:
    repository = text.partition(":")[0]
    found = _LISTED[repository].fullmatch(rest)
    return ListedAddress(repository=repository, **found.groupdict()) if found else None


def _runs(text: str, rest: str) -> Address | None:
    return RunTableAddress(study=rest) if re.fullmatch(r"[SED]RP\d+", rest) else None


def _gdc(text: str, rest: str) -> Address | None:
    terms = [_GDC_TERM.fullmatch(term) for term in rest.split(";")]
    if not all(terms):
        return None
    return GdcAddress(filters=tuple((term["field"], term["value"].strip()) for term in terms if term))


def _bucket(text: str, rest: str) -> Address | None:
    found = re.fullmatch(r"//(?P<bucket>[a-z0-9][a-z0-9._-]+)/(?P<key>.+)", rest)
    return BucketAddress(scheme=text.partition(":")[0], **found.groupdict()) if found else None


_PARSERS: Mapping[str, Callable[[str, str], Address | None]] = {
    "https": _web,
    "http": _web,
    "file": _local,
    "pypi": _wheel,
    "figshare": _figshare,
    "zenodo": _listed,
    "cellxgene": _listed,
    "geo": _listed,
    "sra": _runs,
    "gdc": _gdc,
    "s3": _bucket,
    "gs": _bucket,
}
