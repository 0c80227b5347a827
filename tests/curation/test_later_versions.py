"""The commands on a corpus of a minor version that they do not know, and of another major one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import zarr

from curation.__main__ import main

EditJson = Callable[[Path, Callable[[dict[str, Any]], object]], None]
STORE = "stores/gtex.plain.train.zarr"


@pytest.fixture
def later(small_corpus: Path, tmp_path: Path, edit_json: EditJson, restate: Callable[..., None]) -> Path:
    """Return a corpus as version 1.7 may write it: more fields, attributes, columns and groups."""
    corpus = Path(shutil.copytree(small_corpus, tmp_path / "later", symlinks=True))
    root = zarr.open_group(corpus / STORE, mode="r+")
    obs = root["obs"]
    assert isinstance(obs, zarr.Group)
    score = obs.create_array("score", data=np.arange(30) / 7)
    score.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    obs.attrs["column-order"] = [*obs.attrs["column-order"], "score"]  # type: ignore[misc]
    root.create_group("later").create_array("x", shape=(3,), dtype="f4")
    restate(corpus, STORE, later=1)
    more: dict[str, Any] = {"format_version": "1.7", "later": {"a": [1]}}
    edit_json(corpus / "corpus.json", lambda m: (m.update(more), m["stores"][0].update(later=2)))
    for variant in (corpus / "variants").glob("*.json"):
        edit_json(variant, lambda v: (v.update(more), v["stores"][0].update(later=2)))
    return corpus


def commands(corpus: Path, tmp_path: Path) -> dict[str, list[str]]:
    return {
        "verify": ["verify", str(corpus)],
        "info": ["info", str(corpus)],
        "info of a variant": ["info", str(corpus), "--variant", "all"],
        "diff": ["diff", f"{corpus}:all", f"{corpus}:strict"],
        "recode": ["recode", str(corpus), str(tmp_path / "lz4"), "--threads", "1"],
        "export": ["export", str(corpus), "--study", "gtex", "--out", str(tmp_path / "gtex.h5ad")],
    }


@pytest.mark.filterwarnings("ignore:.*is not recognized in the Zarr hierarchy")
def test_an_unknown_minor_version_is_read(later: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name, command in commands(later, tmp_path).items():
        assert main(command) == 0, (name, capfd.readouterr())
    assert "score" not in ad.read_h5ad(tmp_path / "gtex.h5ad").obs, "a column that is not known is ignored"
    assert main(["verify", str(tmp_path / "lz4")]) == 0
    assert main(["diff", "--exit-code", str(later), str(tmp_path / "lz4")]) == 0


@pytest.mark.parametrize("pattern", ["corpus.json", "variants/*.json"])
def test_another_major_version_is_refused(
    small_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], edit_json: EditJson, pattern: str
) -> None:
    corpus = Path(shutil.copytree(small_corpus, tmp_path / "corpus", symlinks=True))
    for path in corpus.glob(pattern):
        edit_json(path, lambda manifest: manifest.update(format_version="2.0"))
    for name, command in commands(corpus, tmp_path).items():
        if name == "export" and pattern != "corpus.json":  # it reads no variant
            continue
        assert main(command) == 2, name
        err = capsys.readouterr().err
        assert "version 2.0" in err or "'2'" in err, (name, err)
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]
