"""Every benchmark refuses an output that it could not write, before it looks at anything else."""

from pathlib import Path

import pytest

from txfm.__main__ import main
from txfm.errors import InputError
from txfm.evaluation.destination import check_file, check_folder

COMMANDS = {
    "perturbation": ["nothing.h5ad", "--obsm", "X_a"],
    "cells": ["nothing.h5ad", "--obsm", "X_a"],
    "layers": ["nothing.h5ad", "nothing", "--label", "cell_type"],
    "genes": ["nothing"],
    "held-out": ["--store", "nothing", "--label", "cell_line", "--corpus", "nothing", "--models", "nothing"],
}


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
