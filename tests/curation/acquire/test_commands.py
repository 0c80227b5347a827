"""The verbs that get and check files, as a user runs them: real processes, exit codes, no wrong file."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

ROOT = Path(__file__).parents[3]
HOST = "https://data.example.org"
MIRROR = "https://mirror.example.org"
BODY = np.random.default_rng(0).bytes(300_000)
OTHER = np.random.default_rng(1).bytes(len(BODY))
GENES = b"ENSG00000000001,TP53\nENSG00000000002,ACTB\n"


def sha256(body: bytes) -> str:
    """Sum of some bytes."""
    return hashlib.sha256(body).hexdigest()


def curation(folder: Path, *arguments: str | Path, timeout_s: int = 120) -> subprocess.CompletedProcess[str]:
    """Run `python -m curation` in a folder, with whatever internet the environment names."""
    return subprocess.run(
        [sys.executable, "-m", "curation", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )


@dataclass(frozen=True, kw_only=True)
class Project:
    """A folder with a config, a sheet of one study and a gene table, and what they need on this machine."""

    folder: Path
    extra: dict[str, Any] = field(default_factory=dict)

    def write(self, files: Mapping[str, Mapping[str, Any]], **studies: Mapping[str, Mapping[str, Any]]) -> None:
        """Write the sheet: `files` are those of the study toy."""
        local = self.folder / "genes.csv"
        local.write_bytes(GENES)
        genes = {"addresses": [f"file:{local}"], "size": len(GENES), "sha256": sha256(GENES)}
        sheet = {
            "studies": {"toy": _study(files)} | {name: _study(given) for name, given in studies.items()},
            "annotation": {"axis": {"format": "id_name_csv", "licence": "CC0", "files": {"genes.csv": genes}}},
        }
        config = {
            "name": "toy",
            "catalogs": {"toy": "sheet.yaml"},
            "gene_axis": {"annotation": "axis"},
            "select": {"variants": ["all"], "models": [], "seeds": [0], "studies_for_evaluation": []},
            "split": {"validation_share": 0.1, "seed": 0},
            "recipes": {"plain": {}},
            "variants": {"all": {"studies": dict.fromkeys(["toy", *studies], "plain")}},
            "models": {},
        }
        (self.folder / "sheet.yaml").write_text(yaml.safe_dump(sheet))
        (self.folder / "config.yaml").write_text(yaml.safe_dump(config))

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a verb here."""
        return curation(self.folder, *arguments)

    def file(self, name: str) -> Path:
        """A file of the study."""
        return self.folder / "sources" / "toy" / name


def _study(files: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "title": "toy",
        "citation": {"year": 2026, "text": "Toy et al."},
        "licence": "CC0",
        "role": "train",
        "publication_key": ["toy", "toy"],
        "assay": "sc",
        "count_kind": "umi",
        "gene_ids": "symbol",
        "obs": {},
        "parts": [
            {
                "name": "p",
                "format": "dense_text",
                "orientation": "genes_by_samples",
                "files": {"matrix": next(iter(files))},
            }
        ],
        "files": {name: dict(entry) for name, entry in files.items()},
    }


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project."""
    return Project(folder=tmp_path)


def entry(*addresses: str, body: bytes = BODY, **fields: Any) -> dict[str, Any]:
    """A file's entry with size and sum."""
    return {"addresses": list(addresses), "size": len(body), "sha256": sha256(body), **fields}


# By hand


def test_one_file_by_hand_comes_from_the_mirror_when_the_first_address_is_broken(internet: Any, tmp_path: Path) -> None:
    internet.serve(f"{HOST}/a.bin", OTHER)
    internet.serve(f"{MIRROR}/a.bin", BODY)
    urls = ["--url", f"{HOST}/a.bin", "--url", f"{MIRROR}/a.bin"]
    result = curation(tmp_path, "fetch", *urls, "--sha256", sha256(BODY).upper(), "--size", "300000", "--out", "a.bin")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert f"from {MIRROR}/a.bin" in result.stdout
    again = curation(tmp_path, "fetch", *urls, "--sha256", sha256(BODY), "--out", "a.bin")
    assert (again.returncode, "already there" in again.stdout) == (0, True)
    assert len(internet.requests("mirror.example.org")) == 1


def test_by_hand_without_a_sum_the_same_command_finds_the_file_by_its_provenance(internet: Any, tmp_path: Path) -> None:
    internet.serve(f"{HOST}/a.bin", BODY)
    for _ in range(2):
        result = curation(tmp_path, "fetch", "--url", f"{HOST}/a.bin", "--out", "here/a.bin")
        assert result.returncode == 0, result.stderr
    assert "already there" in result.stdout
    assert len(internet.requests(f"{HOST}/a.bin")) == 1


def test_by_hand_nothing_right_anywhere_leaves_no_file(internet: Any, tmp_path: Path) -> None:
    internet.serve(f"{HOST}/a.bin", OTHER)
    internet.play("mirror.example.org")
    urls = ["--url", f"{HOST}/a.bin", "--url", f"{MIRROR}/a.bin"]
    result = curation(tmp_path, "fetch", *urls, "--sha256", sha256(BODY), "--out", "a.bin")
    assert result.returncode == 2
    assert f"{HOST}/a.bin: sha256 {sha256(OTHER)}" in result.stderr
    assert f"{MIRROR}/a.bin: mirror.example.org answered 404" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sums", [["--md5", "0" * 32], []], ids=["another sum", "no provenance"])
def test_by_hand_a_file_that_is_not_known_to_be_the_same_is_not_overwritten(
    sums: list[str], internet: Any, tmp_path: Path
) -> None:
    internet.serve(f"{HOST}/a.bin", BODY)
    (tmp_path / "a.bin").write_bytes(b"mine")
    result = curation(tmp_path, "fetch", "--url", f"{HOST}/a.bin", *sums, "--out", "a.bin")
    assert result.returncode == 2
    assert "it is not overwritten" in result.stderr
    assert (tmp_path / "a.bin").read_bytes() == b"mine"
    assert internet.requests() == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--url", "https://x.org/a", "--out", "a", "--sha256", "12ab"], "expected: 64 hex digits"),
        (["--url", "https://x.org/a", "--out", "a", "--md5", "g" * 32], "expected: 32 hex digits"),
        (["--url", "https://x.org/a", "--out", "a", "--size", "0"], "expected: bytes, 1 or more"),
        (["--url", "https://x.org/a", "--out", "."], "this is a folder"),
        (["--url", "https://x.org/a"], "--url needs --out"),
        (["--url", "ftp://x.org/a", "--out", "a"], "unknown kind of address"),
        (["--url", "https://x.org/a", "--out", "a", "--dry-run"], "--dry-run does not go with --url"),
        (["--url", "https://x.org/a", "--out", "a", "config.yaml"], "CONFIG does not go with --url"),
        (["--url", "https://x.org/a", "--file", "{}", "--out", "a"], "two ways to name a file"),
        (["--file", "{}", "--out", "a", "--sha256", "0" * 64], "--sha256 does not go with --file"),
        (["--file", "{}", "--out", "a", "--lock", "l.yaml"], "--source and --lock go together"),
        (["--file", "{}"], "--file needs --out"),
        (["--size", "0"], "--size needs --file or --url"),
        (["--out", "a"], "--out needs --file or --url"),
        (["--jobs", "2"], "a file is missing"),
    ],
)
def test_a_wrong_combination_is_told_in_words(arguments: list[str], words: str, tmp_path: Path) -> None:
    result = curation(tmp_path, "fetch", *arguments)
    assert result.returncode == 2, result.stderr
    assert words.lower() in result.stderr.lower()
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_is_quick() -> None:
    """Time of the processor, not of the clock: other tests may run beside this one."""
    program = "import time, curation.__main__ as m; m._parser(); print(time.process_time())"
    seconds = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert float(seconds) < 0.2


# All files of a config


def test_all_files_of_a_config_are_fetched_side_by_side_and_one_failure_stops_no_other(
    internet: Any, project: Project
) -> None:
    names = [f"{i}.txt" for i in range(6)]
    for name in names[1:]:
        internet.serve(f"{HOST}/{name}", BODY)
    internet.fault("data.example.org", bytes_per_s=len(BODY), method="GET", times=6)
    project.write({name: entry(f"{HOST}/{name}") for name in names})
    result = project.run("fetch", "--jobs", "3")
    assert result.returncode == 2
    assert "1 of 7 files could not be fetched" in result.stderr
    assert "data.example.org answered 404" in result.stderr
    assert [project.file(name).exists() for name in names] == [False, *[True] * 5]
    assert all(project.file(name).read_bytes() == BODY for name in names[1:])
    assert len(result.stdout.splitlines()) == 7
    assert 2 <= internet.max_parallel("data.example.org") <= 3
    internet.serve(f"{HOST}/0.txt", BODY)
    again = project.run("fetch", "config.yaml")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("was there already") == 6
    assert len(internet.requests("data.example.org")) == 7


def test_only_some_sources_are_fetched(internet: Any, project: Project) -> None:
    internet.serve(f"{HOST}/a.txt", BODY)
    project.write({"a.txt": entry(f"{HOST}/a.txt")}, second={"a.txt": entry(f"{HOST}/a.txt")})
    assert project.run("fetch", "--only", "second", "--only", "axis").returncode == 0
    assert {path.name for path in (project.folder / "sources").iterdir()} >= {"axis", "second"}
    assert not (project.folder / "sources" / "toy").exists()
    wrong = project.run("fetch", "--only", "secnd")
    assert wrong.returncode == 2
    assert "did you mean 'second'" in wrong.stderr


def _tar_gz(members: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return packed.getvalue()


def _zip(members: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return packed.getvalue()


@pytest.mark.parametrize(("name", "pack"), [("all.zip", _zip), ("all.tar.gz", _tar_gz)])
def test_members_follow_their_archive(name: str, pack: Any, internet: Any, project: Project) -> None:
    packed = pack({"in/a.txt": BODY, "in/b.txt": OTHER})
    internet.serve(f"{HOST}/{name}", packed)
    project.write(
        {
            "a.txt": {"archive": name, "member": "in/a.txt", "size": len(BODY)},
            name: entry(f"{HOST}/{name}", body=packed),
            "sub/b.txt": {"archive": name, "member": "in/b.txt", "sha256": sha256(OTHER)},
        }
    )
    result = project.run("fetch")
    assert result.returncode == 0, result.stderr
    assert project.file("a.txt").read_bytes() == BODY
    assert project.file("sub/b.txt").read_bytes() == OTHER
    assert len(internet.requests(f"{HOST}/{name}")) == 1
    assert project.run("verify-sources").returncode == 0


def test_members_of_an_archive_that_does_not_come_fail_with_it(internet: Any, project: Project) -> None:
    internet.play("data.example.org")
    project.write(
        {
            "a.txt": {"archive": "all.zip", "member": "in/a.txt"},
            "all.zip": entry(f"{HOST}/all.zip"),
        }
    )
    result = project.run("fetch")
    assert result.returncode == 2
    assert "2 of 3 files could not be fetched" in result.stderr
    assert "its archive all.zip could not be fetched" in result.stderr


# Without a network


def test_a_dry_run_counts_bytes_and_asks_nobody(internet: Any, project: Project) -> None:
    internet.serve(f"{HOST}/a.txt", BODY)
    names = {"a.txt": entry(f"{HOST}/a.txt"), "b.txt": entry(f"{HOST}/b.txt", size=2_000_000)}
    names["unknown.txt"] = {"addresses": [f"{HOST}/unknown.txt"]}
    project.write({"a.txt": names["a.txt"]})
    assert project.run("fetch").returncode == 0
    project.write(names)
    project.file("b.txt.part").write_bytes(b"x" * 500_000)
    n_requests = len(internet.requests())
    result = project.run("fetch", "--dry-run")
    assert result.returncode == 0, result.stderr
    rows = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines() if line}
    assert rows["toy"] == ["3", "1", "2", "1.5", "MB", "1"]
    assert rows["axis"] == ["1", "1", "0", "0", "B", "0"]
    assert rows["total"] == ["4", "2", "2", "1.5", "MB", "1"]
    assert "needed: 1.5 MB, and 1 files of unknown size; free in sources" in result.stdout
    assert "will not hold" not in result.stdout
    assert len(internet.requests()) == n_requests


def test_a_dry_run_says_when_the_disk_will_not_hold_it(project: Project) -> None:
    project.write({"a.txt": entry(f"{HOST}/a.txt", size=10**18)})
    result = project.run("fetch", "--dry-run")
    assert result.returncode == 0
    assert "the disk will not hold it" in result.stdout
    assert not (project.folder / "sources").exists()


def test_offline_takes_what_is_here_and_lists_the_rest_without_asking(internet: Any, project: Project) -> None:
    for name in ("a.txt", "b.txt"):
        internet.serve(f"{HOST}/{name}", BODY)
    files = {"a.txt": entry(f"{HOST}/a.txt")}
    project.write(files)
    assert project.run("fetch").returncode == 0
    assert project.run("fetch", "--offline").returncode == 0
    n_requests = len(internet.requests())
    files |= {"b.txt": entry(f"{HOST}/b.txt"), "c.txt": entry("gdc:data_type=Gene Expression Quantification")}
    project.write(files)
    result = project.run("fetch", "--offline")
    assert result.returncode == 2
    assert "2 of 4 files are not here" in result.stderr
    assert "toy/b.txt" in result.stderr
    assert "toy/c.txt" in result.stderr
    assert "toy/a.txt" not in result.stderr
    assert len(internet.requests()) == n_requests
    assert not project.file("b.txt").exists()


def test_offline_does_not_take_a_file_that_has_changed(internet: Any, project: Project) -> None:
    internet.serve(f"{HOST}/a.txt", BODY)
    project.write({"a.txt": entry(f"{HOST}/a.txt")})
    assert project.run("fetch").returncode == 0
    project.file("a.txt").unlink()  # its second name in .kept keeps the right bytes
    project.file("a.txt").write_bytes(OTHER)
    n_requests = len(internet.requests())
    result = project.run("fetch", "--offline")
    assert result.returncode == 2
    assert len(internet.requests()) == n_requests


# Checks


def test_check_names_the_file_that_has_moved(internet: Any, project: Project) -> None:
    internet.serve(f"{HOST}/good.txt", BODY)
    internet.serve(f"{HOST}/larger.txt", BODY + b"x")
    internet.serve(f"{HOST}/page.txt", BODY, headers={"Content-Type": "text/html"})
    internet.serve(f"{HOST}/no_head.txt", BODY)
    internet.fault(f"{HOST}/no_head.txt", status=405, method="HEAD")
    internet.serve(f"{HOST}/challenge.txt", BODY)
    internet.fault(f"{HOST}/challenge.txt", status=202, times=2)
    names = ["good.txt", "gone.txt", "larger.txt", "page.txt", "no_head.txt", "challenge.txt"]
    project.write({name: entry(f"{HOST}/{name}") for name in names})
    result = project.run("sources", "--check")
    assert result.returncode == 1, result.stderr
    states = {}
    for line in result.stdout.splitlines():
        if line.startswith(("toy/", "axis/")):
            states[line.split()[0].partition("/")[2]] = line.split(maxsplit=2)[2]
    assert states["good.txt"].startswith("ok")
    assert states["no_head.txt"].startswith("ok")
    assert states["genes.csv"].startswith("ok")
    assert "answered 404" in states["gone.txt"]
    assert "300,001 bytes, the catalogue says 300,000" in states["larger.txt"]
    assert "HTML page" in states["page.txt"]
    assert "202" in states["challenge.txt"]
    assert "7 addresses: 3 ok, 4 moved, 0 no answer" in result.stdout
    assert internet.bytes_sent("data.example.org") < len(BODY)
    assert not (project.folder / "sources").exists()


def test_check_is_content_when_everything_is_in_its_place(internet: Any, project: Project) -> None:
    internet.serve(f"{MIRROR}/there.txt", BODY)
    internet.serve(f"{HOST}/a.txt", b"", headers={"Location": f"{MIRROR}/there.txt"})
    internet.fault(f"{HOST}/a.txt", status=302, headers={"Location": f"{MIRROR}/there.txt"}, times=2)
    project.write({"a.txt": entry(f"{HOST}/a.txt")})
    result = project.run("sources", "--check", "config.yaml")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "2 ok" in result.stdout
    assert "at mirror.example.org" in result.stdout


def test_verify_finds_one_flipped_byte_a_missing_file_and_one_that_nobody_knows(
    internet: Any, project: Project
) -> None:
    names = ["a.txt", "b.txt", "c.txt"]
    for name in names:
        internet.serve(f"{HOST}/{name}", BODY)
    project.write({name: {"addresses": [f"{HOST}/{name}"], "size": len(BODY)} for name in names})
    assert project.run("fetch").returncode == 0
    good = project.run("verify-sources")
    assert good.returncode == 0, good.stderr
    assert "4 files are as the catalogue, the lock and their provenance say" in good.stdout
    flipped = bytearray(BODY)
    flipped[1234] ^= 1
    project.file("a.txt").write_bytes(flipped)
    project.file("b.txt").unlink()
    project.file("notes.txt").write_text("mine")
    n_requests = len(internet.requests())
    result = project.run("verify-sources")
    assert result.returncode == 2
    assert f"toy/a.txt: sha256 {sha256(bytes(flipped))}, the lock says {sha256(BODY)}" in result.stderr
    assert "toy/b.txt: missing" in result.stderr
    assert "toy/notes.txt: nothing describes this file" in result.stderr
    assert "toy/c.txt" not in result.stderr
    assert "2 of 4 files are right" in result.stderr
    assert len(internet.requests()) == n_requests


def test_a_set_of_gdc_files_is_fetched_by_a_config_and_each_is_verified(internet: Any, project: Project) -> None:
    bodies = [np.random.default_rng(i).bytes(1000 + i) for i in range(5)]
    internet.gdc([{"body": body} for body in bodies])
    project.write({"star.tsv": {"addresses": ["gdc:data_type=Gene Expression Quantification"]}})
    result = project.run("fetch")
    assert result.returncode == 0, result.stderr
    assert (project.folder / "sources.lock" / "toy.star.tsv").exists()
    placed = sorted(path for path in project.file("star").rglob("*") if path.is_file())
    assert sorted(path.read_bytes() for path in placed) == sorted(bodies)
    assert project.run("verify-sources").returncode == 0
    assert "0 B" in project.run("fetch", "--dry-run").stdout
    placed[0].write_bytes(b"x" * placed[0].stat().st_size)
    wrong = project.run("verify-sources")
    assert wrong.returncode == 2
    assert "toy/star.tsv" in wrong.stderr
    assert "md5" in wrong.stderr


# Repositories


def test_a_listing_is_printed_as_lines_for_a_sheet(internet: Any, project: Project) -> None:
    internet.zenodo(77, {"a.txt": BODY, "b c.txt": OTHER})
    result = project.run("listing", "zenodo:77")
    assert result.returncode == 0, result.stderr
    snippet = yaml.safe_load(result.stdout)["files"]
    md5 = hashlib.md5(BODY, usedforsecurity=False).hexdigest()
    assert snippet["a.txt"] == {
        "addresses": ["zenodo:77/a.txt"],
        "size": len(BODY),
        "md5": md5,
        "status": {"size": "verified", "md5": "verified"},
    }
    assert snippet["b_c.txt"]["addresses"] == ["zenodo:77/b c.txt"]
    project.write(snippet)
    fetched = project.run("fetch")
    assert fetched.returncode == 0, fetched.stderr
    assert project.file("b_c.txt").read_bytes() == OTHER


@pytest.mark.parametrize("address", ["zenodo:77/a.txt", "https://x.org/a", "gdc:a=b", "zenodo:abc", "nowhere:1"])
def test_a_listing_of_something_else_is_refused(address: str, tmp_path: Path) -> None:
    result = curation(tmp_path, "listing", address)
    assert result.returncode == 2
    assert "figshare:ARTICLE" in result.stderr


def test_resolve_pins_once_and_a_locked_build_asks_no_api(internet: Any, project: Project) -> None:
    internet.zenodo(77, {"a.txt": BODY})
    project.write({"a.txt": {"addresses": ["zenodo:77/a.txt"]}})
    first = project.run("resolve")
    assert first.returncode == 0, first.stderr
    pinned = yaml.safe_load((project.folder / "sources.lock.yaml").read_text())["toy"]["a.txt"]
    assert (pinned["address"], pinned["size"]) == ("zenodo:77/a.txt", len(BODY))
    n_requests = len(internet.requests())
    assert "everything is pinned already" in project.run("resolve").stdout
    assert len(internet.requests()) == n_requests
    assert project.run("fetch").returncode == 0
    assert project.file("a.txt").read_bytes() == BODY
    assert all("/content" in request["target"] for request in internet.requests()[n_requests:])


def test_a_refreshed_source_gets_the_new_file(internet: Any, project: Project) -> None:
    internet.zenodo(77, {"a.txt": BODY})
    project.write({"a.txt": {"addresses": ["zenodo:77/a.txt"]}})
    assert project.run("fetch").returncode == 0
    internet.zenodo(77, {"a.txt": OTHER})
    assert project.run("fetch").returncode == 0
    assert project.file("a.txt").read_bytes() == BODY
    result = project.run("resolve", "--refresh", "toy")
    assert result.returncode == 0, result.stderr
    assert "toy/a.txt" in result.stdout
    assert project.run("fetch").returncode == 0
    assert project.file("a.txt").read_bytes() == OTHER
    assert project.run("verify-sources").returncode == 0


def test_what_the_workflow_runs_places_a_file_and_its_member(internet: Any, tmp_path: Path) -> None:
    packed = _zip({"in/a.txt": BODY})
    internet.serve(f"{HOST}/all.zip", packed)
    whole = {"path": "all.zip", "addresses": [f"{HOST}/all.zip"], "size": len(packed)}
    out = "sources/toy/all.zip"
    lock = ["--source", "toy", "--lock", "sources.lock.yaml"]
    result = curation(tmp_path, "fetch", "--file", json.dumps(whole), *lock, "--out", out)
    assert result.returncode == 0, result.stderr
    assert sha256(packed) in (tmp_path / "sources.lock.yaml").read_text()
    member = {"path": "a.txt", "archive": "all.zip", "member": "in/a.txt"}
    command = ["extract", "--file", json.dumps(member), "--archive", out, "--out", "sources/toy/a.txt"]
    result = curation(tmp_path, *command)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "sources/toy/a.txt").read_bytes() == BODY


def test_an_interrupted_fetch_ends_at_once_and_goes_on_later(internet: Any, project: Project) -> None:
    internet.serve(f"{HOST}/a.txt", BODY)
    internet.fault(f"{HOST}/a.txt", stall_after=100_000)
    project.write({"a.txt": entry(f"{HOST}/a.txt")})
    # A shell in the background hands SIGINT on as ignored.
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from curation.__main__ import main; sys.exit(main(['fetch']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=project.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    part = project.file("a.txt.part")
    until = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size >= 65_536):
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "interrupted" in stderr
    assert project.run("fetch").returncode == 0
    assert project.file("a.txt").read_bytes() == BODY


def test_check_of_everything_asks_for_what_the_config_does_not_select_too(internet: Any, project: Project) -> None:
    for name in ("a.txt", "b.txt"):
        internet.serve(f"{HOST}/{name}", BODY)
    project.write({"a.txt": entry(f"{HOST}/a.txt")}, second={"b.txt": entry(f"{HOST}/b.txt")})
    config = yaml.safe_load((project.folder / "config.yaml").read_text())
    config["variants"]["all"]["studies"].pop("second")
    (project.folder / "config.yaml").write_text(yaml.safe_dump(config))
    assert "second/b.txt" not in project.run("sources", "--check").stdout
    result = project.run("sources", "--check", "--all")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "second/b.txt" in result.stdout


def test_a_notice_names_citation_and_licence_and_a_given_text_is_written_as_it_is(project: Project) -> None:
    project.write({"a.txt": entry(f"{HOST}/a.txt")})
    assert project.run("notice", "--out", "NOTICE").returncode == 0
    text = (project.folder / "NOTICE").read_text()
    assert "Toy et al. (2026)" in text
    assert "Licence: CC0" in text
    assert project.run("notice", "--text", "It's {so}\n", "--out", "NOTICE").returncode == 0
    assert (project.folder / "NOTICE").read_text() == "It's {so}\n"
