"""Objects of buckets: the bytes of one version of one object, whatever the store does meanwhile."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loopback import Fault, busy, captcha

from curation.acquire.addresses import BucketAddress, parse_address
from curation.acquire.buckets import RANGE_BYTES, download_object, object_head
from curation.acquire.failures import GivenUpError
from curation.acquire.http import Patience
from curation.acquire.part_file import PartFile
from curation.remote_file import RemoteFile

pytestmark = pytest.mark.usefixtures("no_intervals")

# Two ranges and a bit
BODY = np.random.default_rng(1).bytes(2 * RANGE_BYTES + 1000)
KEY = "release 1/counts.bin"
HOSTS = {"s3": "studies.s3.amazonaws.com", "gs": "storage.googleapis.com"}


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def patience() -> Patience:
    """Four tries that do not wait."""
    return Patience(tries=4, read_s=1.0, slow_s=1.0, sleep=lambda _: None)


@pytest.fixture(params=["s3", "gs"])
def address(request: pytest.FixtureRequest) -> BucketAddress:
    """The same object in a bucket of either store."""
    parsed = parse_address(f"{request.param}://studies/{KEY}")
    assert isinstance(parsed, BucketAddress)
    return parsed


def get(address: BucketAddress, folder: Path, patience: Patience, **fields: Any) -> bytes:
    """Download into a part file of `folder`; return its bytes."""
    remote = RemoteFile(path="counts.bin", addresses=(f"{address.scheme}://studies/{KEY}",), **fields)
    with PartFile(remote, folder / "counts.bin") as part:
        download_object(address, part, patience)
        assert part.sha256 == hashlib.sha256(part.path.read_bytes()).hexdigest()
        return part.path.read_bytes()


def test_an_object_arrives_by_ranges_without_an_account(
    internet: Any, tmp_path: Path, address: BucketAddress, patience: Patience
) -> None:
    internet.bucket("studies", {KEY: BODY})
    etag = f'"{hashlib.md5(BODY, usedforsecurity=False).hexdigest()}"'
    assert object_head(address, patience) == (len(BODY), etag)
    assert get(address, tmp_path, patience) == BODY
    host = HOSTS[address.scheme]
    asked = [entry["headers"] for entry in internet.requests(host) if entry["method"] == "GET"]
    assert len(asked) == 3
    assert {headers["if-match"] for headers in asked} == {etag}
    assert all("authorization" not in headers for headers in asked)
    assert all(headers["user-agent"].startswith("DiverseRNA/") for headers in asked)
    assert internet.bytes_sent(host) == len(BODY)
    assert internet.unknown_hosts() == []


def test_an_endpoint_of_the_environment_is_used(
    internet: Any, tmp_path: Path, patience: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    internet.bucket("studies", {KEY: BODY})
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", internet.direct("/").rstrip("/"))
    address = BucketAddress(scheme="s3", bucket="studies", key=KEY)
    assert get(address, tmp_path, patience) == BODY
    assert {entry["host"] for entry in internet.requests()} == {"127.0.0.1"}


@pytest.mark.parametrize(
    "fault",
    [
        busy(429),
        busy(503),
        Fault(hang_up=True),
        Fault(cut_after=100_000),
        Fault(reset_after=100_000),
        Fault(stall_after=100_000),
        Fault(bytes_per_s=500),
        Fault(length_delta=500),
        Fault(length_delta=-500),
        Fault(ignore_range=True),
        Fault(chunked=True),
        Fault(no_length=True),
        Fault(no_length=True, cut_after=100_000),
        captcha(),
        captcha("application/octet-stream"),
    ],
    ids=lambda fault: "-".join(map(str, fault.to_json())),
)
def test_a_passing_failure_costs_a_try_and_no_byte_is_wrong(
    internet: Any, tmp_path: Path, patience: Patience, fault: Any
) -> None:
    internet.bucket("studies", {KEY: BODY})
    internet.fault(HOSTS["s3"], Fault(**{**vars(fault), "method": "GET"}))
    address = BucketAddress(scheme="s3", bucket="studies", key=KEY)
    assert get(address, tmp_path, patience) == BODY
    assert internet.faults_left() == 0


def test_an_object_that_is_replaced_between_ranges_is_taken_from_its_first_byte(
    internet: Any, tmp_path: Path, address: BucketAddress, patience: Patience
) -> None:
    internet.bucket("studies", {KEY: BODY[::-1]})
    internet.fault(HOSTS[address.scheme], cut_after=5_000_000, method="GET")
    with pytest.raises(GivenUpError, match="1 tries"):
        get(address, tmp_path, Patience(tries=1, read_s=1.0))
    assert (tmp_path / "counts.bin.part").stat().st_size > 1_000_000
    internet.bucket("studies", {KEY: BODY})
    assert get(address, tmp_path, patience) == BODY


def test_another_version_in_the_middle_is_refused_by_the_store(
    internet: Any, tmp_path: Path, address: BucketAddress, patience: Patience
) -> None:
    internet.bucket("studies", {KEY: BODY})
    internet.fault(HOSTS[address.scheme], other_version=True, method="GET")
    assert get(address, tmp_path, patience) == BODY


def test_a_later_run_resumes_at_the_last_byte(
    internet: Any, tmp_path: Path, address: BucketAddress, patience: Patience
) -> None:
    internet.bucket("studies", {KEY: BODY})
    host = HOSTS[address.scheme]
    internet.fault(host, cut_after=5_000_000, method="GET")
    with pytest.raises(GivenUpError):
        get(address, tmp_path, Patience(tries=1, read_s=1.0))
    kept = (tmp_path / "counts.bin.part").stat().st_size
    assert 4_000_000 < kept <= 5_000_000
    assert get(address, tmp_path, patience) == BODY
    assert internet.requests(host)[3]["headers"]["range"].startswith(f"bytes={kept}-")
    assert internet.bytes_sent(host) < 1.01 * len(BODY) + 5_000_000 - kept


def test_corrupted_bytes_are_refused_by_the_checksum(
    internet: Any, tmp_path: Path, address: BucketAddress, patience: Patience
) -> None:
    internet.bucket("studies", {KEY: BODY})
    internet.fault(HOSTS[address.scheme], corrupt=True, method="GET", times=9)
    with pytest.raises(GivenUpError, match="sha256"):
        get(address, tmp_path, patience, sha256=hashlib.sha256(BODY).hexdigest())


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(status=403), "without an account"),
        (Fault(status=301), "redirects elsewhere"),
        (Fault(tls="stranger"), "certificate was not accepted"),
        (Fault(tls="other_host"), "certificate was not accepted"),
        (Fault(status=404), "no such object"),
    ],
    ids=["403", "301", "stranger", "other host", "404"],
)
def test_a_final_failure_is_told_at_once(
    internet: Any, tmp_path: Path, address: BucketAddress, patience: Patience, fault: Any, words: str
) -> None:
    internet.bucket("studies", {KEY: BODY})
    internet.fault(HOSTS[address.scheme], fault)
    with pytest.raises(GivenUpError, match=words):
        get(address, tmp_path, patience)
    assert len(internet.requests()) <= 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fault", [Fault(status=202), captcha()], ids=["202", "captcha"])
def test_a_challenge_is_no_object(
    internet: Any, tmp_path: Path, address: BucketAddress, patience: Patience, fault: Any
) -> None:
    internet.bucket("studies", {KEY: BODY})
    internet.fault(HOSTS[address.scheme], fault, times=9)
    with pytest.raises(GivenUpError, match=r"names no version|Header missing from response \(4 tries\)"):
        get(address, tmp_path, patience)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_object_and_a_wrong_size_are_told(
    internet: Any, tmp_path: Path, address: BucketAddress, patience: Patience
) -> None:
    internet.bucket("studies", {"other": BODY})
    with pytest.raises(GivenUpError, match="no such object"):
        object_head(address, patience)
    internet.bucket("studies", {KEY: BODY})
    with pytest.raises(GivenUpError, match=f"has {len(BODY):,} bytes, the catalogue says 7"):
        get(address, tmp_path, patience, size=7)


def test_a_store_that_stays_busy_is_given_up(
    internet: Any, tmp_path: Path, address: BucketAddress, patience: Patience
) -> None:
    internet.bucket("studies", {KEY: BODY})
    internet.fault(HOSTS[address.scheme], status=503, times=9)
    with pytest.raises(GivenUpError, match=r"503.*\(4 tries\)"):
        get(address, tmp_path, patience)
