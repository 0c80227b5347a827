"""h5ad files and Zarr stores, of every version of anndata."""

from __future__ import annotations

import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from curation.errors import InputError
from curation.readers import dense_rows, sparse_rows, windows

GENES = ["TP53", "ACTB", "MARCH1"]
SAMPLES = ["s1", "s2", "s3", "s4"]
COUNTS = np.array([[1, 0, 3], [0, 0, 0], [7, 2, 0], [0, 0, 300000]])
LAYOUTS = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": np.asarray}


def table_of(layout: str, counts: np.ndarray = COUNTS) -> ad.AnnData:
    """A table with a column of every kind that obs may have."""
    obs = pd.DataFrame(
        {
            "batch": pd.Categorical(["a", None, "b", "a"]),
            "n": [1, 2, 3, 4],
            "share": np.array([0.1, np.nan, 1, 2], dtype=np.float32),
            "flag": [True, False, True, True],
            "whole": pd.array([1, None, 3, 4], dtype="Int64"),
            "maybe": pd.array([True, None, False, True], dtype="boolean"),
            "level": pd.Categorical([10, 20, 10, 10]),
            "name": ["x", "", "y", "\u00b5"],
        },
        index=SAMPLES,
    )
    return ad.AnnData(LAYOUTS[layout](counts.astype(np.float32)), obs=obs, var=pd.DataFrame(index=GENES))


EXPECTED_OBS = {
    "batch": ["a", "", "b", "a"],
    "n": ["1", "2", "3", "4"],
    "share": ["0.1", "", "1.0", "2.0"],
    "flag": ["True", "False", "True", "True"],
    "whole": ["1", "", "3", "4"],
    "maybe": ["True", "", "False", "True"],
    "level": ["10", "20", "10", "10"],
    "name": ["x", "", "y", "\u00b5"],
}


def write(table: ad.AnnData, folder: Path, kind: str) -> tuple[str, str]:
    """Write a table; return the reader's format and the file's name."""
    if kind.startswith("h5ad"):
        table.write_h5ad(folder / "x.h5ad", compression="gzip" if kind == "h5ad.gz" else None)
        return "h5ad", "x.h5ad"
    with warnings.catch_warnings(), ad.settings.override(zarr_write_format=int(kind[5])):
        warnings.simplefilter("ignore")  # of the writer, on what its next version will do
        table.write_zarr(folder / "x.zarr")
    if not kind.endswith("zip"):
        return "zarr", "x.zarr"
    with zipfile.ZipFile(folder / "x.zarr.zip", "w") as packed:
        for path in sorted((folder / "x.zarr").rglob("*")):
            if path.is_file():
                packed.write(path, path.relative_to(folder))
    shutil.rmtree(folder / "x.zarr")
    return "zarr", "x.zarr.zip"


@pytest.mark.parametrize("kind", ["h5ad", "h5ad.gz", "zarr.2", "zarr.3", "zarr.3.zip"])
@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_matrices_of_any_layout_and_columns_of_any_kind_read_the_same(
    tmp_path, open_table: Callable, read_table: Callable, layout: str, kind: str
) -> None:
    format_, name = write(table_of(layout), tmp_path, kind)
    reader = open_table(format=format_, files={"matrix": name})
    assert reader.gene_ids == GENES
    assert set(reader.obs_columns) == set(EXPECTED_OBS)
    assert reader.where == f"{tmp_path / name}, X"
    assert next(iter(reader.blocks())).counts.dtype in (np.float32, np.int32)
    counts, obs = read_table(reader)
    np.testing.assert_array_equal(counts, COUNTS)
    assert list(obs.index) == SAMPLES
    assert {column: obs[column].tolist() for column in obs} == EXPECTED_OBS
    assert not any((tmp_path / "scratch").iterdir())


def large_table(layout: str, density: float = 0.2) -> tuple[np.ndarray, ad.AnnData]:
    counts = np.random.default_rng(1).poisson(density, size=(300, 70)).astype(np.float32)
    counts[10:20] = 0
    obs = pd.DataFrame(
        {"batch": pd.Categorical([f"b{i % 7}" for i in range(300)])}, index=[f"c{i}" for i in range(300)]
    )
    return counts, ad.AnnData(LAYOUTS[layout](counts), obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(70)]))


@pytest.mark.parametrize("kind", ["h5ad", "h5ad.gz", "zarr.3"])
@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_blocks_and_windows_of_any_size_give_the_same_table(
    tmp_path, monkeypatch, open_table: Callable, read_table: Callable, layout: str, kind: str
) -> None:
    monkeypatch.setattr("curation.blocks.BLOCK_NNZ", 500)
    for module in (sparse_rows, "curation.readers.triplet_spool"):
        monkeypatch.setattr(f"{module}.BLOCK_NNZ" if isinstance(module, str) else f"{module.__name__}.BLOCK_NNZ", 500)
    monkeypatch.setattr(sparse_rows, "MAX_BLOCK_ROWS", 16)
    monkeypatch.setattr(windows, "WINDOW", 8)
    expected, table = large_table(layout)
    format_, name = write(table, tmp_path, kind)
    reader = open_table(format=format_, files={"matrix": name}, columns=frozenset({"batch"}))
    assert len(list(reader.blocks())) >= 8
    counts, obs = read_table(reader)
    np.testing.assert_array_equal(counts, expected)
    assert obs["batch"].tolist() == table.obs["batch"].tolist()
    assert list(obs.index) == list(table.obs.index)


@pytest.mark.parametrize("chunks", [(7, 70), (300, 3), (50, 10)])
def test_dense_chunks_of_any_shape_read_the_same(
    tmp_path, monkeypatch, open_table: Callable, read_table: Callable, chunks: tuple[int, int]
) -> None:
    monkeypatch.setattr(dense_rows, "MAX_BAND_BYTES", 10_000)
    monkeypatch.setattr("curation.blocks.BLOCK_NNZ", 500)
    expected, table = large_table("dense")
    table.write_h5ad(tmp_path / "x.h5ad")
    with h5py.File(tmp_path / "x.h5ad", "a") as file:
        del file["X"]
        file.create_dataset("X", data=expected, chunks=chunks, compression="gzip")
    np.testing.assert_array_equal(read_table(open_table(format="h5ad", files={"matrix": "x.h5ad"}))[0], expected)
    assert not any((tmp_path / "scratch").iterdir())


@pytest.mark.parametrize("dtype", [">f4", "<f8", "<i4", "<u2", ">i8"])
def test_contiguous_values_of_any_type_and_byte_order_read_the_same(
    tmp_path, open_table: Callable, read_table: Callable, dtype: str
) -> None:
    counts = COUNTS % 60_000
    table_of("dense").write_h5ad(tmp_path / "x.h5ad")
    with h5py.File(tmp_path / "x.h5ad", "a") as file:
        del file["X"]
        file.create_dataset("X", data=counts.astype(dtype), dtype=dtype)
    reader = open_table(format="h5ad", files={"matrix": "x.h5ad"})
    assert next(iter(reader.blocks())).counts.dtype.newbyteorder("=") == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(read_table(reader)[0], counts)


def test_raw_counts_are_preferred_and_other_matrices_are_told(
    tmp_path, open_table: Callable, read_table: Callable
) -> None:
    table = table_of("csr")
    table.raw = table.copy()
    table.X = np.log1p(COUNTS).astype(np.float32)
    table.layers["counts"] = COUNTS
    table.write_h5ad(tmp_path / "x.h5ad")
    reader = open_table(format="h5ad", files={"matrix": "x.h5ad"})
    assert reader.where.endswith("raw/X")
    assert reader.other_matrices() == [("X", False), ("layers/counts", True)]
    np.testing.assert_array_equal(read_table(reader)[0], COUNTS)
    normalised = open_table(format="h5ad", matrix="X", files={"matrix": "x.h5ad"})
    assert dict(normalised.other_matrices())["raw/X"]
    np.testing.assert_array_equal(read_table(normalised)[0], np.log1p(COUNTS).astype(np.float32))


def test_a_missing_layer_is_refused_with_the_names_there_are(tmp_path, open_table: Callable) -> None:
    ad.AnnData(COUNTS.astype(np.float32), layers={"counts": COUNTS}).write_h5ad(tmp_path / "x.h5ad")
    with pytest.raises(InputError) as caught:
        open_table(format="h5ad", matrix="layers/raw", files={"matrix": "x.h5ad"})
    assert "X, layers/counts" in str(caught.value)


def test_gene_ids_may_be_a_column_of_var(tmp_path, open_table: Callable) -> None:
    table = table_of("csr")
    table.var["ensembl_id"] = ["E1", "E2", "E3"]
    table.write_h5ad(tmp_path / "x.h5ad")
    assert open_table(format="h5ad", gene_column="ensembl_id", files={"matrix": "x.h5ad"}).gene_ids == [
        "E1",
        "E2",
        "E3",
    ]
    with pytest.raises(InputError, match="there is no column 'ensembl'") as caught:
        open_table(format="h5ad", gene_column="ensembl", files={"matrix": "x.h5ad"})
    assert "ensembl_id" in caught.value.found


@pytest.mark.parametrize("place", ["X", "raw.X"])
def test_files_of_anndata_0_7_are_decoded(tmp_path, open_table: Callable, read_table: Callable, place: str) -> None:
    with h5py.File(tmp_path / "old.h5ad", "w") as file:
        file["X"] = (COUNTS if place == "X" else np.log1p(COUNTS)).astype(np.float32)
        file["raw.X"] = COUNTS.astype(np.float32) if place == "raw.X" else 0
        obs = file.create_group("obs")
        obs.attrs["_index"] = "index"
        obs["index"] = np.array(SAMPLES, dtype="S")
        obs["gene"] = np.array([1, 0, -1, 1], dtype=np.int8)
        obs.create_group("__categories")["gene"] = np.array(["non-targeting", "TP53"], dtype="S")
        for name in ("var", "raw.var"):
            var = file.create_group(name)
            var.attrs["_index"] = "index"
            var["index"] = np.array(GENES, dtype="S")
        if place == "X":
            del file["raw.X"], file["raw.var"]
    counts, obs_table = read_table(open_table(format="h5ad", files={"matrix": "old.h5ad"}))
    np.testing.assert_array_equal(counts, COUNTS)
    assert obs_table["gene"].tolist() == ["TP53", "non-targeting", "", "TP53"]


def test_compound_tables_of_anndata_0_6_are_decoded(tmp_path, open_table: Callable, read_table: Callable) -> None:
    with h5py.File(tmp_path / "old.h5ad", "w") as file:
        x = file.create_group("X")
        matrix = sparse.csr_matrix(COUNTS.astype(np.float32))
        x.attrs["h5sparse_format"], x.attrs["h5sparse_shape"] = b"csr", COUNTS.shape
        x["data"], x["indices"], x["indptr"] = matrix.data, matrix.indices, matrix.indptr
        rows = [(name.encode(), i) for i, name in enumerate(SAMPLES)]
        file["obs"] = np.array(rows, dtype=[("index", "S2"), ("n", "i4")])
        file["var"] = np.array([(name.encode(),) for name in GENES], dtype=[("index", "S6")])
    counts, obs = read_table(open_table(format="h5ad", files={"matrix": "old.h5ad"}))
    np.testing.assert_array_equal(counts, COUNTS)
    assert obs["n"].tolist() == ["0", "1", "2", "3"]
    assert list(obs.index) == SAMPLES


def test_repeated_entries_of_a_sparse_matrix_are_summed(tmp_path, open_table: Callable, read_table: Callable) -> None:
    table_of("csr").write_h5ad(tmp_path / "x.h5ad")
    with h5py.File(tmp_path / "x.h5ad", "a") as file:
        for name, values in (("data", [1, 2, 4]), ("indices", [2, 0, 2]), ("indptr", [0, 3, 3, 3, 3])):
            del file["X"][name]
            file["X"][name] = values
    np.testing.assert_array_equal(
        read_table(open_table(format="h5ad", files={"matrix": "x.h5ad"}))[0], [[2, 0, 5], [0] * 3, [0] * 3, [0] * 3]
    )


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("indices", [0, 2, 0, 1, 3]),
        ("indices", [0, 2, 0, -1, 2]),
        ("indices", [0, 2, 0, 1]),
        ("indptr", [0, 2, 2, 4]),
        ("indptr", [0, 2, 1, 4, 5]),
        ("indptr", [0, 2, 2, 4, 9]),
    ],
)
@pytest.mark.parametrize("layout", ["csr", "csc"])
def test_a_sparse_matrix_that_contradicts_itself_is_refused(
    tmp_path, open_table: Callable, layout: str, name: str, values: list[int]
) -> None:
    if layout == "csc":
        values = (
            {4: [0, 3, 3, 4, 4]}.get(len(values), values[1:]) if name == "indptr" else [value * 2 for value in values]
        )
    table_of(layout).write_h5ad(tmp_path / "x.h5ad")
    with h5py.File(tmp_path / "x.h5ad", "a") as file:
        del file["X"][name]
        file["X"][name] = values
    with pytest.raises(InputError, match="contradicts itself") as caught:
        list(open_table(format="h5ad", files={"matrix": "x.h5ad"}).blocks())
    assert "x.h5ad, X" in caught.value.where
    assert not any((tmp_path / "scratch").iterdir())


def test_a_matrix_that_does_not_fit_obs_is_refused(tmp_path, open_table: Callable) -> None:
    table_of("dense").write_h5ad(tmp_path / "x.h5ad")
    with h5py.File(tmp_path / "x.h5ad", "a") as file:
        del file["X"]
        file["X"] = COUNTS[:3]
    with pytest.raises(InputError, match="does not fit obs and var"):
        open_table(format="h5ad", files={"matrix": "x.h5ad"})


@pytest.mark.parametrize(("share", "kind"), [(0.5, "h5ad"), (0.9, "h5ad.gz"), (0.0, "h5ad"), (0.5, "zarr.3.zip")])
def test_a_file_that_is_cut_is_refused(tmp_path, open_table: Callable, share: float, kind: str) -> None:
    format_, name = write(large_table("csr")[1], tmp_path, kind)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError) as caught:
        list(open_table(format=format_, files={"matrix": name}).blocks())
    assert name in caught.value.where
    assert "again" in caught.value.todo


def test_a_chunk_that_is_damaged_is_refused(tmp_path, open_table: Callable) -> None:
    large_table("csr")[1].write_h5ad(tmp_path / "x.h5ad", compression="gzip")
    with h5py.File(tmp_path / "x.h5ad") as file:
        chunk = file["X/data"].id.get_chunk_info(0)
    content = bytearray((tmp_path / "x.h5ad").read_bytes())
    content[chunk.byte_offset + 10 : chunk.byte_offset + 60] = b"\x00" * 50
    (tmp_path / "x.h5ad").write_bytes(content)
    reader = open_table(format="h5ad", files={"matrix": "x.h5ad"})
    with pytest.raises(InputError, match="ends early or is damaged"):
        list(reader.blocks())


def test_the_message_on_damage_carries_the_librarys_words_and_the_checksum_before_deletion(
    tmp_path, open_table: Callable
) -> None:
    large_table("csr")[1].write_h5ad(tmp_path / "x.h5ad")
    with h5py.File(tmp_path / "x.h5ad", "a") as file:
        del file["X/data"]
    with pytest.raises(InputError, match="ends early or is damaged") as caught:
        open_table(format="h5ad", files={"matrix": "x.h5ad"})
    assert caught.value.found.startswith("KeyError: ")
    assert caught.value.todo.startswith("compare it with its checksum")


@pytest.mark.parametrize("kind", [ValueError, KeyError, RuntimeError])
def test_a_fault_of_the_program_is_not_told_as_damage_of_the_file(
    tmp_path, open_table: Callable, monkeypatch, kind: type[Exception]
) -> None:
    def fail(*_: object) -> None:
        raise kind("a fault")

    large_table("csr")[1].write_h5ad(tmp_path / "x.h5ad")
    reader = open_table(format="h5ad", files={"matrix": "x.h5ad"})
    monkeypatch.setattr("curation.readers.sparse_rows.SparseRows._block", fail)
    with pytest.raises(kind, match="a fault") as caught:
        list(reader.blocks())
    assert not isinstance(caught.value, InputError)
    assert "x.h5ad" in caught.value.__notes__[0]


def test_a_column_shorter_than_its_index_is_refused(tmp_path, open_table: Callable) -> None:
    large_table("csr")[1].write_h5ad(tmp_path / "x.h5ad")
    with h5py.File(tmp_path / "x.h5ad", "a") as file:
        file["obs/short"] = np.arange(3)
        file["obs"].attrs["column-order"] = ["short"]
    reader = open_table(format="h5ad", files={"matrix": "x.h5ad"})
    with pytest.raises(InputError, match="another length than its index") as caught:
        list(reader.blocks())
    assert "short" in caught.value.found


def test_a_folder_that_is_no_store_is_refused(tmp_path, open_table: Callable) -> None:
    (tmp_path / "x.zarr").mkdir()
    with pytest.raises(InputError, match="not a Zarr store"):
        open_table(format="zarr", files={"matrix": "x.zarr"})
