"""Gene identity on real tables: a golden set of tricky ids, and the share of counts that real studies keep."""

from __future__ import annotations

import csv
import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from curation.axis import GeneAxis, build_axis
from curation.gene_advice import advice
from curation.gene_history import with_history
from curation.genes import GeneNames
from curation.report import gene_report

DATA = Path(os.environ.get("DIVERSERNA_DATA", Path(__file__).parents[3] / "shared" / "data"))
GOLDEN = Path(__file__).parents[1] / "golden"
WITHOUT_COMMENTS = [line for line in (GOLDEN / "gene_ids.tsv").read_text().splitlines() if not line.startswith("#")]
IDS = list(csv.DictReader(WITHOUT_COMMENTS, delimiter="\t"))

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not (DATA / "annotation").is_dir(), reason="the real tables are not here: set DIVERSERNA_DATA"),
]


@pytest.fixture(scope="module")
def axis() -> GeneAxis:
    folder = DATA / "annotation"
    hgnc = folder / "hgnc_complete_set.txt.gz"
    found, _ = build_axis(folder / "ensembl_human_genes.csv.gz", "gene_table_csv", hgnc=hgnc)
    return with_history(found, GOLDEN / "stable_id_event.tsv", GOLDEN / "mapping_session.tsv")


@pytest.fixture(scope="module")
def names(axis: GeneAxis) -> GeneNames:
    return GeneNames(axis)


def test_the_golden_set_is_large_and_has_every_sort_of_tricky_id() -> None:
    assert len(IDS) >= 300
    wanted = {
        "retired",
        "merged",
        "split",
        "chain",
        "withdrawn",
        "par_y",
        "organism",
        "spike_in",
        "readthrough",
        "excel",
    }
    assert wanted <= {row["category"] for row in IDS}
    assert all(bool(row["ensembl_id"]) != bool(row["reason"]) for row in IDS)


@pytest.mark.parametrize("category", sorted({row["category"] for row in IDS}))
def test_every_id_of_the_golden_set_has_its_outcome_and_reason(axis: GeneAxis, names: GeneNames, category: str) -> None:
    expected, found = {}, {}
    for row in IDS:
        if row["category"] == category:
            genes = names.map([row["id"]], row["id_kind"])
            target = axis.ensembl_ids[genes.positions[0]] if genes.positions[0] >= 0 else ""
            expected[row["id"], row["id_kind"]] = row["ensembl_id"], row["reason"], row["how"]
            found[row["id"], row["id_kind"]] = target, genes.reasons[0], genes.how[0]
    assert found == expected


def mtx_totals(folder: Path) -> tuple[list[str], np.ndarray]:
    """Gene ids and the sum of each gene's counts."""
    with gzip.open(folder / "features.tsv.gz", "rt") as handle:
        ids = [line.split("\t")[0] for line in handle]
    return ids, np.asarray(scipy.io.mmread(folder / "matrix.mtx.gz").sum(axis=1)).ravel().astype(np.int64)


def csv_totals(path: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Gene ids, the sum of each gene's counts, and which rows repeat an earlier one."""
    with gzip.open(path, "rt") as handle:
        next(handle)
        rows = [line.rstrip("\n").split(",") for line in handle]
    ids = [row[0].strip('"') for row in rows]
    counts = np.rint(np.array([row[1:] for row in rows], dtype=np.float64)).astype(np.int32)
    seen: set[tuple[str, bytes]] = set()
    copies = []
    for i, row in enumerate(counts):
        if (ids[i], row.tobytes()) in seen:
            copies.append(i)
        seen.add((ids[i], row.tobytes()))
    return ids, counts.sum(axis=1, dtype=np.int64), np.array(copies)


@pytest.mark.parametrize("study", ["breast_copykat", "pbmc_soupx"])
def test_lists_of_old_symbols_keep_99_percent_of_their_counts(names: GeneNames, study: str) -> None:
    ids, totals = mtx_totals(DATA / "studies" / study)
    report = gene_report([ids], [names.map(ids, "symbol")], [totals])
    assert report["counts"]["kept_share"] >= 0.99
    assert report["dropped"]["unknown_symbol"] > 10_000  # clone names such as RP11-34P13.3, a third of the list


def test_legacy_tcga_keeps_97_percent_of_its_counts(names: GeneNames) -> None:
    ids, totals, copies = csv_totals(DATA / "studies" / "tcga_gbm" / "TCGA_legacy_GBM_raw.csv.gz")
    genes = names.map(ids, "symbol_entrez").without_copies(copies)
    report = gene_report([ids], [genes], [totals])
    assert report["counts"]["kept_share"] >= 0.97
    assert report["dropped"]["copy_of_another_row"] == len(copies) > 500


def test_ids_of_gencode_19_that_were_retired_keep_their_counts_through_the_history(names: GeneNames) -> None:
    ids, totals, _ = csv_totals(DATA / "studies" / "gtex_skin" / "yarn_GTEx_skin.csv.gz")
    report = gene_report([ids], [names.map(ids, "ensembl")], [totals])
    # The excerpt of the history knows 15 of the 3,090 ids that are not on this axis, among them SOD2, TXNIP and MARCKS.
    assert report["mapped_by"]["retired"] == 15
    assert report["counts"]["mapped_by"]["retired"] > 0.002 * report["counts"]["total"]
    assert report["counts"]["kept_share"] >= 0.992


@pytest.mark.parametrize(
    ("column", "id_kind", "words"),
    [
        (0, "ensembl", "100% of these ids are Ensembl ids of mouse"),
        (1, "symbol", "of these ids are spelled like symbols of mouse or rat"),
    ],
)
def test_a_mouse_table_is_called_one(names: GeneNames, column: int, id_kind: str, words: str) -> None:
    with gzip.open(DATA / "rejects" / "mouse_mtx" / "features.tsv.gz", "rt") as handle:
        ids = [line.split("\t")[column] for line in handle]
    genes, totals = names.map(ids, id_kind), np.ones(len(ids), dtype=np.int64)
    assert gene_report([ids], [genes], [totals])["counts"]["kept_share"] < 0.01
    assert words in advice(names, [ids], [genes], [totals], id_kind=id_kind)


def test_a_wrong_kind_of_id_in_the_catalogue_is_named_with_the_right_one(names: GeneNames) -> None:
    ids, totals = mtx_totals(DATA / "studies" / "pbmc_soupx")
    text = advice(names, [ids], [names.map(ids, "ensembl")], [totals], id_kind="ensembl")
    assert "`gene_ids: symbol` would map 99% of the counts" in text
