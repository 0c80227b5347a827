"""The loopback internet misbehaves as it is told: what the other tests rest on."""

from __future__ import annotations

import concurrent.futures
import io
import json
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from loopback import Fault, busy, captcha

BODY = bytes(range(256)) * 40
URL = "https://downloads.example.org/counts.bin"


def get(url: str = URL, **fields: Any) -> requests.Response:
    """Ask once."""
    return requests.get(url, timeout=1, **fields)


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_a_file_is_served_whole_and_by_ranges_that_hold_while_it_is_the_same(internet: Any, scheme: str) -> None:
    url = URL.replace("https", scheme)
    internet.serve(url, BODY)
    whole = get(url)
    assert (whole.status_code, whole.content) == (200, BODY)
    part = get(url, headers={"Range": "bytes=100-199", "If-Range": whole.headers["ETag"]})
    assert (part.status_code, part.content) == (206, BODY[100:200])
    assert part.headers["Content-Range"] == f"bytes 100-199/{len(BODY)}"
    assert get(url, headers={"Range": "bytes=100-", "If-Range": '"other"'}).content == BODY
    assert get(url, headers={"Range": "bytes=-5"}).content == BODY[-5:]
    assert get(url, headers={"Range": f"bytes={len(BODY)}-"}).status_code == 416
    assert get(url, headers={"If-Match": '"other"'}).status_code == 412
    head = requests.head(url, timeout=1)
    assert (head.headers["Content-Length"], head.content) == (str(len(BODY)), b"")
    assert internet.bytes_sent(url) == 2 * len(BODY) + 105


def test_a_host_that_is_not_played_is_noted(internet: Any) -> None:
    with pytest.raises(requests.exceptions.ProxyError):
        get("https://elsewhere.example.org/")
    assert get("http://another.example.org/").status_code == 502
    assert internet.unknown_hosts() == ["elsewhere.example.org", "another.example.org"]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(cut_after=0), requests.exceptions.ChunkedEncodingError),
        (Fault(cut_after=100), requests.exceptions.ChunkedEncodingError),
        (Fault(chunked=True, cut_after=100), requests.exceptions.ChunkedEncodingError),
        (Fault(reset_after=100), requests.exceptions.ChunkedEncodingError),
        (Fault(length_delta=9), requests.exceptions.ChunkedEncodingError),
        (Fault(hang_up=True), requests.exceptions.ConnectionError),
        (Fault(stall_after=100), requests.exceptions.ConnectionError),
        (Fault(redirect_loop=True), requests.exceptions.TooManyRedirects),
        (Fault(tls="stranger"), requests.exceptions.SSLError),
        (Fault(tls="other_host"), requests.exceptions.SSLError),
    ],
    ids=lambda value: "-".join(value.to_json()) if isinstance(value, Fault) else "",
)
def test_a_broken_answer_breaks_once(internet: Any, fault: Any, error: type[Exception]) -> None:
    internet.serve(URL, BODY, fault)
    with pytest.raises(error):
        get()
    assert get().content == BODY


@pytest.mark.parametrize(
    ("fault", "status", "content"),
    [
        (busy(429, "7"), 429, b""),
        (busy(503), 503, b""),
        (Fault(status=202), 202, b""),
        (captcha(), 200, captcha().body),
        (captcha("application/octet-stream"), 200, captcha().body),
        (Fault(short_by=3), 200, BODY[:-3]),
        (Fault(length_delta=-3), 200, BODY[:-3]),
        (Fault(no_length=True), 200, BODY),
        (Fault(no_length=True, cut_after=10), 200, BODY[:10]),
        (Fault(chunked=True), 200, BODY),
        (Fault(stall_after=10, stall_s=0.1), 200, BODY),
        (Fault(bytes_per_s=100_000), 200, BODY),
        (Fault(ignore_range=True), 200, BODY),
        (Fault(other_version=True), 206, None),
        (Fault(corrupt=True), 206, None),
        (Fault(headers={"ETag": '"another"'}), 206, BODY),
    ],
    ids=lambda value: "-".join(value.to_json()) if isinstance(value, Fault) else "",
)
def test_a_wrong_answer_is_wrong_once(internet: Any, fault: Any, status: int, content: bytes | None) -> None:
    internet.serve(URL, BODY, fault)
    asked = {"Range": "bytes=0-"} if status == 206 or fault.ignore_range else {}
    answer = get(headers=asked)
    assert answer.status_code == status
    if content is None:
        assert len(answer.content) == len(BODY)
        assert answer.content != BODY
    else:
        assert answer.content == content
    if fault.headers:
        assert fault.headers.items() <= answer.headers.items()
    assert get().content == BODY


def test_faults_of_a_host_and_of_a_folder_meet_its_files_and_others_do_not(internet: Any) -> None:
    internet.serve(URL, BODY)
    internet.fault("downloads.example.org", status=503)
    internet.fault("https://downloads.example.org/other/*", status=500)
    internet.fault(URL, status=418, method="HEAD")
    assert [get().status_code, get().status_code] == [503, 200]
    assert requests.head(URL, timeout=1).status_code == 418
    assert internet.faults_left() == 1


def test_the_log_has_every_request_and_the_most_that_ran_at_once(internet: Any) -> None:
    internet.serve(URL, BODY)
    internet.fault(URL, stall_after=10, stall_s=0.3, times=3)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        assert all(answer.content == BODY for answer in pool.map(lambda _: get(), range(3)))
    assert internet.max_parallel("downloads.example.org") == 3
    assert [(entry["method"], entry["bytes_sent"]) for entry in internet.requests(URL)] == [("GET", len(BODY))] * 3


def test_hundreds_of_small_files_a_second(internet: Any) -> None:
    internet.serve(URL, BODY[:100])
    begun = time.perf_counter()
    with requests.Session() as session:
        for _ in range(300):
            assert session.get(URL, timeout=5).ok
    assert time.perf_counter() - begun < 3  # 0.3 s where nothing else runs


def test_a_large_file_is_sent_from_disk(internet: Any, tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(BODY * 2000)
    internet.serve(internet.direct("/large"), path)
    assert requests.get(internet.direct("/large"), timeout=5).content == path.read_bytes()


def test_the_gdc_lists_with_filters_and_pages_and_packs_what_is_asked_for(internet: Any) -> None:
    internet.gdc(
        [{"body": b"%d" % number, "facts": {"access": "open" if number % 2 else "controlled"}} for number in range(9)]
    )
    filters = {"op": "in", "content": {"field": "access", "value": ["open"]}}
    query = {"filters": filters, "fields": "file_id,cases.project.project_id", "size": 3, "from": 3, "sort": "file_id"}
    answer = requests.post("https://api.gdc.cancer.gov/files", json=query, timeout=5).json()
    assert answer["data"]["pagination"] == {
        "count": 1, "total": 4, "size": 3, "from": 3, "sort": "file_id", "page": 2, "pages": 2
    }  # fmt: skip
    (hit,) = answer["data"]["hits"]
    assert hit["cases"] == [{"project": {"project_id": "TCGA-BRCA"}}]
    as_get = {**query, "filters": json.dumps(filters), "from": 0}
    hits = requests.get("https://api.gdc.cancer.gov/files", params=as_get, timeout=5).json()["data"]["hits"]
    ids = [*(found["file_id"] for found in hits), hit["file_id"]]
    packed = requests.post("https://api.gdc.cancer.gov/data", json={"ids": ids}, timeout=5)
    with tarfile.open(fileobj=io.BytesIO(packed.content), mode="r:gz") as archive:
        assert [name.partition("/")[0] for name in archive.getnames()] == [*ids, "MANIFEST.txt"]
    assert requests.get(f"https://api.gdc.cancer.gov/data/{ids[0]}", timeout=5).content in (b"1", b"3", b"5", b"7")
    assert requests.get("https://api.gdc.cancer.gov/data/none", timeout=5).status_code == 404
    assert requests.head(f"https://api.gdc.cancer.gov/data/{ids[0]}", timeout=5).status_code == 405


def test_the_front_doors_answer_as_they_do_to_programs(internet: Any) -> None:
    assert get("https://figshare.com/ndownloader/files/1").status_code == 202
    assert b"reCAPTCHA" in get("https://www.ncbi.nlm.nih.gov/geo/download/?acc=GSE1&format=file").content
    internet.figshare(1, {"a": b"content"}, first_id=5)
    for url in ("https://ndownloader.figshare.com/files/5", "https://api.figshare.com/v2/file/download/5"):
        answer = get(url)
        assert answer.content == b"content"
        assert answer.history[0].status_code == 302
