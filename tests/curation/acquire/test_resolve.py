"""What `resolve` looks up, what it leaves alone, and what a refresh does to files on disk."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from curation.acquire.fetch import fetch
from curation.acquire.lock import SourcesLock
from curation.acquire.resolve import resolve_sources
from curation.errors import InputError
from curation.remote_file import RemoteFile

pytestmark = pytest.mark.usefixtures("no_intervals")
BODY, NEW = b"counts\t1\n", b"counts\t2, a new version\n"
COLLECTION = "999f2a15-3d7e-440b-96ae-2c806799c08c"
RECORD = "zenodo:13350497/counts.tsv"


def plan(*addresses: str, **fields: Any) -> Any:
    """A plan of one file."""
    file = RemoteFile(path="counts.tsv", addresses=addresses, **fields)
    return SimpleNamespace(sources={"toy": {"counts.tsv": file}}, simulated=())


def test_a_file_whose_first_address_is_a_url_is_not_looked_up(internet: Any, tmp_path: Path) -> None:
    internet.cellxgene(COLLECTION, [("Core", NEW)])
    lock = SourcesLock(tmp_path / "sources.lock.yaml")
    addresses = ("https://files.example.org/a.h5ad", f"cellxgene:{COLLECTION}/Core")
    assert resolve_sources(plan(*addresses, size=len(BODY)), tmp_path / "sources", lock) == []
    assert internet.requests() == []
    assert not lock.path.exists()


def test_what_contradicts_the_catalogue_is_not_pinned(internet: Any, tmp_path: Path) -> None:
    internet.zenodo(13350497, {"counts.tsv": NEW})
    lock = SourcesLock(tmp_path / "sources.lock.yaml")
    with pytest.raises(InputError) as error:
        resolve_sources(plan(RECORD, size=len(BODY)), tmp_path / "sources", lock)
    assert "lists another file by this name" in error.value.found
    assert lock.get("toy", "counts.tsv") is None


def test_a_refresh_takes_the_old_file_out_and_keeps_its_bytes_until_the_new_ones_are_there(
    internet: Any, tmp_path: Path
) -> None:
    lock, out = SourcesLock(tmp_path / "sources.lock.yaml"), tmp_path / "sources/toy/counts.tsv"
    internet.zenodo(13350497, {"counts.tsv": BODY})
    wanted = plan(RECORD)
    file = wanted.sources["toy"]["counts.tsv"]
    fetch(file, out, pin=lock.pin("toy", "counts.tsv"))
    internet.zenodo(13350497, {"counts.tsv": NEW})
    assert resolve_sources(wanted, tmp_path / "sources", lock) == []
    assert out.read_bytes() == BODY
    (line,) = resolve_sources(wanted, tmp_path / "sources", lock, refresh=["toy"])
    assert line.startswith("toy/counts.tsv: https://zenodo.org/")
    assert not out.exists()
    kept = tmp_path / "sources/.kept/toy/counts.tsv"
    assert kept.read_bytes() == BODY
    fetch(file, out, pin=lock.pin("toy", "counts.tsv"))
    assert out.read_bytes() == NEW
    assert kept.read_bytes() == NEW


def test_a_refresh_of_a_url_forgets_its_sum(internet: Any, tmp_path: Path) -> None:
    lock, out = SourcesLock(tmp_path / "sources.lock.yaml"), tmp_path / "sources/toy/counts.tsv"
    url = "https://files.example.org/counts.tsv"
    internet.serve(url, BODY)
    wanted = plan(url)
    file = wanted.sources["toy"]["counts.tsv"]
    fetch(file, out, pin=lock.pin("toy", "counts.tsv"))
    internet.serve(url, NEW)
    out.unlink()
    fetch(file, out, pin=lock.pin("toy", "counts.tsv"))
    assert out.read_bytes() == BODY
    resolve_sources(wanted, tmp_path / "sources", lock, refresh=["toy"])
    fetch(file, out, pin=lock.pin("toy", "counts.tsv"))
    assert out.read_bytes() == NEW
