"""docs/embedding.md: its commands run, in its order, and the output that it shows is what the first one prints."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

from txfm.__main__ import main

PAGE = Path(__file__).parents[3] / "docs" / "embedding.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def workplace(cells: ad.AnnData, model_folder: Path, tiny_corpus: Any, tmp_path: Path) -> Path:
    """A folder with everything that the page names."""
    demo = tmp_path / "results" / "demo"
    shutil.copytree(model_folder, demo / "models" / "minus_screen.nano.s0")
    shutil.copytree(tiny_corpus.folder, demo / "corpus")
    manifest = json.loads((demo / "corpus" / "variants" / "tiny.json").read_text()) | {"name": "all"}
    (demo / "corpus" / "variants" / "all.json").write_text(json.dumps(manifest))
    cells.write_h5ad(tmp_path / "cells.h5ad")
    cells.to_df().astype(int).T.to_csv(tmp_path / "counts.csv.gz")
    sample = tmp_path / "sample1"
    sample.mkdir()
    scipy.io.mmwrite(sample / "matrix.mtx", sp.coo_matrix(cells.X.T.astype(int)))
    (sample / "features.tsv").write_text("\n".join(f"{name}\t{name}\tGene Expression" for name in cells.var_names))
    (sample / "barcodes.tsv").write_text("\n".join(cells.obs_names))
    write_cell_ranger(cells, tmp_path / "filtered_feature_bc_matrix.h5")
    normalised = cells.copy()
    normalised.raw = cells.copy()
    normalised.layers["counts"] = cells.X.copy()
    normalised.X = np.log1p(cells.X)
    normalised.write_h5ad(tmp_path / "normalised.h5ad")
    return tmp_path


def write_cell_ranger(cells: ad.AnnData, path: Path) -> None:
    import h5py

    matrix = sp.csr_matrix(cells.X.astype(np.int32))
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        group["data"], group["indices"], group["indptr"] = matrix.data, matrix.indices, matrix.indptr
        group["shape"], group["barcodes"] = matrix.shape[::-1], np.array(cells.obs_names, dtype="S")
        features = group.create_group("features")
        for name in ("id", "name"):
            features[name] = np.array(cells.var_names, dtype="S")
        features["feature_type"] = np.full(cells.n_vars, b"Gene Expression")


def test_every_command_of_the_page_runs(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(workplace)
    shown, names = "", {}
    n_commands = n_programs = 0
    for language, text in BLOCK.findall(PAGE.read_text()):
        if language == "bash":
            for line in text.strip().splitlines():
                capsys.readouterr()
                words = shlex.split(line)
                assert words[:3] == ["python", "-m", "txfm"]
                assert main([*words[3:], *(["--device", "cpu"] if words[3] == "embed" else [])]) == 0, line
                shown = shown or capsys.readouterr().out
                n_commands += 1
        elif language == "python":
            exec(compile(text, str(PAGE), "exec"), names)
            n_programs += 1
        else:
            assert text == shown
    assert (n_commands, n_programs) == (11, 2)
    assert names["vectors"].shape == names["same"].shape == (37, 16)
    assert names["totals"].shape == (37, 1)
