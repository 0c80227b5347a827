"""`python -m curation export`: one study as a plain h5ad file, equal to its stores."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pytest
import zarr
from curation_command import run

from curation.errors import InputError
from curation.export import Export, export_study


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


GTEX = "stores/gtex.plain.train.zarr"


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("file", "harm"),
    [
        ("X/indptr/c/0", Path.unlink),
        ("obs/library_size/c/0", Path.unlink),
        ("var/symbol/c/0", flipped),
        ("X/data/c/0", flipped),
        ("X/zarr.json", flipped),
        ("zarr.json", flipped),
    ],
)
def test_a_damaged_file_is_named_and_nothing_is_left(
    small_corpus: Path, tmp_path: Path, file: str, harm: Callable[[Path], None]
) -> None:
    corpus = Path(shutil.copytree(small_corpus, tmp_path / "corpus", symlinks=True))
    harm(corpus / GTEX / file)
    code, _, err = run("export", corpus, "--study", "gtex", "--out", tmp_path / "gtex.h5ad")
    assert code == 2
    assert GTEX in err
    assert file in err
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


def refused(corpus: Path) -> str:
    with pytest.raises(InputError) as caught:
        export_study(task(corpus), corpus.parent / "gtex.h5ad", overwrite=False)
    assert [path.name for path in corpus.parent.iterdir()] == ["corpus"]
    return str(caught.value)


@pytest.mark.parametrize("array", ["X/data", "X/indptr", "obs/library_size", "var/measured"])
def test_content_is_compared_with_its_digest_where_the_sums_agree(
    small_corpus: Path, tmp_path: Path, restate: Callable[..., None], array: str
) -> None:
    corpus = Path(shutil.copytree(small_corpus, tmp_path / "corpus", symlinks=True))
    values = zarr.open_array(corpus / GTEX / array, mode="r+")
    values[5] = not values[5] if values.dtype == bool else values[5] + 1  # type: ignore[operator]
    restate(corpus, GTEX)
    found = refused(corpus)
    assert f"store {GTEX}, {array if array.startswith('X') else array[:3]}" in found
    assert "the content is not what the store's digest says" in found


def test_what_zarr_raises_names_the_store_and_the_file(
    small_corpus: Path, tmp_path: Path, restate: Callable[..., None]
) -> None:
    corpus = Path(shutil.copytree(small_corpus, tmp_path / "corpus", symlinks=True))
    flipped(corpus / GTEX / "X" / "data" / "c" / "0")
    restate(corpus, GTEX)
    found = refused(corpus)
    assert f"store {GTEX}, file X/data" in found
    assert "cannot be decoded" in found


def test_a_manifest_that_counts_other_samples_is_refused(
    small_corpus: Path, tmp_path: Path, edit_json: Callable[..., None]
) -> None:
    corpus = Path(shutil.copytree(small_corpus, tmp_path / "corpus", symlinks=True))

    def change(manifest: dict[str, Any]) -> None:
        next(entry for entry in manifest["stores"] if entry["path"] == GTEX)["n_samples"] += 1

    edit_json(corpus / "corpus.json", change)
    assert "expected: n_samples 31\nfound: n_samples 30" in refused(corpus)


def test_a_disk_without_room_is_told_before_the_first_byte(
    small_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000))
    with pytest.raises(InputError, match="no room for") as caught:
        export_study(task(small_corpus), tmp_path / "gtex.h5ad", overwrite=False)
    assert str(tmp_path) in str(caught.value)
    assert not list(tmp_path.iterdir())
