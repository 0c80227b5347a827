"""Supplementary files of a GEO series, as pysradb lists them."""

from __future__ import annotations

from urllib.parse import quote, unquote, urlsplit

import requests

from curation.acquire.failures import GivenUpError, TryAgainError
from curation.acquire.http import Patience
from curation.acquire.ncbi import PoliteRequests, lent_to_pysradb
from curation.acquire.repositories.listed_file import ListedFile

HOST = "ftp.ncbi.nlm.nih.gov"
FILE_LIST = "filelist.txt"


def list_files(series: str, patience: Patience) -> tuple[ListedFile, ...]:
    """Return the supplementary files of a series.

    Sizes are known for what the series' filelist.txt names, which is its archives. There are no checksums.

    Raises
    ------
    GivenUpError
        There is no such series, it has no supplementary files, or NCBI sent a challenge for browsers.
    """
    polite = PoliteRequests(patience, _check)
    try:
        with lent_to_pysradb(polite) as pysradb:
            names, folder = pysradb.geoweb.GEOweb().get_download_links(series)
    except KeyError:  # pysradb's word for a page that is no folder of a series
        raise _no_folder(series) from None
    files = [unquote(name) for name in names if "/" not in name and not name.startswith("?")]
    if not files:
        raise _no_folder(series)
    sizes = _sizes(polite.get(f"{folder}{FILE_LIST}").text) if FILE_LIST in files else {}
    return tuple(ListedFile(name=name, urls=(f"{folder}{quote(name)}",), size=sizes.get(name)) for name in files)


def _check(answer: requests.Response) -> None:
    """Raise unless the answer is a whole folder page or a list of files."""
    is_page = "html" in answer.headers.get("Content-Type", "").lower() or answer.content.lstrip()[:1] == b"<"
    if urlsplit(answer.url).path.endswith(f"/{FILE_LIST}"):
        expected = not is_page and answer.content.startswith(b"#Archive/File")
    else:
        expected = is_page and b"<title>Index of /geo/series/" in answer.content
    if not expected:
        start = " ".join(answer.text[:80].split())
        raise GivenUpError(
            f"{HOST} sent another page instead of the list of files: {start!r}",
            todo="open the address in a browser; if it asks whether you are human, wait some hours",
        )
    if is_page and b"</html>" not in answer.content.lower():
        raise TryAgainError(f"the list of files of {HOST} ended early")


def _sizes(text: str) -> dict[str, int]:
    """Return name -> bytes; columns are kind, name, time, size, type."""
    rows = [line.split("\t") for line in text.splitlines()[1:]]
    return {row[1]: int(row[3]) for row in rows if len(row) >= 4 and row[0] == "Archive" and row[3].isdigit()}


def _no_folder(series: str) -> GivenUpError:
    return GivenUpError(f"{HOST} has no supplementary files of {series}", todo="check the accession of the series")
