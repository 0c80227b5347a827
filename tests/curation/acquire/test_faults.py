"""Every fault of a public server against every kind of address: the exact bytes, or a clear error and no file.

The server is a subprocess that plays the hosts over TLS; the code under test reaches it as it would reach the internet.
"""

from __future__ import annotations

import gzip
import hashlib
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from loopback import Fault, busy, captcha

from curation.acquire.fetch import fetch
from curation.acquire.http import Patience
from curation.acquire.lock import SourcesLock
from curation.errors import InputError
from curation.remote_file import RemoteFile

pytestmark = pytest.mark.usefixtures("no_intervals")

# A gzip file proves its own end and content, so nothing wrong passes even where no checksum is known.
BODY = gzip.compress(random.Random(0).randbytes(300_000), compresslevel=1)
SHA256 = hashlib.sha256(BODY).hexdigest()
COLLECTION = "999f2a15-3d7e-440b-96ae-2c806799c08c"
NAME = "counts.mtx.gz"
N = 100_000


@dataclass(frozen=True, kw_only=True)
class Place:
    """A kind of address: how the file is published, where its bytes come from, and how many urls lead there."""

    address: str
    url: str
    n_urls: int = 1

    def publish(self, internet: Any) -> None:
        """Put the file there."""
        kind = self.address.partition(":")[0]
        if kind in ("https", "http"):
            internet.serve(self.address, BODY)
        elif kind == "figshare":
            internet.figshare(10298696, {NAME: BODY})
        elif kind == "zenodo":
            internet.zenodo(13350497, {NAME: BODY})
        elif kind == "cellxgene":
            internet.cellxgene(COLLECTION, [(NAME, BODY), ("another", b"other")])
        elif kind == "geo":
            internet.geo("GSE176078", {NAME: BODY})
        else:
            internet.bucket("studies", {NAME: BODY})


# Both of figshare's hosts redirect there.
FIGSHARE = "https://s3-eu-west-1.amazonaws.com/pfigshare-u-files/*"
PLACES = {
    "https": Place(address=f"https://files.example.org/{NAME}", url=f"https://files.example.org/{NAME}"),
    "http": Place(address=f"http://files.example.org/{NAME}", url=f"http://files.example.org/{NAME}"),
    "figshare id": Place(address="figshare:1001", url=FIGSHARE, n_urls=2),
    "figshare article": Place(address=f"figshare:10298696/{NAME}", url=FIGSHARE, n_urls=2),
    "zenodo": Place(
        address=f"zenodo:13350497/{NAME}", url=f"https://zenodo.org/api/records/13350497/files/{NAME}/content"
    ),
    "cellxgene": Place(address=f"cellxgene:{COLLECTION}/{NAME}", url="https://datasets.cellxgene.cziscience.com/*"),
    "geo": Place(
        address=f"geo:GSE176078/{NAME}", url=f"https://ftp.ncbi.nlm.nih.gov/geo/series/GSE176nnn/GSE176078/suppl/{NAME}"
    ),
    "s3": Place(address=f"s3://studies/{NAME}", url="studies.s3.amazonaws.com"),
    "gs": Place(address=f"gs://studies/{NAME}", url="storage.googleapis.com"),
}

# Fault -> the wrong answers in order, and what must come of them:
#   arrives   the loop recovers by itself
#   final     this url is given up at once; the file arrives where another url serves it
#   either    depends on what is known of the file
FAULTS: dict[str, tuple[list[Fault], str]] = {
    "cut at a byte": ([Fault(cut_after=N)], "arrives"),
    "cut twice": ([Fault(cut_after=N), Fault(cut_after=N)], "arrives"),
    "connection reset": ([Fault(reset_after=N)], "arrives"),
    "reset before the answer": ([Fault(hang_up=True)], "arrives"),
    "stall": ([Fault(stall_after=N)], "arrives"),
    "slow drip": ([Fault(bytes_per_s=20_000)], "arrives"),
    "429 with Retry-After": ([busy(429, "2")], "arrives"),
    "429 without": ([busy(429)], "arrives"),
    "503": ([busy(503)], "arrives"),
    "503 and a page": ([Fault(status=503, body=b"<html>busy</html>")], "arrives"),
    "202 and nothing": ([Fault(status=202)], "final"),
    "404": ([Fault(status=404)], "final"),
    "200 and nothing": ([Fault(body=b"")], "final"),
    "captcha as 200": ([captcha()], "final"),
    "captcha that claims to be data": ([captcha("application/octet-stream")], "final"),
    "a message as 200": ([Fault(body=b'{"message": "limit"}', headers={"Content-Type": "application/json"})], "final"),
    "corrupted bytes": ([Fault(corrupt=True)], "final"),
    "corrupted, then cut": ([Fault(corrupt=True, cut_after=N * 2), Fault(cut_after=N // 2)], "arrives"),
    "Content-Length too large": ([Fault(length_delta=100)], "either"),
    "Content-Length too small": ([Fault(length_delta=-100)], "either"),
    "another version between two parts": ([Fault(other_version=True, cut_after=N)], "arrives"),
    "redirects without end": ([Fault(redirect_loop=True)], "final"),
    "range ignored": ([Fault(cut_after=N), Fault(ignore_range=True)], "arrives"),
    "gzip stream cut before it was served": ([Fault(short_by=100)], "final"),
    "certificate of a stranger": ([Fault(tls="stranger")], "final"),
    "certificate of another host": ([Fault(tls="other_host")], "final"),
    "no Content-Length": ([Fault(no_length=True)], "arrives"),
    "no Content-Length, cut": ([Fault(no_length=True, cut_after=N)], "either"),
    "chunked": ([Fault(chunked=True)], "arrives"),
    "chunked, cut": ([Fault(chunked=True, cut_after=N)], "arrives"),
}
# obstore asks twice and in ranges of its own, so only this is fixed: the exact bytes, or a clear error.
OWN_CLIENT = ("s3", "gs")


@pytest.fixture
def patience() -> Patience:
    """Four tries that do not wait, and a short temper with stalls and drips."""
    return Patience(
        tries=4, connect_s=5.0, read_s=0.4, slowest_bytes_per_s=100_000, slow_s=0.3, sleep=lambda seconds: None
    )


def outcome(remote: RemoteFile, folder: Path, patience: Patience) -> str:
    """Fetch; return "" where the exact bytes arrived, or else the message. Anything between the two fails."""
    out = folder / "sources" / "toy" / NAME
    pin = SourcesLock(folder / "sources.lock.yaml").pin("toy", NAME)
    try:
        provenance = fetch(remote, out, pin=pin, patience=patience)
    except InputError as error:
        left = {path.name for path in out.parent.iterdir()}
        complete = bool(error.found and error.todo)
        assert (left & {NAME, f"{NAME}.provenance.json"}, pin.get(), complete) == (set(), None, True)
        return str(error)
    assert out.read_bytes() == BODY
    assert provenance["sha256"] == SHA256
    assert not out.with_name(f"{NAME}.part").exists()
    return ""


def expected_sums(known: str) -> dict[str, Any]:
    """What the catalogue knows of the file."""
    return {"sum": {"sha256": SHA256, "size": len(BODY)}, "size": {"size": len(BODY)}, "nothing": {}}[known]


CROSSED = [
    (fault, place)
    for fault, (answers, _) in FAULTS.items()
    for place in PLACES
    if not (answers[0].tls and place == "http")  # plain http has no certificate
]


@pytest.mark.parametrize("known", ["sum", "nothing"])
@pytest.mark.parametrize(("fault", "place"), CROSSED)
def test_a_fault_ends_in_the_exact_bytes_or_in_a_clear_error(
    internet: Any, tmp_path: Path, patience: Patience, fault: str, place: str, known: str
) -> None:
    faults, expected = FAULTS[fault]
    at = PLACES[place]
    at.publish(internet)
    internet.fault(at.url, *faults)
    remote = RemoteFile(path=NAME, addresses=(at.address,), **expected_sums(known))
    message = outcome(remote, tmp_path, patience)
    assert internet.faults_left() < len(faults)
    if place not in OWN_CLIENT:
        if expected == "arrives" or (expected == "final" and at.n_urls > 1 and not faults[0].tls):
            assert message == ""
        elif expected == "final" and not faults[0].tls:
            assert message != ""
        assert internet.unknown_hosts() == []


@pytest.mark.parametrize("place", PLACES)
def test_a_fault_that_never_ends_is_given_up_and_nothing_is_left(
    internet: Any, tmp_path: Path, patience: Patience, place: str
) -> None:
    at = PLACES[place]
    at.publish(internet)
    internet.fault(at.url, busy(503), times=50)
    message = outcome(RemoteFile(path=NAME, addresses=(at.address,)), tmp_path, patience)
    assert "503" in message
    assert internet.faults_left() > 30


@pytest.mark.parametrize("place", PLACES)
def test_a_mirror_helps_where_an_address_fails(internet: Any, tmp_path: Path, patience: Patience, place: str) -> None:
    at = PLACES[place]
    at.publish(internet)
    internet.fault(at.url, Fault(status=404), times=9)
    mirror = f"https://mirror.example.org/{NAME}"
    internet.serve(mirror, BODY)
    assert outcome(RemoteFile(path=NAME, addresses=(at.address, mirror)), tmp_path, patience) == ""
