"""Fetch from folders and wheels: the right bytes under the final name, or a clear error and no file."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from curation.acquire.fetch import fetch
from curation.catalog import RemoteFile
from curation.errors import InputError

BODY = b"counts of a study\n" * 100
SHA256 = hashlib.sha256(BODY).hexdigest()


def remote(*addresses: str, **fields: Any) -> RemoteFile:
    """A file entry."""
    return RemoteFile(**{"path": "study.bin", "addresses": addresses, "size": len(BODY), "sha256": SHA256} | fields)


def no_checksum(*addresses: str, **fields: Any) -> RemoteFile:
    """A file entry of which only the address is known."""
    return remote(*addresses, **{"size": None, "sha256": None} | fields)


def refusal(file: RemoteFile, out: Path) -> str:
    """Fetch what must fail; return the message, and check that nothing took the final name."""
    with pytest.raises(InputError) as error:
        fetch(file, out)
    assert not out.exists()
    assert not out.with_name(f"{out.name}.provenance.json").exists()
    return str(error.value)


def test_a_local_file_is_copied_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/x").write_bytes(BODY)
    monkeypatch.setenv("DIVERSERNA_DATA", str(tmp_path / "data"))
    out = tmp_path / "out/study.bin"
    provenance = fetch(remote("file:$DIVERSERNA_DATA/x"), out)
    assert out.read_bytes() == BODY
    assert provenance["address"] == "file:$DIVERSERNA_DATA/x"
    assert not out.is_symlink()


def test_a_missing_local_file_names_the_path_and_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIVERSERNA_DATA", str(tmp_path / "nowhere"))
    text = refusal(remote("file:$DIVERSERNA_DATA/x"), tmp_path / "study.bin")
    assert str(tmp_path / "nowhere/x") in text
    assert "set DIVERSERNA_DATA" in text


def make_wheel(folder: Path) -> Path:
    """A wheel that pip accepts, with the body as a member."""
    path = folder / "toy_counts-1.0-py3-none-any.whl"
    info = "toy_counts-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("toy_counts/data/study.bin", BODY)
        archive.writestr("toy_counts/data/genes.csv", "ENSG00000000001,A\n")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: toy-counts\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel in a folder that is pip's only source."""
    (tmp_path / "index").mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    return make_wheel(tmp_path / "index")


STUDY_IN_WHEEL = "pypi:toy-counts==1.0#toy_counts/data/study.bin"


def test_a_member_of_a_wheel_comes_out_of_the_users_package_index(wheel: Path, tmp_path: Path) -> None:
    sum_of_wheel = hashlib.sha256(wheel.read_bytes()).hexdigest()
    out = tmp_path / "sources/toy/study.bin"
    provenance = fetch(remote(STUDY_IN_WHEEL, wheel_sha256=sum_of_wheel), out)
    assert out.read_bytes() == BODY
    assert (provenance["wheel"], provenance["wheel_sha256"]) == (wheel.name, sum_of_wheel)
    assert [path.name for path in (tmp_path / "sources/.wheels").iterdir()] == [wheel.name]


def test_a_second_member_needs_no_second_download(wheel: Path, tmp_path: Path) -> None:
    fetch(remote(STUDY_IN_WHEEL), tmp_path / "sources/toy/study.bin")
    wheel.unlink()
    out = tmp_path / "sources/genes/nested/genes.csv"
    address = "pypi:toy-counts==1.0#toy_counts/data/genes.csv"
    fetch(no_checksum(address, path="nested/genes.csv"), out)
    assert out.read_text() == "ENSG00000000001,A\n"


def test_a_member_that_is_missing_is_answered_with_near_names(wheel: Path, tmp_path: Path) -> None:
    file = no_checksum("pypi:toy-counts==1.0#toy_counts/data/gene.csv")
    text = refusal(file, tmp_path / "sources/toy/study.bin")
    assert "no member 'toy_counts/data/gene.csv'" in text
    assert "toy_counts/data/genes.csv" in text


def test_another_wheel_of_the_same_name_is_refused(wheel: Path, tmp_path: Path) -> None:
    out = tmp_path / "sources/toy/study.bin"
    text = refusal(remote(STUDY_IN_WHEEL, wheel_sha256="0" * 64), out)
    assert f"{wheel.name} has sha256" in text
    assert list((tmp_path / "sources/.wheels").iterdir()) == []


def test_a_version_that_the_index_lacks_shows_what_pip_said(wheel: Path, tmp_path: Path) -> None:
    file = remote("pypi:toy-counts==2.0#toy_counts/data/study.bin")
    text = refusal(file, tmp_path / "sources/toy/study.bin")
    assert "No matching distribution found for toy-counts==2.0" in text
    assert list((tmp_path / "sources/.wheels").iterdir()) == []


@pytest.mark.parametrize("address", ["simulate:screen", "ftp://x", "pypi:toy"])
def test_an_address_that_cannot_be_fetched_is_an_error_of_the_user(tmp_path: Path, address: str) -> None:
    assert address in refusal(remote(address), tmp_path / "study.bin")
    assert list(tmp_path.iterdir()) == []
