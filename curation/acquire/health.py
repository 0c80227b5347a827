"""Are the catalogue's addresses still what they were? Every one is asked for, none is downloaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests

from curation.acquire.addresses import (
    BucketAddress,
    GdcAddress,
    ListedAddress,
    LocalAddress,
    WebAddress,
    parse_address,
)
from curation.acquire.failures import BusyError, GivenUpError
from curation.acquire.http import Patience, open_answer, persist
from curation.acquire.lock import SourcesLock
from curation.acquire.source_files import SourceFile, aligned, source_files
from curation.errors import InputError
from curation.sizes import human_size

if TYPE_CHECKING:
    from curation.plan import Plan

OK, MOVED, NO_ANSWER, NOT_ASKED = "ok", "moved", "no answer", "not asked"
# Short, so that without a network it ends in seconds
PATIENCE = Patience(tries=2, connect_s=5)
# Questions at a time; each public host has its own, lower limit.
QUESTIONS = 8
# Answers to HEAD that say more about the server than about the file: it is asked for one byte instead.
HEAD_REFUSED = (403, 405, 501)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What became of one address: `state` is ok, moved, no answer or not asked."""

    label: str
    address: str
    state: str
    what: str = ""


def check_addresses(
    plan: Plan, folder: Path, lock: SourcesLock, patience: Patience | None = None, *, whole: bool = False
) -> list[Finding]:
    """Ask for every address of the files that a plan fetches, without getting them.

    Parameters
    ----------
    plan : Plan
    folder : Path
        Folder of all sources.
    lock : SourcesLock
    patience : Patience, optional
    whole : bool
        Everything in the plan's sheets, not only what it fetches.

    Returns
    -------
    list of Finding
        One an address; for an address with several urls one a url. Moved means: not there, another size than the
        catalogue's, or a page or challenge in its place. A server that stays busy gives no answer.
    """
    patience = patience or PATIENCE
    asked = [(file, text) for file in source_files(plan, folder, lock, whole=whole) for text in file.remote.addresses]
    pool = ThreadPoolExecutor(QUESTIONS)
    try:
        found = pool.map(lambda pair: list(_ask(*pair, patience=patience)), asked)
        return [finding for findings in found for finding in findings]
    finally:
        # Without waiting: after Ctrl-C there may be questions that no server answers.
        pool.shutdown(wait=False, cancel_futures=True)


def all_well(findings: Sequence[Finding]) -> bool:
    """Return whether every address that was asked answered, and none has moved."""
    return all(finding.state in (OK, NOT_ASKED) for finding in findings)


def findings_table(findings: Sequence[Finding]) -> str:
    """Return the findings as a table, with a line of counts."""
    rows = [("file", "address", "state", "")]
    rows += [(finding.label, finding.address, finding.state, finding.what) for finding in findings]
    states = [finding.state for finding in findings]
    counts = ", ".join(f"{states.count(state)} {state}" for state in (OK, MOVED, NO_ANSWER))
    n_not_asked = states.count(NOT_ASKED)
    later = f", {n_not_asked} asked only when fetched" if n_not_asked else ""
    return f"{aligned(rows)}\n\n{len(findings)} addresses: {counts}{later}"


def _ask(file: SourceFile, text: str, *, patience: Patience) -> Iterator[Finding]:
    """Yield what became of an address."""
    finding = Finding(label=file.label, address=text, state=OK)
    try:
        address = parse_address(text)
        if isinstance(address, WebAddress):
            for url in address.urls:
                yield _ask_url(dataclasses.replace(finding, address=url), url, file.size, patience)
            return
        if isinstance(address, ListedAddress):
            yield from _ask_listed(finding, address, file, patience)
            return
        if isinstance(address, LocalAddress):
            size = address.path.stat().st_size if address.path.is_file() else None
            yield _compared(finding, size, file.size) if size is not None else _moved(finding, "there is no such file")
            return
        if isinstance(address, BucketAddress):
            from curation.acquire.buckets import object_head

            yield _compared(finding, object_head(address, patience)[0], file.size)
            return
        if isinstance(address, GdcAddress):
            yield _ask_gdc(finding, address, file, patience)
            return
        yield dataclasses.replace(finding, state=NOT_ASKED, what="asked only when fetched")
    except (GivenUpError, InputError) as error:
        state = NO_ANSWER if isinstance(error, BusyError) else MOVED
        yield dataclasses.replace(finding, state=state, what=str(error).replace("\n", "; "))


def _ask_listed(finding: Finding, address: ListedAddress, file: SourceFile, patience: Patience) -> Iterator[Finding]:
    """Ask the repository's API now, whatever the lock says, and then the urls that it gives."""
    from curation.acquire.listings import locate

    found = locate(address, patience)
    pinned = file.pin.get()
    for fact, now, known in (
        ("size", found.size, file.size),
        ("md5", found.md5, file.remote.md5 or (pinned.md5 if pinned else None)),
    ):
        if now and known and now != known:
            yield _moved(finding, f"the repository now lists {fact} {now}, not {known}")
            return
    for url in found.urls:
        answer = _ask_url(finding, url, file.size or found.size, patience)
        moved_on = pinned is not None and pinned.urls and url not in pinned.urls
        yield dataclasses.replace(answer, what=answer.what or f"now at {url}") if moved_on else answer


def _ask_gdc(finding: Finding, address: GdcAddress, file: SourceFile, patience: Patience) -> Finding:
    from curation.acquire.gdc import list_files, read_listing

    now = {entry.file_id: entry.md5 for entry in list_files(address, patience)}
    listing = read_listing(file.listing) if file.listing is not None else None
    if listing is None:
        return dataclasses.replace(finding, what=f"{len(now):,} files; no listing is pinned yet")
    gone = [entry.file_id for entry in listing.files if now.get(entry.file_id) != entry.md5]
    if gone:
        return _moved(finding, f"{len(gone):,} of {len(listing.files):,} pinned files are no longer listed")
    n_new = len(now) - len(listing.files)
    return dataclasses.replace(finding, what=f"{len(now):,} files" + (f", {n_new:,} of them new" if n_new else ""))


def _ask_url(finding: Finding, url: str, expected: int | None, patience: Patience) -> Finding:
    """Ask by HEAD; where that is refused, or gives another size than expected, by GET for one byte."""

    def attempt() -> Finding:
        try:
            with open_answer("HEAD", url, patience, accept=(200, 202, *HEAD_REFUSED)) as answer:
                size = _stated_size(answer)
                if answer.status_code == 200 and size is not None and size == (expected or size):
                    return _answered(finding, url, answer, size, expected)
            first = {"Range": "bytes=0-0"}
            with open_answer("GET", url, patience, headers=first, accept=(200, 202, 206)) as answer:
                return _answered(finding, url, answer, _stated_size(answer), expected)
        except GivenUpError as error:
            return _moved(finding, str(error))

    try:
        return persist(attempt, patience)
    except GivenUpError as error:
        return dataclasses.replace(finding, state=NO_ANSWER, what=str(error))


def _answered(finding: Finding, url: str, answer: requests.Response, size: int | None, expected: int | None) -> Finding:
    if answer.status_code == 202:
        return _moved(finding, "the server answered 202: a challenge for browsers instead of the file")
    if answer.headers.get("Content-Type", "").split(";")[0].strip().lower() in ("text/html", "application/xhtml+xml"):
        return _moved(finding, "an HTML page instead of the file")
    host, now = urlsplit(url).hostname, urlsplit(answer.url).hostname
    compared = _compared(finding, size, expected)
    return dataclasses.replace(compared, what=compared.what + f" at {now}") if now != host else compared


def _compared(finding: Finding, size: int | None, expected: int | None) -> Finding:
    if size is None:
        return dataclasses.replace(finding, what="the server does not say how large it is")
    if expected is not None and size != expected:
        return _moved(finding, f"{size:,} bytes, the catalogue says {expected:,}")
    return dataclasses.replace(finding, what=human_size(size))


def _moved(finding: Finding, what: str) -> Finding:
    return dataclasses.replace(finding, state=MOVED, what=what)


def _stated_size(answer: requests.Response) -> int | None:
    """Return the size of the whole file, where the headers say it."""
    if answer.status_code == 206:
        total = answer.headers.get("Content-Range", "").rpartition("/")[2]
    else:
        total = answer.headers.get("Content-Length", "")
    return int(total) if total.isdigit() else None
