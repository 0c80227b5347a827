"""Embedding: same result for every layout, chunk and batch; genes by any name; nothing but raw counts."""

import os
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
import zarr

import txfm
import txfm.embed
from txfm.__main__ import main
from txfm.config import config_from_mapping
from txfm.counts import check_raw_counts
from txfm.errors import InputError
from txfm.genes import match_genes
from txfm.hardware import Hardware
from txfm.pretrained import PretrainedModel
from txfm.train import TrainingRun, train
from txfm.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def model_folder(tiny_corpus: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    entry = {"preset": "nano", "width": 16, "n_visible_genes": 12, "samples_seen": 200, "batch_size_samples": 16}
    run = TrainingRun(
        corpus=tiny_corpus.folder,
        variant="tiny",
        config=config_from_mapping(entry),
        seed=0,
        out=folder / "model",
        checkpoints=folder / "checkpoints",
    )
    train(run, Hardware(device=torch.device("cpu"), precision="float32", threads=1))
    return folder / "model"


@pytest.fixture(scope="module")
def model(model_folder: Path) -> PretrainedModel:
    return txfm.load(model_folder)


@pytest.fixture
def cells(tiny_corpus: Any, model: PretrainedModel) -> ad.AnnData:
    """Samples with all the vocabulary's genes, shuffled, and two that the model does not know."""
    rng = np.random.default_rng(1)
    names = [*model.vocabulary.ensembl_ids, "ENSG00000999999", "spike-in"]
    counts = rng.negative_binomial(1.0, 0.2, (37, len(names))).astype(np.float32)
    order = rng.permutation(len(names))
    obs = pd.DataFrame({"label": [f"label {i}" for i in range(37)]}, index=[f"cell {i}" for i in range(37)])
    var = pd.DataFrame(index=np.array(names, dtype=object)[order])
    return ad.AnnData(counts[:, order], obs=obs, var=var)


def assert_equal_embeddings(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_embeddings_are_float32_finite_and_differ_between_samples(model: PretrainedModel, cells: ad.AnnData) -> None:
    embeddings = model.embed(cells)
    assert embeddings.shape == (37, 16)
    assert embeddings.dtype == np.float32
    assert np.isfinite(embeddings).all()
    assert len(np.unique(embeddings, axis=0)) == 37


@pytest.mark.parametrize("layout", [sp.csr_matrix, sp.csc_matrix, sp.csr_array, sp.csc_array, np.asarray])
def test_layout_does_not_change_embeddings(model: PretrainedModel, cells: ad.AnnData, layout: Any) -> None:
    expected = model.embed(cells)
    cells.X = layout(cells.X)
    assert_equal_embeddings(model.embed(cells), expected)


def test_batches_chunks_and_row_order_do_not_change_embeddings(
    model: PretrainedModel, cells: ad.AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = model.embed(cells)
    assert_equal_embeddings(model.embed(cells, batch_size=1), expected)
    assert_equal_embeddings(model.embed(cells[::-1])[::-1], expected)
    assert_equal_embeddings(model.embed(cells[5:9]), expected[5:9])
    monkeypatch.setattr(txfm.embed, "CHUNK_ROWS", 4)
    assert_equal_embeddings(model.embed(cells), expected)


@pytest.mark.parametrize("layout", [sp.csr_matrix, sp.csc_matrix, np.asarray])
def test_backed_files_give_the_same_embeddings(
    model: PretrainedModel, cells: ad.AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: Any
) -> None:
    expected = model.embed(cells)
    cells.X = layout(cells.X)
    cells.write_h5ad(tmp_path / "cells.h5ad")
    monkeypatch.setattr(txfm.embed, "CHUNK_ROWS", 10)
    backed = ad.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    assert_equal_embeddings(model.embed(backed), expected)
    backed.file.close()


def test_order_and_names_of_the_genes_do_not_matter(model: PretrainedModel, cells: ad.AnnData) -> None:
    expected = model.embed(cells)
    symbols = dict(zip(model.vocabulary.ensembl_ids, model.vocabulary.symbols, strict=True))
    versioned = cells.copy()
    versioned.var_names = [f"{name}.7" if name.startswith("ENSG") else name for name in cells.var_names]
    by_symbol = cells.copy()
    by_symbol.var_names = [symbols.get(name, name) for name in cells.var_names]
    by_column = cells.copy()
    by_column.var["gene_ids"] = list(cells.var_names)
    by_column.var_names = [f"row {i}" for i in range(cells.n_vars)]
    for renamed in (cells[:, ::-1], versioned, by_symbol, by_column):
        assert_equal_embeddings(model.embed(renamed), expected)


def test_counts_of_duplicated_genes_are_summed(model: PretrainedModel, cells: ad.AnnData) -> None:
    twice = [f"{name}.{version}" for version in (1, 2) for name in cells.var_names]
    split = ad.AnnData(np.hstack([cells.X, cells.X]), var=pd.DataFrame(index=np.array(twice, dtype=object)))
    doubled = cells.copy()
    doubled.X = cells.X * 2
    assert_equal_embeddings(model.embed(split), model.embed(doubled))


def test_samples_without_counts_are_embedded_counted_and_warned_about_once(
    model: PretrainedModel, cells: ad.AnnData, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cells.X[3] = 0
    cells.X[30] = np.where(cells.var_names.isin(model.vocabulary.ensembl_ids), 0, 5)
    monkeypatch.setattr(txfm.embed, "CHUNK_ROWS", 10)
    message = "2 of 37 samples have no count on the model's genes: their embedding is that of an empty sample"
    with pytest.warns(txfm.embed.EmptySampleWarning, match=message) as caught:
        embeddings = model.embed(cells)
    assert len(caught) == 1
    assert message in capsys.readouterr().out
    assert np.isfinite(embeddings).all()
    assert_equal_embeddings(embeddings[3], embeddings[30])


def test_embed_command_prints_the_number_of_samples_without_counts(
    model_folder: Path, cells: ad.AnnData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells.X[3] = 0
    cells.write_h5ad(tmp_path / "in.h5ad")
    command = ["embed", str(model_folder), str(tmp_path / "in.h5ad"), "--out", str(tmp_path / "e.h5ad")]
    assert main([*command, "--device", "cpu"]) == 0
    assert "1 of 37 samples have no count on the model's genes" in capsys.readouterr().out


def test_embed_corpus_prints_the_number_of_samples_without_counts(
    model_folder: Path, write_corpus: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    data = zarr.open_group(corpus.folder / "stores" / "beta.plain.train.zarr", mode="r+")
    indptr = data["X/indptr"][:]
    values = data["X/data"][:]
    values[: indptr[2]] = 0
    data["X/data"][:] = values
    options = ["--corpus", str(corpus.folder), "--variant", "tiny", "--out", str(tmp_path / "e.parquet")]
    assert main(["embed-corpus", str(model_folder), *options, "--device", "cpu"]) == 0
    assert "2 of 162 samples have no count on the model's genes" in capsys.readouterr().out


@pytest.mark.parametrize("values", [["False", "True"], [0, 1], [None, True]])
def test_a_measured_column_that_is_not_boolean_is_refused(
    model: PretrainedModel, cells: ad.AnnData, values: list[object]
) -> None:
    cells.var["measured"] = [values[i % 2] for i in range(cells.n_vars)]
    with pytest.raises(InputError, match="`measured` of var cannot be used"):
        model.embed(cells)


def test_an_array_without_gene_names_is_refused_with_what_to_pass(model: PretrainedModel, cells: ad.AnnData) -> None:
    with pytest.raises(InputError, match=r"an AnnData of raw counts, with Ensembl ids or gene symbols in var"):
        model.embed(cells.X)


def test_genes_that_a_store_did_not_measure_are_not_input(model: PretrainedModel, cells: ad.AnnData) -> None:
    everything, without = model.embed(cells), model.embed(cells[:, 10:].copy())
    cells.var["measured"] = np.arange(cells.n_vars) >= 10
    assert_equal_embeddings(model.embed(cells), without)
    assert not np.allclose(everything, without, atol=1e-3)


def test_a_number_of_genes_shows_the_same_ones_of_every_sample(model: PretrainedModel, cells: ad.AnnData) -> None:
    few = model.embed(cells, genes=12)
    assert_equal_embeddings(model.embed(cells[7:8], genes=12), few[7:8])
    assert not np.allclose(few, model.embed(cells), atol=1e-3)
    assert_equal_embeddings(model.embed(cells, genes=10_000), model.embed(cells))
    with pytest.raises(InputError, match="'all' or a number"):
        model.embed(cells, genes="some")


def test_counts_in_a_layer(model: PretrainedModel, cells: ad.AnnData) -> None:
    expected = model.embed(cells)
    cells.layers["counts"] = cells.X.copy()
    cells.X = np.log1p(cells.X)
    assert_equal_embeddings(model.embed(cells, layer="counts"), expected)
    with pytest.raises(InputError, match="look log-transformed"):
        model.embed(cells)
    with pytest.raises(InputError, match="no such layer"):
        model.embed(cells, layer="raw")


def test_values_are_judged_before_gene_names(model: PretrainedModel, cells: ad.AnnData) -> None:
    cells.X = np.log1p(cells.X)
    cells.var_names = [f"unknown {i}" for i in range(cells.n_vars)]
    with pytest.raises(InputError, match=r"(?s)look log-transformed.*holds none elsewhere"):
        model.embed(cells)


def test_values_of_every_chunk_are_judged(
    model: PretrainedModel, cells: ad.AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(txfm.embed, "CHUNK_ROWS", 10)
    cells.X[36] = 0.5
    with pytest.raises(InputError, match="not raw counts"):
        model.embed(cells)


@pytest.mark.parametrize("backed", [False, True])
def test_a_refusal_names_the_layer_or_raw_that_holds_counts_and_no_other(
    model: PretrainedModel, cells: ad.AnnData, tmp_path: Path, backed: bool
) -> None:
    cells.raw = cells.copy()
    cells.layers["umi"] = sp.csr_matrix(cells.X)
    cells.layers["scaled"] = cells.X - 1
    cells.X = np.log1p(cells.X)
    cells.write_h5ad(tmp_path / "cells.h5ad")
    given = ad.read_h5ad(tmp_path / "cells.h5ad", backed="r" if backed else None)
    with pytest.raises(InputError) as refusal:
        model.embed(given)
    assert "pass layer='umi' (--layer umi)" in str(refusal.value)
    assert "adata.raw.to_adata()" in str(refusal.value)
    with pytest.raises(InputError, match="--layer umi") as refusal:
        model.embed(given, layer="scaled")
    assert "--layer scaled" not in str(refusal.value)
    assert "X: pass no layer" not in str(refusal.value)
    if backed:
        given.file.close()


def test_counts_in_x_are_named_when_the_layer_holds_none(model: PretrainedModel, cells: ad.AnnData) -> None:
    cells.layers["logcounts"] = np.log1p(cells.X)
    with pytest.raises(InputError, match="X: pass no layer"):
        model.embed(cells, layer="logcounts")


def test_data_without_x_is_refused_with_the_layer_that_holds_counts(model: PretrainedModel, cells: ad.AnnData) -> None:
    without = ad.AnnData(obs=cells.obs, var=cells.var, layers={"umi": cells.X})
    with pytest.raises(InputError, match=r"(?s)no X.*--layer umi"):
        model.embed(without)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "advice"), [("log_normalised", "holds none elsewhere"), ("counts_only_in_layer", "--layer counts")]
)
def test_public_files_without_counts_in_x_are_refused_for_their_values(
    model: PretrainedModel, name: str, advice: str
) -> None:
    default = Path(__file__).parents[3] / "shared" / "data"
    path = Path(os.environ.get("DIVERSERNA_DATA", default)) / "rejects" / f"{name}.h5ad"
    if not path.is_file():
        pytest.skip("the real files are not here: set DIVERSERNA_DATA")
    backed = ad.read_h5ad(path, backed="r")
    with pytest.raises(InputError, match=f"(?s)not raw counts.*{advice}"):
        model.embed(backed)
    backed.file.close()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, np.nan], "NaN or infinity"),
        ([1.0, -0.5], "scaled or centred"),
        ([0.7, 2.3], "look log-transformed"),
        ([0.7, 5000.0], "normalised, or expected counts"),
    ],
)
def test_values_that_are_not_raw_counts_are_refused(values: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_raw_counts(np.array(values), "X")


def test_expected_counts_need_an_explicit_word_and_float_noise_does_not() -> None:
    check_raw_counts(np.array([1.5, 3000.25]), "X", allow_fractional=True)
    check_raw_counts(np.array([1.0 + 1e-11, 3.0]), "X")
    with pytest.raises(InputError, match="scaled"):
        check_raw_counts(np.array([-1.0]), "X", allow_fractional=True)


def vocabulary(*genes: tuple[str, str]) -> Vocabulary:
    ids, symbols = zip(*genes, strict=True)
    return Vocabulary(axis_positions=np.arange(len(genes)), ensembl_ids=ids, symbols=symbols)


THREE = vocabulary(("ENSG00000000001", "AAA"), ("ENSG00000000002", "BBB"), ("ENSG00000000003", "BBB"))


def test_y_copies_and_ambiguous_symbols_match_nothing() -> None:
    var = pd.DataFrame(index=["ENSG00000000001.4", "ENSG00000000001.4_PAR_Y", "BBB"])
    match = match_genes(var, THREE)
    assert match.positions.tolist() == [0, -1, -1]
    assert match.misses == ("ENSG00000000002 (BBB)", "ENSG00000000003 (BBB)")
    assert "1 of the model's 3 found (33%)" in str(match)


def test_too_few_known_genes_are_refused_with_advice(model: PretrainedModel, cells: ad.AnnData) -> None:
    mouse = cells.copy()
    mouse.var_names = [f"ENSMUSG{i:011d}" for i in range(cells.n_vars)]
    with pytest.raises(InputError, match=r"found: 0\.0%; the data's names begin with ENSMUSG00000000000"):
        model.embed(mouse)
    few = cells[:, cells.var_names.isin(model.vocabulary.ensembl_ids[:8])]
    with pytest.raises(InputError, match="min_matched_share"):
        model.embed(few)
    assert model.embed(few, min_matched_share=0.1).shape == (37, 16)


def test_an_unknown_gene_column_is_refused(model: PretrainedModel, cells: ad.AnnData) -> None:
    with pytest.raises(InputError, match="no such gene column"):
        model.embed(cells, gene_column="ids")


@pytest.mark.parametrize(("which", "width"), [("encoder", 15), ("decoder", 16)])
def test_gene_embeddings_are_indexed_by_ensembl_id(model: PretrainedModel, which: str, width: int) -> None:
    frame = model.gene_embeddings(which)
    assert frame.index.tolist() == list(model.vocabulary.ensembl_ids)
    assert frame.columns.tolist() == ["symbol", *(f"e{i}" for i in range(width))]
    table = {"encoder": model.network.gene_table, "decoder": model.network.decoder_out}[which].weight
    np.testing.assert_array_equal(frame.iloc[4, 1:].to_numpy(dtype=np.float32), table[4].numpy())


def test_loading_something_else_is_refused(model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no trained model"):
        txfm.load(tmp_path)
    card = (model_folder / "model.json").read_text()
    (tmp_path / "model.safetensors").write_bytes((model_folder / "model.safetensors").read_bytes())
    (tmp_path / "model.json").write_text(card.replace('"n_blocks": 2', '"n_blocks": 3'))
    with pytest.raises(InputError, match="do not fit"):
        txfm.load(tmp_path)
    (tmp_path / "model.json").write_text(card.replace('"format_version": "1.0"', '"format_version": "9"'))
    with pytest.raises(InputError, match="version 9"):
        txfm.load(tmp_path)


def test_embed_command_keeps_rows_and_annotations(
    model: PretrainedModel, model_folder: Path, cells: ad.AnnData, tmp_path: Path
) -> None:
    cells.write_h5ad(tmp_path / "in.h5ad")
    command = ["embed", str(model_folder), str(tmp_path / "in.h5ad"), "--out", str(tmp_path / "out" / "e.h5ad")]
    assert main([*command, "--device", "cpu"]) == 0
    written = ad.read_h5ad(tmp_path / "out" / "e.h5ad")
    assert written.obs["label"].tolist() == cells.obs["label"].tolist()
    assert written.var_names.tolist() == cells.var_names.tolist()
    assert_equal_embeddings(written.obsm["X_txfm"], model.embed(cells))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["e.h5ad"]


def test_embed_command_refuses_other_files(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["embed", str(model_folder), str(tmp_path / "none.h5ad"), "--out", str(tmp_path / "e.h5ad")]) == 2
    assert "no such input" in capsys.readouterr().err


def test_embed_corpus_equals_embedding_each_store(
    model: PretrainedModel, model_folder: Path, tiny_corpus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("txfm.embed_corpus.CHUNK_ROWS", 50)
    options = ["--corpus", str(tiny_corpus.folder), "--variant", "tiny", "--out", str(tmp_path / "e.parquet")]
    assert main(["embed-corpus", str(model_folder), *options, "--device", "cpu"]) == 0
    frame = pd.read_parquet(tmp_path / "e.parquet").set_index("sample_id")
    assert len(frame) == 132 + 30
    assert frame.groupby("split").size().to_dict() == {"train": 132, "validation": 30}
    for study, split in (("beta", "train"), ("alpha", "validation"), ("gamma", "train")):
        store = ad.read_zarr(tiny_corpus.folder / "stores" / f"{study}.plain.{split}.zarr")
        rows = frame.loc[store.obs_names]
        assert_equal_embeddings(rows.filter(regex=r"^e\d+$").to_numpy(), model.embed(store))
        assert rows["cell_type"].tolist() == store.obs["cell_type"].tolist()
        assert rows["simulated"].all()
