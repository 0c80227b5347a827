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


@pytest.mark.parametrize(
    ("part", "fields", "words"),
    [
        ({"format": "h5ad", "matrix": "X", "files": {"matrix": "log_normalised.h5ad"}}, {}, "not integers"),
        ({"format": "h5ad", "matrix": "X", "files": {"matrix": "counts_only_in_layer.h5ad"}}, {}, "not integers"),
        (
            {
                "format": "dense_text",
                "orientation": "genes_by_samples",
                "files": {"matrix": "fractional_counts.matrix.gz"},
            },
            {"count_kind": "reads"},
            "not integers",
        ),
        (
            {
                "format": "dense_text",
                "orientation": "genes_by_samples",
                "files": {"matrix": "base_coverage_sums.csv.gz"},
            },
            {"count_kind": "reads", "gene_ids": "ensembl", "assay": "bulk"},
            "too large for counts",
        ),
        ({"format": "gct", "files": {"matrix": GCT}}, {"gene_ids": "ensembl"}, "size line does not fit"),
        (
            {"format": "mtx", "files": {role: f"mouse_mtx/{name}" for role, name in MOUSE.items()}},
            {"gene_ids": "ensembl"},
            "too few of the study's counts",
        ),
    ],
    ids=["log values", "counts in a layer", "fractions", "coverage", "cut GCT", "mouse"],
)
def test_what_is_no_count_of_a_human_gene_is_refused_with_advice(
    curate: Callable[..., Path], tmp_path: Path, part: dict[str, Any], fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        curate(part, **fields)
    assert "do: " in str(caught.value)
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
