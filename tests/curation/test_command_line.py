"""Whatever a user gets wrong, or the system refuses, is told in labelled lines: never by a traceback."""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from curation import __main__ as command_line
from curation.acquire import study
from curation.acquire.lock import SourcesLock
from curation.config import merge, read_config, read_project
from curation.errors import InputError, refusal_of_system
from curation.remote_file import RemoteFile

ROOT = Path(__file__).parents[2]


def start(folder: Path, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Start a verb in a folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "curation", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_PROXY": "*"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def told(folder: Path, *arguments: str, **options: Any) -> str:
    """What a verb that fails says on stderr."""
    process = start(folder, *arguments, **options)
    _, text = process.communicate(timeout=60)
    assert process.returncode == 2, text
    assert text.startswith("error: ")
    assert "Traceback" not in text
    return text


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the shipped config, its sheets, a file of 100 kB and a file `taken`."""
    (tmp_path / "config.yaml").write_bytes((ROOT / "config.yaml").read_bytes())
    for name in ("curation", "config", "workflow"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "big").write_bytes(b"x" * 100_000)
    (tmp_path / "taken").write_text("mine")
    return tmp_path


def test_a_file_under_a_file_is_told(project: Path) -> None:
    text = told(project, "fetch", "--url", f"file:{project / 'big'}", "--out", "taken/a.bin")
    assert "where: taken" in text
    assert "do: a file lies where a folder is needed" in text


def test_a_sources_folder_that_is_a_file_is_told_for_each_file(project: Path) -> None:
    text = told(
        project, "fetch", "config/mini.yaml", "--only", "mini_ensembl", "--sources-folder", "taken", "--offline"
    )
    assert "do: a file lies where a folder is needed" in text
    assert (project / "taken").read_text() == "mine"


def test_a_file_beyond_the_limit_of_the_system_is_told(project: Path) -> None:
    limit = (50_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    text = told(
        project,
        *("fetch", "--url", f"file:{project / 'big'}", "--out", "a.bin"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )
    assert os.strerror(errno.EFBIG) in text
    assert not (project / "a.bin").exists()


@pytest.mark.parametrize("text", ["nope", "{}", "[]", '{"path": 1}', '{"path": "a", "addresses": "file:/a"}'])
def test_an_entry_that_is_none_is_told(text: str, tmp_path: Path) -> None:
    for verb in (["fetch"], ["extract", "--archive", "a.zip"]):
        assert "this is no entry of a file" in told(tmp_path, *verb, "--file", text, "--out", "a.bin")
    assert list(tmp_path.iterdir()) == []


def test_a_config_that_is_not_utf8_is_told(project: Path) -> None:
    (project / "latin.yaml").write_bytes("name: größe\n".encode("latin-1"))
    assert "where: latin.yaml" in told(project, "sources", "latin.yaml")
    assert "error: Is a directory" in told(project, "sources", "config")


def test_the_notice_makes_its_folder_and_leaves_nothing_beside_it(project: Path) -> None:
    for arguments in (["--text", "cite {x}\n"], ["config/mini.yaml"]):
        process = start(project, "notice", *arguments, "--out", "new/folder/NOTICE")
        assert (process.communicate()[1], process.returncode) == ("", 0)
        assert [path.name for path in (project / "new/folder").iterdir()] == ["NOTICE"]
    assert "NOTICE of the corpus mini" in (project / "new/folder/NOTICE").read_text()
    (project / "folder").mkdir()
    assert "do: name a file, not a folder" in told(project, "notice", "--text", "x", "--out", "folder")
    assert not list(project.glob(".*.part"))


def test_ctrl_c_in_any_verb_is_one_line_and_130(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for arguments in (["listing", "zenodo:77"], ["fetch", "--url", "https://zenodo.org/a", "--out", "a"]):
            environment = {"https_proxy": f"http://127.0.0.1:{silent.getsockname()[1]}", "NO_PROXY": "", "no_proxy": ""}
            process = subprocess.Popen(
                [sys.executable, "-m", "curation", *arguments],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
                stderr=subprocess.PIPE,
                text=True,
            )
            connection, _ = silent.accept()
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            _, text = process.communicate(timeout=20)
            connection.close()
            assert process.returncode == 130, text
            assert text.splitlines() == ["interrupted; run the same command again to go on"]


def test_a_reader_that_has_read_enough_is_no_error(project: Path) -> None:
    process = start(project, "sources")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr:
        assert process.stderr.read() == ""
    assert process.wait(timeout=60) == 141


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOSPC, errno.EROFS, errno.EISDIR])
def test_what_the_system_refuses_has_a_place_and_advice(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number), "some/where")

    monkeypatch.setattr("curation.verify.verify_corpus", refuse)
    assert command_line.main(["verify", "corpus"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == [f"error: {os.strerror(number)}", "where: some/where"]
    assert lines[2].startswith("do: ")


def test_a_refusal_without_a_number_keeps_its_words() -> None:
    assert str(refusal_of_system(OSError("no HDF5 file"))) == "error: no HDF5 file"


def _plan(*names: str) -> Any:
    files = {name: RemoteFile(path=name, addresses=("file:/none",)) for name in names}
    return SimpleNamespace(sources={"toy": files}, simulated=())


def test_a_full_disk_under_one_file_does_not_hide_why_another_failed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(remote: RemoteFile, *_: Any, **__: Any) -> None:
        if remote.path == "a":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "sources/toy/a.part")
        raise InputError("the server has gone")

    monkeypatch.setattr(study, "fetch", refuse)
    with pytest.raises(InputError) as caught:
        study.fetch_sources(_plan("a", "b"), tmp_path / "sources", SourcesLock(tmp_path / "sources.lock.yaml"))
    assert "sources/toy/a.part" in caught.value.found
    assert "the server has gone" in caught.value.found


def test_a_bug_in_one_download_is_raised_with_why_others_failed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(remote: RemoteFile, *_: Any, **__: Any) -> None:
        raise ZeroDivisionError if remote.path == "a" else InputError("the server has gone")

    monkeypatch.setattr(study, "fetch", fail)
    with pytest.raises(ZeroDivisionError) as caught:
        study.fetch_sources(_plan("a", "b"), tmp_path / "sources", SourcesLock(tmp_path / "sources.lock.yaml"))
    assert "the server has gone" in "".join(caught.value.__notes__)


def test_configs_are_merged_over_config_yaml_as_snakemake_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below, above = {"name": "below", "split": {"seed": 0}}, {"name": "above", "split": {"validation_share": 0.5}}
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="a file is missing"):
        read_project([])
    Path("above.yaml").write_text(yaml.safe_dump(above))
    assert read_project([Path("above.yaml")]) == above
    Path("config.yaml").write_text(yaml.safe_dump(below))
    assert read_project([Path("above.yaml")]) == merge(below, above)
    assert read_project([]) == read_project([tmp_path / "config.yaml"]) == below
    assert read_project([Path("above.yaml"), Path("config.yaml")]) == merge(merge(below, above), below)


def test_config_yaml_is_not_read_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[Path]] = []
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text("name: toy\n")
    monkeypatch.setattr("curation.config.read_config", lambda paths: given.append(list(paths)) or read_config(paths))
    assert read_project([Path("./config.yaml")]) == {"name": "toy"}
    assert given == [[Path("config.yaml")]]


@pytest.mark.parametrize("verb", [["sources"], ["fetch", "--dry-run", "--only", "mini_ensembl"]])
def test_a_config_that_is_merged_over_config_yaml_can_be_given_alone(verb: list[str], project: Path) -> None:
    process = start(project, *verb, "config/mini.yaml")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "mini_ensembl" in out
