"""The count kind that the catalogue states of each real study passes, and what contradicts it does not."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from curation.catalog import Part, Study, read_catalog
from curation.count_kind import check_count_kind
from curation.errors import InputError
from curation.labels import wanted_columns
from curation.readers import open_part

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("DIVERSERNA_DATA", ROOT.parent / "shared" / "data"))
MINI = read_catalog([ROOT / "curation" / "catalog" / "mini.yaml"]).studies
DENSE = {"format": "dense_text", "orientation": "genes_by_samples"}
V2 = {"matrix": "matrix.mtx", "features": "genes.tsv", "barcodes": "barcodes.tsv"}
V3 = {"matrix": "matrix.mtx.gz", "features": "features.tsv.gz", "barcodes": "barcodes.tsv.gz"}
# Real tables that no catalogue lists
OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "tcga_brca": ({**DENSE, "files": {"matrix": "TCGAbiolinks_dataBRCA.csv.gz"}}, "expected"),
    "gtex_rnaseqc": ({"format": "gct", "files": {"matrix": "downsampled.bam.gene_reads.gct.gz"}}, "reads"),
    "schraivogel_k562": ({**DENSE, "files": {"matrix": "gene_expression_counts.csv"}}, "umi"),
    "tenx_fixtures/3.0.0/filtered_feature_bc_matrix": ({"format": "mtx", "files": V3}, "umi"),
    "tenx_fixtures/1.2.0/filtered_gene_bc_matrices/hg19_chr21": ({"format": "mtx", "files": V2}, "umi"),
    "tenx_fixtures/soupx_toy/raw_gene_bc_matrices/GRCh38": ({"format": "mtx", "files": V2}, "umi"),
}

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not DATA.is_dir(), reason="the real studies are not here: set DIVERSERNA_DATA"),
]


def check(study: Study, part: Part, folder: Path, scratch: Path) -> None:
    columns = frozenset(wanted_columns(study))
    with closing(open_part(part, sources=folder, scratch=scratch, columns=columns)) as reader:
        check_count_kind(reader, study, part.name)


@pytest.mark.parametrize("name", MINI)
def test_what_the_catalogue_says_of_a_study_passes(name: str, tmp_path: Path) -> None:
    for part in MINI[name].parts:
        check(MINI[name], part, DATA / "studies" / name, tmp_path)


@pytest.mark.parametrize("folder", OTHERS)
def test_real_tables_pass_under_their_true_kind(folder: str, make_study: Callable[..., Study], tmp_path: Path) -> None:
    part, kind = OTHERS[folder]
    assay = "bulk" if kind in ("expected", "reads") else "sc"
    study = make_study(parts=[{"name": "p", **part}], count_kind=kind, assay=assay)
    check(study, study.parts[0], DATA / "studies" / folder, tmp_path)


@pytest.mark.parametrize(
    ("name", "says", "assay", "evidence", "way_out"),
    [
        ("gtex_skin", "umi", "sc", "look like reads: a sample has 54,791,120 counts", "count_kind: reads"),
        ("kang_pbmc", "reads", "sc", "look like UMI counts: a sample has 1,200 counts", "count_kind: umi"),
        ("pbmc_soupx", "smartseq_tpm", "sc", "look like UMI counts: ", "count_kind: umi"),
        ("tcga_gbm", "reads", "bulk", "are fractions, as 11% of the values are", "count_kind: expected"),
        ("tcga_gbm", "mixed", "bulk", "are fractions, as 11% of the values are", "count_kind: expected"),
    ],
)
def test_a_wrong_kind_of_a_real_study_is_refused(
    name: str, says: str, assay: str, evidence: str, way_out: str, tmp_path: Path
) -> None:
    study = replace(MINI[name], count_kind=says, assay=assay)
    with pytest.raises(InputError) as caught:
        check(study, study.parts[0], DATA / "studies" / name, tmp_path)
    assert evidence in caught.value.found
    assert way_out in caught.value.todo
