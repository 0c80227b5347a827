"""What is said of each kind of address when it is asked for and not fetched."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from curation.acquire.addresses import GdcAddress
from curation.acquire.gdc import refresh_listing
from curation.acquire.health import Finding, all_well, check_addresses, findings_table
from curation.acquire.http import Patience
from curation.acquire.lock import Pinned, SourcesLock
from curation.remote_file import RemoteFile

BODY, OTHER = b"counts\n" * 1000, b"others\n" * 1000
MD5 = hashlib.md5(BODY, usedforsecurity=False).hexdigest()
HOST = "https://data.example.org"
GDC = "gdc:data_type=Gene Expression Quantification"


@pytest.fixture
def ask(tmp_path: Path) -> Any:
    """Ask for the addresses of one file; the lock is tmp_path/sources.lock.yaml."""
    lock = SourcesLock(tmp_path / "sources.lock.yaml")

    def asked(*addresses: str, **fields: Any) -> list[Finding]:
        remote = RemoteFile(path="a.tsv", addresses=addresses, **fields)
        plan: Any = SimpleNamespace(sources={"toy": {"a.tsv": remote}}, simulated=())
        patience = Patience(tries=3, sleep=lambda seconds: None)
        return check_addresses(plan, tmp_path / "sources", lock, patience)

    return asked


def pinned(**fields: Any) -> Pinned:
    """What the lock holds of the file."""
    known = Pinned(address="zenodo:77/a.tsv", urls=("x:",), size=None, md5=None, sha256=None, resolved="2026-01-01")
    return dataclasses.replace(known, **fields)


def test_a_server_that_stays_busy_gives_no_answer(internet: Any, ask: Any) -> None:
    internet.serve(f"{HOST}/a.tsv", BODY)
    internet.fault(f"{HOST}/a.tsv", status=503, times=3)
    (finding,) = ask(f"{HOST}/a.tsv")
    assert (finding.state, finding.what) == ("no answer", "data.example.org answered 503 (3 tries)")
    assert ask(f"{HOST}/a.tsv")[0].state == "ok"


def test_an_api_that_stays_busy_gives_no_answer(internet: Any, ask: Any) -> None:
    internet.zenodo(77, {"a.tsv": BODY})
    internet.fault("zenodo.org", status=503, times=3)
    assert [finding.state for finding in ask("zenodo:77/a.tsv")] == ["no answer"]


def test_both_hosts_of_a_figshare_file_are_asked(internet: Any, ask: Any) -> None:
    file_id = internet.figshare(5, {"a.tsv": BODY})["a.tsv"]
    findings = ask(f"figshare:{file_id}", size=len(BODY))
    assert [finding.state for finding in findings] == ["ok", "ok"]
    assert {finding.address.split("/")[2] for finding in findings} == {"ndownloader.figshare.com", "api.figshare.com"}
    assert [finding.state for finding in ask("figshare:999")] == ["moved", "moved"]


@pytest.mark.parametrize(
    ("fields", "state", "words"),
    [
        ({}, "ok", "7 kB"),
        ({"size": len(BODY), "md5": MD5}, "ok", "7 kB"),
        ({"size": 1}, "moved", "now lists size 7000, not 1"),
        ({"md5": "0" * 32}, "moved", f"now lists md5 {MD5}, not {'0' * 32}"),
    ],
)
def test_a_listed_file_is_compared_with_what_the_repository_lists(
    fields: dict[str, Any], state: str, words: str, internet: Any, ask: Any
) -> None:
    internet.zenodo(77, {"a.tsv": BODY})
    (finding,) = ask("zenodo:77/a.tsv", **fields)
    assert (finding.state, words in finding.what) == (state, True), finding


def test_a_listed_file_is_compared_with_the_lock(internet: Any, ask: Any, tmp_path: Path) -> None:
    internet.zenodo(77, {"a.tsv": BODY})
    SourcesLock(tmp_path / "sources.lock.yaml").put("toy", "a.tsv", pinned(md5=hashlib.md5(OTHER).hexdigest()))
    assert ask("zenodo:77/a.tsv")[0].state == "moved"


def test_a_name_that_a_record_no_longer_has_is_told_with_the_nearest(internet: Any, ask: Any) -> None:
    internet.zenodo(77, {"a.tsv.gz": BODY})
    (finding,) = ask("zenodo:77/a.tsv")
    assert finding.state == "moved"
    assert "no file named 'a.tsv'" in finding.what


def test_a_pinned_set_of_files_is_compared_with_what_the_gdc_lists(internet: Any, ask: Any, tmp_path: Path) -> None:
    files = [{"body": bytes([65 + i]) * 100} for i in range(3)]
    internet.gdc(files)
    (finding,) = ask(GDC)
    assert (finding.state, finding.what) == ("ok", "3 files; no listing is pinned yet")
    address = GdcAddress(filters=(("data_type", "Gene Expression Quantification"),))
    refresh_listing(address, tmp_path / "sources.lock" / "toy.a.tsv", Patience())
    assert ask(GDC)[0].state == "ok"
    internet.reset()
    internet.gdc(files[:2])
    (finding,) = ask(GDC)
    assert (finding.state, finding.what) == ("moved", "1 of 3 pinned files are no longer listed")


def test_a_file_of_this_machine_is_looked_at(ask: Any, tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(BODY)
    assert ask(f"file:{tmp_path / 'a.tsv'}", size=len(BODY))[0].state == "ok"
    assert ask(f"file:{tmp_path / 'a.tsv'}", size=1)[0].state == "moved"
    assert ask(f"file:{tmp_path / 'b.tsv'}")[0].what == "there is no such file"


def test_a_wheel_is_not_asked_for(ask: Any) -> None:
    findings = ask("pypi:toy==1.0#a.tsv")
    assert (findings[0].state, findings[0].what) == ("not asked", "asked only when fetched")
    assert all_well(findings)
    assert findings_table(findings).endswith("1 addresses: 0 ok, 0 moved, 0 no answer, 1 asked only when fetched")


@pytest.mark.parametrize(("state", "well"), [("ok", True), ("not asked", True), ("moved", False), ("no answer", False)])
def test_all_is_well_only_where_every_asked_address_answered_as_before(state: str, well: bool) -> None:
    found = [Finding(label="toy/a", address="x:", state=each) for each in ("ok", state)]
    assert all_well(found) == well


def test_without_a_patience_two_tries_are_enough(internet: Any, tmp_path: Path) -> None:
    internet.serve(f"{HOST}/a.tsv", BODY)
    internet.fault(f"{HOST}/a.tsv", status=503, times=9)
    remote = RemoteFile(path="a.tsv", addresses=(f"{HOST}/a.tsv",))
    plan: Any = SimpleNamespace(sources={"toy": {"a.tsv": remote}}, simulated=())
    (finding,) = check_addresses(plan, tmp_path / "sources", SourcesLock(tmp_path / "sources.lock.yaml"))
    assert (finding.state, finding.what) == ("no answer", "data.example.org answered 503 (2 tries)")


def test_a_certificate_that_is_not_trusted_is_no_ok(internet: Any, ask: Any) -> None:
    internet.serve(f"{HOST}/a.tsv", BODY)
    internet.fault("data.example.org", tls="stranger")
    (finding,) = ask(f"{HOST}/a.tsv")
    assert finding.state == "moved"
    assert "certificate" in finding.what
