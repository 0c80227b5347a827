"""The report on a study's genes, and the advice where too few of them map."""

from __future__ import annotations

import numpy as np
import pytest

from curation.axis import GeneAxis
from curation.gene_advice import advice
from curation.genes import GeneNames
from curation.report import gene_report


def test_the_report_weighs_every_outcome_by_counts(axis: GeneAxis) -> None:
    tables = [["TP53", "P53", "ERCC-00002", "RP11-1.1", "RP11-1.2"], ["TP53", "RP11-1.1", "RP11-1.1"]]
    totals = [np.array([60, 20, 5, 3, 7]), np.array([4, 1, 0])]
    names = GeneNames(axis)
    report = gene_report(tables, [names.map(table, "symbol") for table in tables], totals)
    assert (report["in_table"], report["mapped"], report["merged"]) == (6, 2, 1)
    assert report["dropped"] == {"spike_in": 1, "unknown_symbol": 3}
    assert report["examples"] == {"spike_in": ["ERCC-00002"], "unknown_symbol": ["RP11-1.2", "RP11-1.1"]}
    assert report["counts"] == {
        "total": 100,
        "kept_share": 0.84,
        "merged": 84,
        "mapped_by": {"alias": 20, "symbol": 64},
        "dropped": {"spike_in": 5, "unknown_symbol": 11},
        "examples": {
            "alias": {"P53": 20},
            "merged": {"TP53": 64, "P53": 20},
            "spike_in": {"ERCC-00002": 5},
            "symbol": {"TP53": 64},
            "unknown_symbol": {"RP11-1.2": 7, "RP11-1.1": 4},
        },
    }


def test_a_copied_row_is_in_neither_side_of_the_kept_share(axis: GeneAxis) -> None:
    table = ["ACTB", "ACTB", "RP11-1.1"]
    genes = GeneNames(axis).map(table, "symbol").without_copies(np.array([1]))
    report = gene_report([table], [genes], [np.array([30, 30, 10])])
    assert report["dropped"] == {"copy_of_another_row": 1, "unknown_symbol": 1}
    assert report["counts"]["kept_share"] == 30 / 40


def test_without_counts_the_report_has_genes_only(axis: GeneAxis) -> None:
    table = ["TP53", "nobody"]
    report = gene_report([table], [GeneNames(axis).map(table, "symbol")])
    assert (report["mapped"], report["examples"]) == (1, {"unknown_symbol": ["nobody"]})
    assert "counts" not in report


@pytest.mark.parametrize(
    ("table", "settings", "words"),
    [
        (["TP53", "ACTB", "RP11-1"], {"id_kind": "ensembl"}, "`gene_ids: symbol` would map 67% of the counts"),
        (["7157", "60", "nobody"], {"id_kind": "symbol"}, "`gene_ids: entrez` would map 67% of the counts"),
        (
            ["GRCh38_TP53", "GRCh38_ACTB", "mm10_Actb"],
            {"id_kind": "symbol"},
            "`gene_prefix_keep: GRCh38_` would map 67% of the counts",
        ),
        (
            ["TP53", "ACTB", "nobody"],
            {"id_kind": "symbol", "keep_prefix": "ENSG"},
            "`gene_prefix_keep: null` would map 67% of the counts",
        ),
        (
            ["ENSMUSG00000059552.1", "ENSMUSG00000029580"],
            {"id_kind": "ensembl"},
            "100% of these ids are Ensembl ids of mouse",
        ),
        (["Xkr4", "Sox17", "Actb"], {"id_kind": "symbol"}, "100% of these ids are spelled like symbols of mouse"),
        (["ENST00000269305.9", "ENST00000331789"], {"id_kind": "ensembl"}, "100% of these ids are Ensembl transcripts"),
        (["1", "2", "3"], {"id_kind": "symbol"}, "row numbers of a table whose gene names were lost"),
    ],
)
def test_the_advice_names_what_the_ids_are_and_what_would_map_them(
    axis: GeneAxis, table: list[str], settings: dict[str, str], words: str
) -> None:
    names = GeneNames(axis)
    genes = names.map(table, settings["id_kind"], keep_prefix=settings.get("keep_prefix"))
    assert words in advice(names, [table], [genes], [np.full(len(table), 10)], **settings)


def test_the_advice_lists_the_largest_losses_with_their_reasons(axis: GeneAxis) -> None:
    names, table = GeneNames(axis), ["TP53", "lost1", "ERCC-00002", "lost2"]
    text = advice(names, [table], [names.map(table, "symbol")], [np.array([1, 5, 90, 7])], id_kind="symbol")
    assert text.startswith("check the organism and `gene_ids` of the study")
    assert text.endswith("first: ERCC-00002 (spike_in), lost2 (unknown_symbol), lost1 (unknown_symbol)")
