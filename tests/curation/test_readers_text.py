"""Dense tables as text: csv, tsv and GCT, and the metadata beside them."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from curation.blocks import NO_METADATA
from curation.errors import InputError
from curation.readers import text

GENES = ["TP53", "ACTB", "MARCH1"]
SAMPLES = ["s1", "s2", "s3", "s4"]
COUNTS = np.array([[1, 0, 3], [0, 0, 0], [7, 2, 0], [0, 0, 300000]])


def write_dense(path: Path, *, genes_are_rows: bool, r_header: bool, counts: np.ndarray = COUNTS) -> None:
    rows, columns = (GENES, SAMPLES) if genes_are_rows else (SAMPLES, GENES)
    values = counts.T if genes_are_rows else counts
    header = ",".join(f'"{name}"' for name in columns)
    body = "".join(f'"{name}",{",".join(map(str, row))}\n' for name, row in zip(rows, values, strict=True))
    path.write_bytes(gzip.compress(f"{header if r_header else ',' + header}\n{body}".encode()))


@pytest.mark.parametrize("chunk", [7, text.CHUNK_BYTES])
@pytest.mark.parametrize("r_header", [True, False])
@pytest.mark.parametrize("orientation", ["genes_by_samples", "samples_by_genes"])
def test_a_dense_table_reads_the_same_whatever_its_orientation_header_and_chunks(
    tmp_path, monkeypatch, open_table: Callable, read_table: Callable, orientation: str, r_header: bool, chunk: int
) -> None:
    monkeypatch.setattr(text, "CHUNK_BYTES", chunk)
    write_dense(tmp_path / "m.csv.gz", genes_are_rows=orientation == "genes_by_samples", r_header=r_header)
    reader = open_table(format="dense_text", orientation=orientation, files={"matrix": "m.csv.gz"})
    assert reader.gene_ids == GENES
    assert reader.where == str(tmp_path / "m.csv.gz")
    counts, obs = read_table(reader)
    np.testing.assert_array_equal(counts, COUNTS)
    assert counts.dtype.kind == "i"
    assert list(obs.index) == SAMPLES
    assert not any((tmp_path / "scratch").iterdir())


@pytest.mark.parametrize("orientation", ["genes_by_samples", "samples_by_genes"])
def test_the_text_is_read_once(tmp_path, open_table: Callable, read_table: Callable, orientation: str) -> None:
    write_dense(tmp_path / "m.csv.gz", genes_are_rows=orientation == "genes_by_samples", r_header=False)
    reader = open_table(format="dense_text", orientation=orientation, files={"matrix": "m.csv.gz"})
    (tmp_path / "m.csv.gz").unlink()
    np.testing.assert_array_equal(read_table(reader)[0], COUNTS)


@pytest.mark.parametrize("chunk", [7, text.CHUNK_BYTES])
@pytest.mark.parametrize("odd", [0.25, float("nan"), float("inf"), -1, 3e9, 2**53])
def test_odd_values_arrive_as_they_are_for_the_count_check_to_judge(
    tmp_path, monkeypatch, open_table: Callable, read_table: Callable, odd: float, chunk: int
) -> None:
    monkeypatch.setattr(text, "CHUNK_BYTES", chunk)
    counts = COUNTS.astype(float)
    counts[2, 1] = odd
    write_dense(tmp_path / "m.csv.gz", genes_are_rows=True, r_header=False, counts=counts)
    reader = open_table(format="dense_text", orientation="genes_by_samples", files={"matrix": "m.csv.gz"})
    np.testing.assert_array_equal(read_table(reader)[0], counts)


def test_windows_line_ends_and_quoted_separators_in_names_are_understood(
    tmp_path, open_table: Callable, read_table: Callable
) -> None:
    (tmp_path / "m.csv").write_bytes(b'gene,"s,1",s2\r\n"A ""b"", c",1,2\r\nTP53,3,4\r\n')
    reader = open_table(format="dense_text", orientation="genes_by_samples", files={"matrix": "m.csv"})
    assert reader.gene_ids == ['A "b", c', "TP53"]
    counts, obs = read_table(reader)
    np.testing.assert_array_equal(counts, [[1, 3], [2, 4]])
    assert list(obs.index) == ["s,1", "s2"]


def test_a_table_wider_than_it_is_long_reads_the_same(tmp_path, open_table: Callable, read_table: Callable) -> None:
    counts = np.random.default_rng(0).poisson(0.4, size=(3, 20_000))
    rows = "".join(f"s{i}\t" + "\t".join(map(str, row)) + "\n" for i, row in enumerate(counts.tolist()))
    header = "\t".join(f"g{i}" for i in range(20_000))
    (tmp_path / "m.tsv").write_text(f"\t{header}\n{rows}")
    reader = open_table(format="dense_text", orientation="samples_by_genes", files={"matrix": "m.tsv"})
    np.testing.assert_array_equal(read_table(reader)[0], counts)


@pytest.mark.parametrize("orientation", ["genes_by_samples", "samples_by_genes"])
@pytest.mark.parametrize(
    "bad_row", ['"ACTB",0,,2,0', '"ACTB",0,x,2,0', '"ACTB",0,1', '"ACTB",0,NA,2,0', '"ACTB",0,1,2,0,5', '"ACTB']
)
def test_a_row_with_a_missing_or_wrong_field_is_refused_with_its_place_and_leaves_nothing_behind(
    tmp_path, open_table: Callable, bad_row: str, orientation: str
) -> None:
    (tmp_path / "m.csv").write_text(f'"s1","s2","s3","s4"\n"TP53",1,0,7,0\n{bad_row}\n')
    with pytest.raises(InputError) as caught:
        open_table(format="dense_text", orientation=orientation, files={"matrix": "m.csv"})
    assert "m.csv" in str(caught.value)
    assert "do: " in str(caught.value)
    assert not any((tmp_path / "scratch").iterdir())


@pytest.mark.parametrize("cut", [12, 40])
def test_a_truncated_gzip_is_refused(tmp_path, open_table: Callable, cut: int) -> None:
    write_dense(tmp_path / "m.csv.gz", genes_are_rows=True, r_header=True)
    (tmp_path / "m.csv.gz").write_bytes((tmp_path / "m.csv.gz").read_bytes()[:-cut])
    with pytest.raises(InputError, match="ends early"):
        open_table(format="dense_text", orientation="genes_by_samples", files={"matrix": "m.csv.gz"})
    assert not any((tmp_path / "scratch").iterdir())


@pytest.mark.parametrize("orientation", ["genes_by_samples", "samples_by_genes"])
def test_line_ends_of_old_macs_are_named(tmp_path, open_table: Callable, orientation: str) -> None:
    (tmp_path / "m.csv").write_bytes(b"g,s1,s2\rA,1,2\rB,3,4\r")
    with pytest.raises(InputError, match="old Macs") as caught:
        open_table(format="dense_text", orientation=orientation, files={"matrix": "m.csv"})
    assert "fetch" not in caught.value.todo


def write_gct(path: Path, *, n_genes: int = 3) -> None:
    rows = "".join(f"{gene}\t{gene}\t{chr(9).join(map(str, row))}\n" for gene, row in zip(GENES, COUNTS.T, strict=True))
    path.write_text(f"#1.2\n{n_genes}\t4\nName\tDescription\t" + "\t".join(SAMPLES) + "\n" + rows)


def test_a_gct_whose_size_line_lies_is_refused(tmp_path, open_table: Callable, read_table: Callable) -> None:
    write_gct(tmp_path / "good.gct")
    write_gct(tmp_path / "bad.gct", n_genes=56_200)
    np.testing.assert_array_equal(read_table(open_table(format="gct", files={"matrix": "good.gct"}))[0], COUNTS)
    with pytest.raises(InputError, match="size line does not fit"):
        open_table(format="gct", files={"matrix": "bad.gct"})
    assert not any((tmp_path / "scratch").iterdir())


def test_gct_1_3_has_columns_of_genes_and_rows_of_samples_beside_the_counts(
    tmp_path, open_table: Callable, read_table: Callable
) -> None:
    lines = [
        "#1.3",
        "3\t4\t2\t1",
        "\t".join(["id", "symbol", "length", *SAMPLES]),
        "tissue\tNA\tNA\tskin\tlung\tNA\tskin",
    ]
    lines += [f"{gene}\t{gene}\t100\t{chr(9).join(map(str, row))}" for gene, row in zip(GENES, COUNTS.T, strict=True)]
    (tmp_path / "x.gct").write_text("\n".join(lines) + "\n")
    reader = open_table(format="gct", files={"matrix": "x.gct"})
    assert reader.gene_ids == GENES
    assert reader.obs_columns == ("tissue",)
    counts, obs = read_table(reader)
    np.testing.assert_array_equal(counts, COUNTS)
    assert obs["tissue"].tolist() == ["skin", "lung", "", "skin"]


def with_metadata(tmp_path: Path, table: str) -> dict[str, str]:
    write_gct(tmp_path / "x.gct")
    (tmp_path / "meta.csv").write_text(table)
    return {"matrix": "x.gct", "metadata": "meta.csv"}


def test_metadata_is_joined_by_sample_id_whatever_its_order(
    tmp_path, open_table: Callable, read_table: Callable
) -> None:
    files = with_metadata(tmp_path, ",condition\ns4,stim\ns1,ctrl\ns3,NA\ns1,ctrl\n")
    obs = read_table(open_table(format="gct", files=files))[1]
    assert obs["condition"].tolist() == ["ctrl", "", "", "stim"]
    assert obs[NO_METADATA].tolist() == [False, True, False, False]


def test_rows_that_say_different_things_of_one_sample_are_refused(tmp_path, open_table: Callable) -> None:
    files = with_metadata(tmp_path, ",condition,plate\ns4,stim,1\ns1,ctrl,1\ns1,other,1\nelse,a,1\nelse,b,1\n")
    with pytest.raises(InputError, match="different things of 1 samples") as caught:
        open_table(format="gct", files=files)
    assert "s1" in caught.value.found


def test_only_the_columns_asked_for_are_read_and_all_are_named(
    tmp_path, open_table: Callable, read_table: Callable
) -> None:
    files = with_metadata(tmp_path, ",condition,dose\n" + "".join(f"{name},a,{i}\n" for i, name in enumerate(SAMPLES)))
    reader = open_table(format="gct", files=files, columns=frozenset({"dose", "donor"}))
    assert reader.obs_columns == ("condition", "dose")
    obs = read_table(reader)[1]
    assert list(obs.columns) == ["dose"]
    assert obs["dose"].tolist() == ["0", "1", "2", "3"]


@pytest.mark.parametrize("chunk", [7, text.CHUNK_BYTES])
def test_metadata_may_hold_line_ends_and_separators_in_quotes(
    tmp_path, monkeypatch, open_table: Callable, read_table: Callable, chunk: int
) -> None:
    monkeypatch.setattr(text, "CHUNK_BYTES", chunk)
    files = with_metadata(tmp_path, 'id,note,tissue\ns1,"two\nlines, ""said""",skin\ns2,x,lung\ns3,,\ns4,\xb5m,skin\n')
    obs = read_table(open_table(format="gct", files=files))[1]
    assert obs["note"].tolist() == ['two\nlines, "said"', "x", "", "\xb5m"]
    assert obs["tissue"].tolist() == ["skin", "lung", "", "skin"]


def test_metadata_may_be_separated_by_blanks_as_rs_write_table_does(
    tmp_path, open_table: Callable, read_table: Callable
) -> None:
    files = with_metadata(tmp_path, '"cell" "dose"\n"s1" "A B" 10\n"s2" "C" 5\n"s3" "D" 1\n"s4" "E" 0\n')
    obs = read_table(open_table(format="gct", files=files))[1]
    assert obs["cell"].tolist() == ["A B", "C", "D", "E"]
    assert obs["dose"].tolist() == ["10", "5", "1", "0"]


@pytest.mark.parametrize(
    ("table", "words"), [(",a\nx1,1\n", "no sample has a row"), (",a\ns1,1\ns2,1,2\n", "not a table")]
)
def test_metadata_of_other_samples_or_of_no_form_are_refused(
    tmp_path, open_table: Callable, table: str, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        open_table(format="gct", files=with_metadata(tmp_path, table))
    assert not any((tmp_path / "scratch").iterdir())


def test_a_format_without_reader_names_those_there_are(open_table: Callable) -> None:
    with pytest.raises(InputError, match="there is no reader for format 'xlsx'") as caught:
        open_table(format="xlsx", files={})
    assert "star_counts" in str(caught.value)
