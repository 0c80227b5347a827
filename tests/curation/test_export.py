"""`python -m curation export`: one study as a plain h5ad file, equal to its stores."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pytest
import zarr

from curation.errors import InputError
from curation.export import Export, export_study

ROOT = Path(__file__).parents[2]


def run(*arguments: object, **options: Any) -> tuple[int, str, str]:
    """Run a verb; return exit code, stdout and stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "curation", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def task(corpus: Path, study: str = "gtex", **fields: Any) -> Export:
    chosen = {"recipe": None, "split": "both", "all_genes": False, "compress": True} | fields
    return Export(corpus=corpus, study=study, **chosen)


def store_of(corpus: Path, name: str) -> ad.AnnData:
    return ad.read_zarr(corpus / "stores" / f"{name}.zarr")


def test_the_file_of_one_split_equals_the_store(small_corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "gtex.h5ad"
    code, printed, err = run(
        "export", small_corpus, "--study", "gtex", "--split", "train", "--genes", "all", "--out", out
    )
    assert (code, err) == (0, "")
    assert "30 samples, 400 genes" in printed
    found, store = ad.read_h5ad(out), store_of(small_corpus, "gtex.plain.train")
    np.testing.assert_array_equal(found.X.toarray(), store.X.toarray())
    assert (found.X.dtype, found.X.indices.dtype, found.X.indptr.dtype) == (np.int32, np.int32, np.int32)
    assert found.obs.equals(store.obs)
    assert found.var.equals(store.var)
    assert found.uns["curation"] == store.uns["curation"]
    assert list(json.loads(found.uns["corpus"])["stores"]) == ["stores/gtex.plain.train.zarr"]


def test_both_splits_follow_each_other_on_the_measured_genes(small_corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "mine.h5ad"
    assert run("export", small_corpus, "--study", "mine", "--recipe", "strict", "--out", out)[0] == 0
    found = ad.read_h5ad(out)
    stores = [store_of(small_corpus, f"mine.strict.{split}") for split in ("train", "validation")]
    measured = stores[0].var["measured"].to_numpy()
    assert 0 < measured.sum() < 200
    expected = np.concatenate([store.X.toarray()[:, measured] for store in stores])
    np.testing.assert_array_equal(found.X.toarray(), expected)
    assert found.X.has_sorted_indices
    assert list(found.var_names) == list(stores[0].var_names[measured])
    assert list(found.var["symbol"]) == list(stores[0].var["symbol"][measured])
    np.testing.assert_array_equal(found.var["n_detected"], (expected > 0).sum(axis=0))
    assert list(found.obs_names) == [name for store in stores for name in store.obs_names]
    assert list(found.obs["split"]) == ["train"] * stores[0].n_obs + ["validation"] * stores[1].n_obs
    assert list(found.obs["batch"]) == [batch for store in stores for batch in store.obs["batch"]]
    assert found.obs["batch"].dtype == "category"
    np.testing.assert_array_equal(found.obs["library_size"], expected.sum(axis=1))


def test_blocks_of_any_size_give_the_same_file(
    small_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_study(task(small_corpus), tmp_path / "whole.h5ad", overwrite=False)
    monkeypatch.setattr("curation.export.BLOCK_ELEMENTS", 777)
    shape = export_study(task(small_corpus, compress=False), tmp_path / "blocks.h5ad", overwrite=False)
    whole, blocks = ad.read_h5ad(tmp_path / "whole.h5ad"), ad.read_h5ad(tmp_path / "blocks.h5ad")
    assert shape == (*whole.shape, whole.X.nnz)
    np.testing.assert_array_equal(whole.X.toarray(), blocks.X.toarray())
    with h5py.File(tmp_path / "blocks.h5ad") as file:
        assert file["X/data"].compression is None


def test_a_split_without_rows_gives_a_file_without_rows(small_corpus: Path, tmp_path: Path) -> None:
    export_study(task(small_corpus, "single", split="validation"), tmp_path / "none.h5ad", overwrite=False)
    assert ad.read_h5ad(tmp_path / "none.h5ad").shape == (0, 100)
    export_study(task(small_corpus, "single"), tmp_path / "both.h5ad", overwrite=False)
    found = ad.read_h5ad(tmp_path / "both.h5ad")
    assert list(found.obs["split"]) == ["train"] * 50
    np.testing.assert_array_equal(found.X.sum(axis=1).A1, found.obs["library_size"])


def test_a_file_that_is_there_is_only_replaced_when_asked(small_corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "gtex.h5ad"
    out.write_text("mine")
    code, _, err = run("export", small_corpus, "--study", "gtex", "--out", out)
    assert code == 2
    assert "add --overwrite" in err
    assert out.read_text() == "mine"
    assert run("export", small_corpus, "--study", "gtex", "--out", out, "--overwrite")[0] == 0
    assert ad.read_h5ad(out).n_obs == 40
    assert [path.name for path in tmp_path.iterdir()] == ["gtex.h5ad"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--study", "gtx", "--out", "a.h5ad"], "did you mean 'gtex'?"),
        (["--study", "mine", "--out", "a.h5ad"], "add --recipe plain"),
        (["--study", "mine", "--recipe", "strikt", "--out", "a.h5ad"], "did you mean 'strict'?"),
        (["--study", "gtex", "--out", "a.csv"], "expected: NAME.h5ad"),
    ],
)
def test_what_cannot_be_is_told(small_corpus: Path, tmp_path: Path, arguments: list[str], words: str) -> None:
    code, out, err = run("export", small_corpus, *arguments, cwd=tmp_path)
    assert (code, out) == (2, "")
    assert words in err
    assert not list(tmp_path.iterdir())


def test_a_damaged_store_leaves_no_file(small_corpus: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    shutil.copytree(small_corpus, corpus, symlinks=True)
    zarr.open_array(corpus / "stores" / "gtex.plain.train.zarr" / "X" / "data", mode="r+")[5] = 77_777
    with pytest.raises(InputError, match="damaged") as caught:
        export_study(task(corpus), tmp_path / "gtex.h5ad", overwrite=False)
    assert "X/data with another digest" in str(caught.value)
    assert not list(tmp_path.glob("*.h5ad*"))
    assert not list(tmp_path.glob(".*"))


def test_a_disk_without_room_is_told_before_the_first_byte(
    small_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000))
    with pytest.raises(InputError, match="no room for") as caught:
        export_study(task(small_corpus), tmp_path / "gtex.h5ad", overwrite=False)
    assert str(tmp_path) in str(caught.value)
    assert not list(tmp_path.iterdir())
