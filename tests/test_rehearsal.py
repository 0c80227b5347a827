"""Simulated studies in the formats of all nine sources, curated and compared with their truth, sample by sample."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
import zarr

from curation.acquire.archives import extract_member
from curation.acquire.fetch import fetch
from curation.axis import GeneAxis
from curation.build import Curation, curate_training
from curation.catalog import Study, read_catalog
from curation.recipe import Recipe
from curation.simulate.compare import differences
from curation.simulate.rehearsal import STUDIES, Rehearsal, recipes_of, write_rehearsal

ROOT = Path(__file__).parents[1]
PAIRS = [(study, recipe) for study in STUDIES for recipe in recipes_of(study)]
# Every reason that curation has for a sample or a gene, but those of traps that no simulated study sets
SAMPLE_REASONS = {
    "above_max_genes_per_sample",
    "above_max_mito_share",
    "below_min_counts_per_sample",
    "below_min_genes_per_sample",
    "below_min_samples_per_batch",
    "count_kind_smartseq_tpm",
    "duplicate_of_another_sample",
    "duplicate_of_another_study",
    "no_batch",
    "no_metadata",
    "not_a_control",
    "not_in_analysis_freeze",
    "not_normal_quality",
    "perturbation_without_phenoprint",
}
GENE_REASONS = {
    "ambiguous_symbol",
    "below_min_samples_per_gene",
    "ensembl_id_not_on_axis",
    "excel_date",
    "not_in_every_part_of_the_study",
    "other_organism",
    "par_y",
    "retired_ensembl_id",
    "spike_in",
    "split_ensembl_id",
    "transgene",
    "unknown_symbol",
}


@dataclass(frozen=True, kw_only=True)
class Curated:
    """A rehearsal and the folder of its stores."""

    folder: Path
    stores: Path

    def files(self, study: str, recipe: str) -> tuple[Path, list[Path], Path]:
        """Return truth, stores and report of a study under a recipe."""
        stem = f"{study}.{recipe}"
        stores = [self.stores / f"{stem}.{split}.zarr" for split in ("train", "validation")]
        return self.folder / "truth" / f"{stem}.json", stores, self.stores / f"{stem}.json"


@pytest.fixture(scope="module")
def curated(rehearsal_axis: GeneAxis, tmp_path_factory: pytest.TempPathFactory) -> Curated:
    """All nine studies with 0.2 % of the samples and 5 % of the genes, curated."""
    folder = tmp_path_factory.mktemp("rehearsal")
    rehearsal_axis.write(folder / "genes.parquet")
    write_rehearsal(Rehearsal(scale=0.002, gene_share=0.05), folder / "genes.parquet", folder)
    found = Curated(folder=folder, stores=folder / "stores")
    found.stores.mkdir()
    studies = read_catalog([folder / "catalog.yaml"]).studies
    recipes = yaml.safe_load((folder / "config.yaml").read_text())["recipes"]
    for name, recipe_name in PAIRS:
        _bring(studies[name], folder / "sources" / name)
        recipe = Recipe.from_mapping(recipes[recipe_name])
        others = [store for other in recipe.drop_samples_of for store in found.files(other, recipes_of(other)[0])[1]]
        task = Curation(
            study=studies[name],
            recipe=recipe,
            recipe_name=recipe_name,
            genes=folder / "genes.parquet",
            sources=folder / "sources" / name,
            seed=0,
            other_stores=tuple(others),
        )
        _, (train, validation), report = found.files(name, recipe_name)
        curate_training(task, train=train, validation=validation, report=report, validation_share=0.1)
    return found


def _bring(study: Study, sources: Path) -> None:
    """Fetch and extract a study's files, as the workflow does."""
    for file in study.files.values():
        if file.addresses:
            fetch(file, sources / file.path)
    for file in study.files.values():
        if file.archive:
            extract_member(sources / file.archive, file, sources / file.path)


@pytest.mark.parametrize(("study", "recipe"), PAIRS)
def test_every_store_equals_the_truth(curated: Curated, study: str, recipe: str) -> None:
    assert differences(*curated.files(study, recipe)) == []


def test_every_reason_occurs(curated: Curated) -> None:
    truths = [json.loads(curated.files(*pair)[0].read_text()) for pair in PAIRS]
    assert {reason for truth in truths for reason in truth["samples"]["dropped"]} == SAMPLE_REASONS
    assert {reason for truth in truths for reason in truth["genes"]["dropped"]} == GENE_REASONS
    assert all(truth["samples"]["kept"] for truth in truths)


def test_stores_say_that_their_counts_are_simulated(curated: Curated) -> None:
    for pair in PAIRS:
        for store in curated.files(*pair)[1]:
            assert zarr.open_group(store, mode="r").attrs["simulated"] is True


@pytest.fixture
def changed(curated: Curated, tmp_path: Path) -> Iterator[tuple[Path, list[Path], Path]]:
    """Copies of truth, stores and report of one study, for a test to spoil."""
    truth, stores, report = curated.files("breast_cancer", "single_cell")
    for path in truth.parent.glob("breast_cancer.*"):
        shutil.copy(path, tmp_path)
    copies = [shutil.copytree(store, tmp_path / store.name) for store in stores]
    return (tmp_path / truth.name, copies, Path(shutil.copy(report, tmp_path / "report.json")))


def test_a_wrong_count_is_noticed(changed: tuple[Path, list[Path], Path]) -> None:
    truth, stores, report = changed
    matrix: Any = zarr.open_group(stores[0], mode="r+")["X"]
    # a count moves from one gene of a sample to its next: the sum stays
    values = matrix["data"][:]
    cell = next(i for i in range(len(values)) if values[i] > 1)
    values[cell] -= 1
    values[cell + 1 if cell + 1 not in matrix["indptr"][:] else cell - 1] += 1
    matrix["data"][:] = values
    assert "1 samples differ" in differences(truth, stores, report)


def test_a_missing_store_row_and_a_wrong_reason_are_noticed(changed: tuple[Path, list[Path], Path]) -> None:
    truth, stores, report = changed
    found = json.loads(report.read_text())
    found["samples"]["dropped"]["no_batch"] = 77
    report.write_text(json.dumps(found))
    problems = differences(truth, stores[:1], report)
    assert any("samples are missing" in problem for problem in problems)
    assert any(problem.startswith("report, samples.dropped: no_batch 77 instead of") for problem in problems)


def test_a_wrong_label_and_a_sample_too_many_are_noticed(changed: tuple[Path, list[Path], Path]) -> None:
    truth, stores, report = changed
    cells = truth.with_suffix(".cells.tsv.gz")
    header, *rows = gzip.decompress(cells.read_bytes()).decode().splitlines()
    kept = [i for i, row in enumerate(rows) if row.split("\t")[1] == "kept"]
    rows[kept[0]] = rows[kept[0]].replace("\tkept\t", "\tno_batch\t")
    rows[kept[1]] = rows[kept[1]].replace("\tbreast\t", "\tbrain\t")
    cells.write_bytes(gzip.compress("\n".join([header, *rows, ""]).encode()))
    problems = differences(truth, stores, report)
    assert "2 samples differ" in problems
    assert any("is kept, not no_batch" in problem for problem in problems)


@pytest.mark.slow
def test_the_workflow_builds_a_rehearsal(
    workflow: Callable[..., Any], rehearsal_axis: GeneAxis, tmp_path: Path
) -> None:
    """Fetch, extract, curate, assemble and compose, all by the rules; the axis comes out of a table on disk."""
    table = tmp_path / "genes.csv"
    genes = rehearsal_axis.genes.rename({"ensembl_id": "gene_id", "symbol": "gene_name"})
    genes.write_csv(table)
    sheet = {
        "annotation": {
            "rehearsal_genes": {
                "format": "gene_table_csv",
                "licence": "CC0",
                "files": {"genes.csv": {"addresses": [f"file:{table}"]}},
            }
        }
    }
    (tmp_path / "axis.yaml").write_text(yaml.safe_dump(sheet))
    # without HGNC's names and the history: the axis that the workflow reads from the table
    without_names = GeneAxis(genes=rehearsal_axis.genes, names=rehearsal_axis.names.clear())
    without_names.write(tmp_path / "genes.parquet")
    folder = tmp_path / "rehearsal"
    write_rehearsal(Rehearsal(scale=0.002, gene_share=0.05), tmp_path / "genes.parquet", folder)
    more = {"catalogs": {"annotation": str(tmp_path / "axis.yaml")}, "gene_axis": {"annotation": "rehearsal_genes"}}
    (tmp_path / "more.yaml").write_text(yaml.safe_dump(more))
    run = workflow(folder / "config.yaml", tmp_path / "more.yaml")
    code, output = run.run("--cores", "2", "corpora")
    assert code == 0, output
    build = run.folder / "results" / "rehearsal"
    for study, recipe in PAIRS:
        stem = f"{study}.{recipe}"
        stores = [build / "corpus" / "stores" / f"{stem}.{split}.zarr" for split in ("train", "validation")]
        assert differences(folder / "truth" / f"{stem}.json", stores, build / "qc" / f"{stem}.json") == []
