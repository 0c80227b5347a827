"""Cell Ranger's HDF5 files, loom files, and STAR's counts of the Genomic Data Commons."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy import sparse

from curation.acquire.gdc import COLUMNS
from curation.errors import InputError
from curation.readers import dense_rows

GENES = ["TP53", "ACTB", "MARCH1"]
SAMPLES = ["s1", "s2", "s3", "s4"]
COUNTS = np.array([[1, 0, 3], [0, 0, 0], [7, 2, 0], [0, 0, 300000]])


def texts(values: list[str]) -> np.ndarray:
    return np.array(values, dtype="S")


def write_matrix(group: h5py.Group, counts: np.ndarray) -> None:
    matrix = sparse.csr_matrix(counts)
    group["barcodes"] = texts(SAMPLES)
    group["data"], group["indices"], group["indptr"] = matrix.data, matrix.indices.astype(np.int64), matrix.indptr
    group["shape"] = counts.shape[::-1]


def write_v2(path: Path, genomes: list[str]) -> None:
    with h5py.File(path, "w") as file:
        for number, genome in enumerate(genomes):
            group = file.create_group(genome)
            write_matrix(group, COUNTS * (number + 1))
            group["genes"] = texts([f"{gene}_{genome}" for gene in GENES])


def write_v3(path: Path, types: list[str], genomes: list[str]) -> None:
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        write_matrix(group, COUNTS)
        features = {"id": GENES, "name": GENES, "feature_type": types, "genome": genomes}
        for name, values in features.items():
            group.create_dataset(f"features/{name}", data=texts(values))


@pytest.mark.parametrize(("genome", "factor"), [("GRCh38", 1), ("mm10", 2)])
def test_the_part_names_one_of_several_genomes(
    tmp_path, open_table: Callable, read_table: Callable, genome: str, factor: int
) -> None:
    write_v2(tmp_path / "x.h5", ["GRCh38", "mm10"])
    reader = open_table(format="10x_h5", genome=genome, files={"matrix": "x.h5"})
    assert reader.gene_ids == [f"{gene}_{genome}" for gene in GENES]
    np.testing.assert_array_equal(read_table(reader)[0], COUNTS * factor)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(("genome", "words"), [(None, "several genomes"), ("hg19", "no such genome")])
def test_a_genome_that_is_not_clear_is_refused_with_those_there_are(
    tmp_path, open_table: Callable, genome: str | None, words: str, version: int
) -> None:
    if version == 2:
        write_v2(tmp_path / "x.h5", ["GRCh38", "mm10"])
    else:
        write_v3(tmp_path / "x.h5", ["Gene Expression"] * 3, ["GRCh38", "mm10", "GRCh38"])
    with pytest.raises(InputError, match=words) as caught:
        open_table(format="10x_h5", genome=genome, files={"matrix": "x.h5"})
    assert caught.value.found == "GRCh38, mm10"


def test_v2_with_one_genome_needs_no_name_and_takes_metadata(
    tmp_path, open_table: Callable, read_table: Callable
) -> None:
    write_v2(tmp_path / "x.h5", ["GRCh38"])
    (tmp_path / "meta.csv").write_text(",dose\ns2,5\ns1,1\ns3,2\ns4,0\n")
    reader = open_table(format="10x_h5", files={"matrix": "x.h5", "metadata": "meta.csv"})
    counts, obs = read_table(reader)
    np.testing.assert_array_equal(counts, COUNTS)
    assert obs["dose"].tolist() == ["1", "5", "2", "0"]


def test_v3_keeps_gene_expression_of_the_genome_and_counts_the_rest(
    tmp_path, open_table: Callable, read_table: Callable
) -> None:
    write_v3(tmp_path / "x.h5", ["Gene Expression", "Antibody Capture", "Gene Expression"], ["GRCh38", "", "mm10"])
    reader = open_table(format="10x_h5", genome="GRCh38", files={"matrix": "x.h5"})
    assert reader.gene_ids == ["TP53"]
    assert reader.left_out == {"Antibody Capture": 1, "mm10": 1}
    np.testing.assert_array_equal(read_table(reader)[0], COUNTS[:, :1])


def test_an_hdf5_file_without_cell_rangers_matrix_is_refused(tmp_path, open_table: Callable) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a"] = 1
    with pytest.raises(InputError) as caught:
        open_table(format="10x_h5", files={"matrix": "x.h5"})
    assert "no matrix of Cell Ranger" in str(caught.value)


def write_loom(path: Path, counts: np.ndarray, chunks: tuple[int, int] | None = None) -> None:
    n_samples, n_genes = counts.shape
    with h5py.File(path, "w") as file:
        file.create_dataset("matrix", data=counts.T, chunks=chunks, compression="gzip" if chunks else None)
        file.create_dataset("layers/spliced", data=counts.T * 2)
        file["row_attrs/Gene"] = texts([f"g{i}" for i in range(n_genes)])
        file["row_attrs/Accession"] = texts([f"ENSG{i}" for i in range(n_genes)])
        file["col_attrs/CellID"] = texts([f"c{i}" for i in range(n_samples)])
        file["col_attrs/age"] = np.arange(n_samples)
        file["col_attrs/embedding"] = np.zeros((n_samples, 2))


@pytest.mark.parametrize("chunks", [None, (64, 64), (70, 5), (3, 300)])
def test_a_loom_file_is_turned_whatever_its_chunks(
    tmp_path, monkeypatch, open_table: Callable, read_table: Callable, chunks: tuple[int, int] | None
) -> None:
    monkeypatch.setattr(dense_rows, "MAX_BAND_BYTES", 50_000)
    monkeypatch.setattr("curation.blocks.BLOCK_NNZ", 500)
    counts = np.random.default_rng(0).poisson(0.3, size=(300, 70)).astype(np.int32)
    write_loom(tmp_path / "x.loom", counts, chunks)
    reader = open_table(format="loom", files={"matrix": "x.loom"})
    assert reader.gene_ids[:2] == ["g0", "g1"]
    assert reader.obs_columns == ("age",)
    found, obs = read_table(reader)
    np.testing.assert_array_equal(found, counts)
    assert obs["age"].tolist()[:3] == ["0", "1", "2"]
    assert list(obs.index[:2]) == ["c0", "c1"]


def test_a_loom_part_names_its_layer_and_its_gene_attribute(
    tmp_path, open_table: Callable, read_table: Callable
) -> None:
    write_loom(tmp_path / "x.loom", COUNTS)
    reader = open_table(format="loom", matrix="layers/spliced", gene_column="Accession", files={"matrix": "x.loom"})
    assert reader.gene_ids == ["ENSG0", "ENSG1", "ENSG2"]
    np.testing.assert_array_equal(read_table(reader)[0], COUNTS * 2)
    with pytest.raises(InputError, match="no layers/counts") as caught:
        open_table(format="loom", matrix="layers/counts", files={"matrix": "x.loom"})
    assert caught.value.found == "X, layers/spliced"
    with pytest.raises(InputError, match="no attribute 'Symbol'") as caught:
        open_table(format="loom", gene_column="Symbol", files={"matrix": "x.loom"})
    assert "Accession, Gene" in caught.value.found


STAR_GENES = ["ENSG00000000003.15", "ENSG00000000005.6", "ENSG00000002586.20_PAR_Y"]


def write_star(folder: Path, *, genes: list[list[str]] | None = None, aliquots: list[str] = SAMPLES) -> dict[str, str]:
    """Write a receipt and its files, as the fetch step leaves them."""
    lines = ["\t".join([*COLUMNS, "path"])]
    for number, (aliquot, counts) in enumerate(zip(aliquots, COUNTS, strict=True)):
        path = f"star/{number}/{number}.tsv"
        (folder / path).parent.mkdir(parents=True)
        ids = STAR_GENES if genes is None else genes[number]
        rows = [
            f"N_{name}\t\t\t{n}\t{n}\t{n}"
            for n, name in enumerate(["unmapped", "multimapping", "noFeature", "ambiguous"])
        ]
        rows += [f"{gene}\tS\tprotein_coding\t{n}\t{n * 2}\t0" for gene, n in zip(ids, counts, strict=False)]
        header = "gene_id\tgene_name\tgene_type\tunstranded\tstranded_first\ttpm_unstranded"
        (folder / path).write_text("\n".join(["# gene-model: GENCODE v36", header, *rows]) + "\n")
        fields = {"file_id": f"id-{number}", "aliquot": aliquot, "primary_site": "Brain", "path": path}
        lines.append("\t".join(fields.get(column, "x") for column in (*COLUMNS, "path")))
    (folder / "star.tsv").write_text("\n".join(lines) + "\n")
    return {"matrix": "star.tsv"}


def test_star_counts_are_a_sample_a_file_with_the_receipts_metadata(
    tmp_path, open_table: Callable, read_table: Callable
) -> None:
    reader = open_table(format="star_counts", files=write_star(tmp_path), columns=frozenset({"primary_site"}))
    assert reader.gene_ids == STAR_GENES
    assert sorted(reader.left_out) == ["N_ambiguous", "N_multimapping", "N_noFeature", "N_unmapped"]
    assert "aliquot" in reader.obs_columns
    counts, obs = read_table(reader)
    np.testing.assert_array_equal(counts, COUNTS)
    assert list(obs.index) == SAMPLES
    assert obs.to_dict("list") == {"primary_site": ["Brain"] * 4}


def test_a_file_without_an_aliquot_goes_by_its_file_id(tmp_path, open_table: Callable, read_table: Callable) -> None:
    files = write_star(tmp_path, aliquots=["s1", "", "s3", "s4"])
    assert list(read_table(open_table(format="star_counts", files=files))[1].index) == ["s1", "id-1", "s3", "s4"]


@pytest.mark.parametrize(
    ("genes", "found"),
    [(STAR_GENES[:2], "6 rows"), ([STAR_GENES[1], STAR_GENES[0], STAR_GENES[2]], "ENSG00000000005.6 in place of")],
)
def test_a_file_with_other_genes_is_named(tmp_path, open_table: Callable, genes: list[str], found: str) -> None:
    files = write_star(tmp_path, genes=[STAR_GENES, STAR_GENES, genes, STAR_GENES])
    with pytest.raises(InputError, match="different genes") as caught:
        list(open_table(format="star_counts", files=files).blocks())
    assert caught.value.where.endswith("star/2/2.tsv")
    assert found in caught.value.found


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "not there"),
        ("gene_id\tcounts\nG\t1\n", "not a file of STAR"),
        ("gene_id\tunstranded\nG\t1.5\n", "not a file of STAR"),
        ("gene_id\tunstranded\nG\n", "missing"),
        ("", "not a file of STAR"),
    ],
)
def test_a_file_that_is_missing_or_damaged_is_named(
    tmp_path, open_table: Callable, content: str | None, words: str
) -> None:
    files = write_star(tmp_path)
    bad = tmp_path / "star/3/3.tsv"
    bad.unlink()
    if content is not None:
        bad.write_text(content)
    with pytest.raises(InputError, match=words) as caught:
        list(open_table(format="star_counts", files=files).blocks())
    assert caught.value.where == str(bad)


def test_a_table_that_is_no_receipt_is_refused(tmp_path, open_table: Callable) -> None:
    (tmp_path / "star.tsv").write_text("gene_id\tcounts\nG\t1\n")
    with pytest.raises(InputError, match="not a receipt"):
        open_table(format="star_counts", files={"matrix": "star.tsv"})
