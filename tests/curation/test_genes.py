import gzip
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy import sparse

from curation.axis import GeneAxis, build_axis
from curation.errors import InputError
from curation.genes import GeneNames, project


@pytest.mark.parametrize(
    ("gene", "kind", "position", "reason"),
    [
        ("ENSG00000000002", "ensembl", 1, ""),
        ("ENSG00000000002.17", "ensembl", 1, ""),
        ("ENSG00000000002.17_PAR_Y", "ensembl", -1, "par_y"),
        ("ENSGR0000000002.3", "ensembl", -1, "par_y"),
        ("ENSG00000099999.1", "ensembl", -1, "ensembl_id_not_on_axis"),
        ("ENSMUSG00000000001", "ensembl", -1, "other_organism"),
        ("TP53", "ensembl", -1, "ensembl_id_not_on_axis"),
        ("ENSG00000000002.17", "symbol", 1, ""),
        ("TP53", "symbol", 0, ""),
        ("MARCH1", "symbol", 2, ""),
        ("P53", "symbol", 0, ""),
        ("ACTB", "symbol", 1, ""),  # the current symbol of one gene wins over an alias of another
        ("SHARED", "symbol", -1, "ambiguous_symbol"),
        ("Y_RNA", "symbol", -1, "ambiguous_symbol"),
        ("C1ORF112", "symbol", 7, ""),
        ("Tp53", "symbol", -1, "unknown_symbol"),  # a mouse gene
        ("AAVS1", "symbol", -1, "gene_not_on_axis"),  # approved for a gene off the axis, an alias of one on it
        ("HALFKNOWN", "symbol", -1, "ambiguous_symbol"),  # an alias of two genes, one of them off the axis
        ("1-Mar", "symbol", 2, ""),  # this axis has no MARC1, so only MARCH1 becomes this date
        ("2-Sep", "symbol", -1, "excel_date"),
        ("mCherry", "symbol", -1, "transgene"),
        ("7157", "entrez", 0, ""),
        ("999999", "entrez", -1, "unknown_entrez_id"),
        ("ERCC-00112", "symbol", -1, "spike_in"),
        ("RP11-34P13.3", "symbol", -1, "unknown_symbol"),
        ("", "symbol", -1, "no_name"),
        ("TP53|7157", "symbol_entrez", 0, ""),
        ("OLDNAME|7157", "symbol_entrez", 0, ""),
        ("?|60", "symbol_entrez", 1, ""),
        ("?|100133144", "symbol_entrez", -1, "unknown_symbol"),
        ("TP53|999999", "symbol_entrez", 0, ""),
    ],
)
def test_each_kind_of_gene_id_has_one_outcome(axis: GeneAxis, gene: str, kind: str, position: int, reason: str) -> None:
    found = GeneNames(axis).map([gene], kind)
    assert (found.positions[0], found.reasons[0]) == (position, reason)


def test_a_prefix_keeps_one_organism_of_a_mixed_table(axis: GeneAxis) -> None:
    found = GeneNames(axis).map(["ENSG00000000001", "ENSMUSG00000000001"], "ensembl", keep_prefix="ENSG0")
    assert found.reasons == ("", "other_organism")


def test_a_prefix_that_names_the_genome_is_taken_off(axis: GeneAxis) -> None:
    found = GeneNames(axis).map(
        ["GRCh38_TP53", "GRCh38_1-Mar", "mm10_Trp53", "ERCC-00002"], "symbol", keep_prefix="GRCh38_"
    )
    assert found.positions.tolist() == [0, 2, -1, -1]
    assert found.reasons == ("", "", "other_organism", "spike_in")


@pytest.mark.parametrize(
    ("table", "reasons"),
    [
        (["1-Mar", "TP53"], ("", "")),
        (["1-Mar", "1-Mar"], ("excel_date", "excel_date")),
        (["1-Mar", "01-Mar"], ("excel_date", "excel_date")),
        (["1-Mar", "1-Mar.1"], ("excel_date", "excel_date")),
        (["1-Mar", "MARCH1"], ("excel_date", "")),
        (["1-Mar", "ENSG00000000003.2"], ("excel_date", "")),
    ],
    ids=["alone", "twice", "two spellings", "made unique", "beside the old symbol", "beside the id"],
)
def test_a_date_is_repaired_only_where_the_table_leaves_one_gene(
    axis: GeneAxis, table: list[str], reasons: tuple[str, ...]
) -> None:
    found = GeneNames(axis).map(table, "symbol")
    assert found.reasons == reasons
    assert found.how[0] == ("" if reasons[0] else "excel")


def with_name(axis: GeneAxis, *row: str) -> GeneNames:
    """The axis with one name more."""
    more = pl.DataFrame([row], schema=axis.names.schema, orient="row")
    return GeneNames(replace(axis, names=pl.concat([axis.names, more])))


def test_two_symbols_that_become_one_date_are_not_told_apart(axis: GeneAxis) -> None:
    names = pl.concat(
        [axis.names, pl.DataFrame([("MARC1", "ENSG00000000007", "previous")], schema=axis.names.schema, orient="row")]
    )
    found = GeneNames(replace(axis, names=names)).map(["1-Mar"], "symbol")
    assert found.reasons == ("excel_date",)


def test_an_alias_does_not_decide_between_two_ids_of_one_symbol(axis: GeneAxis) -> None:
    names = pl.concat(
        [axis.names, pl.DataFrame([("Y_RNA", "ENSG00000000002", "alias")], schema=axis.names.schema, orient="row")]
    )
    assert GeneNames(replace(axis, names=names)).map(["Y_RNA"], "symbol").reasons == ("ambiguous_symbol",)


def test_genes_that_meet_on_the_axis_are_added_and_dropped_ones_leave_nothing() -> None:
    counts = sparse.csr_matrix(np.array([[1, 2, 4, 8], [0, 0, 0, 0], [0, 5, 7, 0]], dtype=np.int64))
    moved = project(counts, np.array([2, 0, 2, -1]), 3)
    assert moved.toarray().tolist() == [[2, 0, 5], [0, 0, 0], [5, 0, 7]]
    assert moved.has_sorted_indices
    assert moved.nnz == 4


def test_a_gene_table_leaves_out_par_y_copies_and_counts_them(tmp_path) -> None:
    table = tmp_path / "genes.csv.gz"
    rows = [
        "gene_id,gene_name,biotype,chromosome",
        "ENSG00000000001.4,A,lncRNA,chrX",
        "ENSG00000000001.4_PAR_Y,A,lncRNA,chrY",
    ]
    table.write_bytes(gzip.compress("\n".join([*rows, "ENSG00000000002.1,ENSG00000000002,lncRNA,chr1", ""]).encode()))
    axis, left_out = build_axis(table, "gene_table_csv", hgnc=None)
    assert axis.ensembl_ids == ["ENSG00000000001", "ENSG00000000002"]
    assert axis.genes["symbol"].to_list() == ["A", ""]
    assert left_out == {"par_y": 1, "not_an_ensembl_gene_id": 0, "duplicate_id": 0}


def test_a_headerless_gene_table_keeps_its_first_line(tmp_path) -> None:
    table = tmp_path / "id2name.csv"
    table.write_text("ENSG00000290825,DDX11L2\nENSG00000223972,DDX11L1\n")
    axis, _ = build_axis(table, "id_name_csv", hgnc=None)
    assert axis.ensembl_ids == ["ENSG00000290825", "ENSG00000223972"]


def test_a_table_without_human_genes_is_refused(tmp_path) -> None:
    table = tmp_path / "mouse.csv"
    table.write_text("ENSMUSG00000000001,Gnai3\n")
    with pytest.raises(InputError, match="no human gene"):
        build_axis(table, "id_name_csv", hgnc=None)


def test_an_axis_survives_writing_and_reading(axis: GeneAxis, tmp_path) -> None:
    axis.write(tmp_path / "genes.parquet")
    again = GeneAxis.read(tmp_path / "genes.parquet")
    assert again.genes.equals(axis.genes)
    assert again.names.equals(axis.names)
    assert again.sha256 == axis.sha256
