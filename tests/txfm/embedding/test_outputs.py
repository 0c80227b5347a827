"""Outputs: labels in order, the input's content kept, whole or not there, never over something without a word."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
import zarr

import txfm
from txfm.__main__ import main
from txfm.embedding.progress import told
from txfm.pretrained import PretrainedModel

GOLDEN_MODELS = Path(__file__).parents[2] / "golden" / "models" / "1.0"


@pytest.fixture
def labelled(cells: ad.AnnData) -> ad.AnnData:
    """With every kind of label, and everything else that an .h5ad may hold."""
    cells.obs["batch"] = pd.Categorical(["b1", "b2", None, "b1"] * 9 + ["b2"])
    cells.obs["plate"] = pd.Categorical(np.arange(37) % 3)
    cells.obs["score"] = np.linspace(0, 1, 37)
    cells.obs["keep"] = np.arange(37) % 2 == 0
    cells.obs["sample_id"] = "theirs"
    cells.obs["e3"] = 3
    cells.layers["other"] = sp.csc_matrix(cells.X)
    cells.obsm["X_pca"] = np.ones((37, 2), dtype=np.float32)
    cells.obsp["near"] = sp.csr_matrix(np.eye(37, dtype=np.float32))
    cells.uns["title"] = "cells"
    cells.raw = cells.copy()
    cells.X = sp.csr_matrix(cells.X)
    return cells


def embed(model_folder: Path, source: Path, out: Path, *options: str) -> int:
    return main(["embed", str(model_folder), str(source), "--out", str(out), "--device", "cpu", *options])


def test_an_h5ad_comes_back_whole_with_vectors_and_their_record(
    model: PretrainedModel, model_folder: Path, labelled: ad.AnnData, tmp_path: Path
) -> None:
    labelled.write_h5ad(tmp_path / "in.h5ad", compression="gzip")
    assert embed(model_folder, tmp_path / "in.h5ad", tmp_path / "e.h5ad", "--genes", "12") == 0
    written = ad.read_h5ad(tmp_path / "e.h5ad")
    np.testing.assert_allclose(written.obsm["X_txfm"], model.embed(labelled, genes=12), rtol=0, atol=1e-5)
    record = written.uns.pop("txfm")["X_txfm"]
    weights = hashlib.sha256((model_folder / "model.safetensors").read_bytes()).hexdigest()
    assert record["weights_sha256"] == weights
    assert record["model"] == "tiny.nano.s0"
    assert record["trained_on_variant"] == "tiny"
    assert (record["input"], record["counts"], record["genes"], record["model_layer"]) == ("in.h5ad", "X", "12", "cls")
    assert record["share_of_vocabulary"] == 1.0
    assert 0.9 < record["share_of_counts"] < 1
    del written.obsm["X_txfm"]
    pd.testing.assert_frame_equal(written.obs, labelled.obs)
    pd.testing.assert_frame_equal(written.var, labelled.var)
    assert dict(written.uns) == {"title": "cells"}
    assert list(written.obsm) == ["X_pca"]
    for name in ("X/data", "X/indices", "layers/other/data", "raw/X", "obsp/near/data"):
        with h5py.File(tmp_path / "in.h5ad") as before, h5py.File(tmp_path / "e.h5ad") as after:
            assert before[name].compression == after[name].compression == "gzip"
            np.testing.assert_array_equal(before[name][:], after[name][:])


def test_an_embedded_file_can_be_embedded_again(
    model: PretrainedModel, model_folder: Path, labelled: ad.AnnData, tmp_path: Path
) -> None:
    labelled.write_h5ad(tmp_path / "in.h5ad")
    assert embed(model_folder, tmp_path / "in.h5ad", tmp_path / "one.h5ad", "--layer", "block1") == 0
    assert embed(model_folder, tmp_path / "one.h5ad", tmp_path / "two.h5ad", "--force") == 0
    written = ad.read_h5ad(tmp_path / "two.h5ad")
    np.testing.assert_allclose(written.obsm["X_txfm"], model.embed(labelled), rtol=0, atol=1e-5)
    assert written.uns["txfm"]["X_txfm"]["model_layer"] == "cls"


def test_embeddings_of_several_models_stand_side_by_side_and_none_is_lost(
    model: PretrainedModel,
    model_folder: Path,
    labelled: ad.AnnData,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    labelled.write_h5ad(tmp_path / "in.h5ad")
    assert embed(model_folder, tmp_path / "in.h5ad", tmp_path / "one.h5ad") == 0
    assert embed(model_folder, tmp_path / "one.h5ad", tmp_path / "two.h5ad", "--layer", "block1") == 2
    refusal = capsys.readouterr().err
    assert "has an embedding of this name already" in refusal
    assert "vectors of tiny.nano.s0" in refusal
    assert not (tmp_path / "two.h5ad").exists()
    options = ["--layer", "block1", "--key", "X_block1"]
    assert embed(model_folder, tmp_path / "one.h5ad", tmp_path / "two.h5ad", *options) == 0
    written = ad.read_h5ad(tmp_path / "two.h5ad")
    assert sorted(written.obsm) == ["X_block1", "X_pca", "X_txfm"]
    for key, layer in (("X_txfm", "cls"), ("X_block1", "block1")):
        np.testing.assert_allclose(written.obsm[key], model.embed(labelled, model_layer=layer), rtol=0, atol=1e-5)
        assert written.uns["txfm"][key]["model_layer"] == layer
    assert embed(model_folder, tmp_path / "in.h5ad", tmp_path / "three.h5ad", "--key", "X_pca") == 2
    assert "vectors of an unknown source" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "options"), [("e.h5ad", ["--obs-only"]), ("e.zarr", [])])
def test_tables_and_vectors_alone(
    model: PretrainedModel, model_folder: Path, labelled: ad.AnnData, tmp_path: Path, name: str, options: list[str]
) -> None:
    labelled.write_h5ad(tmp_path / "in.h5ad")
    assert embed(model_folder, tmp_path / "in.h5ad", tmp_path / name, *options) == 0
    written = ad.read_h5ad(tmp_path / name) if name == "e.h5ad" else ad.read_zarr(tmp_path / name)
    assert written.X is None
    assert not written.layers
    assert written.uns["txfm"]["X_txfm"]["model"] == "tiny.nano.s0"
    pd.testing.assert_frame_equal(written.obs, labelled.obs)
    pd.testing.assert_frame_equal(written.var, labelled.var)
    np.testing.assert_allclose(written.obsm["X_txfm"], model.embed(labelled), rtol=0, atol=1e-5)
    if name == "e.zarr":
        assert zarr.open_group(tmp_path / name, mode="r").metadata.zarr_format == 3


def test_names_of_samples_that_are_not_unique_are_kept(model_folder: Path, cells: ad.AnnData, tmp_path: Path) -> None:
    cells.obs_names = [f"cell {i // 2}" for i in range(37)]
    cells.write_h5ad(tmp_path / "in.h5ad")
    for name in ("e.h5ad", "e.zarr", "e.parquet"):
        assert embed(model_folder, tmp_path / "in.h5ad", tmp_path / name, "--obs-only") == 0
    assert pd.read_parquet(tmp_path / "e.parquet")["sample_id"].tolist() == cells.obs_names.tolist()
    with pytest.warns(UserWarning, match="not unique"):
        assert ad.read_zarr(tmp_path / "e.zarr").obs_names.tolist() == cells.obs_names.tolist()


def test_tables_have_sample_ids_labels_and_vectors(
    model: PretrainedModel, model_folder: Path, labelled: ad.AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("txfm.embedding.outputs.tables.GROUP_ROWS", 10)
    labelled.write_h5ad(tmp_path / "in.h5ad")
    expected = model.embed(labelled)
    vectors = [f"e{i}" for i in range(16)]
    for name in ("e.parquet", "e.csv"):
        assert embed(model_folder, tmp_path / "in.h5ad", tmp_path / name, "--chunk-rows", "4") == 0
        read = pd.read_parquet if name == "e.parquet" else pd.read_csv
        frame = read(tmp_path / name)
        assert frame.columns.tolist()[:2] == ["sample_id", "label"]
        assert frame["sample_id"].tolist() == labelled.obs_names.tolist()
        assert frame["obs_sample_id"].tolist() == ["theirs"] * 37
        assert frame["obs_e3"].tolist() == [3] * 37
        assert frame["batch"].fillna("").tolist() == labelled.obs["batch"].astype(object).fillna("").tolist()
        assert frame["plate"].tolist() == [i % 3 for i in range(37)]
        assert frame["keep"].tolist() == labelled.obs["keep"].tolist()
        np.testing.assert_allclose(frame["score"], labelled.obs["score"])
        np.testing.assert_allclose(frame[vectors].to_numpy(np.float32), expected, rtol=0, atol=1e-5)
    file = pq.ParquetFile(tmp_path / "e.parquet")
    assert file.num_row_groups == 4
    assert json.loads(file.metadata.metadata[b"txfm"])["input"] == "in.h5ad"


def test_a_bare_array_has_the_rows_in_order(
    model: PretrainedModel, model_folder: Path, cells: ad.AnnData, tmp_path: Path
) -> None:
    cells.write_h5ad(tmp_path / "in.h5ad")
    assert embed(model_folder, tmp_path / "in.h5ad", tmp_path / "e.npy") == 0
    found = np.load(tmp_path / "e.npy")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, model.embed(cells), rtol=0, atol=1e-5)


def test_an_output_replaces_another_only_if_asked_to(
    model_folder: Path, cells: ad.AnnData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells.write_h5ad(tmp_path / "in.h5ad")
    for name in ("e.parquet", "e.zarr"):
        assert embed(model_folder, tmp_path / "in.h5ad", tmp_path / name) == 0
        assert embed(model_folder, tmp_path / "in.h5ad", tmp_path / name) == 2
        assert "exists already" in capsys.readouterr().err
        assert embed(model_folder, tmp_path / "in.h5ad", tmp_path / name, "--force") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.parquet", "e.zarr", "in.h5ad"]


def test_misses_are_listed_with_reasons_and_counts(model_folder: Path, cells: ad.AnnData, tmp_path: Path) -> None:
    lost = [name for name in cells.var_names if name.startswith("ENSG00000000")][:3]
    renamed = {lost[0]: "1-Mar", lost[1]: f"{lost[1]}_PAR_Y", lost[2]: "ENSMUSG00000000001"}
    cells.var_names = [renamed.get(name, name) for name in cells.var_names]
    cells.write_h5ad(tmp_path / "in.h5ad")
    misses = tmp_path / "misses.csv"
    assert embed(model_folder, tmp_path / "in.h5ad", tmp_path / "e.npy", "--misses", str(misses)) == 0
    table = pd.read_csv(misses)
    theirs = table[table["side"] == "input"].set_index("gene")
    assert theirs.loc["1-Mar", "reason"] == "a date that Excel made of a symbol"
    assert theirs.loc[f"{lost[1]}_PAR_Y", "reason"] == "copy on chromosome Y of a gene on X"
    assert theirs.loc["ENSMUSG00000000001", "reason"] == "gene of another organism (mouse)"
    assert theirs.loc["spike-in", "reason"] == "not a gene of the model"
    assert theirs["counts"].is_monotonic_decreasing
    totals = dict(zip(cells.var_names, cells.X.sum(axis=0), strict=True))
    assert theirs["counts"].to_dict() == {name: totals[name] for name in theirs.index}
    assert sorted(name.split()[0] for name in table.loc[table["side"] == "model", "gene"]) == sorted(lost)


def test_a_run_that_is_killed_leaves_nothing_under_the_output_s_name(
    model_folder: Path, model: PretrainedModel, tmp_path: Path
) -> None:
    """SIGKILL while vectors are being written: the old file stays what it was."""
    rng = np.random.default_rng(0)
    counts = sp.csr_matrix(rng.poisson(1.0, (40_000, 56)).astype(np.float32))
    ad.AnnData(counts, var=pd.DataFrame(index=list(model.vocabulary.ensembl_ids))).write_h5ad(tmp_path / "in.h5ad")
    out = tmp_path / "e.h5ad"
    out.write_text("before")
    command = [sys.executable, "-m", "txfm", "embed", str(model_folder), str(tmp_path / "in.h5ad"), "--out", str(out)]
    command += ["--force", "--device", "cpu", "--chunk-rows", "50", "--threads", "1"]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".e.h5ad.*.tmp")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert out.read_text() == "before"


def test_a_refusal_in_the_last_rows_leaves_nothing(model_folder: Path, cells: ad.AnnData, tmp_path: Path) -> None:
    cells.X[36] = -1
    cells.write_h5ad(tmp_path / "in.h5ad")
    for name in ("e.h5ad", "e.zarr", "e.parquet", "e.csv", "e.npy"):
        assert embed(model_folder, tmp_path / "in.h5ad", tmp_path / name, "--chunk-rows", "5") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["in.h5ad"]


def test_a_variant_equals_its_stores_one_by_one(
    model: PretrainedModel, model_folder: Path, tiny_corpus: Any, tmp_path: Path
) -> None:
    options = ["--corpus", str(tiny_corpus.folder), "--variant", "tiny", "--device", "cpu", "--chunk-rows", "50"]
    assert main(["embed", str(model_folder), *options, "--out", str(tmp_path / "e.parquet")]) == 0
    frame = pd.read_parquet(tmp_path / "e.parquet").set_index("sample_id")
    assert frame.columns.tolist()[:7] == "study split batch perturbation cell_type cell_line simulated".split()
    assert len(frame) == 132 + 30
    assert frame.groupby("split").size().to_dict() == {"train": 132, "validation": 30}
    for study, split in (("beta", "train"), ("alpha", "validation"), ("gamma", "train")):
        store = ad.read_zarr(tiny_corpus.folder / "stores" / f"{study}.plain.{split}.zarr")
        rows = frame.loc[store.obs_names]
        vectors = rows.filter(regex=r"^e\d+$").to_numpy()
        np.testing.assert_allclose(vectors, model.embed(store), rtol=0, atol=1e-5)
        assert rows["cell_type"].tolist() == store.obs["cell_type"].tolist()
        assert rows["simulated"].all()
    by_path = ["embed", str(model_folder), str(tiny_corpus.folder / "variants" / "tiny.json"), "--device", "cpu"]
    for name in ("e.zarr", "e.h5ad"):
        assert main([*by_path, "--out", str(tmp_path / name)]) == 0
        written = ad.read_zarr(tmp_path / name) if name == "e.zarr" else ad.read_h5ad(tmp_path / name)
        assert written.obs_names.tolist() == frame.index.tolist()
        np.testing.assert_allclose(written.obsm["X_txfm"], frame.filter(regex=r"^e\d+$"), rtol=0, atol=1e-5)
        assert written.uns["txfm"]["X_txfm"]["input"] == "tiny"


def test_samples_of_a_variant_without_counts_are_counted(
    model_folder: Path, write_corpus: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    data = zarr.open_group(corpus.folder / "stores" / "beta.plain.train.zarr", mode="r+")
    indptr = data["X/indptr"][:]
    values = data["X/data"][:]
    values[: indptr[2]] = 0
    data["X/data"][:] = values
    options = ["--corpus", str(corpus.folder), "--variant", "tiny", "--out", str(tmp_path / "e.parquet")]
    assert main(["embed", str(model_folder), *options, "--device", "cpu"]) == 0
    assert "2 of 162 samples have no count on the model's genes" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["pca", "lognorm", "scvi"])
def test_a_baseline_embeds_files_by_the_same_command(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = GOLDEN_MODELS / kind
    baseline = txfm.load(folder)
    n_genes = len(baseline.vocabulary)
    counts = np.random.default_rng(0).poisson(3.0, (9, n_genes)).astype(np.float32)
    cells = ad.AnnData(counts, var=pd.DataFrame(index=list(baseline.vocabulary.ensembl_ids)))
    cells.write_h5ad(tmp_path / "in.h5ad")
    assert embed(folder, tmp_path / "in.h5ad", tmp_path / "e.h5ad", "--chunk-rows", "2") == 0
    written = ad.read_h5ad(tmp_path / "e.h5ad")
    np.testing.assert_allclose(written.obsm["X_txfm"], baseline.embed(cells, batch_size=4), rtol=0, atol=1e-5)
    assert written.obsm["X_txfm"].shape == (9, baseline.n_dimensions)
    assert written.uns["txfm"]["X_txfm"]["kind"] == kind
    for option in (["--layer", "block1"], ["--precision", "bf16"]):
        assert embed(folder, tmp_path / "in.h5ad", tmp_path / "other.h5ad", *option) == 2
        assert "A baseline has no layers and one precision" in capsys.readouterr().err


def test_progress_is_drawn_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    blocks = [np.zeros((2, 3)), np.zeros((3, 3))]
    for stream, drawn in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        assert [len(block) for block in told(iter(blocks), 5)] == [2, 3]
        assert ("5 of 5 samples (100%)" in stream.getvalue()) == drawn
        assert ("samples/s" in stream.getvalue()) == drawn


def test_genes_command_writes_ids_symbols_tokens_and_weights(
    model: PretrainedModel, model_folder: Path, tmp_path: Path
) -> None:
    for which, columns in {
        "encoder": [f"encoder{i}" for i in range(15)],
        "decoder": [f"decoder{i}" for i in range(16)],
        "both": [f"encoder{i}" for i in range(15)] + [f"decoder{i}" for i in range(16)],
    }.items():
        for suffix, read in ((".parquet", pd.read_parquet), (".csv", pd.read_csv)):
            out = tmp_path / f"{which}{suffix}"
            assert main(["genes", str(model_folder), "--out", str(out), "--which", which]) == 0
            table = read(out)
            assert table.columns.tolist() == ["ensembl_id", "symbol", *columns]
            assert table["ensembl_id"].tolist() == list(model.vocabulary.ensembl_ids)
            assert table["symbol"].tolist() == list(model.vocabulary.symbols)
            weights = {"e": model.network.gene_table.weight, "d": model.network.decoder_out.weight}[columns[0][0]]
            found = table[[name for name in columns if name[0] == columns[0][0]]]
            np.testing.assert_array_equal(found.to_numpy(np.float32), weights.numpy())
    assert main(["genes", str(model_folder), "--out", str(tmp_path / "both.csv")]) == 2
    assert main(["genes", str(model_folder), "--out", str(tmp_path / "both.csv"), "--force"]) == 0
    assert main(["genes", str(model_folder), "--out", str(tmp_path / "both.txt")]) == 2
