import gzip
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from curation.blocks import PartReader
from curation.catalog import Part
from curation.errors import InputError
from curation.readers import open_part, text

GENES = ["TP53", "ACTB", "MARCH1"]
SAMPLES = ["s1", "s2", "s3", "s4"]
COUNTS = np.array([[1, 0, 3], [0, 0, 0], [7, 2, 0], [0, 0, 300000]])


def read_all(reader: PartReader) -> tuple[np.ndarray, pd.DataFrame]:
    blocks = list(reader.blocks())
    again = list(reader.blocks())
    counts = sparse.vstack([block.counts for block in blocks]).toarray()
    np.testing.assert_array_equal(counts, sparse.vstack([block.counts for block in again]).toarray())
    reader.close()
    return counts, pd.concat([block.obs for block in blocks])


def open_(tmp_path: Path, **fields) -> PartReader:
    return open_part(Part(name="p", **fields), sources=tmp_path, scratch=tmp_path)


def write_dense(path: Path, *, genes_are_rows: bool, r_header: bool) -> None:
    rows, columns = (GENES, SAMPLES) if genes_are_rows else (SAMPLES, GENES)
    values = COUNTS.T if genes_are_rows else COUNTS
    header = ",".join(f'"{name}"' for name in columns)
    body = "".join(f'"{name}",{",".join(map(str, row))}\n' for name, row in zip(rows, values, strict=True))
    path.write_bytes(gzip.compress(f"{header if r_header else ',' + header}\n{body}".encode()))


@pytest.mark.parametrize("r_header", [True, False])
@pytest.mark.parametrize("orientation", ["genes_by_samples", "samples_by_genes"])
def test_a_dense_table_reads_the_same_either_way_round_and_with_rs_short_header(
    tmp_path, orientation: str, r_header: bool
) -> None:
    write_dense(tmp_path / "m.csv.gz", genes_are_rows=orientation == "genes_by_samples", r_header=r_header)
    reader = open_(tmp_path, format="dense_text", orientation=orientation, files={"matrix": "m.csv.gz"})
    assert reader.gene_ids == GENES
    counts, obs = read_all(reader)
    np.testing.assert_array_equal(counts, COUNTS)
    assert list(obs.index) == SAMPLES


def test_a_table_larger_than_a_chunk_reads_the_same(tmp_path, monkeypatch) -> None:
    write_dense(tmp_path / "m.csv.gz", genes_are_rows=True, r_header=True)
    monkeypatch.setattr(text, "CHUNK_BYTES", 7)
    reader = open_(tmp_path, format="dense_text", orientation="genes_by_samples", files={"matrix": "m.csv.gz"})
    np.testing.assert_array_equal(read_all(reader)[0], COUNTS)


@pytest.mark.parametrize(
    "bad_row", ['"ACTB",0,,2,0', '"ACTB",0,x,2,0', '"ACTB",0,1', '"ACTB",0,NA,2,0', '"ACTB",0,1,2,0,5']
)
def test_a_row_with_a_missing_or_wrong_field_is_refused_with_its_place(tmp_path, bad_row: str) -> None:
    (tmp_path / "m.csv").write_text(f'"s1","s2","s3","s4"\n"TP53",1,0,7,0\n{bad_row}\n')
    with pytest.raises(InputError) as caught:
        open_(tmp_path, format="dense_text", orientation="genes_by_samples", files={"matrix": "m.csv"})
    assert "m.csv" in str(caught.value)
    assert "do: " in str(caught.value)


def test_a_truncated_gzip_is_refused(tmp_path) -> None:
    write_dense(tmp_path / "m.csv.gz", genes_are_rows=True, r_header=True)
    whole = (tmp_path / "m.csv.gz").read_bytes()
    (tmp_path / "m.csv.gz").write_bytes(whole[:-12])
    with pytest.raises(InputError, match="ends early"):
        open_(tmp_path, format="dense_text", orientation="genes_by_samples", files={"matrix": "m.csv.gz"})


@pytest.mark.parametrize("transposed", [False, True])
def test_mtx_entries_in_gene_order_become_samples(tmp_path, write_mtx, transposed: bool) -> None:
    files = write_mtx(tmp_path, COUNTS, GENES, SAMPLES)
    if transposed:
        with gzip.open(tmp_path / "matrix.mtx.gz", "rt") as handle:
            lines = handle.read().splitlines()
        turned = [" ".join([line.split()[1], line.split()[0], line.split()[2]]) for line in lines[2:]]
        (tmp_path / "matrix.mtx.gz").write_bytes(gzip.compress("\n".join([*lines[:2], *turned, ""]).encode()))
    reader = open_(tmp_path, format="mtx", files=files)
    assert reader.gene_ids == GENES
    np.testing.assert_array_equal(read_all(reader)[0], COUNTS)


def test_features_that_are_not_genes_are_left_out(tmp_path, write_mtx) -> None:
    files = write_mtx(tmp_path, COUNTS, GENES, SAMPLES)
    features = "TP53\tTP53\tGene Expression\nCD3\tCD3\tAntibody Capture\nMARCH1\tMARCH1\tGene Expression\n"
    (tmp_path / "features.tsv.gz").write_bytes(gzip.compress(features.encode()))
    reader = open_(tmp_path, format="mtx", files=files)
    assert reader.gene_ids == ["TP53", "MARCH1"]
    np.testing.assert_array_equal(read_all(reader)[0], COUNTS[:, [0, 2]])


def test_an_mtx_with_fewer_entries_than_its_size_line_is_refused(tmp_path, write_mtx) -> None:
    files = write_mtx(tmp_path, COUNTS, GENES, SAMPLES)
    text_ = gzip.decompress((tmp_path / "matrix.mtx.gz").read_bytes()).decode()
    (tmp_path / "matrix.mtx.gz").write_bytes(gzip.compress(text_.rsplit("\n", 2)[0].encode() + b"\n"))
    with pytest.raises(InputError, match="does not hold what its size line says"):
        open_(tmp_path, format="mtx", files=files)


def test_metadata_is_joined_by_sample_id_whatever_its_order(tmp_path, write_mtx) -> None:
    files = write_mtx(tmp_path, COUNTS, GENES, SAMPLES)
    (tmp_path / "meta.csv").write_text(",condition\ns4,stim\ns1,ctrl\ns3,NA\n")
    obs = read_all(open_(tmp_path, format="mtx", files=files | {"metadata": "meta.csv"}))[1]
    assert obs["condition"].tolist() == ["ctrl", "", "", "stim"]


def test_metadata_of_other_samples_is_refused(tmp_path, write_mtx) -> None:
    files = write_mtx(tmp_path, COUNTS, GENES, SAMPLES)
    (tmp_path / "meta.csv").write_text(",condition\nx1,stim\n")
    with pytest.raises(InputError, match="no sample has a row in the metadata"):
        open_(tmp_path, format="mtx", files=files | {"metadata": "meta.csv"})


@pytest.mark.parametrize("layout", ["csr", "csc", "dense"])
def test_h5ad_matrices_of_any_layout_read_the_same(tmp_path, layout: str) -> None:
    make = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": np.asarray}[layout]
    obs = pd.DataFrame({"batch": pd.Categorical(["a", None, "b", "a"]), "n": [1, 2, 3, 4]}, index=SAMPLES)
    ad.AnnData(make(COUNTS.astype(np.float32)), obs=obs, var=pd.DataFrame(index=GENES)).write_h5ad(tmp_path / "x.h5ad")
    reader = open_(tmp_path, format="h5ad", files={"matrix": "x.h5ad"})
    assert reader.gene_ids == GENES
    counts, found = read_all(reader)
    np.testing.assert_array_equal(counts, COUNTS)
    assert found["batch"].tolist() == ["a", "", "b", "a"]
    assert found["n"].tolist() == ["1", "2", "3", "4"]


def test_raw_counts_are_preferred_over_a_normalised_x(tmp_path) -> None:
    table = ad.AnnData(
        sparse.csr_matrix(COUNTS.astype(np.float32)), obs=pd.DataFrame(index=SAMPLES), var=pd.DataFrame(index=GENES)
    )
    table.raw = table.copy()
    table.X = np.log1p(COUNTS).astype(np.float32)
    table.write_h5ad(tmp_path / "x.h5ad")
    np.testing.assert_array_equal(read_all(open_(tmp_path, format="h5ad", files={"matrix": "x.h5ad"}))[0], COUNTS)


def test_categories_of_anndata_0_7_are_decoded(tmp_path) -> None:
    with h5py.File(tmp_path / "old.h5ad", "w") as file:
        file["X"] = COUNTS.astype(np.float32)
        obs = file.create_group("obs")
        obs.attrs["_index"] = "index"
        obs["index"] = np.array(SAMPLES, dtype="S")
        obs["gene"] = np.array([1, 0, -1, 1], dtype=np.int8)
        obs.create_group("__categories")["gene"] = np.array(["non-targeting", "TP53"], dtype="S")
        var = file.create_group("var")
        var.attrs["_index"] = "index"
        var["index"] = np.array(GENES, dtype="S")
    obs_table = read_all(open_(tmp_path, format="h5ad", files={"matrix": "old.h5ad"}))[1]
    assert obs_table["gene"].tolist() == ["TP53", "non-targeting", "", "TP53"]


def test_a_missing_layer_is_refused_with_the_names_there_are(tmp_path) -> None:
    ad.AnnData(COUNTS.astype(np.float32), layers={"counts": COUNTS}).write_h5ad(tmp_path / "x.h5ad")
    with pytest.raises(InputError) as caught:
        open_(tmp_path, format="h5ad", matrix="layers/raw", files={"matrix": "x.h5ad"})
    assert "X, layers/counts" in str(caught.value)


def test_a_gct_whose_size_line_lies_is_refused(tmp_path) -> None:
    rows = "".join(f"{gene}\t{gene}\t{chr(9).join(map(str, row))}\n" for gene, row in zip(GENES, COUNTS.T, strict=True))
    header = "Name\tDescription\t" + "\t".join(SAMPLES) + "\n"
    (tmp_path / "good.gct").write_text("#1.2\n3\t4\n" + header + rows)
    (tmp_path / "bad.gct").write_text("#1.2\n56200\t4\n" + header + rows)
    np.testing.assert_array_equal(read_all(open_(tmp_path, format="gct", files={"matrix": "good.gct"}))[0], COUNTS)
    with pytest.raises(InputError, match="size line does not fit"):
        open_(tmp_path, format="gct", files={"matrix": "bad.gct"})


def test_a_format_without_reader_names_those_there_are(tmp_path) -> None:
    with pytest.raises(InputError, match="there is no reader for format 'star_counts'"):
        open_(tmp_path, format="star_counts", files={})
