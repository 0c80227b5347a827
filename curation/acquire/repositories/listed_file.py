"""A file as a repository lists it, and the checks of what the repository answered."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, TypeVar

from curation.acquire.failures import GivenUpError
from curation.remote_file import RemoteFile

T = TypeVar("T")
_WORDS = {str: "text", int: "a whole number", list: "a list", dict: "a mapping"}


@dataclass(frozen=True, kw_only=True)
class ListedFile:
    """One file of a listing.

    Attributes
    ----------
    name : str
        As the catalogue writes it after the slash; for cellxgene the title of the dataset.
    urls : tuple of str
        Where its bytes are, in the order to try.
    size : int or None
        Bytes.
    md5, sha256 : str or None
        Sums that the repository states, lower-case hex.
    note : str
        What the repository calls this version.
    """

    name: str
    urls: tuple[str, ...]
    size: int | None = None
    md5: str | None = None
    sha256: str | None = None
    note: str = ""

    def refuse_other(self, remote: RemoteFile) -> None:
        """Raise `GivenUpError` if the catalogue's entry describes another file than the one that is listed."""
        for fact in ("size", "md5", "sha256"):
            catalogue, found = getattr(remote, fact), getattr(self, fact)
            if catalogue and found and catalogue != found:
                raise GivenUpError(
                    f"the repository lists another file by this name: {fact} {found}, the catalogue says {catalogue}",
                    todo="compare the versions at the repository, then correct the catalogue",
                )


def required(host: str, record: Any, key: str, kind: type[T]) -> T:
    """Return a value of an API's answer.

    Raises
    ------
    GivenUpError
        The answer is no mapping, lacks the key, or has something else there.
    """
    if not isinstance(record, dict):
        raise unexpected(host, f"{_WORDS[dict]} was expected, not {_shown(record)}")
    if key not in record:
        raise unexpected(host, f"no key {key!r}")
    value = record[key]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
        raise unexpected(host, f"key {key!r} is {_shown(value)}, not {_WORDS[kind]}")
    return value


def md5_of(host: str, text: str) -> str:
    """Return an md5 sum in lower case; `GivenUpError` if it is none."""
    if not re.fullmatch(r"[0-9a-fA-F]{32}", text):
        raise unexpected(host, f"{_shown(text)} is no md5 sum")
    return text.lower()


def unexpected(host: str, what: str) -> GivenUpError:
    """Return the error of an answer that has another shape than the API's documentation says."""
    return GivenUpError(f"unexpected answer of {host}: {what}", todo=f"see whether the API of {host} has changed")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
