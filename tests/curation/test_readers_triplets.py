"""Sparse matrices as text: Matrix Market and sci-Plex triplets with their lists of genes and samples."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from curation.acquire.archives import fill_from_archive
from curation.acquire.part_file import PartFile
from curation.errors import InputError
from curation.readers import text, triplet_spool
from curation.remote_file import RemoteFile

GENES = ["TP53", "ACTB", "MARCH1"]
SAMPLES = ["s1", "s2", "s3", "s4"]
COUNTS = np.array([[1, 0, 3], [0, 0, 0], [7, 2, 0], [0, 0, 300000]])


def turn(path: Path) -> None:
    """Swap rows and columns of a Matrix Market file."""
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    turned = [" ".join([line.split()[1], line.split()[0], line.split()[2]]) for line in lines[2:]]
    path.write_bytes(gzip.compress("\n".join([*lines[:2], *turned, ""]).encode()))


@pytest.mark.parametrize("chunk", [7, text.CHUNK_BYTES])
@pytest.mark.parametrize("turned", [False, True])
def test_entries_in_gene_order_become_samples(
    tmp_path, monkeypatch, open_table: Callable, read_table: Callable, write_mtx: Callable, turned: bool, chunk: int
) -> None:
    monkeypatch.setattr(text, "CHUNK_BYTES", chunk)
    files = write_mtx(tmp_path, COUNTS, GENES, SAMPLES)
    if turned:
        turn(tmp_path / "matrix.mtx.gz")
    reader = open_table(format="mtx", files=files)
    assert reader.gene_ids == GENES
    counts, obs = read_table(reader)
    np.testing.assert_array_equal(counts, COUNTS)
    assert list(obs.index) == SAMPLES
    assert not any((tmp_path / "scratch").iterdir())


@pytest.mark.parametrize("rows_per_run", [1, 3, 4096])
def test_any_number_of_runs_gives_the_same_rows(
    tmp_path, monkeypatch, open_table: Callable, read_table: Callable, write_mtx: Callable, rows_per_run: int
) -> None:
    monkeypatch.setattr(triplet_spool, "MAX_ROWS_PER_RUN", rows_per_run)
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.3, size=(50, 20)) * rng.integers(1, 2**20, size=(50, 20))
    genes, samples = [f"g{i}" for i in range(20)], [f"s{i}" for i in range(50)]
    reader = open_table(format="mtx", files=write_mtx(tmp_path, counts, genes, samples))
    np.testing.assert_array_equal(read_table(reader)[0], counts)


def test_a_square_matrix_follows_the_orientation_of_the_part(
    tmp_path, open_table: Callable, read_table: Callable, write_mtx: Callable
) -> None:
    counts = COUNTS[:3]
    files = write_mtx(tmp_path, counts, GENES, SAMPLES[:3])
    np.testing.assert_array_equal(read_table(open_table(format="mtx", files=files))[0], counts)
    turned = open_table(format="mtx", files=files, orientation="samples_by_genes")
    np.testing.assert_array_equal(read_table(turned)[0], counts.T)


def test_a_matrix_against_the_stated_orientation_is_refused(
    tmp_path, open_table: Callable, write_mtx: Callable
) -> None:
    files = write_mtx(tmp_path, COUNTS, GENES, SAMPLES)
    with pytest.raises(InputError, match="does not fit its lists") as caught:
        open_table(format="mtx", files=files, orientation="samples_by_genes")
    assert "3 genes x 4 samples, as samples_by_genes" in str(caught.value)


def test_features_that_are_not_genes_are_left_out_and_counted(
    tmp_path, open_table: Callable, read_table: Callable, write_mtx: Callable
) -> None:
    files = write_mtx(tmp_path, COUNTS, GENES, SAMPLES)
    features = "TP53\tTP53\tGene Expression\nCD3\tCD3\tAntibody Capture\nMARCH1\tMARCH1\tGene Expression\n"
    (tmp_path / "features.tsv.gz").write_bytes(gzip.compress(features.encode()))
    reader = open_table(format="mtx", files=files)
    assert reader.gene_ids == ["TP53", "MARCH1"]
    assert reader.left_out == {"Antibody Capture": 1}
    np.testing.assert_array_equal(read_table(reader)[0], COUNTS[:, [0, 2]])


@pytest.mark.parametrize(
    ("genes", "barcodes"),
    [
        ('"","x"\n"1","TP53"\n"2","ACTB"\n"3","MARCH1"\n', '"","x"\n"1","s1"\n"2","s2"\n"3","s3"\n"4","s4"\n'),
        ("TP53\nACTB\nMARCH1\n", "s1\ns2\ns3\ns4\n"),
        ("gene_id\tgene_short_name\nTP53\ta\nACTB\tb\nMARCH1\tc\n", "barcode\ns1\ns2\ns3\ns4\n"),
        ("TP53\tchr17\tprotein_coding\nACTB\tchr7\tx\nMARCH1\tchr4\tx\n", "s1\r\ns2\r\ns3\r\ns4\r\n"),
    ],
)
def test_lists_may_have_a_header_row_numbers_or_a_single_column(
    tmp_path, open_table: Callable, read_table: Callable, write_mtx: Callable, genes: str, barcodes: str
) -> None:
    files = write_mtx(tmp_path, COUNTS, GENES, SAMPLES) | {"features": "genes.csv", "barcodes": "cells.csv"}
    (tmp_path / "genes.csv").write_text(genes)
    (tmp_path / "cells.csv").write_bytes(barcodes.encode())
    reader = open_table(format="mtx", files=files)
    assert reader.gene_ids == GENES
    counts, obs = read_table(reader)
    np.testing.assert_array_equal(counts, COUNTS)
    assert list(obs.index) == SAMPLES


def open_and_close(open_table: Callable, files: Mapping[str, str]) -> None:
    """Read every block, then close the reader in any case."""
    with closing(open_table(format="mtx", files=files)) as reader:
        list(reader.blocks())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lines: lines[:-1], "does not hold what its size line says"),
        (lambda lines: [*lines, lines[-1]], "does not hold what its size line says"),
        (lambda lines: [*lines[:-1], lines[-2]], "stands twice"),
        (lambda lines: [*lines[:-1], "4 1 1"], "outside the matrix"),
        (lambda lines: [*lines[:-1], "0 1 1"], "outside the matrix"),
        (lambda lines: [*lines[:-1], "1 1"], "cannot be read"),
        (lambda lines: [*lines[:-1], "1 1 one"], "cannot be read"),
        (lambda lines: ["%%MatrixMarket matrix array integer general", *lines[1:]], "not a Matrix Market"),
        (lambda lines: ["%%MatrixMarket matrix coordinate pattern general", *lines[1:]], "not a Matrix Market"),
        (lambda lines: ["%%MatrixMarket matrix coordinate integer symmetric", *lines[1:]], "not a Matrix Market"),
        (lambda lines: [*lines[:2], "3 4"], "size line"),
        (lambda lines: [*lines[:2], "3 5 5", *lines[3:]], "does not fit its lists"),
    ],
)
def test_a_damaged_matrix_is_refused_and_leaves_nothing_behind(
    tmp_path, open_table: Callable, write_mtx: Callable, change: Callable, words: str
) -> None:
    files = write_mtx(tmp_path, COUNTS, GENES, SAMPLES)
    lines = change(gzip.decompress((tmp_path / "matrix.mtx.gz").read_bytes()).decode().splitlines())
    (tmp_path / "matrix.mtx.gz").write_bytes(gzip.compress("\n".join([*lines, ""]).encode()))
    with pytest.raises(InputError, match=words) as caught:
        open_and_close(open_table, files)
    assert "matrix.mtx.gz" in caught.value.where
    assert not any((tmp_path / "scratch").iterdir())


def test_a_byte_order_mark_before_the_first_line_is_passed_over(
    tmp_path, open_table: Callable, read_table: Callable, write_mtx: Callable
) -> None:
    files = write_mtx(tmp_path, COUNTS, GENES, SAMPLES)
    text_ = gzip.decompress((tmp_path / "matrix.mtx.gz").read_bytes())
    (tmp_path / "matrix.mtx.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + text_))
    counts, _ = read_table(open_table(format="mtx", files=files))
    np.testing.assert_array_equal(counts, COUNTS)


def test_a_matrix_without_an_entry_is_whole_but_empty(tmp_path, open_table: Callable, write_mtx: Callable) -> None:
    files = write_mtx(tmp_path, COUNTS * 0, GENES, SAMPLES)
    with pytest.raises(InputError, match="whole but empty") as caught:
        open_table(format="mtx", files=files)
    assert "again" not in caught.value.todo


def test_more_genes_than_any_annotation_has_are_taken_for_a_wrong_orientation(tmp_path) -> None:
    spool = triplet_spool.TripletSpool(tmp_path, n_rows=2, n_columns=2**21, mean_nnz=1)
    with pytest.raises(InputError, match="more genes than any annotation"):
        spool.append(np.array([0]), np.array([2**20]), np.array([1]))
    spool.close()


def write_triplets(folder: Path, *, gene_header: str = "", cell_header: str = "") -> Mapping[str, str]:
    """Write counts as sci-Plex publishes them; samples 2 has no count."""
    entries = [f"{g + 1}\t{s + 1}\t{COUNTS[s, g]}\n" for s, g in zip(*np.nonzero(COUNTS), strict=True)]
    (folder / "UMI.count.matrix.gz").write_bytes(gzip.compress("".join(entries).encode()))
    genes = [f"ENSG{i}\t{name}\n" for i, name in enumerate(GENES)]
    (folder / "gene.annotations").write_text(gene_header + "".join(genes))
    (folder / "cell.annotations").write_text(cell_header + "".join(f"{name}\tsample\n" for name in SAMPLES))
    return {"matrix": "UMI.count.matrix.gz", "features": "gene.annotations", "barcodes": "cell.annotations"}


@pytest.mark.parametrize(("gene_header", "cell_header"), [("", ""), ("id\tgene_short_name\n", "cell\tsample\n")])
def test_sciplex_triplets_read_the_same_with_and_without_headers(
    tmp_path, open_table: Callable, read_table: Callable, gene_header: str, cell_header: str
) -> None:
    files = write_triplets(tmp_path, gene_header=gene_header, cell_header=cell_header)
    reader = open_table(format="triplets", files=files)
    assert reader.gene_ids == ["ENSG0", "ENSG1", "ENSG2"]
    counts, obs = read_table(reader)
    np.testing.assert_array_equal(counts, COUNTS)
    assert list(obs.index) == SAMPLES


def test_labels_that_an_unknown_header_would_shift_are_refused(tmp_path, open_table: Callable) -> None:
    files = write_triplets(tmp_path, cell_header="CellName\tsample\n")
    with pytest.raises(InputError, match="looks like a header") as caught:
        open_table(format="triplets", files=files)
    assert "'CellName'" in str(caught.value)
    assert caught.value.where.endswith("cell.annotations")


@pytest.mark.parametrize("role", ["features", "barcodes"])
def test_a_list_shorter_than_the_largest_index_is_refused(tmp_path, open_table: Callable, role: str) -> None:
    files = write_triplets(tmp_path)
    lines = (tmp_path / files[role]).read_text().splitlines()
    (tmp_path / files[role]).write_text("\n".join(lines[1:]) + "\n")
    with pytest.raises(InputError, match="beyond the end of its list") as caught:
        open_table(format="triplets", files=files)
    assert caught.value.where.endswith(files[role])
    assert f"at least {len(lines)} labels" in str(caught.value)
    assert not any((tmp_path / "scratch").iterdir())


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_of_triplets_goes_from_its_members_to_blocks(
    tmp_path, open_table: Callable, read_table: Callable, write_mtx: Callable, kind: str
) -> None:
    """As MixSeq publishes its conditions (zip), and Wu her atlas (tar.gz, single-column genes)."""
    members = write_mtx(tmp_path / "made", COUNTS, GENES, SAMPLES)
    contents = {name: gzip.decompress((tmp_path / "made" / name).read_bytes()) for name in members.values()}
    contents["features.tsv.gz"] = "".join(f"{gene}\n" for gene in GENES).encode()
    contents["metadata.csv"] = b",quality\n" + b"".join(f"{name},normal\n".encode() for name in SAMPLES)
    archive = tmp_path / f"DMSO_24hr.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
            for name, content in contents.items():
                opened.writestr(f"DMSO/{name}", content)
    else:
        with tarfile.open(archive, "w:gz") as opened_tar:
            for name, content in contents.items():
                member = tarfile.TarInfo(f"DMSO/{name}")
                member.size = len(content)
                opened_tar.addfile(member, io.BytesIO(content))
    for name in contents:
        remote = RemoteFile(path=name, archive=archive.name, member=f"DMSO/{name}")
        with PartFile(remote, tmp_path / name) as part:
            fill_from_archive(archive, f"DMSO/{name}", part)
            part.path.rename(tmp_path / name)
    counts, obs = read_table(open_table(format="mtx", files={**members, "metadata": "metadata.csv"}))
    np.testing.assert_array_equal(counts, COUNTS)
    assert obs["quality"].tolist() == ["normal"] * 4
