"""Every kind of file gives the vectors of the same counts in memory, whole or in chunks."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp
import zarr

from txfm.__main__ import main
from txfm.embedding.gene_names import KnownGenes
from txfm.embedding.inputs import samples, stored_rows, turned_rows
from txfm.embedding.inputs.opening import open_samples
from txfm.embedding.inputs.samples import Samples
from txfm.embedding.inputs.stored_rows import DenseRows
from txfm.errors import InputError
from txfm.pretrained import PretrainedModel


def write_h5ad(layout: Callable[[np.ndarray], Any], **options: Any) -> Callable[[ad.AnnData, Path], Path]:
    def write(cells: ad.AnnData, folder: Path) -> Path:
        cells.X = layout(cells.X)
        cells.write_h5ad(folder / "cells.h5ad", **options)
        return folder / "cells.h5ad"

    return write


def write_zarr(layout: Callable[[np.ndarray], Any], version: int) -> Callable[[ad.AnnData, Path], Path]:
    def write(cells: ad.AnnData, folder: Path) -> Path:
        cells.X = layout(cells.X)
        with ad.settings.override(zarr_write_format=version, auto_shard_zarr_v3=version == 3):
            ad.io.write_elem(zarr.open_group(folder / "cells.zarr", mode="w", zarr_format=version), "/", cells)
        assert (folder / "cells.zarr" / {2: ".zgroup", 3: "zarr.json"}[version]).is_file()
        return folder / "cells.zarr"

    return write


def symbols_of(cells: ad.AnnData, model: PretrainedModel) -> list[str]:
    known = dict(zip(model.vocabulary.ensembl_ids, model.vocabulary.symbols, strict=True))
    return [known.get(name, name) for name in cells.var_names]


def write_tenx_v3(cells: ad.AnnData, folder: Path) -> Path:
    """With two antibodies among the genes, as CITE-seq has them."""
    counts = np.insert(cells.X, [5, 20], 1000, axis=1).astype(np.int32)
    ids = np.insert(np.array(cells.var_names, dtype=object), [5, 20], ["CD3", "CD4"])
    types = np.insert(np.full(cells.n_vars, "Gene Expression", dtype=object), [5, 20], "Antibody Capture")
    with h5py.File(folder / "v3.h5", "w") as file:
        group = file.create_group("matrix")
        _write_compressed(group, counts, list(cells.obs_names))
        features = group.create_group("features")
        columns = {"id": ids, "name": ids, "feature_type": types, "genome": np.full(len(ids), "GRCh38", dtype=object)}
        for name, values in columns.items():
            features[name] = values.astype("S")
    return folder / "v3.h5"


def write_tenx_v2(cells: ad.AnnData, folder: Path, genomes: tuple[str, ...] = ("hg19",)) -> Path:
    with h5py.File(folder / "v2.h5", "w") as file:
        for genome in genomes:
            group = file.create_group(genome)
            _write_compressed(group, cells.X.astype(np.int32), list(cells.obs_names))
            names = np.array(cells.var_names, dtype="S")
            if len(genomes) > 1:
                names = np.char.add(f"{genome}_".encode(), names)
            group["genes"] = group["gene_names"] = names
    return folder / "v2.h5"


def _write_compressed(group: Any, counts: np.ndarray, barcodes: list[str]) -> None:
    matrix = sp.csr_matrix(counts)  # cells are rows here, and columns of the genes x cells matrix of the format
    group["data"], group["indices"], group["indptr"] = matrix.data, matrix.indices.astype(np.int64), matrix.indptr
    group["shape"] = np.array(counts.shape[::-1], dtype=np.int32)
    group["barcodes"] = np.array(barcodes, dtype="S")


def write_mtx(
    *, by_genes: bool = True, gz: bool = True, header: bool = False, prefix: str = "", field: str = "integer"
) -> Callable[[ad.AnnData, Path], Path]:
    def write(cells: ad.AnnData, folder: Path) -> Path:
        counts = cells.X.T if by_genes else cells.X
        end = ".gz" if gz else ""
        scipy.io.mmwrite(folder / "plain.mtx", sp.coo_matrix(counts.astype(np.int64 if field == "integer" else float)))
        lists = {
            "features.tsv": ["gene_id\tsymbol"] * header + [f"{name}\t{name}" for name in cells.var_names],
            "barcodes.tsv": ["barcode"] * header + list(cells.obs_names),
        }
        texts = {"matrix.mtx": (folder / "plain.mtx").read_text()}
        texts |= {name: "\n".join(lines) + "\n" for name, lines in lists.items()}
        (folder / "plain.mtx").unlink()
        for name, text in texts.items():
            path = folder / f"{prefix}{name}{end}"
            path.write_bytes(gzip.compress(text.encode()) if gz else text.encode())
        return folder / f"{prefix}matrix.mtx{end}" if prefix else folder

    return write


def write_table(
    name: str, *, by_genes: bool, r_header: bool = False, quotes: str = ""
) -> Callable[[ad.AnnData, Path], Path]:
    def write(cells: ad.AnnData, folder: Path) -> Path:
        separator = "\t" if "tsv" in name else ","
        frame = cells.to_df().astype(int)
        frame = frame.T if by_genes else frame
        lines = [[f"{quotes}{column}{quotes}" for column in frame.columns]]
        lines[0] = lines[0] if r_header else [quotes * 2, *lines[0]]
        lines += [
            [f"{quotes}{row}{quotes}", *map(str, values)]
            for row, values in zip(frame.index, frame.to_numpy(), strict=True)
        ]
        text = "\n".join(separator.join(line) for line in lines) + "\n"
        path = folder / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
        return path

    return write


def write_legacy(cells: ad.AnnData, folder: Path) -> Path:
    """As anndata 0.6 wrote it: tables as compound datasets, a sparse X under other attributes."""
    matrix = sp.csr_matrix(cells.X)
    with h5py.File(folder / "old.h5ad", "w") as file:
        group = file.create_group("X")
        group.attrs["h5sparse_format"], group.attrs["h5sparse_shape"] = "csr", matrix.shape
        group["data"], group["indices"], group["indptr"] = matrix.data, matrix.indices, matrix.indptr
        obs = np.zeros(cells.n_obs, dtype=[("index", "S20"), ("label", "S20")])
        obs["index"], obs["label"] = np.array(cells.obs_names, dtype="S"), np.array(cells.obs["label"], dtype="S")
        var = np.zeros(cells.n_vars, dtype=[("index", "S20")])
        var["index"] = np.array(cells.var_names, dtype="S")
        file["obs"], file["var"] = obs, var
        file["obsm"] = np.zeros(cells.n_obs, dtype=[("X_pca", "<f4", (2,))])
    return folder / "old.h5ad"


FORMATS: dict[str, Callable[[ad.AnnData, Path], Path]] = {
    "h5ad dense": write_h5ad(np.asarray),
    "h5ad dense, gzip": write_h5ad(np.asarray, compression="gzip"),
    "h5ad CSR": write_h5ad(sp.csr_matrix),
    "h5ad CSC": write_h5ad(sp.csc_matrix),
    "h5ad of anndata 0.6": write_legacy,
    "zarr 2, CSR": write_zarr(sp.csr_matrix, 2),
    "zarr 3, CSR": write_zarr(sp.csr_matrix, 3),
    "zarr 3, CSC": write_zarr(sp.csc_matrix, 3),
    "zarr 2, dense": write_zarr(np.asarray, 2),
    "10x h5, version 3": write_tenx_v3,
    "10x h5, version 2": write_tenx_v2,
    "mtx.gz, genes by cells": write_mtx(),
    "mtx, cells by genes": write_mtx(by_genes=False, gz=False),
    "mtx with headers": write_mtx(header=True),
    "mtx with a prefix": write_mtx(prefix="GSM1_"),
    "mtx of reals": write_mtx(field="real"),
    "csv, cells by genes": write_table("cells.csv", by_genes=False),
    "csv.gz, genes by cells": write_table("cells.csv.gz", by_genes=True),
    "tsv, R's header": write_table("cells.tsv", by_genes=True, r_header=True),
    "csv, quoted": write_table("cells.csv", by_genes=False, quotes='"'),
    "txt.gz of commas": write_table("cells.txt.gz", by_genes=True),
}


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks, bands and runs of a few rows, as a file of millions of cells has them."""
    for module in (samples, stored_rows, turned_rows):
        monkeypatch.setattr(module, "BLOCK_VALUES", 300)
    monkeypatch.setattr(stored_rows, "INDPTR_ROWS", 11)
    monkeypatch.setattr(stored_rows, "BAND_VALUES", 900)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_vectors_of_the_same_counts_in_memory(
    kind: str, model: PretrainedModel, cells: ad.AnnData, tmp_path: Path
) -> None:
    expected = model.embed(cells, verbose=False)
    path = FORMATS[kind](cells, tmp_path)
    np.testing.assert_allclose(model.embed(path, verbose=False), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(model.embed(str(path), chunk_rows=7, verbose=False), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.usefixtures("small_blocks")
def test_every_format_keeps_rows_names_and_counts_when_it_is_read_in_many_blocks(
    kind: str, model: PretrainedModel, cells: ad.AnnData, tmp_path: Path
) -> None:
    expected = cells.copy()
    path = FORMATS[kind](cells, tmp_path)
    with open_samples(path, known=KnownGenes(model.vocabulary)) as opened:
        assert isinstance(opened, Samples)
        blocks = list(opened.counts())
        assert len(blocks) > 1 or "csv" in kind or "txt" in kind
        assert opened.read_obs().index.tolist() == expected.obs_names.tolist()
        assert opened.var.index.tolist() == expected.var_names.tolist()
        np.testing.assert_array_equal(sp.vstack(blocks).toarray(), expected.X)
        again = sp.vstack(list(opened.counts(chunk_rows=4)))
        np.testing.assert_array_equal(again.toarray(), expected.X)
        assert {block.shape[0] for block in opened.counts(chunk_rows=4)} == {4, 37 % 4}


@pytest.mark.parametrize(("chunks", "n_bands"), [((37, 10), 3), ((3, 58), 7), ((8, 7), 5), (None, 8)])
@pytest.mark.usefixtures("small_blocks")
def test_dense_bands_follow_chunks_of_any_shape(
    cells: ad.AnnData, tmp_path: Path, chunks: tuple[int, int] | None, n_bands: int
) -> None:
    with h5py.File(tmp_path / "dense.h5", "w") as file:
        rows = DenseRows(file.create_dataset("X", data=cells.X, chunks=chunks))
        blocks = list(rows.blocks())
    assert len(blocks) == n_bands
    np.testing.assert_array_equal(sp.vstack(blocks).toarray(), cells.X)


def test_a_table_says_which_side_is_genes(
    model: PretrainedModel, cells: ad.AnnData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for by_genes, side in ((True, "rows"), (False, "columns")):
        model.embed(write_table("cells.csv", by_genes=by_genes)(cells, tmp_path))
        assert f"genes are the {side} (56 of 58 names are known genes)" in capsys.readouterr().out


def test_features_that_are_no_genes_are_counted(
    model: PretrainedModel, cells: ad.AnnData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.embed(write_tenx_v3(cells, tmp_path))
    assert "left out, no genes to embed: 2 Antibody Capture" in capsys.readouterr().out


def test_features_of_a_folder_that_are_no_genes_are_counted(
    model: PretrainedModel, cells: ad.AnnData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = model.embed(cells, verbose=False)
    folder = write_mtx(gz=False)(cells, tmp_path)
    lines = [f"{name}\t{name}\tGene Expression" for name in cells.var_names]
    barcodes = (folder / "barcodes.tsv").read_text()
    antibodies = np.full((37, 2), 500.0)
    scipy.io.mmwrite(folder / "matrix.mtx", sp.coo_matrix(np.hstack([antibodies, cells.X]).T.astype(int)))
    lists = ["CD3\tCD3\tAntibody Capture", "CD4\tCD4\tAntibody Capture", *lines]
    (folder / "features.tsv").write_text("\n".join(lists))
    (folder / "barcodes.tsv").write_text(barcodes)
    np.testing.assert_allclose(model.embed(folder), expected, rtol=0, atol=1e-5)
    assert "left out, no genes to embed: 2 Antibody Capture" in capsys.readouterr().out


def test_one_of_several_genomes_is_named(model: PretrainedModel, cells: ad.AnnData, tmp_path: Path) -> None:
    expected = model.embed(cells, verbose=False)
    path = write_tenx_v2(cells, tmp_path, genomes=("hg19", "mm10"))
    with pytest.raises(InputError, match=r"(?s)several genomes.*hg19, mm10.*--genome"):
        model.embed(path)
    with pytest.raises(InputError, match="no such genome"):
        model.embed(path, genome="GRCh38")
    np.testing.assert_allclose(model.embed(path, genome="hg19", verbose=False), expected, rtol=0, atol=1e-5)


def test_names_of_symbols_beside_ids_are_found(
    model: PretrainedModel, cells: ad.AnnData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells.var["feature_name"] = symbols_of(cells, model)
    cells.var_names = [f"{i}" for i in range(cells.n_vars)]
    cells.write_h5ad(tmp_path / "cells.h5ad")
    model.embed(tmp_path / "cells.h5ad")
    assert "by feature_name" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["cells.h5ad", "cells.zarr"])
def test_raw_and_layers_of_a_file_are_streamed_too(
    name: str, model: PretrainedModel, cells: ad.AnnData, tmp_path: Path
) -> None:
    expected = model.embed(cells, verbose=False)
    cells.layers["umi"] = sp.csc_matrix(cells.X)
    cells.raw = ad.AnnData(sp.csr_matrix(cells.X), obs=cells.obs, var=cells.var)
    cells.X = np.log1p(cells.X)
    cells = cells[:, :20].copy()
    write = write_h5ad(np.asarray) if name == "cells.h5ad" else write_zarr(np.asarray, 3)
    path = write(cells, tmp_path)
    found = model.embed(path, counts="raw", verbose=False, chunk_rows=5)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    few = model.embed(path, counts="layers/umi", verbose=False, min_matched_share=0.2)
    assert few.shape == expected.shape


def test_obs_that_is_missing_is_numbered(model: PretrainedModel, cells: ad.AnnData, tmp_path: Path) -> None:
    cells.write_h5ad(tmp_path / "cells.h5ad")
    with h5py.File(tmp_path / "cells.h5ad", "r+") as file:
        del file["obs"]
    with open_samples(tmp_path / "cells.h5ad", known=KnownGenes(model.vocabulary)) as opened:
        assert opened.read_obs().index.tolist() == [str(i) for i in range(37)]


def test_the_input_is_never_changed_and_no_scratch_is_left(
    model_folder: Path, cells: ad.AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    path = write_h5ad(sp.csc_matrix)(cells, tmp_path)
    before = path.read_bytes()
    command = ["embed", str(model_folder), str(path), "--device", "cpu"]
    for name in ("e.h5ad", "e.parquet"):
        assert main([*command, "--out", str(tmp_path / name)]) == 0
    assert path.read_bytes() == before
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_frame_of_one_cell_is_embedded(model: PretrainedModel, cells: ad.AnnData, tmp_path: Path) -> None:
    expected = model.embed(cells, verbose=False)[3:4]
    for kind in ("h5ad dense", "csv, cells by genes", "csv.gz, genes by cells", "mtx.gz, genes by cells"):
        path = FORMATS[kind](cells[3:4].copy(), tmp_path)
        np.testing.assert_allclose(model.embed(path, verbose=False), expected, rtol=0, atol=1e-5)


def test_a_store_of_a_corpus_is_an_input(model: PretrainedModel, tiny_corpus: Any) -> None:
    path = tiny_corpus.folder / "stores" / "alpha.plain.train.zarr"
    expected = model.embed(ad.read_zarr(path), verbose=False)
    np.testing.assert_allclose(model.embed(path, chunk_rows=13, verbose=False), expected, rtol=0, atol=1e-5)
    assert len(expected) == 70
    assert isinstance(pd.read_json(tiny_corpus.folder / "variants" / "tiny.json", typ="series"), pd.Series)
