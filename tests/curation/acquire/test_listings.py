"""Listings of repositories: the one file with exactly that name, or an error that says what to write instead."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from loopback import Fault, busy, captcha

from curation.acquire.addresses import ListedAddress, parse_address
from curation.acquire.failures import GivenUpError
from curation.acquire.http import Patience
from curation.acquire.listings import listing, locate

pytestmark = pytest.mark.usefixtures("no_intervals")

COLLECTION = "999f2a15-3d7e-440b-96ae-2c806799c08c"
SERIES = "GSE176078"
SUPPL = f"https://ftp.ncbi.nlm.nih.gov/geo/series/GSE176nnn/{SERIES}/suppl/"


@pytest.fixture
def patience() -> Patience:
    """Three tries that do not wait."""
    return Patience(tries=3, read_s=1.0, slow_s=1.0, sleep=lambda _: None)


def address(text: str) -> ListedAddress:
    """Parse an address that needs a listing."""
    parsed = parse_address(text)
    assert isinstance(parsed, ListedAddress)
    return parsed


def md5(body: bytes) -> str:
    """Sum of some bytes."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


@pytest.fixture
def published(internet: Any) -> Any:
    """One entry in every repository, with a file that has the same bytes."""
    internet.figshare(10298696, {"raw counts.zip": b"counts", "notes.txt": b"notes"})
    internet.zenodo(13350497, {"raw counts.zip": b"counts", "notes.txt": b"notes"})
    internet.cellxgene(COLLECTION, [("raw counts.zip", b"counts"), ("Core GBmap", b"core")])
    internet.geo(SERIES, {"raw counts.zip": b"counts", f"{SERIES}_RAW.tar": b"archive"})
    return internet


ENTRIES = {
    "figshare": ("figshare:10298696", "https://api.figshare.com/v2/articles/10298696/files"),
    "zenodo": ("zenodo:13350497", "https://zenodo.org/api/records/13350497"),
    "cellxgene": (
        f"cellxgene:{COLLECTION}",
        f"https://api.cellxgene.cziscience.com/curation/v1/collections/{COLLECTION}",
    ),
    "geo": (f"geo:{SERIES}", SUPPL),
}


@pytest.fixture(params=list(ENTRIES))
def entry(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Address of the entry and url of its listing."""
    return ENTRIES[request.param]


def test_a_figshare_file_has_its_id_two_urls_size_and_md5(published: Any, patience: Patience) -> None:
    found = locate(address("figshare:10298696/raw counts.zip"), patience)
    assert found.urls == (
        "https://ndownloader.figshare.com/files/1001",
        "https://api.figshare.com/v2/file/download/1001",
    )
    assert (found.size, found.md5, found.note) == (6, md5(b"counts"), "file 1001")


def test_figshare_is_asked_for_every_page(internet: Any, patience: Patience) -> None:
    names = [f"{number}.zip" for number in range(230)]
    internet.scene(
        "figshare",
        {"1": [{"id": i, "name": name, "size": 1, "supplied_md5": "A" * 32} for i, name in enumerate(names)]},
    )
    found = listing("figshare", "1", patience)
    assert [file.name for file in found] == names
    assert len(internet.requests(ENTRIES["figshare"][1].replace("10298696", "1"))) == 3
    assert {file.md5 for file in found} == {"a" * 32}


def test_the_computed_md5_of_figshare_goes_before_the_one_that_was_supplied(internet: Any, patience: Patience) -> None:
    fields = {"a": {"supplied_md5": "0" * 32}, "b": {"computed_md5": ""}, "c": {"computed_md5": "", "supplied_md5": ""}}
    internet.figshare(1, {"a": b"1", "b": b"2", "c": b"3", "d": b"4"}, fields={**fields, "d": {"is_link_only": True}})
    found = {file.name: file.md5 for file in listing("figshare", "1", patience)}
    assert found == {"a": md5(b"1"), "b": md5(b"2"), "c": None}


def test_a_zenodo_file_has_the_url_of_its_content_and_its_md5(published: Any, patience: Patience) -> None:
    found = locate(address("zenodo:13350497/raw counts.zip"), patience)
    assert found.urls == ("https://zenodo.org/api/records/13350497/files/raw%20counts.zip/content",)
    assert (found.size, found.md5, found.note) == (6, md5(b"counts"), "record 13350497")


def test_a_cellxgene_dataset_has_the_url_and_the_ids_of_its_version(internet: Any, patience: Patience) -> None:
    urls = internet.cellxgene(COLLECTION, [("Core GBmap", b"core"), ("Extended GBmap", b"extended")])
    found = locate(address(f"cellxgene:{COLLECTION}/Extended GBmap"), patience)
    assert found.urls == (urls["Extended GBmap"],)
    assert found.size == 8
    version = urls["Extended GBmap"].rpartition("/")[2].removesuffix(".h5ad")
    assert found.note.startswith("dataset ")
    assert found.note.endswith(f" version {version}")


def test_a_geo_file_has_the_url_at_the_file_server_and_archives_have_sizes(published: Any, patience: Patience) -> None:
    found = {file.name: file for file in listing("geo", SERIES, patience)}
    assert list(found) == ["raw counts.zip", f"{SERIES}_RAW.tar", "filelist.txt"]
    assert found["raw counts.zip"].urls == (f"{SUPPL}raw%20counts.zip",)
    assert found[f"{SERIES}_RAW.tar"].size == len(b"archive")
    assert found["raw counts.zip"].size is None
    agents = {request["headers"]["user-agent"] for request in published.requests()}
    assert len(agents) == 1
    assert agents.pop().startswith("DiverseRNA/")
    assert published.unknown_hosts() == []


def test_a_geo_series_without_a_list_of_files_has_no_sizes(internet: Any, patience: Patience) -> None:
    internet.geo(SERIES, {"a.csv.gz": b"1"}, filelist=False)
    (found,) = listing("geo", SERIES, patience)
    assert (found.name, found.size) == ("a.csv.gz", None)


def test_listing_says_nothing_to_the_user(
    published: Any, patience: Patience, capfd: Any, entry: tuple[str, str]
) -> None:
    locate(address(f"{entry[0]}/raw counts.zip"), patience)
    assert capfd.readouterr() == ("", "")


def test_a_name_that_is_not_there_is_answered_with_the_nearest(
    published: Any, patience: Patience, entry: tuple[str, str]
) -> None:
    with pytest.raises(GivenUpError, match=r"named 'raw_counts\.zip' among its") as caught:
        locate(address(f"{entry[0]}/raw_counts.zip"), patience)
    assert f"write {entry[0]}/raw counts.zip in the sheet" in caught.value.todo


def test_a_name_in_other_letters_is_advice_and_no_match(
    published: Any, patience: Patience, entry: tuple[str, str]
) -> None:
    with pytest.raises(GivenUpError) as caught:
        locate(address(f"{entry[0]}/RAW COUNTS.ZIP"), patience)
    assert caught.value.todo == f"write {entry[0]}/raw counts.zip in the sheet"


def test_a_name_like_no_other_is_answered_with_all(published: Any, patience: Patience) -> None:
    with pytest.raises(GivenUpError) as caught:
        locate(address("zenodo:13350497/@@@@"), patience)
    assert caught.value.todo == "write one of its names in the sheet: notes.txt, raw counts.zip"


def test_two_datasets_with_one_title_are_refused_with_the_ways_out(internet: Any, patience: Patience) -> None:
    urls = internet.cellxgene(COLLECTION, [("Atlas", b"1"), ("Atlas", b"22"), ("Other", b"3")])
    with pytest.raises(GivenUpError, match="has 2 datasets named 'Atlas'") as caught:
        locate(address(f"cellxgene:{COLLECTION}/Atlas"), patience)
    assert urls["Atlas"] in caught.value.todo


def test_an_entry_that_does_not_exist_is_final(internet: Any, patience: Patience, entry: tuple[str, str]) -> None:
    with pytest.raises(GivenUpError, match="404"):
        locate(address(f"{entry[0]}/raw counts.zip"), patience)
    assert len(internet.requests()) == 1


@pytest.mark.parametrize(
    "fault",
    [busy(429), busy(429, "1"), busy(503), Fault(hang_up=True), Fault(cut_after=40), Fault(stall_after=40)],
    ids=["429", "429 with a time", "503", "hang up", "cut", "stall"],
)
def test_a_passing_failure_costs_a_try(published: Any, patience: Patience, entry: tuple[str, str], fault: Any) -> None:
    published.fault(entry[1], fault)
    found = locate(address(f"{entry[0]}/raw counts.zip"), patience)
    assert found.name == "raw counts.zip"
    assert published.faults_left() == 0


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=202),
        Fault(status=403),
        captcha(),
        captcha("application/json"),
        Fault(tls="stranger"),
        Fault(redirect_loop=True),
        Fault(body=b"[1, 2", headers={"Content-Type": "application/json"}),
        Fault(body=b"3", headers={"Content-Type": "application/json"}),
    ],
    ids=["202", "403", "captcha", "captcha as json", "certificate", "redirects", "broken json", "number"],
)
def test_an_answer_that_is_no_listing_is_final_and_never_an_empty_listing(
    published: Any, patience: Patience, entry: tuple[str, str], fault: Any
) -> None:
    published.fault(entry[1], fault)
    with pytest.raises(GivenUpError) as caught:
        listing(*entry[0].split(":"), patience)
    assert "tries" not in str(caught.value)


def test_a_repository_that_stays_busy_is_given_up(published: Any, patience: Patience, entry: tuple[str, str]) -> None:
    published.fault(entry[1], busy(429), times=9)
    with pytest.raises(GivenUpError, match=r"429 \(3 tries\)"):
        listing(*entry[0].split(":"), patience)


def test_a_page_that_ends_early_without_saying_so_is_asked_for_again(published: Any, patience: Patience) -> None:
    published.fault(SUPPL, no_length=True, cut_after=450)
    assert len(listing("geo", SERIES, patience)) == 3
    assert published.faults_left() == 0


@pytest.mark.parametrize(
    ("player", "scene", "entry", "words"),
    [
        ("zenodo", {"1": {"id": 1}}, "zenodo:1", "zenodo.org: no key 'files'"),
        ("zenodo", {"1": {"id": 1, "files": {"a": 1}}}, "zenodo:1", "key 'files' is {'a': 1}, not a list"),
        (
            "zenodo",
            {"1": {"id": 1, "files": [{"key": "a", "size": 1, "checksum": "sha1:00"}]}},
            "zenodo:1",
            "checksum of a is of kind 'sha1'",
        ),
        (
            "zenodo",
            {"1": {"id": 1, "files": [{"key": "a", "size": "1", "checksum": f"md5:{'0' * 32}"}]}},
            "zenodo:1",
            "key 'size' is '1', not a whole number",
        ),
        ("figshare", {"1": [{"id": 1, "name": "a"}]}, "figshare:1", "api.figshare.com: no key 'size'"),
        ("figshare", {"1": [{"name": "a"}]}, "figshare:1", "no key 'id'"),
        ("figshare", {"1": [{"id": 1, "size": 1, "name": "a", "computed_md5": "?"}]}, "figshare:1", "no md5 sum"),
        ("figshare", {"1": [{"id": 1, "size": 1, "name": "a"}] * 2}, "figshare:1", "repeats file 1"),
        ("cellxgene", {COLLECTION: {}}, f"cellxgene:{COLLECTION}", "no key 'datasets'"),
        (
            "cellxgene",
            {COLLECTION: {"datasets": [{"dataset_id": "a", "dataset_version_id": "b", "title": "c"}]}},
            f"cellxgene:{COLLECTION}",
            "no key 'assets'",
        ),
    ],
)
def test_an_answer_of_another_shape_names_the_host_and_the_key(
    internet: Any, patience: Patience, player: str, scene: Any, entry: str, words: str
) -> None:
    internet.scene(player, scene)
    with pytest.raises(GivenUpError) as caught:
        listing(*entry.split(":"), patience)
    assert str(caught.value).startswith("unexpected answer of ")
    assert words in str(caught.value)
