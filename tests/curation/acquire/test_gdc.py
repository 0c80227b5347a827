"""The Genomic Data Commons: listings that are pinned once, and thousands of files of which none is wrong or lost."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from curation.acquire import gdc, gdc_batches, host_limits
from curation.acquire.addresses import GdcAddress, parse_address
from curation.acquire.failures import GivenUpError
from curation.acquire.fetch import fetch
from curation.acquire.http import Patience, get_json
from curation.acquire.lock import SourcesLock
from curation.acquire.part_file import PartFile
from curation.errors import InputError
from curation.remote_file import RemoteFile

ROOT = Path(__file__).parents[3]
N_FILES, BYTES_EACH = 23, 3000
TEXT = "gdc:cases.project.program.name=TCGA;data_type=Gene Expression Quantification;access=open"
FILES, DATA = "https://api.gdc.cancer.gov/files", "https://api.gdc.cancer.gov/data"


def address(text: str = TEXT) -> GdcAddress:
    """The filters of the catalogue."""
    parsed = parse_address(text)
    assert isinstance(parsed, GdcAddress)
    return parsed


def made_files(n_files: int, seed: int = 0) -> dict[str, bytes]:
    """file_id -> what looks like a table of counts, by file_id."""
    rng = random.Random(seed)
    files = {}
    for _ in range(n_files):
        file_id = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        lines = [f"ENSG{rng.randrange(10**11):011d}\t{rng.randrange(10**5)}\n" for _ in range(BYTES_EACH // 16)]
        files[file_id] = "".join([f"# {file_id}\n", *lines]).encode()[:BYTES_EACH]
    return dict(sorted(files.items()))


def member(name: str, body: bytes = b"", kind: bytes = tarfile.REGTYPE, **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """A member of an archive; `size` may be another than that of its body."""
    info = tarfile.TarInfo(name)
    info.type = kind
    for field, value in ({"size": len(body)} | fields).items():
        setattr(info, field, value)
    return info, body


@dataclass(kw_only=True)
class Gdc:
    """What the loopback internet plays the GDC with."""

    internet: Any
    fault: Any
    files: dict[str, bytes]

    def publish(self, entries: dict[str, dict[str, Any]] | None = None) -> None:
        """Forget what was asked and publish `files`, with other fields in the listing's entries of some."""
        self.internet.reset()
        entries = entries or {}
        files = [{"file_id": file_id, "body": body, **entries.get(file_id, {})} for file_id, body in self.files.items()]
        self.internet.gdc(files)

    @staticmethod
    def name(file_id: str) -> str:
        """The member of an archive."""
        return f"{file_id}/{file_id}.rna_seq.augmented_star_gene_counts.tsv"

    def expected(self) -> dict[str, bytes]:
        """What `on_disk` gives when every file is there and nothing else."""
        return {self.name(file_id): body for file_id, body in self.files.items()}

    @property
    def asked_pages(self) -> list[dict[str, Any]]:
        """Every question to the files endpoint."""
        return [json.loads(entry["body"]) for entry in self.internet.requests(FILES)]

    @property
    def asked_data(self) -> list[list[str]]:
        """The file_ids of every request to the data endpoint."""
        entries = self.internet.requests(f"{DATA}*")
        return [
            json.loads(entry["body"])["ids"] if entry["method"] == "POST" else [entry["target"].rpartition("/")[2]]
            for entry in entries
        ]

    def archive(
        self,
        ids: Iterable[str],
        *members: tuple[tarfile.TarInfo, bytes],
        corrupt: Collection[str] = (),
        keep: float = 1.0,
    ) -> Any:
        """Answer with an archive of some files behind other members, whole or cut."""
        packed = io.BytesIO()
        with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
            for info, body in members:
                tar.addfile(info, io.BytesIO(body) if body else None)
            for file_id in ids:
                body = self.files[file_id]
                body = body[:-1] + b"X" if file_id in corrupt else body
                tar.addfile(*_opened(member(self.name(file_id), body)))
        content = packed.getvalue()
        cut = {"cut_after": int(len(content) * keep)} if keep < 1 else {}
        return self.fault(body=content, headers={"Content-Type": "application/x-tar"}, **cut)

    def page(self, **changes: Any) -> Any:
        """Answer a listing's question with an altered document."""
        document = {"data": {"hits": [], "pagination": {"total": 0}}, "warnings": {}} | changes
        return self.fault(body=json.dumps(document).encode())


def _opened(one: tuple[tarfile.TarInfo, bytes]) -> tuple[tarfile.TarInfo, io.BytesIO]:
    return one[0], io.BytesIO(one[1])


@pytest.fixture
def server(internet: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Gdc:
    """The GDC with 23 files of 3 kB; slots of hosts are this test's own and cost no time."""
    (tmp_path / "slots").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "slots"))
    monkeypatch.setitem(host_limits.LIMITS, "gdc.cancer.gov", host_limits.HostLimit(parallel=4, interval_s=0.0))
    played = Gdc(internet=internet, fault=sys.modules["loopback"].Fault, files=made_files(N_FILES))
    played.publish()
    return played


@pytest.fixture
def ids(server: Gdc) -> list[str]:
    """file_ids in the order of the listing."""
    return list(server.files)


@pytest.fixture
def waits() -> list[float]:
    """Seconds that would have been slept."""
    return []


@pytest.fixture
def patience(waits: list[float]) -> Patience:
    """Waits that are recorded, not slept."""
    return Patience(tries=3, read_s=10, sleep=waits.append)


@pytest.fixture
def receipt(tmp_path: Path) -> Path:
    """Final name of the receipt."""
    return tmp_path / "sources/tcga/star_counts.tsv"


def pin_path(receipt: Path) -> Path:
    """Where the listing is pinned."""
    return receipt.parents[2] / "sources.lock/tcga.star_counts.tsv"


def fetched(receipt: Path, patience: Patience, **settings: Any) -> dict[str, Any]:
    """Fetch as `curation fetch` does."""
    with PartFile(RemoteFile(path=receipt.name, addresses=(TEXT,)), receipt) as part:
        provenance = gdc_batches.fetch_gdc(address(), part, pin_path(receipt), patience, **{"batch": 10} | settings)
        part.commit(provenance)
    return provenance


def refusal(receipt: Path, patience: Patience, **settings: Any) -> str:
    """Fetch what cannot be complete; return the message, and check that there is no receipt."""
    with pytest.raises(GivenUpError) as error:
        fetched(receipt, patience, **settings)
    assert not receipt.exists()
    return f"{error.value} DO {error.value.todo}"


def on_disk(receipt: Path) -> dict[str, bytes]:
    """Path below the folder of files -> bytes, of everything that lies there."""
    folder = gdc_batches.files_folder(receipt)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# The listing


def test_pages_are_read_until_the_total(server: Gdc, patience: Patience, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gdc, "PAGE_FILES", 10)
    files = gdc.list_files(address(), patience)
    assert [file.file_id for file in files] == list(server.files)
    assert [page["from"] for page in server.asked_pages] == [0, 10, 20]
    one, body = files[3], list(server.files.values())[3]
    assert (f"{one.file_id}/{one.file_name}", one.size) == (server.name(one.file_id), BYTES_EACH)
    assert one.md5 == hashlib.md5(body, usedforsecurity=False).hexdigest()
    assert one.aliquot.startswith("TCGA-")
    assert one.aliquot.startswith(one.case)
    assert (one.project, one.primary_site, one.sample_type) == ("TCGA-BRCA", "Breast", "Primary Tumor")


def test_filters_reach_the_api_and_a_repeated_field_may_have_either_value(
    server: Gdc, ids: list[str], patience: Patience
) -> None:
    cases = [{"submitter_id": "C3L-1", "project": {"project_id": "CPTAC-3", "program": {"name": "CPTAC"}}}]
    other_type = {"facts": {"data_type": "Masked Somatic Mutation"}}
    server.publish({ids[0]: {"cases": cases}, ids[1]: other_type, ids[2]: {"access": "controlled"}})
    found = [file.file_id for file in gdc.list_files(address(), patience)]
    assert found == ids[3:]
    either = gdc.list_files(address(f"{TEXT};cases.project.program.name=CPTAC"), patience)
    assert [file.file_id for file in either] == [ids[0], *ids[3:]]
    assert either[0].project == "CPTAC-3"


def test_a_listing_that_changed_while_it_was_read_is_read_again(
    server: Gdc, patience: Patience, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gdc, "PAGE_FILES", 10)
    server.internet.fault(FILES, server.fault(), server.page(data={"hits": [{}], "pagination": {"total": 24}}))
    assert len(gdc.list_files(address(), patience)) == N_FILES
    assert [page["from"] for page in server.asked_pages] == [0, 10, 0, 10, 20]
    assert len(waits) == 1


@pytest.mark.parametrize(
    ("hits", "total", "words"),
    [([{}], 24, "changed while it was read: 23 files, then 24"), ([], 23, "ended after 10 of 23 files")],
)
def test_a_listing_that_never_holds_still_is_given_up(
    server: Gdc, patience: Patience, monkeypatch: pytest.MonkeyPatch, hits: list[Any], total: int, words: str
) -> None:
    monkeypatch.setattr(gdc, "PAGE_FILES", 10)
    second = server.page(data={"hits": hits, "pagination": {"total": total}})
    server.internet.fault(FILES, server.fault(), second, times=3)
    with pytest.raises(GivenUpError, match=words):
        gdc.list_files(address(), patience)
    assert server.internet.faults_left() == 0


def test_a_file_that_stands_on_two_pages_is_noticed(server: Gdc, patience: Patience) -> None:
    document = get_json(FILES, patience, post={"size": 100, "sort": "file_id:asc"})
    hits = document["data"]["hits"]
    document["data"]["hits"] = [*hits[:5], hits[4], *hits[6:]]
    server.internet.fault(FILES, server.page(**document), times=3)
    with pytest.raises(GivenUpError, match="22 of 23 files are distinct"):
        gdc.list_files(address(), patience)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"md5sum": "d41d8cd9"}, "md5 'd41d8cd9' is not 32 hexadecimal digits"),
        ({"md5sum": None}, "md5 '' is not"),
        ({"file_size": 0}, "size '0' is not a number of bytes above 0"),
        ({"file_name": "../evil.tsv"}, "is not a file name without a folder"),
        ({"file_name": "a/b.tsv"}, "is not a file name without a folder"),
        ({"file_name": ".hidden"}, "is not a file name without a folder"),
        ({"file_name": "a\tb"}, "is not a file name without a folder"),
        ({"file_id": ".."}, "is not a UUID"),
        (
            {"cases": [{"submitter_id": "a\tb", "project": {"program": {"name": "TCGA"}}}]},
            "case 'a.*b' is not one line",
        ),
    ],
)
def test_an_entry_that_is_malformed_is_refused(
    server: Gdc, ids: list[str], patience: Patience, entry: dict[str, Any], words: str
) -> None:
    server.publish({ids[7]: entry})
    with pytest.raises(GivenUpError, match=words):
        gdc.list_files(address(), patience)


def test_several_aliquots_are_joined_and_missing_ones_are_empty(
    server: Gdc, ids: list[str], patience: Patience
) -> None:
    def case(name: str, *aliquots: str) -> dict[str, Any]:
        portions = [{"analytes": [{"aliquots": [{"submitter_id": aliquot}]}]} for aliquot in aliquots]
        return {"submitter_id": name, "samples": [{"sample_type": "Primary Tumor", "portions": portions}]}

    server.publish({ids[0]: {"cases": [case("TCGA-2", "C", "A"), case("TCGA-1", "B", "A")]}, ids[1]: {"cases": []}})
    one, other, *_ = gdc.list_files(address("gdc:access=open"), patience)
    assert (one.aliquot, one.case, one.sample_type, one.project) == ("A;B;C", "TCGA-1;TCGA-2", "Primary Tumor", "")
    assert (other.aliquot, other.case) == ("", "")


def test_filters_that_no_file_passes_and_unknown_fields_are_errors(server: Gdc, patience: Patience) -> None:
    server.internet.fault(FILES, server.page(warnings={"fields": "unrecognized values: [md5sums]"}))
    with pytest.raises(GivenUpError, match=r"warns about the question.*md5sums"):
        gdc.list_files(address(), patience)
    with pytest.raises(GivenUpError, match="no file of the GDC passes the filters gdc:access=closed"):
        gdc.list_files(address("gdc:access=closed"), patience)


@pytest.mark.parametrize("body", [b"<html>maintenance</html>", b"[]", b'{"data": {}}', b'{"message": "try later"}'])
def test_an_answer_that_is_no_listing_is_given_up(server: Gdc, patience: Patience, body: bytes) -> None:
    server.internet.fault(FILES, body=body)
    with pytest.raises(GivenUpError, match=r"GDC's answer has no|other than JSON"):
        gdc.list_files(address(), patience)


# The pinned listing


def test_a_pinned_listing_is_never_asked_for_again(server: Gdc, patience: Patience, tmp_path: Path) -> None:
    path = tmp_path / "sources.lock/tcga.star_counts.tsv"
    first = gdc.pinned_listing(address(), path, patience)
    text = path.read_text()
    server.files.popitem()
    server.publish()
    assert gdc.pinned_listing(address(), path, patience) == first
    assert server.internet.requests() == []
    assert path.read_text() == text
    assert [found.name for found in path.parent.iterdir()] == [path.name]
    lines = text.splitlines()
    assert lines[0].startswith(f"# address: {TEXT}; listed: 20")
    assert lines[0].endswith(f"; {N_FILES} files; {N_FILES * BYTES_EACH} bytes")
    assert lines[1].split("\t") == list(gdc.COLUMNS)
    assert len(lines) == N_FILES + 2


def test_what_a_killed_process_left_of_a_listing_does_not_get_into_it(
    server: Gdc, patience: Patience, tmp_path: Path
) -> None:
    path = tmp_path / "tcga.star_counts.tsv"
    path.with_name(f".{path.name}.part").write_text("# address: gdc:half")
    gdc.pinned_listing(address(), path, patience)
    listing = gdc.read_listing(path)
    assert listing is not None
    assert len(listing.files) == N_FILES


def test_processes_that_want_the_same_listing_ask_once(server: Gdc, patience: Patience, tmp_path: Path) -> None:
    path = tmp_path / "sources.lock/tcga.star_counts.tsv"
    found: list[gdc.Listing] = []
    threads = [
        threading.Thread(target=lambda: found.append(gdc.pinned_listing(address(), path, patience))) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.asked_pages) == 1
    assert found == [found[0]] * 5


def test_a_pinned_listing_of_other_filters_says_how_to_refresh(server: Gdc, patience: Patience, tmp_path: Path) -> None:
    path = tmp_path / "sources.lock/tcga.star_counts.tsv"
    gdc.pinned_listing(address(), path, patience)
    with pytest.raises(GivenUpError, match="the catalogue now says gdc:access=controlled") as error:
        gdc.pinned_listing(address("gdc:access=controlled"), path, patience)
    assert "python -m curation resolve --refresh tcga" in error.value.todo


def test_a_refresh_that_fails_leaves_the_pinned_listing(server: Gdc, patience: Patience, tmp_path: Path) -> None:
    path = tmp_path / "sources.lock/tcga.star_counts.tsv"
    gdc.pinned_listing(address(), path, patience)
    text = path.read_text()
    server.internet.fault(FILES, status=403)
    with pytest.raises(GivenUpError):
        gdc.refresh_listing(address(), path, patience)
    assert path.read_text() == text
    server.files.popitem()
    server.publish()
    assert len(gdc.refresh_listing(address(), path, patience).files) == N_FILES - 1
    assert [found.name for found in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("line", "old", "new", "words"),
    [
        (1, "# address: ", "# ", ["line 1", "# address: gdc:FIELD=VALUE; listed:"]),
        (1, "; 23 files", "; 24 files", ["line 1", "24 files", "23 files"]),
        (2, "md5", "md4", ["line 2", "file_id file_name md5"]),
        (5, f"\t{BYTES_EACH}\t", "\tmany\t", ["line 5", "above 0 in column size", "many"]),
        (5, f"\t{BYTES_EACH}\t", "\t2999\t", ["line 1", "68999"]),
        (6, "\tBreast", "", ["line 6", "9 columns", "8 columns"]),
        (7, "-", "/", ["line 7", "a UUID in lower case in column file_id"]),
    ],
)
def test_an_edited_listing_is_an_error_that_names_the_line(
    server: Gdc, patience: Patience, tmp_path: Path, line: int, old: str, new: str, words: list[str]
) -> None:
    path = tmp_path / "tcga.star_counts.tsv"
    gdc.pinned_listing(address(), path, patience)
    lines = path.read_text().split("\n")
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new, 1)
    path.write_text("\n".join(lines))
    with pytest.raises(InputError) as error:
        gdc.pinned_listing(address(), path, patience)
    for word in [*words, "resolve --refresh tcga"]:
        assert word in str(error.value)


def test_a_listing_that_was_cut_or_shuffled_is_an_error(server: Gdc, patience: Patience, tmp_path: Path) -> None:
    path = tmp_path / "tcga.star_counts.tsv"
    gdc.pinned_listing(address(), path, patience)
    text = path.read_text()
    path.write_text(text[:-1])
    with pytest.raises(InputError, match="malformed") as error:
        gdc.read_listing(path)
    assert "newline" in error.value.expected
    first, header, *rows = text.splitlines(keepends=True)
    path.write_text("".join([first, header, *rows[::-1]]))
    with pytest.raises(InputError) as error:
        gdc.read_listing(path)
    assert "line 4" in error.value.where
    assert "sorts after" in error.value.expected


# The files


def test_every_file_arrives_and_the_receipt_lists_them(server: Gdc, receipt: Path, patience: Patience) -> None:
    provenance = fetched(receipt, patience)
    assert on_disk(receipt) == server.expected()
    assert sorted(map(len, server.asked_data)) == [3, 10, 10]
    header, *rows = [line.split("\t") for line in receipt.read_text().splitlines()]
    assert header == [*gdc.COLUMNS, "path"]
    assert [row[0] for row in rows] == list(server.files)
    for row in rows:
        entry = dict(zip(header, row, strict=True))
        body = (receipt.parent / entry["path"]).read_bytes()
        assert hashlib.md5(body, usedforsecurity=False).hexdigest() == entry["md5"]
        assert entry["path"] == f"star_counts/{entry['file_id']}/{entry['file_name']}"
    assert provenance["n_files"] == N_FILES
    assert provenance["n_bytes"] == N_FILES * BYTES_EACH


def test_two_runs_give_the_same_bytes(server: Gdc, receipt: Path, patience: Patience, tmp_path: Path) -> None:
    other = tmp_path / "other/sources/tcga/star_counts.tsv"
    fetched(receipt, patience)
    server.internet.fault(DATA, server.fault(cut_after=5000), server.fault(status=503))
    fetched(other, patience, batch=4, parallel=2)
    assert other.read_bytes() == receipt.read_bytes()
    assert on_disk(other) == on_disk(receipt)


def test_files_that_are_there_are_not_asked_for_again(
    server: Gdc, ids: list[str], receipt: Path, patience: Patience
) -> None:
    fetched(receipt, patience)
    receipt.unlink()
    folder, names = gdc_batches.files_folder(receipt), list(server.expected())
    (folder / names[4]).unlink()
    (folder / names[9]).write_bytes(b"too short")
    (folder / f".{ids[7]}.part").write_bytes(b"of a run that was killed")
    server.publish()
    fetched(receipt, patience)
    assert server.asked_data == [[ids[4], ids[9]]]
    assert on_disk(receipt) == server.expected()


def test_a_corrupted_member_is_fetched_again_alone(
    server: Gdc, ids: list[str], receipt: Path, patience: Patience, capfd: pytest.CaptureFixture[str]
) -> None:
    server.internet.fault(DATA, server.archive(ids[:10], corrupt=[ids[2]]))
    fetched(receipt, patience, parallel=1)
    assert server.asked_data[:2] == [ids[:10], [ids[2]]]
    assert on_disk(receipt) == server.expected()
    assert f"1 members that were not taken: {ids[2]} has md5" in capfd.readouterr().err


def test_a_file_that_is_always_corrupted_is_named_and_never_takes_its_name(
    server: Gdc, ids: list[str], receipt: Path, patience: Patience
) -> None:
    server.publish({ids[2]: {"md5sum": "0" * 32}})
    message = refusal(receipt, patience)
    assert f"1 of 23 files are missing: {ids[2]}" in message
    assert "the listing says" in message
    assert "resolve --refresh" in message
    assert set(server.expected()) - set(on_disk(receipt)) == {server.name(ids[2])}


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.3, 0.6, 0.95])
def test_a_truncated_archive_keeps_its_whole_members(
    server: Gdc, ids: list[str], receipt: Path, patience: Patience, keep: float
) -> None:
    server.internet.fault(DATA, server.archive(ids, keep=keep))
    fetched(receipt, patience, parallel=1, batch=N_FILES)
    first, second = server.asked_data
    assert first == ids
    assert second == ids[-len(second) :]
    assert len(second) < N_FILES or keep < 0.1
    assert on_disk(receipt) == server.expected()


def test_an_archive_that_lacks_only_its_end_is_complete(
    server: Gdc, ids: list[str], receipt: Path, patience: Patience
) -> None:
    server.internet.fault(DATA, server.archive(ids, keep=0.9999))
    fetched(receipt, patience, batch=N_FILES)
    assert server.asked_data == [ids]


@pytest.mark.parametrize(
    "fields",
    [
        {"hang_up": True},
        {"reset_after": 6000},
        {"cut_after": 6000},
        {"stall_after": 6000},
        {"status": 503},
        {"corrupt": True},
        {"short_by": 3000},
        {"no_length": True},
        {"chunked": False, "length_delta": 1000},
        {"body": b""},
        {"body": b"\x1f\x8b and then something else"},
    ],
    ids=lambda fields: next(iter(fields)),
)
@pytest.mark.parametrize("batch", [N_FILES, 1], ids=["batch", "single"])
def test_whatever_goes_wrong_on_the_way_the_bytes_are_right(
    server: Gdc, receipt: Path, waits: list[float], fields: dict[str, Any], batch: int
) -> None:
    if batch == 1:
        fields = {key: value // 6 if key.endswith(("after", "by")) else value for key, value in fields.items()}
    server.internet.fault(f"{DATA}*", **fields)
    fetched(receipt, Patience(tries=3, read_s=0.3, sleep=waits.append), batch=batch)
    assert server.internet.faults_left() == 0
    assert on_disk(receipt) == server.expected()


def test_a_busy_server_is_asked_again_after_the_time_it_names(
    server: Gdc, receipt: Path, patience: Patience, waits: list[float]
) -> None:
    busy = server.fault(status=429, headers={"Retry-After": "7"})
    server.internet.fault(DATA, busy, server.fault(status=503))
    fetched(receipt, patience, parallel=1)
    assert [len(asked) for asked in server.asked_data] == [10, 10, 10, 10, 3]
    assert sum(waits) == pytest.approx(7 + 2.25, abs=0.3)
    assert on_disk(receipt) == server.expected()


def test_a_withdrawn_file_is_named_and_the_others_arrive(
    server: Gdc, ids: list[str], receipt: Path, patience: Patience
) -> None:
    gdc.pinned_listing(address(), pin_path(receipt), patience)
    body = server.files.pop(ids[13])
    server.publish()
    message = refusal(receipt, patience)
    assert f"1 of 23 files are missing: {ids[13]} (" in message
    assert "404" in message
    assert on_disk(receipt) == server.expected()
    server.publish()
    refusal(receipt, patience)
    assert server.asked_data == [[ids[13]]]
    server.files[ids[13]] = body
    server.publish()
    fetched(receipt, patience)
    assert on_disk(receipt) == server.expected()


def test_a_file_that_an_archive_lacks_is_asked_for_alone(
    server: Gdc, ids: list[str], receipt: Path, patience: Patience, waits: list[float]
) -> None:
    server.internet.fault(DATA, server.archive(ids[1:10]))
    fetched(receipt, patience, parallel=1)
    assert server.asked_data[1] == [ids[0]]
    assert not waits
    assert on_disk(receipt) == server.expected()


def test_a_server_that_refuses_everything_is_not_asked_for_every_file(
    server: Gdc, receipt: Path, patience: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gdc_batches, "MAX_REFUSALS", 8)
    server.internet.fault(f"{DATA}*", status=403, times=100)
    message = refusal(receipt, patience, batch=2)
    assert 8 <= len(server.asked_data) <= 8 + 4
    assert "23 of 23 files are missing" in message
    assert "and 13 more" in message
    assert "stopped after 8 refused requests in a row, the last: api.gdc.cancer.gov answered 403" in message


def test_refusals_that_bring_the_rest_do_not_end_the_run(
    server: Gdc, ids: list[str], receipt: Path, patience: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gdc_batches, "MAX_REFUSALS", 8)
    gdc.pinned_listing(address(), pin_path(receipt), patience)
    for file_id in (ids[0], ids[12], ids[17]):
        del server.files[file_id]
    server.publish()
    message = refusal(receipt, patience, parallel=1, batch=N_FILES)
    assert message.startswith(f"3 of 23 files are missing: {ids[0]} (")
    assert "in a row" not in message
    assert on_disk(receipt) == server.expected()


def test_tries_that_bring_files_do_not_count(server: Gdc, receipt: Path, patience: Patience) -> None:
    server.internet.fault(DATA, cut_after=6000, times=patience.tries + 1)
    fetched(receipt, patience, batch=N_FILES)
    assert server.internet.faults_left() == 0
    sizes = [len(asked) for asked in server.asked_data]
    assert sizes == sorted(set(sizes), reverse=True)
    assert on_disk(receipt) == server.expected()


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><p>Are you human?", b'{"message": "maintenance"}'])
def test_a_page_instead_of_an_archive_is_shown_not_saved(
    server: Gdc, receipt: Path, patience: Patience, page: bytes
) -> None:
    server.internet.fault(f"{DATA}*", body=page, times=100)
    assert page.decode()[:20] in refusal(receipt, patience)
    assert on_disk(receipt) == {}
    server.publish()
    fetched(receipt, patience)
    assert on_disk(receipt) == server.expected()


def test_a_certificate_that_is_not_accepted_is_not_tried_for_every_file(
    server: Gdc, receipt: Path, patience: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gdc_batches, "MAX_REFUSALS", 8)
    gdc.pinned_listing(address(), pin_path(receipt), patience)
    server.internet.fault("api.gdc.cancer.gov", tls="stranger", times=100)
    message = refusal(receipt, patience, batch=1)
    assert "certificate was not accepted" in message
    assert "set REQUESTS_CA_BUNDLE" in message
    assert 8 <= 100 - server.internet.faults_left() <= 8 + 4


def test_unsafe_members_are_refused_and_counted(
    server: Gdc, ids: list[str], receipt: Path, patience: Patience, capfd: pytest.CaptureFixture[str]
) -> None:
    name, body = server.name(ids[0]), server.files[ids[0]]
    unsafe = {
        "'../../evil.tsv' was not asked for": member("../../evil.tsv", body),
        "'/evil.tsv' was not asked for": member("/evil.tsv", body),
        f"'{ids[0]}/../evil.tsv' was not asked for": member(f"{ids[0]}/../evil.tsv", body),
        f"'{ids[0]}/evil.tsv' was not asked for": member(f"{ids[0]}/evil.tsv", body),
        f"'{ids[0]}/evil/../{ids[0]}": member(f"{ids[0]}/evil/../{name}", body),
        f"'{name}' is no plain file": member(name, kind=tarfile.SYMTYPE, linkname="/etc/passwd"),
        f"'{name}' is no plain file; ": member(name, kind=tarfile.LNKTYPE, linkname="/etc/passwd", size=BYTES_EACH),
        f"'{server.name(ids[15])}' was not asked for": member(server.name(ids[15]), server.files[ids[15]]),
        f"{name} has 12 bytes, the listing says 3,000": member(name, b"another size"),
    }
    server.internet.fault(DATA, server.archive(ids[:10], *unsafe.values()))
    fetched(receipt, patience, parallel=1)
    assert on_disk(receipt) == server.expected()
    assert not list(receipt.parents[3].rglob("evil*"))
    printed = capfd.readouterr().err
    assert "9 members that were not taken" in printed
    for words in unsafe:
        assert words in printed


def test_a_member_that_comes_twice_is_taken_once(
    server: Gdc, ids: list[str], receipt: Path, patience: Patience, capfd: pytest.CaptureFixture[str]
) -> None:
    server.internet.fault(DATA, server.archive([*ids[:10], ids[3]]))
    fetched(receipt, patience, parallel=1)
    assert on_disk(receipt) == server.expected()
    assert f"{ids[3]} came twice" in capfd.readouterr().err


def test_notes_of_the_gdc_are_passed_over(server: Gdc, ids: list[str], receipt: Path, patience: Patience) -> None:
    notes = [member(ids[0], kind=tarfile.DIRTYPE), member(f"{ids[0]}/annotations.txt", b"a note")]
    server.internet.fault(DATA, server.archive(ids[:10], member("MANIFEST.txt", b"id"), *notes))
    fetched(receipt, patience, parallel=1)
    assert on_disk(receipt) == server.expected()
    assert len(server.asked_data) == 3


def test_a_single_file_may_come_bare_or_in_an_archive(
    server: Gdc, ids: list[str], receipt: Path, patience: Patience
) -> None:
    server.internet.fault(f"{DATA}/{ids[0]}", server.archive(ids[:1], member(f"{ids[0]}/annotations.txt", b"a note")))
    fetched(receipt, patience, batch=1, parallel=1)
    assert server.asked_data == [[file_id] for file_id in ids]
    assert on_disk(receipt) == server.expected()


def test_an_archive_that_unpacks_to_far_more_is_broken_off(
    server: Gdc, ids: list[str], receipt: Path, patience: Patience
) -> None:
    server.internet.fault(DATA, server.archive(ids[:10], member("bomb", bytes(2**24))))
    fetched(receipt, patience, parallel=1)
    assert server.asked_data[:2] == [ids[:10], ids[:10]]
    assert on_disk(receipt) == server.expected()


def test_a_connection_that_drips_is_broken_off(server: Gdc, receipt: Path, waits: list[float]) -> None:
    server.internet.fault(DATA, bytes_per_s=200)
    impatient = Patience(tries=3, read_s=10, slow_s=0.2, sleep=waits.append)
    fetched(receipt, impatient, parallel=1, batch=N_FILES)
    assert len(server.asked_data) == 2
    assert len(waits) == 1
    assert on_disk(receipt) == server.expected()


def test_batches_and_groups_end_at_their_bytes_too(
    server: Gdc, receipt: Path, patience: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(gdc_batches, "BATCH_BYTES", 4 * BYTES_EACH)
    monkeypatch.setattr(gdc_batches, "GROUP_BYTES", 2 * BYTES_EACH)
    monkeypatch.setattr(gdc_batches, "_sync", synced.append)
    fetched(receipt, patience)
    assert sorted(map(len, server.asked_data)) == [3, 4, 4, 4, 4, 4]
    assert synced.count(gdc_batches.files_folder(receipt)) == 12
    assert len(synced) == 12 + 2 * N_FILES
    assert on_disk(receipt) == server.expected()


def test_a_disk_that_is_too_small_is_noticed_before_the_first_byte(
    server: Gdc, receipt: Path, patience: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, str]] = []

    def refuse(folder: Path, n_bytes: int, what: str) -> None:
        asked.append((n_bytes, what))
        raise InputError("the disk has no room")

    monkeypatch.setattr(gdc_batches, "require_free", refuse)
    with pytest.raises(InputError, match="no room"):
        fetched(receipt, patience)
    assert asked == [(N_FILES * BYTES_EACH, "23 files of the GDC")]
    assert server.asked_data == []


def test_a_disk_that_fills_up_ends_the_run_with_advice(
    server: Gdc, receipt: Path, patience: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(gdc_batches, "_sync", full)
        with pytest.raises(InputError, match="the disk is full"):
            fetched(receipt, patience)
    assert not receipt.exists()
    fetched(receipt, patience)
    assert on_disk(receipt) == server.expected()


def test_wrong_files_names_what_changed_on_disk(server: Gdc, ids: list[str], receipt: Path, patience: Patience) -> None:
    fetched(receipt, patience)
    files = gdc.pinned_listing(address(), pin_path(receipt), patience).files
    folder, names = gdc_batches.files_folder(receipt), list(server.expected())
    assert list(gdc_batches.wrong_files(files, folder)) == []
    (folder / names[1]).write_bytes(bytes(BYTES_EACH))
    (folder / names[2]).write_bytes(b"short")
    (folder / names[3]).unlink()
    found = {file.file_id: what.split(",")[0] for file, what in gdc_batches.wrong_files(files, folder)}
    zeros = hashlib.md5(bytes(BYTES_EACH), usedforsecurity=False).hexdigest()
    assert found == {ids[1]: f"md5 {zeros}", ids[2]: "5 bytes", ids[3]: "it is not there"}


FETCH = """
import sys
from pathlib import Path
from curation.acquire import gdc, gdc_batches
from curation.acquire.addresses import parse_address
from curation.acquire.http import Patience
from curation.acquire.part_file import PartFile
from curation.remote_file import RemoteFile
text, receipt, pinned = sys.argv[1:]
with PartFile(RemoteFile(path="star_counts.tsv", addresses=(text,)), Path(receipt)) as part:
    part.commit(gdc_batches.fetch_gdc(parse_address(text), part, Path(pinned), Patience(), batch=10))
"""


def test_kill_9_leaves_no_wrong_file_and_a_later_run_asks_only_for_the_rest(
    server: Gdc, receipt: Path, tmp_path: Path
) -> None:
    server.files = made_files(400, seed=1)
    server.publish()
    folder = gdc_batches.files_folder(receipt)
    command = [sys.executable, "-c", FETCH, TEXT, str(receipt), str(pin_path(receipt))]
    environment = os.environ | {"TMPDIR": str(tmp_path / "slots"), "PYTHONPATH": str(ROOT)}
    pages = 0
    for enough in (1, 80, 200):
        running = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while len(list(folder.glob("*/*.tsv"))) < enough:
            assert running.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.002)
        running.send_signal(signal.SIGKILL)
        running.wait()
        assert not receipt.exists()
        whole = {name: body for name, body in on_disk(receipt).items() if not name.endswith(".part")}
        assert enough <= len(whole) < len(server.files)
        assert whole.items() <= server.expected().items()
        pages += len(server.asked_pages)
        server.publish()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    kept = {name.split("/")[0] for name in whole}
    assert sorted(file_id for asked in server.asked_data for file_id in asked) == sorted(set(server.files) - kept)
    assert on_disk(receipt) == server.expected()
    assert len(receipt.read_text().splitlines()) == len(server.files) + 1
    assert (pages, server.asked_pages) == (1, [])


def test_a_receipt_is_never_taken_for_the_files_that_it_lists(
    server: Gdc, ids: list[str], patience: Patience, tmp_path: Path
) -> None:
    out = tmp_path / "sources/tcga/star_counts.tsv"
    pin = SourcesLock(tmp_path / "sources.lock.yaml").pin("tcga", "star_counts.tsv")
    remote = RemoteFile(path="star_counts.tsv", addresses=(TEXT,))
    fetch(remote, out, pin=pin, patience=patience)
    receipt, written = out.read_bytes(), out.stat().st_mtime_ns
    lost, damaged = (out.with_suffix("") / server.name(file_id) for file_id in ids[:2])
    lost.unlink()
    damaged.write_bytes(b"x" * damaged.stat().st_size)
    asked = len(server.asked_data)
    fetch(remote, out, pin=pin, patience=patience)
    assert on_disk(out) == server.expected()
    assert sorted(server.asked_data[asked]) == sorted(ids[:2])
    assert (out.read_bytes(), out.stat().st_mtime_ns) == (receipt, written)
    out.unlink()  # as Snakemake does before it runs a step again
    damaged.write_bytes(b"x" * damaged.stat().st_size)
    fetch(remote, out, pin=pin, patience=patience)
    assert on_disk(out) == server.expected()
    assert out.read_bytes() == receipt
    assert not (tmp_path / "sources/.kept").exists()
