"""Vectors: the same for every layout, chunk, batch, order and file; from raw counts only; of any layer."""

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

import txfm
from txfm.__main__ import main
from txfm.config import ModelConfig
from txfm.embedding.embed import EmptySampleWarning
from txfm.embedding.masks import visible_genes
from txfm.embedding.options import EmbeddingOptions
from txfm.errors import InputError
from txfm.masking import seeded_generator
from txfm.model import TxFM
from txfm.pretrained import PretrainedModel
from txfm.vocabulary import Vocabulary


def assert_equal_embeddings(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def wide_model() -> PretrainedModel:
    """Random weights, 300 genes, width 192, two blocks: rounding has more to add up than in the trained model."""
    config = ModelConfig(width=192, n_heads=6, n_blocks=2, layer_scale_init=1.0, samples_seen=1)
    network = TxFM(config, 300)
    network.initialise(torch.full((300,), 2.0), seeded_generator(torch.device("cpu"), "test"))
    genes = Vocabulary(
        axis_positions=np.arange(300),
        ensembl_ids=tuple(f"ENSG{i:011d}" for i in range(300)),
        symbols=tuple(f"GENE{i}" for i in range(300)),
    )
    return PretrainedModel(network.requires_grad_(False).eval(), genes, {"n_dimensions": 192})


def test_embeddings_are_float32_finite_and_differ_between_samples(model: PretrainedModel, cells: ad.AnnData) -> None:
    embeddings = model.embed(cells)
    assert embeddings.shape == (37, 16)
    assert embeddings.dtype == np.float32
    assert np.isfinite(embeddings).all()
    assert len(np.unique(embeddings, axis=0)) == 37


@pytest.mark.parametrize("layout", [sp.csr_matrix, sp.csc_matrix, sp.csr_array, sp.csc_array, np.asarray])
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint8])
def test_layout_and_type_do_not_change_embeddings(
    model: PretrainedModel, cells: ad.AnnData, layout: Any, dtype: Any
) -> None:
    expected = model.embed(cells)
    cells.X = layout(cells.X.astype(dtype))
    assert_equal_embeddings(model.embed(cells), expected)


def test_half_precision_and_foreign_byte_order_do_not_change_embeddings(
    model: PretrainedModel, cells: ad.AnnData
) -> None:
    expected = model.embed(cells)
    for dtype in (np.float16, np.dtype(">f4"), np.dtype(">i2")):
        other = ad.AnnData(cells.X.astype(dtype), obs=cells.obs, var=cells.var)
        assert_equal_embeddings(model.embed(other), expected)


def test_batches_chunks_and_row_order_do_not_change_embeddings(model: PretrainedModel, cells: ad.AnnData) -> None:
    expected = model.embed(cells)
    assert_equal_embeddings(model.embed(cells, batch_size=1), expected)
    assert_equal_embeddings(model.embed(cells[::-1])[::-1], expected)
    assert_equal_embeddings(model.embed(cells[5:9]), expected[5:9])
    assert_equal_embeddings(model.embed(cells, chunk_rows=4, batch_size=3), expected)


@pytest.mark.parametrize("layout", [sp.csr_matrix, sp.csc_matrix, np.asarray])
def test_a_wider_model_gives_the_same_in_chunks_of_1_7_512_and_all_rows_shuffled_and_not(
    wide_model: PretrainedModel, tmp_path: Path, layout: Any
) -> None:
    rng = np.random.default_rng(0)
    counts = rng.negative_binomial(0.3, 0.1, (17, 300)).astype(np.float32)
    var = pd.DataFrame(index=list(wide_model.vocabulary.ensembl_ids))
    obs = pd.DataFrame(index=[f"cell {i}" for i in range(17)])
    shuffled = rng.permutation(17)
    options: dict[str, Any] = {"verbose": False, "batch_size": 1}
    expected = wide_model.embed(ad.AnnData(counts, obs=obs, var=var), **options)
    for order in (np.arange(17), shuffled):
        path = tmp_path / "cells.h5ad"
        ad.AnnData(layout(counts[order]), obs=obs.iloc[order], var=var).write_h5ad(path)
        for chunk_rows in (1, 7, 512, None):
            found = wide_model.embed(path, verbose=False, chunk_rows=chunk_rows)
            assert np.abs(found - expected[order]).max() <= 1e-5
    assert np.abs(expected[1:] - expected[:-1]).max() > 0.1


@pytest.mark.parametrize("layout", [sp.csr_matrix, sp.csc_matrix, np.asarray])
def test_backed_files_and_their_views_give_the_same_embeddings(
    model: PretrainedModel, cells: ad.AnnData, tmp_path: Path, layout: Any
) -> None:
    expected = model.embed(cells)
    cells.X = layout(cells.X)
    cells.write_h5ad(tmp_path / "cells.h5ad")
    backed = ad.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    assert_equal_embeddings(model.embed(backed), expected)
    assert_equal_embeddings(model.embed(backed, chunk_rows=10), expected)
    if layout is not sp.csc_matrix:  # anndata cannot take rows out of one
        assert_equal_embeddings(model.embed(backed[[30, 2, 11]]), expected[[30, 2, 11]])
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


def test_counts_of_two_rows_of_one_gene_are_added_and_an_evident_copy_is_not(
    model: PretrainedModel, cells: ad.AnnData, capsys: pytest.CaptureFixture[str]
) -> None:
    twice = [f"{name}.{version}" for version in (1, 2) for name in cells.var_names]
    split = ad.AnnData(np.hstack([cells.X, cells.X]), var=pd.DataFrame(index=np.array(twice, dtype=object)))
    doubled = cells.copy()
    doubled.X = cells.X * 2
    expected = model.embed(doubled)
    assert_equal_embeddings(model.embed(split), expected)
    assert f"{len(model.vocabulary):,} duplicates summed" in capsys.readouterr().out
    names = pd.DataFrame(
        {"gene_ids": [name.split(".")[0] for name in twice]}, index=[f"row {i}" for i in range(len(twice))]
    )
    copies = ad.AnnData(split.X, var=names)
    assert_equal_embeddings(model.embed(copies, chunk_rows=5), model.embed(cells))
    assert f"{len(model.vocabulary):,} left out: repeats an earlier column of the same name" in capsys.readouterr().out
    copies.X[36, :] += 1  # one sample tells a gene from its namesake; which sample it is makes no difference
    copies.X[36, cells.n_vars :] += 2
    both = cells.copy()
    both.X = copies.X[:, : cells.n_vars] + copies.X[:, cells.n_vars :]
    assert_equal_embeddings(model.embed(copies), model.embed(both))


def test_samples_without_counts_are_embedded_counted_and_warned_about_once(
    model: PretrainedModel, cells: ad.AnnData, capsys: pytest.CaptureFixture[str]
) -> None:
    cells.X[3] = 0
    cells.X[30] = np.where(cells.var_names.isin(model.vocabulary.ensembl_ids), 0, 5)
    message = "2 of 37 samples have no count on the model's genes: their embedding is that of an empty sample"
    with pytest.warns(EmptySampleWarning, match=message) as caught:
        embeddings = model.embed(cells, chunk_rows=10)
    assert len(caught) == 1
    assert message in capsys.readouterr().out
    assert np.isfinite(embeddings).all()
    assert_equal_embeddings(embeddings[3], embeddings[30])


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
    for wrong in ("some", 0, True):
        with pytest.raises(InputError, match="'all' or a number"):
            model.embed(cells, genes=wrong)


def test_masks_are_averaged_and_depend_on_their_number_alone(model: PretrainedModel, cells: ad.AnnData) -> None:
    expected = model.embed(cells, genes=12, n_masks=4)
    assert_equal_embeddings(model.embed(cells[::-1], genes=12, n_masks=4, chunk_rows=3, batch_size=2)[::-1], expected)
    assert not np.allclose(expected, model.embed(cells, genes=12), atol=1e-3)
    measured = np.ones(len(model.vocabulary), dtype=bool)
    masks = visible_genes(measured, EmbeddingOptions(genes=12, n_masks=4))
    assert len({tuple(mask) for mask in masks}) == 4
    counts = cells[:, list(model.vocabulary.ensembl_ids)].X.astype(np.float64)
    x = np.log1p(counts / counts.sum(axis=1, keepdims=True) * model.config.library_size_counts).astype(np.float32)
    singles = [
        model.network.encode(torch.from_numpy(mask).expand(37, -1), torch.from_numpy(x[:, mask])).numpy()
        for mask in masks
    ]
    assert_equal_embeddings(np.mean(singles, axis=0), expected)
    with pytest.raises(InputError, match="all genes are one mask"):
        model.embed(cells, n_masks=2)


def test_every_layer_can_be_taken_and_an_unknown_one_is_refused_with_their_names(
    model: PretrainedModel, cells: ad.AnnData
) -> None:
    embedding = model.embed(cells)
    layers = {
        name: model.embed(cells, model_layer=name) for name in ("block1", "block2", "cls", "decoder1", "decoder4")
    }
    assert_equal_embeddings(layers["cls"], embedding)
    normed = model.network.final_norm(torch.from_numpy(layers["block2"])).numpy()
    assert_equal_embeddings(normed, embedding)
    hidden = model.network.decoder_blocks[0](model.network.decoder_in(torch.from_numpy(embedding))).numpy()
    assert_equal_embeddings(layers["decoder1"], hidden)
    assert_equal_embeddings(model.embed(cells, model_layer="block1", chunk_rows=1), layers["block1"])
    with pytest.raises(InputError, match=r"(?s)no such layer.*block1, block2, cls, decoder1.*--counts layers/NAME"):
        model.embed(cells, model_layer="counts")


def test_bf16_is_close_to_float32(model: PretrainedModel, cells: ad.AnnData) -> None:
    found, expected = model.embed(cells, precision="bf16"), model.embed(cells)
    assert found.dtype == np.float32
    assert 0 < np.abs(found - expected).max() < 0.1 * expected.std()


def test_an_array_without_gene_names_is_refused_with_what_to_pass(model: PretrainedModel, cells: ad.AnnData) -> None:
    with pytest.raises(InputError, match=r"an AnnData of raw counts, with Ensembl ids or gene symbols in var"):
        model.embed(cells.X)


def test_counts_in_a_layer_or_in_raw(model: PretrainedModel, cells: ad.AnnData) -> None:
    expected = model.embed(cells)
    cells.raw = cells.copy()
    cells.layers["counts"] = cells.X.copy()
    cells.X = np.log1p(cells.X)
    few = cells[:, :3].copy()  # raw keeps its own genes
    assert_equal_embeddings(model.embed(cells, counts="layers/counts"), expected)
    assert_equal_embeddings(model.embed(few, counts="raw"), expected)
    with pytest.raises(InputError, match="look log-transformed"):
        model.embed(cells)
    with pytest.raises(InputError, match=r"(?s)no layers/umi.*X, raw, layers/counts.*--counts layers/counts"):
        model.embed(cells, counts="layers/umi")


def test_values_are_judged_before_gene_names(model: PretrainedModel, cells: ad.AnnData) -> None:
    cells.X = np.log1p(cells.X)
    cells.var_names = [f"unknown {i}" for i in range(cells.n_vars)]
    with pytest.raises(InputError, match=r"(?s)look log-transformed.*holds none elsewhere"):
        model.embed(cells)


def test_values_of_every_chunk_are_judged(model: PretrainedModel, cells: ad.AnnData) -> None:
    cells.X[36] = 0.5
    with pytest.raises(InputError, match="not raw counts"):
        model.embed(cells, chunk_rows=10)


@pytest.mark.parametrize("backed", [False, True])
def test_a_refusal_names_the_matrices_that_hold_counts_and_no_other(
    model: PretrainedModel, cells: ad.AnnData, tmp_path: Path, backed: bool
) -> None:
    cells.raw = cells.copy()
    cells.layers["umi"] = sp.csr_matrix(cells.X)
    cells.layers["scaled"] = cells.X - 1
    cells.X = np.log1p(cells.X)
    cells.write_h5ad(tmp_path / "cells.h5ad")
    given = ad.read_h5ad(tmp_path / "cells.h5ad", backed="r" if backed else None)
    for source in (given, tmp_path / "cells.h5ad"):
        with pytest.raises(InputError) as refusal:
            model.embed(source)
        assert "pass counts='layers/umi' (--counts layers/umi)" in str(refusal.value)
        assert "pass counts='raw' (--counts raw)" in str(refusal.value)
        with pytest.raises(InputError, match="--counts layers/umi") as refusal:
            model.embed(source, counts="layers/scaled")
        assert "--counts layers/scaled" not in str(refusal.value)
        assert "--counts X" not in str(refusal.value)
    if backed:
        given.file.close()


def test_counts_in_x_are_named_when_the_layer_holds_none(model: PretrainedModel, cells: ad.AnnData) -> None:
    cells.layers["logcounts"] = np.log1p(cells.X)
    with pytest.raises(InputError, match="--counts X"):
        model.embed(cells, counts="layers/logcounts")


def test_data_without_x_is_refused_with_the_layer_that_holds_counts(model: PretrainedModel, cells: ad.AnnData) -> None:
    without = ad.AnnData(obs=cells.obs, var=cells.var, layers={"umi": cells.X})
    with pytest.raises(InputError, match=r"(?s)no X.*--counts layers/umi"):
        model.embed(without)


def test_a_view_that_anndata_cannot_read_is_refused_with_a_way_out(
    model: PretrainedModel, cells: ad.AnnData, tmp_path: Path
) -> None:
    cells.write_h5ad(tmp_path / "cells.h5ad")
    backed = ad.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    with pytest.raises(InputError, match=r"(?s)cannot read X of this view.*to_memory"):
        model.embed(backed[::-1])
    assert_equal_embeddings(model.embed(backed[5:20]), model.embed(cells[5:20]))
    backed.file.close()


@pytest.mark.parametrize("device", ["gpu", "cuda", "cuda:99"])
def test_a_device_that_is_not_there_is_told_as_such(model_folder: Path, device: str) -> None:
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(InputError, match=r"no (such|CUDA|such CUDA) device"):
        txfm.load(model_folder, device=device)
    assert txfm.load(model_folder, device="auto").device.type in ("cpu", "cuda")


def test_embed_in_python_prints_device_genes_and_counts_unless_told_not_to(
    model: PretrainedModel, cells: ad.AnnData, capsys: pytest.CaptureFixture[str]
) -> None:
    model.embed(cells)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"device cpu, {torch.get_num_threads()} CPU threads, precision float32"
    assert [line.split(":")[0] for line in lines[1:]] == ["genes", "counts"]
    model.embed(cells, verbose=False)
    assert capsys.readouterr().out == ""


def test_embed_command_prints_device_genes_counts_and_samples_without_counts(
    model_folder: Path, cells: ad.AnnData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells.X[3] = 0
    cells.write_h5ad(tmp_path / "in.h5ad")
    command = ["embed", str(model_folder), str(tmp_path / "in.h5ad"), "--out", str(tmp_path / "e.h5ad")]
    assert main([*command, "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "device cpu" in out
    assert "precision float32" in out
    assert f"genes: {56 - 0:,} of the model's 56 found (100%) by index" in out
    total, known = cells.X.sum(), cells.X[:, cells.var_names.str.startswith("ENSG00000000")].sum()
    assert f"counts: {known / total:.1%} of {total:,.0f} are on the model's genes" in out
    assert "spike-in (" in out
    assert "1 of 37 samples have no count on the model's genes" in out
