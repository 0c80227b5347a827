"""Download over HTTP: patient with servers that are busy, deaf to answers that are not the file."""

from __future__ import annotations

import requests

from curation.acquire.failures import GivenUpError, TryAgainError, WrongBytesError
from curation.acquire.file_check import has_sum, proves_its_end
from curation.acquire.http import Patience, open_answer, pieces
from curation.acquire.part_file import PartFile
from curation.acquire.progress import Progress
from curation.acquire.transfer import transfer

# An answer of another size than the catalogue's that is no larger is read, because it may be a message worth showing.
MESSAGE_BYTES = 2**16


def download(url: str, part: PartFile, patience: Patience) -> None:
    """Fill `part` with the bytes at `url` and check them; raises as `transfer` does."""
    transfer(url, part, patience, lambda validator: _append(url, part, patience, validator))


def _append(url: str, part: PartFile, patience: Patience, validator: str | None) -> None:
    """Append what the server sends; return when the answer was complete."""
    headers = {}
    if validator is not None and part.size != part.remote.size:
        headers["Range"] = f"bytes={part.size}-"
        if validator:
            headers["If-Range"] = validator
    elif validator is not None:
        return  # every byte is there; the caller checks them
    with open_answer("GET", url, patience, headers=headers, accept=(200, 206, 416) if headers else (200,)) as answer:
        total = _accept(answer, part, validator)
        known = total if total is not None else part.remote.size
        part.require_room(known - part.size if known is not None else 0)
        remembered = False
        with Progress(part.out.name, known, done=part.size) as progress:
            for piece in pieces(answer, patience):
                part.write(piece)
                progress.add(len(piece))
                if not remembered:
                    part.remember(url, _validator(answer), total)
                    remembered = True
    if total is not None and part.size < total:
        raise TryAgainError(f"the answer ended after {part.size:,} of {total:,} bytes")


def _accept(answer: requests.Response, part: PartFile, validator: str | None) -> int | None:
    """Check status and headers; return the size of the whole file, if the server states it."""
    if answer.status_code == 416:
        stated = answer.headers.get("Content-Range", "").removeprefix("bytes */")
        if validator and stated == str(part.size):
            return part.size  # every byte was there already
        raise WrongBytesError("the server has fewer bytes than an earlier try got")
    kind = answer.headers.get("Content-Type", "").split(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml"):
        raise GivenUpError("the server sent an HTML page instead of the file")
    if kind.endswith("json") and not part.remote.path.lower().endswith("json"):
        raise GivenUpError(f"the server sent a message ({kind}) instead of the file")
    coding = answer.headers.get("Content-Encoding", "identity").lower()
    if coding != "identity" and not part.out.name.endswith((".gz", ".tgz")):
        raise GivenUpError(f"the server re-coded the file ({coding}) although it was asked not to")
    if answer.status_code == 200:
        if part.size:
            part.restart()  # the server ignored the range, or has another file by now
        length = answer.headers.get("Content-Length", "")
        total = int(length) if length.isdigit() else None
    else:
        total = _total_of_range(answer, part, validator)
    if total is not None and part.remote.size is not None and total != part.remote.size and total > MESSAGE_BYTES:
        raise WrongBytesError(f"the server's file has {total:,} bytes, the catalogue says {part.remote.size:,}")
    chunked = "chunked" in answer.headers.get("Transfer-Encoding", "").lower()
    if total is None and not chunked and not proves_its_end(part.remote):
        raise GivenUpError(
            "the server does not say how long the file is, so a broken transfer would pass for the whole of it",
            todo="add the file's size or a checksum to the catalogue",
        )
    return total


def _total_of_range(answer: requests.Response, part: PartFile, validator: str | None) -> int | None:
    """Check that a partial answer continues the part; return the size of the whole file, if stated."""
    span, _, total = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    if validator is None or span.split("-")[0] != str(part.size):
        part.reject()
        raise TryAgainError(f"the server sent another range than asked for ({span or 'none stated'})")
    whole = int(total) if total.isdigit() else None
    if validator and not _same_version(answer, part, validator, whole):
        part.reject()
        raise TryAgainError("the server did not confirm that it continues the same version of the file")
    return whole


def _same_version(answer: requests.Response, part: PartFile, validator: str, whole: int | None) -> bool:
    """Return whether a partial answer is of the version that was begun.

    A checksum would notice the joint of two versions. Without one the server has to confirm version and size.
    """
    found = _validator(answer)
    if has_sum(part.remote):
        return found in ("", validator)
    return found == validator and whole == (part.remembered_total or whole)


def _validator(answer: requests.Response) -> str:
    """Return what identifies this version of the file: a strong ETag (weak ones cannot guard a range) or its date."""
    etag = answer.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified", "")
