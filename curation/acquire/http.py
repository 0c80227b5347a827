"""One polite request: identified, within the host's limits, every failure sorted by what is to be done next."""

from __future__ import annotations

import email.utils
import random
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
import urllib3.exceptions

from curation.acquire.failures import BusyError, GivenUpError, TryAgainError
from curation.acquire.host_limits import host_slot

# The only 4xx answers that may be different a moment later
RETRIED_4XX = (408, 429)
MAX_REDIRECTS = 10
# Most bytes that are taken from a connection at once
PIECE_BYTES = 2**20
# What an API's answer may weigh; a page of 2,000 files of the GDC is 2 MB.
MAX_JSON_BYTES = 64 * 2**20

# What a transfer that breaks raises, at whatever layer it breaks
_BROKEN = (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError, TimeoutError, ssl.SSLError)

T = TypeVar("T")


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
    connect_s, read_s : float
        Longest wait for a connection, and between two pieces of an answer.
    slowest_bytes_per_s, slow_s : float
        A transfer that stays below this rate for so many seconds is broken off and tried again.
    sleep : callable
        Takes seconds.
    """

    tries: int = 6
    first_wait_s: float = 1.0
    longest_wait_s: float = 120.0
    connect_s: float = 15.0
    read_s: float = 90.0
    slowest_bytes_per_s: float = 1000.0
    slow_s: float = 60.0
    sleep: Callable[[float], None] = time.sleep


def user_agent() -> str:
    """Return what servers see."""
    try:
        version = metadata.version("diverserna")
    except metadata.PackageNotFoundError:
        version = "source"
    return f"DiverseRNA/{version} (corpus builder; python-requests/{requests.__version__})"


@contextmanager
def open_answer(
    method: str,
    url: str,
    patience: Patience,
    *,
    headers: Mapping[str, str] | None = None,
    params: Mapping[str, Any] | None = None,
    json: Any = None,
    accept: tuple[int, ...] = (200, 206),
) -> Iterator[requests.Response]:
    """Send one request and give the answer, whose body is not read yet; the host's slot is held until the block ends.

    Failures inside the block are sorted as well, so a transfer that breaks is one more `TryAgainError`.

    Parameters
    ----------
    method, url, params, json
        As of `requests.request`. Proxies and certificates come from the environment.
    patience : Patience
        For its timeouts.
    headers : mapping, optional
        Added to User-Agent and Accept-Encoding: identity.
    accept : tuple of int
        Status codes that are an answer.

    Raises
    ------
    TryAgainError
        408, 429, 5xx or a connection that failed.
    GivenUpError
        Any other status, a certificate that is not accepted, or redirects that do not end or leave https.
    """
    sent = {"User-Agent": user_agent(), "Accept-Encoding": "identity", **(headers or {})}
    try:
        with host_slot(url), _Session() as session:
            session.max_redirects = MAX_REDIRECTS
            with session.request(
                method,
                url,
                headers=sent,
                params=params,
                json=json,
                stream=True,
                timeout=(patience.connect_s, patience.read_s),
                allow_redirects=True,
            ) as answer:
                _refuse_status(answer, accept)
                yield answer
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
        raise GivenUpError(f"no address that can be asked: {error}") from None
    except requests.exceptions.TooManyRedirects:
        raise GivenUpError(f"the server redirects without an end (more than {MAX_REDIRECTS} times)") from None
    except _BROKEN as error:
        if _certificate_refused(error):
            raise GivenUpError(
                f"the server's certificate was not accepted: {_innermost(error)}",
                todo="check the clock of this machine; behind a proxy of your institution, set REQUESTS_CA_BUNDLE",
            ) from None
        raise TryAgainError(f"the connection to {urlsplit(url).hostname} failed: {_innermost(error)}") from None


def pieces(answer: requests.Response, patience: Patience) -> Iterator[bytes]:
    """Yield the bytes of an answer when they arrive.

    Raises
    ------
    TryAgainError
        They only drip.
    """
    begun, n_bytes = time.monotonic(), 0
    while piece := answer.raw.read1(PIECE_BYTES, decode_content=False):
        yield piece
        n_bytes += len(piece)
        seconds = time.monotonic() - begun
        if seconds >= patience.slow_s:
            if n_bytes < patience.slowest_bytes_per_s * seconds:
                raise TryAgainError(f"only {n_bytes:,} bytes arrived in {seconds:.0f} s")
            begun, n_bytes = time.monotonic(), 0


def persist(attempt: Callable[[], T], patience: Patience) -> T:
    """Call `attempt` until it succeeds, waiting longer after each `TryAgainError`.

    Raises
    ------
    BusyError
        After `patience.tries` tries without progress, or if the server asks for a longer wait than the longest.
    """
    failures = 0
    while True:
        try:
            return attempt()
        except TryAgainError as error:
            failures = 1 if error.progress else failures + 1
            if failures >= patience.tries:
                raise BusyError(f"{error} ({failures} tries)") from None
            if error.wait_s is not None and error.wait_s > patience.longest_wait_s:
                raise BusyError(f"{error}; the server asks to wait {error.wait_s:.0f} s") from None
            wait_s = min(patience.first_wait_s * 2 ** (failures - 1), patience.longest_wait_s) * random.uniform(1, 1.25)
            wait_s = max(wait_s, error.wait_s or 0.0)
            print(f"{error}; try {failures + 1} of {patience.tries} in {wait_s:.0f} s", file=sys.stderr, flush=True)
            patience.sleep(wait_s)


def get_json(url: str, patience: Patience, *, params: Mapping[str, Any] | None = None, post: Any = None) -> Any:
    """Return what an API answers, parsed.

    Parameters
    ----------
    url : str
    patience : Patience
    params : mapping, optional
        The query.
    post : object, optional
        Sent as JSON by POST; GET without it.

    Raises
    ------
    GivenUpError
        The API stays busy, refuses, or answers with something other than JSON.
    """
    host = urlsplit(url).hostname

    def attempt() -> Any:
        method = "GET" if post is None else "POST"
        with open_answer(
            method, url, patience, params=params, json=post, headers={"Accept": "application/json"}
        ) as answer:
            body = answer.raw.read(MAX_JSON_BYTES + 1, decode_content=True)
            if len(body) > MAX_JSON_BYTES:
                raise GivenUpError(f"{host} answered with more than {MAX_JSON_BYTES:,} bytes of JSON")
            answer._content = body
            try:
                return answer.json()
            except requests.exceptions.JSONDecodeError:
                start = " ".join(body[:80].decode("utf-8", "replace").split())
                raise GivenUpError(f"{host} answered with something other than JSON: {start!r}") from None

    return persist(attempt, patience)


class _Session(requests.Session):
    """A session that never leaves https."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target and resp.url.startswith("https:") and target.lower().startswith("http:"):
            raise GivenUpError(f"the server redirects from https to http ({target})")
        return target


def _refuse_status(answer: requests.Response, accept: tuple[int, ...]) -> None:
    status, host = answer.status_code, urlsplit(answer.url).hostname
    if status in accept:
        return
    if status in RETRIED_4XX or status >= 500:
        raise TryAgainError(f"{host} answered {status}", _retry_after(answer))
    raise GivenUpError(f"{host} answered {status}; only {' and '.join(map(str, accept))} carry a file")


def _retry_after(answer: requests.Response) -> float | None:
    text = answer.headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - time.time())


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and everything it wraps; urllib3 keeps the cause in `reason`, requests in `args`."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        inner = [getattr(found, "reason", None), found.__cause__, found.__context__, *found.args]
        waiting += [other for other in inner if isinstance(other, BaseException)]


def _certificate_refused(error: BaseException) -> bool:
    return any(isinstance(found, ssl.SSLCertVerificationError) for found in _chain(error))


def _innermost(error: BaseException) -> str:
    """Return the words that say most: of the first system error below the wrappers, or of the wrapper itself."""
    for found in _chain(error):
        if isinstance(found, OSError) and not isinstance(found, requests.RequestException):
            return f"{type(found).__name__}: {found}"
    return f"{type(error).__name__}: {error}"
