"""Objects of public S3 and Google Cloud Storage buckets, through obstore: by ranges that are bound to one version."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from curation.acquire.addresses import BucketAddress
from curation.acquire.failures import GivenUpError, TryAgainError
from curation.acquire.host_limits import host_slot
from curation.acquire.http import Patience, persist, user_agent
from curation.acquire.part_file import PartFile
from curation.acquire.progress import Progress
from curation.acquire.transfer import transfer

if TYPE_CHECKING:
    from obstore.store import ClientConfig, GCSStore, RetryConfig, S3Store

# One request asks for so much: enough that its latency does not show, little enough to lose.
RANGE_BYTES = 8 * 2**20
# Pieces are taken as they arrive: a larger one would hide how slowly.
PIECE_BYTES = 1
# The only 4xx answers that may be different a moment later
RETRIED_4XX = (408, 429)
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


def download_object(address: BucketAddress, part: PartFile, patience: Patience) -> None:
    """Fill `part` with an object and check it.

    Every range is asked for on condition that the object still is the version of the first one. The part of an earlier
    try is taken up where it ended, if it is of that version or the catalogue has a checksum that will tell.

    Raises
    ------
    GivenUpError
        There is no such object, it may not be read, the store stays busy, or the bytes are not the file.
    InputError
        The disk has no room.
    """

    transfer(_url(address), part, patience, lambda validator: _append(address, part, patience, validator))


def object_head(address: BucketAddress, patience: Patience | None = None) -> tuple[int, str]:
    """Return size and ETag of an object.

    Raises
    ------
    GivenUpError
        There is no such object, it may not be read, or the store stays busy.
    """
    patience = patience or Patience()
    return persist(lambda: _head(_store(address, patience), address), patience)


def _append(address: BucketAddress, part: PartFile, patience: Patience, validator: str | None) -> None:
    """Append the ranges that are missing."""
    store = _store(address, patience)
    size, etag = _head(store, address)
    expected = part.remote.size
    if expected is not None and size != expected:
        raise GivenUpError(f"the object has {size:,} bytes, the catalogue says {expected:,}")
    if part.size and (validator not in ("", etag) or part.size > size):
        part.restart()  # another version by now
    part.require_room(size - part.size)
    part.remember(_url(address), etag)
    with Progress(part.out.name, size, done=part.size) as progress:
        while part.size < size:
            stop = min(part.size + RANGE_BYTES, size)
            for piece in _range(store, address, (part.size, stop), etag, patience):
                part.write(piece)
                progress.add(len(piece))
            if part.size != stop:
                raise TryAgainError(f"a range ended after {part.size:,} bytes, not {stop:,}")


def _head(store: S3Store | GCSStore, address: BucketAddress) -> tuple[int, str]:
    import obstore

    with _sorted_failures(address), host_slot(_host_url(address)):
        found = obstore.head(store, address.key)
    if not found["e_tag"]:
        raise GivenUpError("the answer is not an object's: it names no version (ETag)")
    return found["size"], found["e_tag"]


def _range(
    store: S3Store | GCSStore, address: BucketAddress, span: tuple[int, int], etag: str, patience: Patience
) -> Iterator[bytes]:
    """Yield the bytes of a range; raise `TryAgainError` for a transfer that only drips."""
    import obstore

    with _sorted_failures(address), host_slot(_host_url(address)):
        begun, n_bytes = time.monotonic(), 0
        answer = obstore.get(store, address.key, options={"range": span, "if_match": etag})
        for piece in answer.stream(min_chunk_size=PIECE_BYTES):
            yield bytes(piece)
            n_bytes += len(piece)
            seconds = time.monotonic() - begun
            if seconds >= patience.slow_s and n_bytes < patience.slowest_bytes_per_s * seconds:
                raise TryAgainError(f"only {n_bytes:,} bytes arrived in {seconds:.0f} s")


@contextmanager
def _sorted_failures(address: BucketAddress) -> Iterator[None]:
    """Turn obstore's errors into what is to be done next."""
    from obstore.exceptions import BaseError, PermissionDeniedError, PreconditionError, UnauthenticatedError

    try:
        yield
    except FileNotFoundError:
        raise GivenUpError("there is no such object (404)", todo="check bucket and key") from None
    except (PermissionDeniedError, UnauthenticatedError):
        raise GivenUpError(
            "the object may not be read without an account (403)", todo="check that the bucket is public, and its name"
        ) from None
    except PreconditionError:
        raise TryAgainError("the object was replaced during the download") from None
    except BaseError as error:
        raise _sorted(str(error), address) from None


def _sorted(text: str, address: BucketAddress) -> Exception:
    """Return the failure behind a message: its first line for people, then the chain of causes."""
    what = text.partition("\n")[0]
    status = re.search(r"status code: (\d{3})", what)
    if "certificate" in text.lower():
        return GivenUpError(
            f"the server's certificate was not accepted: {what}",
            todo="check the clock of this machine; behind a proxy of your institution, set REQUESTS_CA_BUNDLE",
        )
    if "redirect" in text.lower():
        todo = "set AWS_REGION to the bucket's region" if address.scheme == "s3" else ""
        return GivenUpError(f"the store redirects elsewhere: {what}", todo=todo)
    if status and int(status[1]) < 500 and int(status[1]) not in RETRIED_4XX:
        return GivenUpError(what)
    return TryAgainError(what)


def _store(address: BucketAddress, patience: Patience) -> S3Store | GCSStore:
    """Return the bucket; endpoints and regions of the environment count, credentials do not: the buckets are public."""
    from obstore.store import GCSStore, S3Store

    client = _client(patience)
    retries: RetryConfig = {"max_retries": 0}  # persist() waits and counts
    if address.scheme == "gs":
        return GCSStore(address.bucket, skip_signature=True, client_options=client, retry_config=retries)
    if "." in address.bucket or any(os.environ.get(name) for name in (*_ENDPOINTS, "AWS_REGION", "AWS_DEFAULT_REGION")):
        return S3Store(address.bucket, skip_signature=True, client_options=client, retry_config=retries)
    # This host name reaches a bucket of any region; a dot in the bucket's name would not fit its certificate.
    return S3Store(
        address.bucket,
        endpoint=_host_url(address),
        virtual_hosted_style_request=True,
        skip_signature=True,
        client_options=client,
        retry_config=retries,
    )


def _client(patience: Patience) -> ClientConfig:
    longest = timedelta(seconds=RANGE_BYTES / patience.slowest_bytes_per_s + patience.read_s)
    client: ClientConfig = {
        "user_agent": user_agent(),
        "connect_timeout": timedelta(seconds=patience.connect_s),
        "read_timeout": timedelta(seconds=patience.read_s),
        "timeout": longest,
    }
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE")
    if bundle:
        client["root_certificate"] = Path(bundle).read_bytes()
    if any(os.environ.get(name, "").startswith("http://") for name in _ENDPOINTS):
        client["allow_http"] = True
    return client


def _url(address: BucketAddress) -> str:
    return f"{address.scheme}://{address.bucket}/{address.key}"


def _host_url(address: BucketAddress) -> str:
    """Return the public host that the bucket's limit of connections is counted for."""
    return "https://storage.googleapis.com" if address.scheme == "gs" else f"https://{address.bucket}.s3.amazonaws.com"
