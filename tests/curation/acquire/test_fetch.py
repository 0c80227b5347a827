"""Fetch from web servers that misbehave: the right bytes under the final name, or a clear error and no file."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import importlib.util
import io
import json
import shutil
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pytest

from curation.acquire.fetch import fetch
from curation.acquire.http import Patience
from curation.catalog import RemoteFile
from curation.errors import InputError


def _server_module() -> ModuleType:
    name = "faulty_server"
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("faulty_server.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


faulty_server = _server_module()
Fault = faulty_server.Fault

# 3 MiB that do not compress and look like no page
BODY = np.random.default_rng(0).bytes(3 * 2**20)
SHA256 = hashlib.sha256(BODY).hexdigest()
MD5 = hashlib.md5(BODY, usedforsecurity=False).hexdigest()


@pytest.fixture
def server() -> Iterator[Any]:
    """A web server on loopback."""
    with faulty_server.running_server() as running:
        yield running


@pytest.fixture
def waits() -> list[float]:
    """Seconds that fetch would have slept."""
    return []


@pytest.fixture
def patience(waits: list[float]) -> Patience:
    """Waits that are recorded, not slept."""
    return Patience(tries=3, sleep=waits.append)


def remote(*addresses: str, **fields: Any) -> RemoteFile:
    """A file entry."""
    return RemoteFile(**{"path": "study.bin", "addresses": addresses, "size": len(BODY), "sha256": SHA256} | fields)


def no_checksum(*addresses: str, **fields: Any) -> RemoteFile:
    """A file entry of which only the address is known."""
    return remote(*addresses, **{"size": None, "sha256": None} | fields)


def refusal(file: RemoteFile, out: Path, patience: Patience) -> str:
    """Fetch what must fail; return the message, and check that nothing took the final name."""
    with pytest.raises(InputError) as error:
        fetch(file, out, patience=patience)
    assert not out.exists()
    assert not out.with_name(f"{out.name}.provenance.json").exists()
    return str(error.value)


def test_a_good_file_arrives_with_its_provenance(server: Any, tmp_path: Path, patience: Patience) -> None:
    server.serve("/a", BODY)
    out = tmp_path / "sources/toy/study.bin"
    fetch(remote(server.url("/a")), out, patience=patience)
    assert out.read_bytes() == BODY
    expected = {"file": "study.bin", "address": server.url("/a"), "sha256": SHA256, "size": len(BODY)}
    assert json.loads((out.parent / "study.bin.provenance.json").read_text()) == expected
    assert sorted(path.name for path in out.parent.iterdir()) == ["study.bin", "study.bin.provenance.json"]


def test_servers_see_who_asks(server: Any, tmp_path: Path, patience: Patience) -> None:
    served = server.serve("/a", BODY)
    fetch(remote(server.url("/a")), tmp_path / "study.bin", patience=patience)
    assert served.requests[0]["User-Agent"].startswith("DiverseRNA/")


def test_without_a_checksum_the_file_is_accepted_and_its_sum_recorded(
    server: Any, tmp_path: Path, patience: Patience
) -> None:
    server.serve("/a", BODY)
    provenance = fetch(no_checksum(server.url("/a")), tmp_path / "study.bin", patience=patience)
    assert (provenance["sha256"], provenance["size"]) == (SHA256, len(BODY))


def test_a_busy_server_is_asked_again_after_the_time_it_names(
    server: Any, tmp_path: Path, patience: Patience, waits: list[float]
) -> None:
    busy = Fault(status=503, body=b"", headers={"Retry-After": "7"})
    served = server.serve("/a", BODY, busy, Fault(status=429, body=b""))
    out = tmp_path / "study.bin"
    fetch(remote(server.url("/a")), out, patience=patience)
    assert out.read_bytes() == BODY
    assert len(served.requests) == 3
    assert waits[0] == 7
    assert 2 <= waits[1] <= 2.5


def test_a_server_that_stays_busy_is_given_up(server: Any, tmp_path: Path, patience: Patience) -> None:
    served = server.serve("/a", BODY, *[Fault(status=503, body=b"")] * 9)
    assert "503 (3 tries)" in refusal(remote(server.url("/a")), tmp_path / "study.bin", patience)
    assert len(served.requests) == 3


def test_a_server_that_asks_for_hours_is_given_up_at_once(
    server: Any, tmp_path: Path, patience: Patience, waits: list[float]
) -> None:
    server.serve("/a", BODY, Fault(status=429, body=b"", headers={"Retry-After": "7200"}))
    assert "asks to wait 7200 s" in refusal(remote(server.url("/a")), tmp_path / "study.bin", patience)
    assert waits == []


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(status=404, body=b"gone"), "answered 404"),
        (Fault(status=403, body=b"no"), "answered 403"),
        (Fault(status=202, body=b""), "answered 202"),
        (Fault(status=204, body=b""), "answered 204"),
        (Fault(body=b""), "an empty file"),
        (Fault(body=BODY, headers={"Content-Type": "text/html; charset=utf-8"}), "HTML page"),
        (Fault(body=b"\n<!DOCTYPE html><p>are you human?"), "a page or message instead of data"),
        (Fault(body=b'{"error": "rate limit"}'), "a page or message instead of data"),
        (Fault(body=b"\xef\xbb\xbf<!DOCTYPE html>"), "a page or message instead of data"),
        (Fault(body=b"<head><title>captcha"), "a page or message instead of data"),
        (Fault(body=b'["error", "rate limit"]'), "a page or message instead of data"),
        (
            Fault(body=b"1", headers={"Content-Type": "application/problem+json"}),
            "a message (application/problem+json)",
        ),
        (Fault(body=BODY, headers={"Content-Encoding": "gzip"}), "re-coded"),
    ],
)
@pytest.mark.parametrize("entry", [remote, no_checksum])
def test_an_answer_that_is_no_file_is_final_and_leaves_nothing(
    server: Any, tmp_path: Path, patience: Patience, waits: list[float], fault: Any, words: str, entry: Any
) -> None:
    served = server.serve("/a", BODY, fault)
    assert words in refusal(entry(server.url("/a")), tmp_path / "study.bin", patience)
    assert len(served.requests) == 1
    assert waits == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sha256": "0" * 64}, f"sha256 {SHA256}, the catalogue says 0000"),
        ({"sha256": None, "md5": "0" * 32}, f"md5 {MD5}, the catalogue says 0000"),
        ({"size": len(BODY) + 1, "sha256": None}, f"{len(BODY):,} bytes, the catalogue says {len(BODY) + 1:,}"),
        ({"size": len(BODY) - 1, "sha256": None}, f"the catalogue says {len(BODY) - 1:,}"),
        (
            {"sha256": None, "refused_md5": {MD5: "normalised values"}},
            "a file that must not be used: normalised values",
        ),
        ({"sha256": None, "path": "study.h5ad"}, "no .h5ad file"),
        ({"sha256": None, "path": "study.csv.gz"}, "no .gz file"),
        ({"sha256": None, "path": "study.zip"}, "no .zip file"),
    ],
)
def test_bytes_that_contradict_the_catalogue_never_get_the_final_name(
    server: Any, tmp_path: Path, patience: Patience, fields: dict[str, Any], words: str
) -> None:
    server.serve("/a", BODY)
    assert words in refusal(remote(server.url("/a"), **fields), tmp_path / "study.bin", patience)
    assert list(tmp_path.iterdir()) == []


def test_a_gzip_file_with_its_first_bytes_is_accepted(server: Any, tmp_path: Path, patience: Patience) -> None:
    body = gzip.compress(b"counts")
    server.serve("/a", body, Fault(headers={"Content-Encoding": "gzip"}))
    out = tmp_path / "study.csv.gz"
    fetch(no_checksum(server.url("/a"), path="study.csv.gz"), out, patience=patience)
    assert out.read_bytes() == body


def test_a_cut_answer_is_resumed_from_its_last_byte(server: Any, tmp_path: Path, patience: Patience) -> None:
    served = server.serve("/a", BODY, Fault(cut_after=2_000_000), Fault(cut_after=500_000))
    out = tmp_path / "study.bin"
    fetch(remote(server.url("/a")), out, patience=patience)
    assert out.read_bytes() == BODY
    ranges = [request.get("Range") for request in served.requests]
    assert ranges == [None, "bytes=2000000-", "bytes=2500000-"]
    assert {request.get("If-Range") for request in served.requests[1:]} == {'"v1"'}
    assert served.bytes_sent == len(BODY)


def test_a_cut_answer_without_a_checksum_is_never_taken_for_the_file(
    server: Any, tmp_path: Path, patience: Patience
) -> None:
    server.serve("/a", BODY, *[Fault(cut_after=1000)] * 9)
    assert "3 tries" in refusal(no_checksum(server.url("/a")), tmp_path / "study.bin", patience)


def test_a_later_run_resumes_what_an_earlier_one_left(server: Any, tmp_path: Path, patience: Patience) -> None:
    served = server.serve("/a", BODY, *[Fault(cut_after=1_000_000)] * 3)
    out = tmp_path / "study.bin"
    refusal(remote(server.url("/a"), size=None), out, Patience(tries=1))
    assert (tmp_path / "study.bin.part").stat().st_size == 1_000_000
    served.faults.clear()
    fetch(remote(server.url("/a")), out, patience=patience)
    assert out.read_bytes() == BODY
    assert served.bytes_sent == len(BODY)


def test_a_file_that_changed_between_two_parts_is_taken_from_its_first_byte(
    server: Any, tmp_path: Path, patience: Patience
) -> None:
    out = tmp_path / "study.bin"
    server.serve("/a", b"x" * len(BODY), Fault(cut_after=1_000_000), etag='"v0"')
    refusal(no_checksum(server.url("/a")), out, Patience(tries=1))
    served = server.serve("/a", BODY)
    fetch(no_checksum(server.url("/a")), out, patience=patience)
    assert out.read_bytes() == BODY
    assert served.requests[0]["If-Range"] == '"v0"'


def test_a_server_that_ignores_ranges_gives_the_whole_file(server: Any, tmp_path: Path, patience: Patience) -> None:
    server.serve("/a", BODY, Fault(cut_after=1_000_000), ignore_range=True)
    out = tmp_path / "study.bin"
    fetch(no_checksum(server.url("/a")), out, patience=patience)
    assert out.read_bytes() == BODY


def test_a_damaged_part_costs_one_download_from_the_first_byte(server: Any, tmp_path: Path, patience: Patience) -> None:
    served = server.serve("/a", BODY, Fault(cut_after=1_000_000))
    out = tmp_path / "study.bin"
    refusal(remote(server.url("/a")), out, Patience(tries=1))
    with (tmp_path / "study.bin.part").open("r+b") as handle:
        handle.write(b"damage")
    fetch(remote(server.url("/a")), out, patience=patience)
    assert out.read_bytes() == BODY
    assert [request.get("Range") for request in served.requests] == [None, "bytes=1000000-", None]


def test_a_wrong_range_in_the_answer_is_not_appended(server: Any, tmp_path: Path, patience: Patience) -> None:
    wrong = Fault(status=206, body=BODY[5:], headers={"Content-Range": f"bytes 5-{len(BODY) - 1}/{len(BODY)}"})
    server.serve("/a", BODY, Fault(cut_after=1_000_000), wrong)
    out = tmp_path / "study.bin"
    fetch(no_checksum(server.url("/a")), out, patience=patience)
    assert out.read_bytes() == BODY


def test_a_range_that_ends_early_is_continued(server: Any, tmp_path: Path, patience: Patience) -> None:
    start, stop = 1_000_000, 1_500_000
    headers = {"Content-Range": f"bytes {start}-{stop - 1}/{len(BODY)}"}
    server.serve("/a", BODY, Fault(cut_after=start), Fault(status=206, body=BODY[start:stop], headers=headers))
    out = tmp_path / "study.bin"
    fetch(no_checksum(server.url("/a")), out, patience=patience)
    assert out.read_bytes() == BODY


def test_mirrors_are_tried_in_order_and_the_provenance_names_the_one_that_served(
    server: Any, tmp_path: Path, patience: Patience
) -> None:
    server.serve("/old", b"x" * len(BODY))
    server.serve("/good", BODY)
    addresses = [server.url("/gone"), server.url("/old"), server.url("/good"), server.url("/never")]
    provenance = fetch(remote(*addresses), tmp_path / "study.bin", patience=patience)
    assert provenance["address"] == server.url("/good")
    assert (tmp_path / "study.bin").read_bytes() == BODY


def test_bytes_of_one_mirror_are_never_continued_from_another(server: Any, tmp_path: Path) -> None:
    server.serve("/cut", b"x" * len(BODY), *[Fault(cut_after=1_000_000)] * 9)
    mirror = server.serve("/mirror", BODY)
    out = tmp_path / "study.bin"
    fetch(no_checksum(server.url("/cut"), server.url("/mirror")), out, patience=Patience(tries=1))
    assert out.read_bytes() == BODY
    assert "Range" not in mirror.requests[0]


def test_the_message_has_the_reason_of_every_address(server: Any, tmp_path: Path, patience: Patience) -> None:
    server.serve("/old", b"x" * len(BODY))
    text = refusal(remote(server.url("/gone"), server.url("/old")), tmp_path / "study.bin", patience)
    assert f"{server.url('/gone')}: 127.0.0.1 answered 404" in text
    assert f"{server.url('/old')}: sha256" in text
    assert f"sha256 {SHA256}" in text


def test_a_mirror_continues_the_bytes_of_another_where_a_checksum_proves_the_joint(server: Any, tmp_path: Path) -> None:
    server.serve("/cut", BODY, *[Fault(cut_after=1_000_000)] * 9)
    mirror = server.serve("/mirror", BODY, etag='"other"')
    out = tmp_path / "study.bin"
    fetch(remote(server.url("/cut"), server.url("/mirror")), out, patience=Patience(tries=1))
    assert out.read_bytes() == BODY
    assert [request.get("Range") for request in mirror.requests] == ["bytes=1000000-"]
    assert "If-Range" not in mirror.requests[0]
    assert mirror.bytes_sent == len(BODY) - 1_000_000


def test_a_mirror_is_asked_for_all_of_it_where_the_other_bytes_were_wrong(
    server: Any, tmp_path: Path, patience: Patience
) -> None:
    server.serve("/cut", b"x" * len(BODY), *[Fault(cut_after=1_000_000)] * 3)
    mirror = server.serve("/mirror", BODY)
    out = tmp_path / "study.bin"
    fetch(remote(server.url("/cut"), server.url("/mirror")), out, patience=patience)
    assert out.read_bytes() == BODY
    assert [request.get("Range") for request in mirror.requests] == ["bytes=3000000-", None]


def test_a_server_that_continues_another_version_is_asked_again_from_the_first_byte(
    server: Any, tmp_path: Path, patience: Patience
) -> None:
    headers = {"Content-Range": f"bytes 1000000-{len(BODY) - 1}/{len(BODY)}", "ETag": '"v2"'}
    other = Fault(status=206, body=b"x" * (len(BODY) - 1_000_000), headers=headers)
    server.serve("/a", BODY, Fault(cut_after=1_000_000), other)
    out = tmp_path / "study.bin"
    fetch(no_checksum(server.url("/a")), out, patience=patience)
    assert out.read_bytes() == BODY


@pytest.mark.parametrize("headers", [{}, {"ETag": '"v1"'}], ids=["no version", "another size"])
def test_without_a_checksum_a_range_counts_only_if_version_and_size_are_confirmed(
    server: Any, tmp_path: Path, patience: Patience, headers: dict[str, str]
) -> None:
    total = len(BODY) if not headers else len(BODY) + 7
    other = b"x" * (total - 1_000_000)
    span = {"Content-Range": f"bytes 1000000-{total - 1}/{total}"}
    server.serve("/a", BODY, Fault(cut_after=1_000_000), Fault(status=206, body=other, headers={**span, **headers}))
    server.files["/a"].hide_etag = [False, not headers]
    out = tmp_path / "study.bin"
    fetch(no_checksum(server.url("/a")), out, patience=patience)
    assert out.read_bytes() == BODY


def test_a_dead_mirror_does_not_cost_what_another_began(server: Any, tmp_path: Path) -> None:
    served = server.serve("/a", BODY, Fault(cut_after=2_000_000))
    out = tmp_path / "study.bin"
    file = no_checksum(server.url("/a"), server.url("/gone"))
    refusal(file, out, Patience(tries=1))
    server.serve("/page", b"<html>login</html>")
    refusal(no_checksum(server.url("/page")), out, Patience(tries=1))
    assert (tmp_path / "study.bin.part").stat().st_size == 2_000_000
    fetch(file, out, patience=Patience(tries=1))
    assert out.read_bytes() == BODY
    assert served.requests[-1]["Range"] == "bytes=2000000-"


def test_a_part_of_a_file_of_unknown_size_that_is_complete_is_not_fetched_twice(
    server: Any, tmp_path: Path, patience: Patience
) -> None:
    served = server.serve("/a", BODY)
    out = tmp_path / "study.bin"
    (tmp_path / "study.bin.part").write_bytes(BODY)
    (tmp_path / "study.bin.part.json").write_text(json.dumps({"url": server.url("/a"), "validator": '"v1"'}))
    fetch(no_checksum(server.url("/a")), out, patience=patience)
    assert out.read_bytes() == BODY
    assert served.bytes_sent == 0


def test_a_part_that_holds_every_byte_costs_no_request(server: Any, tmp_path: Path, patience: Patience) -> None:
    served = server.serve("/a", BODY)
    out = tmp_path / "study.bin"
    (tmp_path / "study.bin.part").write_bytes(BODY)
    fetch(remote(server.url("/a")), out, patience=patience)
    assert out.read_bytes() == BODY
    assert served.requests == []


def test_a_full_disk_is_said_before_the_first_byte(
    server: Any, tmp_path: Path, patience: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = server.serve("/a", BODY)
    usage = shutil.disk_usage(tmp_path)._replace(free=2**26 + len(BODY) - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    text = refusal(remote(server.url("/a")), tmp_path / "study.bin", patience)
    assert "no room for study.bin" in text
    assert "3.15 MB free" in text
    assert len(served.requests) == 1  # a disk is no fault of the server, so no other try
    assert list(tmp_path.iterdir()) == []


def _hdf5(libver: str) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=libver) as file:
        file["X"] = np.arange(1000)
    return buffer.getvalue()


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("counts.mtx", b"1 1 3")
    return buffer.getvalue()


WHOLE = {
    "study.csv.gz": gzip.compress(bytes(10_000)) + gzip.compress(BODY[:5000]),
    "study.h5ad": _hdf5("earliest"),
    "study.h5": _hdf5("latest"),
    "study.zip": _zip(),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_that_was_cut_before_it_was_served_is_refused_by_its_own_end(
    server: Any, tmp_path: Path, patience: Patience, name: str
) -> None:
    body = WHOLE[name]
    server.serve("/whole", body)
    fetch(no_checksum(server.url("/whole"), path=name), tmp_path / name, patience=patience)
    (tmp_path / name).unlink()
    (tmp_path / f"{name}.provenance.json").unlink()
    server.serve("/cut", body[:-1])
    text = refusal(no_checksum(server.url("/cut"), path=name), tmp_path / name, patience)
    assert "is not whole" in text or "is cut" in text
    assert list(tmp_path.iterdir()) == []


def test_a_gzip_file_whose_second_member_is_cut_is_refused(server: Any, tmp_path: Path, patience: Patience) -> None:
    body = gzip.compress(BODY[:1000]) + gzip.compress(BODY)[:5000]
    server.serve("/cut", body)
    assert "stops before its end" in refusal(no_checksum(server.url("/cut"), path="a.gz"), tmp_path / "a.gz", patience)


def test_a_text_of_unknown_length_is_not_taken(server: Any, tmp_path: Path, patience: Patience) -> None:
    server.serve("/a", BODY, Fault(no_length=True), Fault(no_length=True))
    text = refusal(no_checksum(server.url("/a")), tmp_path / "study.bin", patience)
    assert "does not say how long the file is" in text
    fetch(remote(server.url("/a")), tmp_path / "study.bin", patience=patience)
    assert (tmp_path / "study.bin").read_bytes() == BODY


def test_a_transfer_that_only_drips_is_broken_off_and_continued(server: Any, tmp_path: Path) -> None:
    served = server.serve("/a", BODY, Fault(drip=(1000, 0.05)))
    out = tmp_path / "study.bin"
    fetch(
        remote(server.url("/a")), out, patience=Patience(slowest_bytes_per_s=100_000, slow_s=0.3, sleep=lambda s: None)
    )
    assert out.read_bytes() == BODY
    assert len(served.requests) == 2
    assert int(served.requests[1]["Range"].removeprefix("bytes=").rstrip("-")) >= 5000


def test_a_server_that_is_not_there_is_given_up(tmp_path: Path, patience: Patience) -> None:
    with faulty_server.running_server() as server:
        url = server.url("/a")
    assert "the connection to 127.0.0.1 failed" in refusal(remote(url), tmp_path / "study.bin", patience)


def test_a_finished_file_is_not_downloaded_again(server: Any, tmp_path: Path, patience: Patience) -> None:
    served = server.serve("/a", BODY)
    out = tmp_path / "study.bin"
    first = fetch(remote(server.url("/a")), out, patience=patience)
    assert fetch(remote(server.url("/a")), out, patience=patience) == first
    assert len(served.requests) == 1


def test_a_finished_file_that_was_changed_is_fetched_again(server: Any, tmp_path: Path, patience: Patience) -> None:
    server.serve("/a", BODY)
    out = tmp_path / "study.bin"
    fetch(no_checksum(server.url("/a")), out, patience=patience)
    out.write_bytes(b"other")
    fetch(no_checksum(server.url("/a")), out, patience=patience)
    assert out.read_bytes() == BODY


def test_a_second_process_waits_and_finds_the_file_done(server: Any, tmp_path: Path, patience: Patience) -> None:
    served = server.serve("/a", BODY)
    out = tmp_path / "study.bin"
    part = tmp_path / "study.bin.part"
    with part.open("a+b") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        second = threading.Thread(target=fetch, args=(remote(server.url("/a")), out), kwargs={"patience": patience})
        second.start()
        second.join(timeout=0.3)
        assert second.is_alive()
        assert served.requests == []
        part.unlink()
    second.join()
    assert out.read_bytes() == BODY
