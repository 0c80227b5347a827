"""Everything that computes for long refuses an output that it could not write, before it looks at anything else."""

from pathlib import Path

import pytest

from txfm.__main__ import main
from txfm.artifact.destination import check_destinations
from txfm.destinations import check_file, check_folder
from txfm.errors import InputError

COMMANDS = {
    "perturbation": ["nothing.h5ad", "--obsm", "X_a"],
    "cells": ["nothing.h5ad", "--obsm", "X_a"],
    "layers": ["nothing.h5ad", "nothing", "--label", "cell_type"],
    "genes": ["nothing"],
    "held-out": ["--store", "nothing", "--label", "cell_line", "--corpus", "nothing", "--models", "nothing"],
}
MODELS = {
    "train": ["train", "--corpus", "nothing", "--variant", "tiny", "--model", '{"preset": "nano"}', "--device", "cpu"],
    "finetune": ["finetune", "nothing", "--data", "nothing.h5ad", "--device", "cpu"],
    "baseline": ["baseline", "pca", "--corpus", "nothing", "--variant", "tiny"],
}
FOLDERS = [(verb, option) for verb in ("train", "finetune") for option in ("--out", "--checkpoints", "--tensorboard")]
FOLDERS.append(("baseline", "--out"))


def command(verb: str, folder: Path, **others: object) -> int:
    """Exit code of a verb that finds neither corpus nor model, once its outputs are looked at."""
    options = (
        {"--out": folder / "model"}
        if verb == "baseline"
        else {"--out": folder / "model", "--checkpoints": folder / "saved"}
    )
    options |= {f"--{name}": value for name, value in others.items()}
    return main([*MODELS[verb], *(str(part) for pair in options.items() for part in pair)])


@pytest.mark.parametrize(("verb", "option"), FOLDERS)
@pytest.mark.parametrize("place", ["file", "file/below", "link"])
def test_what_is_in_the_way_of_a_model_is_told_before_anything_is_read(verb, option, place, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    assert command(verb, tmp_path, **{option[2:]: tmp_path / place}) == 2
    message = capsys.readouterr().err
    assert "The output is not a folder" in message
    assert f"{option} {tmp_path / place}" in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(("verb", "option"), FOLDERS)
@pytest.mark.parametrize("place", ["/proc/model", "/proc/nowhere/model"])
def test_a_disk_that_takes_no_model_is_told_before_anything_is_read(verb, option, place, tmp_path, capsys):
    assert command(verb, tmp_path, **{option[2:]: place}) == 2
    message = capsys.readouterr().err
    assert "The output cannot be written" in message
    assert f"{option} {place}" in message
    assert not list(tmp_path.iterdir())


def test_a_name_that_the_disk_does_not_take_is_told(tmp_path):
    with pytest.raises(InputError, match="The output cannot be written"):
        check_folder(tmp_path / "new" / ("x" * 300))


def test_folders_that_can_be_written_are_left_as_they_were(tmp_path):
    (tmp_path / "model").mkdir()
    check_destinations(
        tmp_path / "model", checkpoints=tmp_path / "new" / "saved", tensorboard=tmp_path / "model.events", inputs={}
    )
    check_destinations(
        tmp_path / "model", checkpoints=tmp_path / "model.checkpoints"
    )  # a longer name is no folder within
    assert list(tmp_path.rglob("*")) == [tmp_path / "model"]


def test_a_folder_that_no_model_can_be_renamed_into_is_refused():
    """/dev/shm is a disk of its own: what is written beside it cannot take a name in it."""
    if not Path("/dev/shm").is_mount():
        pytest.skip("/dev/shm is no mount point here")
    with pytest.raises(InputError, match="no file beside it can be renamed into"):
        check_destinations(Path("/dev/shm"))


@pytest.mark.parametrize("out", [".", "/"])
def test_a_model_needs_a_folder_with_a_name(out):
    with pytest.raises(InputError, match="a name of its own"):
        check_destinations(Path(out))


@pytest.mark.parametrize("verb", ["train", "finetune"])
@pytest.mark.parametrize(
    ("out", "checkpoints"), [("model", "model"), ("model", "model/saved"), ("saved/model", "saved")]
)
def test_the_model_and_its_checkpoints_lie_apart(verb, out, checkpoints, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert command(verb, tmp_path, out=out, checkpoints=tmp_path / "x" / ".." / checkpoints) == 2
    assert "must lie apart" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", MODELS)
def test_nothing_is_written_into_what_is_read(verb, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nothing").mkdir()
    (tmp_path / "link").symlink_to("nothing")
    given = {"data": "nothing"} if verb == "finetune" else {}
    assert command(verb, tmp_path, out="link/model", **given) == 2
    assert "The output lies within the input" in capsys.readouterr().err
    assert not list((tmp_path / "nothing").iterdir())


def test_kept_models_have_a_place(tmp_path, capsys):
    (tmp_path / "model.kept").touch()
    assert command("train", tmp_path, **{"keep-every-steps": 5}) == 2
    assert "The output is not a folder" in capsys.readouterr().err


@pytest.mark.parametrize("benchmark", COMMANDS)
@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_file_in_the_way_of_the_output_is_told_first(benchmark, place, tmp_path, capsys):
    (tmp_path / "file").touch()
    out = tmp_path / place / ("table.json" if benchmark == "held-out" else "")
    assert main(["evaluate", benchmark, *COMMANDS[benchmark], "--out", str(out)]) == 2
    assert "The output is not a folder" in capsys.readouterr().err


def test_a_disk_that_cannot_be_written_is_told():
    with pytest.raises(InputError, match="The output cannot be written"):
        check_folder(Path("/proc/nowhere/out"))


def test_what_can_be_written_is_left_as_it_was(tmp_path):
    check_folder(tmp_path / "new" / "out")
    check_file(tmp_path / "new" / "table.json", ".json")
    assert not list(tmp_path.iterdir())
    (tmp_path / "folder.json").mkdir()
    for name in ("table.csv", "folder.json"):
        with pytest.raises(InputError, match=r"not a \.json file"):
            check_file(tmp_path / name, ".json")
