"""Files that look like counts of human genes and are not (the folder rejects/ of the real studies)."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import pytest

from curation.axis import build_axis
from curation.build import Curation, curate_training
from curation.catalog import Study
from curation.errors import InputError
from curation.recipe import Recipe

DATA = Path(os.environ.get("DIVERSERNA_DATA", Path(__file__).parents[3] / "shared" / "data"))
REJECTS = DATA / "rejects"
MOUSE = {"matrix": "matrix.mtx.gz", "features": "features.tsv.gz", "barcodes": "barcodes.tsv.gz"}
GCT = "gct_header_mismatch/GTEx_Analysis_2017-06-05_v8_RNASeQCv1.1.9_gene_reads.acmg_59.gct.gz"

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not REJECTS.is_dir(), reason="the real studies are not here: set DIVERSERNA_DATA"),
]


@pytest.fixture(scope="module")
def genes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    annotation = DATA / "annotation"
    hgnc = annotation / "hgnc_complete_set.txt.gz"
    axis, _ = build_axis(annotation / "ensembl_human_genes.csv.gz", "gene_table_csv", hgnc=hgnc)
    path = tmp_path_factory.mktemp("axis") / "genes.parquet"
    axis.write(path)
    return path


@pytest.fixture
def curate(genes: Path, tmp_path: Path, make_study: Callable[..., Study]) -> Callable[..., Path]:
    def run(part: dict[str, Any], *, sources: Path = REJECTS, **fields: Any) -> Path:
        study = make_study(parts=[{"name": "p", **part}], **fields)
        task = Curation(study=study, recipe=Recipe(), recipe_name="r", genes=genes, sources=sources, seed=0)
        stores = {split: tmp_path / f"{split}.zarr" for split in ("train", "validation")}
        curate_training(task, **stores, report=tmp_path / "qc.json", validation_share=0.1)
        return stores["train"]

    return run


DENSE = {"format": "dense_text", "orientation": "genes_by_samples"}
LOGGED = {"format": "h5ad", "matrix": "X", "files": {"matrix": "log_normalised.h5ad"}}
LAYER = {"format": "h5ad", "matrix": "X", "files": {"matrix": "counts_only_in_layer.h5ad"}}
FRACTIONS = {**DENSE, "files": {"matrix": "fractional_counts.matrix.gz"}}
COVERAGE = {**DENSE, "files": {"matrix": "base_coverage_sums.csv.gz"}}
MOUSE_PART = {"format": "mtx", "files": {role: f"mouse_mtx/{name}" for role, name in MOUSE.items()}}
FACTORS = "in X look like log(factor x count + 1): exp(value) - 1 are 1, 2, 3, ... times the smallest of the sample"
MULTIPLES = "and are multiples of 36 more often than chance allows"


@pytest.mark.parametrize(
    ("part", "fields", "what", "evidence", "way_out"),
    [
        (LOGGED, {}, "not integers but logarithms", FACTORS, "point the catalogue at the raw count matrix"),
        (LOGGED, {"count_kind": "expected"}, "logarithms", FACTORS, "point the catalogue at the raw count matrix"),
        (LOGGED, {"count_kind": "mixed"}, "logarithms", FACTORS, "point the catalogue at the raw count matrix"),
        (LAYER, {}, "not integers but logarithms", FACTORS, "`matrix: layers/counts` of the same file"),
        (FRACTIONS, {}, "not integers", "are fractions, as 100% of the values are", "count_kind: expected"),
        (FRACTIONS, {"count_kind": "reads"}, "not integers", "values 0.0008472, 0.0008682", "count_kind: expected"),
        (FRACTIONS, {"count_kind": "smartseq_tpm"}, "not integers", "are fractions", "raw count matrix"),
        (COVERAGE, {"count_kind": "reads", "assay": "bulk"}, "too large for counts", MULTIPLES, "divide coverage"),
        (COVERAGE, {"count_kind": "expected", "assay": "bulk"}, "too large for counts", MULTIPLES, "divide coverage"),
        (COVERAGE, {"count_kind": "mixed"}, "too large for counts", "7.33e+08 in a sample", "the read length"),
        (COVERAGE, {"count_kind": "umi"}, "too large for counts", "values 36, 72, 108", "use read counts"),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) and "format" not in value else None,
)
def test_what_is_no_count_is_refused_with_evidence_and_the_way_out(
    curate: Callable[..., Path],
    tmp_path: Path,
    part: dict[str, Any],
    fields: dict[str, Any],
    what: str,
    evidence: str,
    way_out: str,
) -> None:
    with pytest.raises(InputError) as caught:
        curate(part, **{"gene_ids": "ensembl" if part is COVERAGE else "symbol", **fields})
    error = caught.value
    assert what in error.what
    assert evidence in error.found
    assert way_out in error.todo
    assert part["files"]["matrix"] in error.where
    assert "count_kind" in error.expected
    assert not (tmp_path / "train.zarr").exists()


def test_coverage_sums_that_the_catalogue_names_so_are_left_out_by_the_recipe(curate: Callable[..., Path]) -> None:
    with pytest.raises(InputError) as caught:
        curate(COVERAGE, count_kind="coverage", assay="bulk", gene_ids="ensembl")
    assert "12 count_kind_coverage" in caught.value.found


def test_a_gct_whose_size_line_does_not_fit_is_refused(curate: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="size line does not fit") as caught:
        curate({"format": "gct", "files": {"matrix": GCT}}, gene_ids="ensembl")
    assert "56200" in caught.value.expected
    assert "59" in caught.value.found
    assert caught.value.todo
    assert not (tmp_path / "train.zarr").exists()


def test_ensembl_ids_of_the_mouse_are_refused_as_such(curate: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="too few of the study's counts") as caught:
        curate(MOUSE_PART, gene_ids="ensembl")
    assert "ENSMUSG" in caught.value.found
    assert "mouse" in caught.value.todo
    assert not (tmp_path / "train.zarr").exists()


def test_mouse_symbols_do_not_pass_for_human_ones(curate: Callable[..., Path], tmp_path: Path) -> None:
    folder = tmp_path / "mouse"
    shutil.copytree(REJECTS / "mouse_mtx", folder)
    (folder / "features.tsv.gz").unlink()
    rows = gzip.decompress((REJECTS / "mouse_mtx" / "features.tsv.gz").read_bytes()).decode().splitlines()
    symbols = "".join(f"{row.split(chr(9))[1]}\t{row.split(chr(9))[1]}\tGene Expression\n" for row in rows)
    (folder / "features.tsv.gz").write_bytes(gzip.compress(symbols.encode()))
    with pytest.raises(InputError, match="too few of the study's counts"):
        curate({"format": "mtx", "files": MOUSE}, sources=folder, gene_ids="symbol")


def test_the_layer_that_holds_counts_is_read_when_the_catalogue_names_it(curate: Callable[..., Path]) -> None:
    part = {"format": "h5ad", "matrix": "layers/counts", "files": {"matrix": "counts_only_in_layer.h5ad"}}
    assert ad.read_zarr(curate(part)).n_obs > 0


def test_fractions_are_taken_as_expected_counts_only_on_explicit_request(curate: Callable[..., Path]) -> None:
    files = {"matrix": "fractional_counts.matrix.gz"}
    part = {"format": "dense_text", "orientation": "genes_by_samples", "files": files}
    assert ad.read_zarr(curate(part, count_kind="expected")).n_obs > 0
