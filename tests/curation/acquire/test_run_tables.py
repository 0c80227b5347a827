"""Run tables: made by pysradb from what NCBI's eutils answer, and never from an error page."""

from __future__ import annotations

import csv
from typing import Any

import pytest
from loopback import Fault, busy, captcha

from curation.acquire.failures import GivenUpError
from curation.acquire.http import Patience
from curation.acquire.run_tables import COLUMNS, run_table

pytestmark = pytest.mark.usefixtures("no_intervals")

RUNS = {"SRR30": 300, "SRR10": 100, "SRR20": 200}
SEARCH = "https://eutils.ncbi.nlm.nih.gov/entrez/eutils/esearch.fcgi"
SUMMARY = "https://eutils.ncbi.nlm.nih.gov/entrez/eutils/esummary.fcgi"


@pytest.fixture
def patience() -> Patience:
    """Three tries that do not wait."""
    return Patience(tries=3, read_s=1.0, slow_s=1.0, sleep=lambda _: None)


def rows(table: bytes) -> list[dict[str, str]]:
    """Parse a table."""
    return list(csv.DictReader(table.decode().splitlines(), delimiter="\t"))


def test_a_table_has_a_row_a_run_sorted_and_stable_columns(internet: Any, patience: Patience, capfd: Any) -> None:
    internet.sra("SRP100", RUNS)
    table = run_table("SRP100", patience)
    found = rows(table)
    assert [row["run_accession"] for row in found] == ["SRR10", "SRR20", "SRR30"]
    assert [row["run_total_spots"] for row in found] == ["100", "200", "300"]
    assert {row["library_layout"] for row in found} == {"PAIRED"}
    assert table.decode().splitlines()[0] == "\t".join(COLUMNS)
    assert run_table("SRP100", patience) == table
    assert capfd.readouterr() == ("", "")


def test_only_eutils_is_asked_and_told_who_asks(internet: Any, patience: Patience) -> None:
    internet.sra("SRP100", RUNS)
    run_table("SRP100", patience)
    assert {request["host"] for request in internet.requests()} == {"eutils.ncbi.nlm.nih.gov"}
    assert all(request["headers"]["user-agent"].startswith("DiverseRNA/") for request in internet.requests())
    assert internet.unknown_hosts() == []


def test_more_runs_than_one_answer_holds_are_all_there(internet: Any, patience: Patience) -> None:
    runs = {f"SRR{number:04d}": number for number in range(1, 703)}
    internet.sra("SRP100", runs)
    assert [row["run_accession"] for row in rows(run_table("SRP100", patience))] == list(runs)
    assert len(internet.requests(SUMMARY)) == 2


def test_a_study_that_is_not_there_is_told(internet: Any, patience: Patience) -> None:
    with pytest.raises(GivenUpError, match="knows no runs of SRP404"):
        run_table("SRP404", patience)


@pytest.mark.parametrize("url", [SEARCH, SUMMARY])
@pytest.mark.parametrize(
    "fault",
    [
        busy(429),
        busy(503),
        Fault(cut_after=40),
        Fault(hang_up=True),
        Fault(body=b'{"error": "API rate limit exceeded", "count": "11"}'),
    ],
    ids=["429", "503", "cut", "hang up", "rate limit as 200"],
)
def test_a_passing_failure_costs_a_try(internet: Any, patience: Patience, url: str, fault: Any) -> None:
    internet.sra("SRP100", RUNS)
    table = run_table("SRP100", patience)
    internet.fault(url, fault)
    assert run_table("SRP100", patience) == table
    assert internet.faults_left() == 0


@pytest.mark.parametrize("url", [SEARCH, SUMMARY])
@pytest.mark.parametrize(
    "fault",
    [
        captcha(),
        captcha("application/json"),
        Fault(status=202),
        Fault(body=b'{"header": {}}'),
        Fault(body=b"[]"),
        Fault(body=b'{"esearchresult": {}, "result": {"uids": ["1"]}}'),
        Fault(tls="stranger"),
    ],
    ids=["captcha", "captcha as json", "202", "no result", "a list", "an empty result", "certificate"],
)
def test_an_answer_that_is_no_result_is_final_and_never_an_empty_table(
    internet: Any, patience: Patience, url: str, fault: Any
) -> None:
    internet.sra("SRP100", RUNS)
    internet.fault(url, fault)
    with pytest.raises(GivenUpError):
        run_table("SRP100", patience)


def test_nobody_else_is_given_our_requests(internet: Any, patience: Patience) -> None:
    import pysradb.sraweb
    import requests

    internet.sra("SRP100", RUNS)
    run_table("SRP100", patience)
    assert pysradb.sraweb.requests is requests
