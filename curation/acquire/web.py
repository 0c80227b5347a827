"""Download over HTTP: patient with servers that are busy, deaf to answers that are not the file."""

from __future__ import annotations

import email.utils
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

import requests
import urllib3.exceptions

from curation.acquire.file_check import CHUNK_BYTES, WrongBytesError
from curation.acquire.part_file import GivenUpError, PartFile

# Seconds to connect, and between two pieces of the answer.
TIMEOUT_S = (15.0, 90.0)
# The only 4xx answers that may be different a moment later
RETRIED_4XX = (408, 429)
# A try that brought this much is progress, and the count of tries starts again.
PROGRESS_BYTES = 2**22


class _TryAgainError(Exception):
    """A failure that may pass, with the seconds the server asked to wait."""

    def __init__(self, what: str, wait_s: float | None = None) -> None:
        super().__init__(what)
        self.wait_s = wait_s


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How often and how long to wait for a server.

    Attributes
    ----------
    tries : int
        Tries in a row without progress.
    first_wait_s, longest_wait_s : float
        Waits double from the first to the longest, with up to 25% of jitter. A server that asks for more than the
        longest wait is given up.
    sleep : callable
        Takes seconds.
    """

    tries: int = 6
    first_wait_s: float = 1.0
    longest_wait_s: float = 120.0
    sleep: Callable[[float], None] = time.sleep


def user_agent() -> str:
    """Return what servers see."""
    try:
        version = metadata.version("diverserna")
    except metadata.PackageNotFoundError:
        version = "source"
    return f"DiverseRNA/{version} (+project)"


def download(url: str, part: PartFile, patience: Patience) -> None:
    """Fill `part` with the bytes at `url` and check them.

    An earlier part of the same address is taken up where it ended if the server still has the same file.

    Raises
    ------
    GivenUpError
        The address is wrong, the server stays busy, or the bytes are not the file.
    """
    failures = 0
    while True:
        validator = _resume(part, url)
        before = part.size
        try:
            _try(url, part, validator)
            part.check()
            return
        except WrongBytesError as error:
            part.restart()  # the bytes of an earlier try may have been the wrong ones: once more from the first byte
            if not before:
                raise GivenUpError(str(error)) from None
        except _TryAgainError as error:
            failures = 1 if part.size - before >= PROGRESS_BYTES else failures + 1
            if failures >= patience.tries:
                raise GivenUpError(f"{error} ({failures} tries)") from None
            wait_s = min(patience.first_wait_s * 2 ** (failures - 1), patience.longest_wait_s) * random.uniform(1, 1.25)
            if error.wait_s is not None and error.wait_s > patience.longest_wait_s:
                raise GivenUpError(f"{error}; the server asks to wait {error.wait_s:.0f} s") from None
            patience.sleep(max(wait_s, error.wait_s or 0.0))


def _resume(part: PartFile, url: str) -> str:
    try:
        return part.resume(url)
    except WrongBytesError:
        part.restart()
        return ""


def _try(url: str, part: PartFile, validator: str) -> None:
    """Append what the server sends; return when the answer was complete."""
    headers = {"User-Agent": user_agent(), "Accept-Encoding": "identity"}
    if validator:
        headers |= {"Range": f"bytes={part.size}-", "If-Range": validator}
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
            total = _accept(answer, part, validator)
            part.remember(url, _validator(answer))
            for chunk in answer.raw.stream(CHUNK_BYTES, decode_content=False):
                part.write(chunk)
    except requests.exceptions.SSLError as error:
        raise GivenUpError(f"the server's certificate was not accepted: {error}") from None
    except (requests.exceptions.InvalidURL, requests.exceptions.TooManyRedirects) as error:
        raise GivenUpError(str(error)) from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as error:
        raise _TryAgainError(f"the connection failed: {type(error).__name__}: {error}") from None
    finally:
        part.flush()
    if total is not None and part.size < total:
        raise _TryAgainError(f"the answer ended after {part.size:,} of {total:,} bytes")


def _accept(answer: requests.Response, part: PartFile, validator: str) -> int | None:
    """Check status and headers; return the size of the whole file, if the server states it."""
    status = answer.status_code
    if status in RETRIED_4XX or status >= 500:
        raise _TryAgainError(f"the server answered {status}", _retry_after(answer))
    if status == 416 and validator:
        raise WrongBytesError("the server has fewer bytes than an earlier try got")
    if status not in (200, 206):
        raise GivenUpError(f"the server answered {status}; only 200 and 206 carry a file")
    kind = answer.headers.get("Content-Type", "").split(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml"):
        raise GivenUpError("the server sent an HTML page instead of the file")
    coding = answer.headers.get("Content-Encoding", "identity").lower()
    if coding != "identity" and not part.out.name.endswith((".gz", ".tgz")):
        raise GivenUpError(f"the server re-coded the file ({coding}) although it was asked not to")
    length = answer.headers.get("Content-Length")
    if status == 200:
        part.restart()  # the server ignored the range, or has another file by now
        return int(length) if length else None
    span, _, total = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    if not validator or span.split("-")[0] != str(part.size):
        part.restart()
        raise _TryAgainError(f"the server sent another range than asked for ({span or 'none stated'})")
    return int(total) if total.isdigit() else None


def _validator(answer: requests.Response) -> str:
    """Return what identifies this version of the file: a strong ETag (weak ones cannot guard a range) or its date."""
    etag = answer.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified", "")


def _retry_after(answer: requests.Response) -> float | None:
    text = answer.headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - time.time())
