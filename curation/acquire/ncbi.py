"""pysradb, asking NCBI by our own polite requests.

On its own pysradb sends no User-Agent, waits for ever, and takes an error page for an empty answer.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import requests

from curation.acquire.failures import GivenUpError
from curation.acquire.http import Patience, open_answer, persist

# A page of 500 experiments is 2 MB.
MAX_ANSWER_BYTES = 64 * 2**20
_LENDING = threading.Lock()


class PoliteRequests:
    """What pysradb uses of `requests`: get and post, each with retries, within NCBI's limits, and checked.

    Parameters
    ----------
    patience : Patience
    check : callable
        Raises `GivenUpError` or `TryAgainError` for an answer that is not what was asked for.
    """

    def __init__(self, patience: Patience, check: Callable[[requests.Response], None]) -> None:
        self._patience, self._check = patience, check

    def get(self, url: str, params: Mapping[str, Any] | None = None) -> requests.Response:
        """Return an answer that was read to its end."""

        def attempt() -> requests.Response:
            with open_answer("GET", url, self._patience, params=params, accept=(200,)) as answer:
                body = answer.raw.read(MAX_ANSWER_BYTES + 1, decode_content=True)
                if len(body) > MAX_ANSWER_BYTES:
                    raise GivenUpError(f"{urlsplit(url).hostname} answered with more than {MAX_ANSWER_BYTES:,} bytes")
                answer._content = body
                self._check(answer)
                return answer

        return persist(attempt, self._patience)

    def post(self, url: str, data: Mapping[str, Any] | None = None) -> requests.Response:
        """As `get`: the queries that we send are short, and NCBI takes them either way."""
        return self.get(url, params=data)


@contextmanager
def lent_to_pysradb(polite: PoliteRequests) -> Iterator[Any]:
    """Give the package pysradb, which asks by `polite` until the block ends; one block at a time."""
    with _LENDING:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tqdm about notebooks, of pandas about the future
            import pysradb
            import pysradb.geoweb
            import pysradb.sraweb
        borrowers = (pysradb.geoweb, pysradb.sraweb)
        for module in borrowers:
            module.requests = polite
        try:
            yield pysradb
        finally:
            for module in borrowers:
                module.requests = requests
