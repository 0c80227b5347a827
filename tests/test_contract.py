"""Both packages against docs/corpus-format.md and a corpus that was written once and committed (tests/golden).

A change of the format is a new version: write the golden corpus of that version with `python -P tests/test_contract.py`
and say in docs/corpus-format.md what changed.
"""

import re
import shutil
from pathlib import Path

import anndata as ad
import numpy as np
import polars as pl
import pytest

import txfm
from curation.axis import ALIAS_COLUMNS, GeneAxis
from curation.build import Curation, curate_training
from curation.catalog import Study
from curation.corpus import FORMAT_VERSION, assemble, compose
from curation.obs_writer import OBS_COLUMNS
from curation.recipe import Recipe
from curation.store import VAR_COLUMNS
from curation.verify import verify_corpus

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden" / f"corpus-{FORMAT_VERSION}.zip"
HOW = (
    "if the format was meant to change, run `python -P tests/test_contract.py` and document it in docs/corpus-format.md"
)
N_AXIS = 12
# study -> (assay, table columns on the axis, samples)
STUDIES = {"cells": ("sc", [0, 2, 3, 5, 7, 11], 24), "tissue": ("bulk", [2, 3, 4, 9], 6)}


def counts_of(study: str) -> np.ndarray:
    """Return the source table of a toy study; no row is empty."""
    _, columns, n_samples = STUDIES[study]
    rows, genes = np.indices((n_samples, len(columns)))
    return (rows * 7 + genes * 5) % 4 + (genes == rows % len(columns))


def build(folder: Path) -> Path:
    """Write the toy corpus; return its folder."""
    corpus = folder / "corpus"
    ids = [f"ENSG{i:011d}" for i in range(N_AXIS)]
    genes = pl.DataFrame(
        {"ensembl_id": ids, "symbol": [f"G{i}" for i in range(N_AXIS)], "biotype": "", "chromosome": ""}
    )
    GeneAxis(genes=genes, names=pl.DataFrame(schema=dict.fromkeys(ALIAS_COLUMNS, pl.String))).write(
        corpus / "genes.parquet"
    )
    reports = []
    for name, (assay, columns, n_samples) in STUDIES.items():
        header = "," + ",".join(ids[i] for i in columns)
        rows = [f"b{i % 4}-{i}," + ",".join(map(str, row)) for i, row in enumerate(counts_of(name).tolist())]
        assert len(rows) == n_samples
        (folder / f"{name}.csv").write_text("\n".join([header, *rows, ""]))
        task = Curation(
            study=study(name, assay),
            recipe=Recipe(),
            recipe_name="plain",
            genes=corpus / "genes.parquet",
            sources=folder,
            seed=0,
        )
        stores = {split: corpus / "stores" / f"{name}.plain.{split}.zarr" for split in ("train", "validation")}
        reports.append(folder / f"{name}.json")
        curate_training(task, **stores, report=reports[-1], validation_share=0.25)
    assemble(corpus, name="golden", axis_source="toy", reports=reports, studies={}, out=corpus / "corpus.json")
    members = dict.fromkeys(STUDIES, "plain")
    compose(corpus, variant="all", members=members, held_out=["elsewhere"], reports=reports)
    return corpus


def study(name: str, assay: str) -> Study:
    """Return the catalogue entry of a toy study."""
    empty = {
        "filters": [],
        "alternatives": [],
        "do_not_use": [],
        "citation": {},
        "title": "",
        "notes": "",
        "status": {},
    }
    part = {"name": "p", "format": "dense_text", "orientation": "samples_by_genes", "files": {"matrix": f"{name}.csv"}}
    known = {
        "licence": "CC0",
        "role": "train",
        "publication_key": ["toy", name],
        "organism": "human",
        "simulated": False,
    }
    return Study.from_mapping(
        {"name": name, "assay": assay, "count_kind": "umi", "gene_ids": "ensembl", "gene_prefix_keep": None}
        | {"expected": None, "simulation": None, "obs": {"batch": {"pattern": "^(b[0-9])"}}}
        | {"parts": [part], "files": {f"{name}.csv": {"addresses": ["file:toy"]}}}
        | known
        | empty
    )


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("golden")
    shutil.unpack_archive(GOLDEN, folder)
    return folder / "corpus"


@pytest.fixture(scope="module", params=["0.1", FORMAT_VERSION])
def any_golden(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Return the committed corpus of each version that the reader knows."""
    folder = tmp_path_factory.mktemp("golden")
    shutil.unpack_archive(GOLDEN.with_name(f"corpus-{request.param}.zip"), folder)
    return folder / "corpus"


def test_the_committed_corpus_still_verifies(golden: Path) -> None:
    assert verify_corpus(golden) == [], HOW


def test_todays_writer_writes_the_committed_content(golden: Path, tmp_path: Path) -> None:
    written = build(tmp_path)
    for path in sorted((golden / "stores").iterdir()):
        old, new = ad.read_zarr(path), ad.read_zarr(written / "stores" / path.name)
        np.testing.assert_array_equal(old.X.toarray(), new.X.toarray(), err_msg=f"{path.name}: {HOW}")
        assert old.obs.equals(new.obs), f"{path.name}: {HOW}"
        assert old.var.equals(new.var), f"{path.name}: {HOW}"
    digests = [re.findall(r'"digest": "(\w+)"', (folder / "corpus.json").read_text()) for folder in (golden, written)]
    assert digests[0] == digests[1], HOW


@pytest.mark.parametrize("split", ["train", "validation"])
def test_the_reader_yields_every_count_of_the_source_once(any_golden: Path, split: str) -> None:
    corpus = txfm.open_corpus(any_golden, "all", split, batch_size=5, seed=3)
    seen = set()
    for batch in corpus:
        for row, sample in enumerate(batch.sample_ids):
            name, _, original = sample.partition(":")
            source_row = int(original.split("-")[1])
            entries = slice(batch.indptr[row], batch.indptr[row + 1])
            found = dict(
                zip(
                    corpus.vocabulary.axis_positions[batch.positions[entries]].tolist(),
                    batch.counts[entries].tolist(),
                    strict=True,
                )
            )
            source = dict(zip(STUDIES[name][1], counts_of(name)[source_row].tolist(), strict=True))
            assert found == {position: count for position, count in source.items() if count}
            assert corpus.studies[batch.study_index[row]] == name
            seen.add(sample)
    assert len(seen) == corpus.n_samples == {"train": 22, "validation": 8}[split]


def test_the_reader_knows_what_each_study_measured(any_golden: Path) -> None:
    corpus = txfm.open_corpus(any_golden, "all", "train", batch_size=5, seed=0)
    for name, measured in zip(corpus.studies, corpus.measured, strict=True):
        assert corpus.vocabulary.axis_positions[measured].tolist() == STUDIES[name][1]
    assert corpus.vocabulary.axis_positions.tolist() == sorted(
        {gene for _, genes, _ in STUDIES.values() for gene in genes}
    )


def test_the_document_names_todays_version_and_columns() -> None:
    text = (ROOT / "docs" / "corpus-format.md").read_text()
    assert f"format {FORMAT_VERSION}" in text.splitlines()[0]
    rows = [
        re.findall(r"`([^`]+)`", line.split("|")[1])
        for line in text.splitlines()
        if line.startswith(("| `obs", "| `var"))
    ]
    named = {name.removeprefix("obs/").removeprefix("var/") for row in rows for name in row} - {"obs", "var"}
    assert named == {*OBS_COLUMNS, *VAR_COLUMNS, "sample_id", "ensembl_id"}


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        corpus_folder = build(Path(scratch))
        for links in (corpus_folder / "variants").glob("*.zarr"):
            shutil.rmtree(links)  # a zip file has no links; the manifest is the way in
        shutil.make_archive(str(GOLDEN.with_suffix("")), "zip", scratch, "corpus")
