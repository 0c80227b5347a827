"""Rows of stores against their source files, read here with pandas, SciPy and anndata instead of our readers."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.io import mmread

from curation.acquire.fetch import fetch
from curation.axis import GeneAxis, build_axis
from curation.build import Curation, curate_evaluation, curate_training
from curation.catalog import Part
from curation.config import read_config
from curation.genes import GeneNames
from curation.plan import Plan, read_plan

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("DIVERSERNA_DATA", ROOT.parent / "shared" / "data"))
STUDIES = {
    "mixology_5cl": "mini_cells",
    "kang_pbmc": "mini_cells",
    "breast_copykat": "mini_cells",
    "pbmc_soupx": "mini_cells",
    "pbmc_citeseq": "mini_cells",
    "gtex_skin": "mini_bulk",
    "tcga_gbm": "mini_bulk",
    "mixology_3cl": "evaluation",
}
ROWS = 50

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not DATA.is_dir(), reason="the real studies are not here: set DIVERSERNA_DATA"),
]


@pytest.fixture(scope="module")
def plan() -> Plan:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIVERSERNA_DATA", str(DATA.resolve()))
        return read_plan(read_config([ROOT / "config.yaml", ROOT / "config" / "mini.yaml"]), ROOT)


@pytest.fixture(scope="module")
def sources(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All files of the miniature, fetched as the workflow does."""
    folder = tmp_path_factory.mktemp("sources")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIVERSERNA_DATA", str(DATA.resolve()))
        for source, files in plan.sources.items():
            for path, file in files.items():
                fetch(file, folder / source / path)
    return folder


@pytest.fixture(scope="module")
def genes(plan: Plan, sources: Path) -> Path:
    annotation = plan.annotation
    assert annotation.hgnc is not None
    axis, _ = build_axis(annotation.path(sources), annotation.format, hgnc=annotation.hgnc.path(sources))
    axis.write(sources / "genes.parquet")
    return sources / "genes.parquet"


def read_source(part: Part, folder: Path) -> tuple[sparse.csr_matrix, list[str], list[str]]:
    """Return (samples by genes, sample ids, gene ids) of a part."""
    matrix = folder / part.files["matrix"]
    if part.format == "mtx":
        names = [pd.read_csv(folder / part.files[role], sep="\t", header=None)[0] for role in ("barcodes", "features")]
        counts = sparse.csr_matrix(mmread(matrix).T)
        return counts, names[0].astype(str).tolist(), names[1].astype(str).tolist()
    if part.format == "h5ad":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the files are of an old version of anndata
            table = ad.read_h5ad(matrix)
        return sparse.csr_matrix(table.X), table.obs_names.tolist(), table.var_names.tolist()
    frame = pd.read_csv(matrix, index_col=0)
    values = frame.to_numpy(dtype=float)
    assert part.orientation == "genes_by_samples"
    return sparse.csr_matrix(values.T), frame.columns.tolist(), frame.index.astype(str).tolist()


def expected_row(values: np.ndarray, ids: list[str], positions: np.ndarray, copies: np.ndarray) -> Mapping[int, int]:
    """Add a sample's rounded values up by axis position; a repeated row counts once."""
    total: dict[int, int] = {}
    for column in np.flatnonzero(values):
        if positions[column] >= 0 and not copies[column]:
            position = int(positions[column])
            total[position] = total.get(position, 0) + int(np.rint(values[column]))
    return total


@pytest.mark.parametrize("study_name", STUDIES)
def test_fifty_random_rows_of_each_store_equal_the_source_gene_by_gene(
    plan: Plan, sources: Path, genes: Path, tmp_path: Path, study_name: str
) -> None:
    recipe = STUDIES[study_name]
    study = plan.catalog.studies[study_name]
    folder = sources / study_name
    task = Curation(study=study, recipe=plan.recipes[recipe], recipe_name=recipe, genes=genes, sources=folder, seed=0)
    if study.role == "evaluation":
        stores = [tmp_path / "evaluation.zarr"]
        curate_evaluation(task, evaluation=stores[0], report=tmp_path / "qc.json")
    else:
        stores = [tmp_path / "train.zarr", tmp_path / "validation.zarr"]
        curate_training(task, train=stores[0], validation=stores[1], report=tmp_path / "qc.json", validation_share=0.1)
    names = GeneNames(GeneAxis.read(genes))
    parts = {part.name: read_source(part, folder) for part in study.parts}
    maps = {part: names.map(ids, study.gene_ids).positions for part, (_, _, ids) in parts.items()}
    repeated = {part: repeated_rows(counts, ids) for part, (counts, _, ids) in parts.items()}
    rng = np.random.default_rng(0)
    checked = 0
    for path in stores:
        store = ad.read_zarr(path)
        measured = set(np.flatnonzero(store.var["measured"]).tolist())
        for row in rng.choice(store.n_obs, min(ROWS, store.n_obs), replace=False):
            original = store.obs_names[row].split(":", 1)[1]
            part = study.parts[0].name if len(parts) == 1 else original.split("/", 1)[0]
            counts, samples, ids = parts[part]
            sample = samples.index(original if len(parts) == 1 else original.split("/", 1)[1])
            wanted = expected_row(counts[sample].toarray().ravel(), ids, maps[part], repeated[part])
            stored = store.X[row]
            found = dict(zip(stored.indices.tolist(), stored.data.tolist(), strict=True))
            assert found == {gene: count for gene, count in wanted.items() if gene in measured and count}
            checked += 1
    assert checked >= min(ROWS, 20)


def repeated_rows(counts: sparse.csr_matrix, ids: list[str]) -> np.ndarray:
    """Return which genes repeat an earlier one of the same id, every value equal, on 100 counts or 10 samples."""
    columns = counts.tocsc()
    seen: dict[str, list[bytes]] = {}
    found = np.zeros(len(ids), dtype=bool)
    duplicated = pd.Index(ids).duplicated(keep=False)
    for column in np.flatnonzero(duplicated):
        entries = slice(columns.indptr[column], columns.indptr[column + 1])
        rounded = np.rint(columns.data[entries])
        if rounded.sum() < 100 and np.count_nonzero(rounded) < 10:
            continue
        values = columns.indices[entries].tobytes() + rounded.tobytes()
        found[column] = values in seen.setdefault(ids[column], [])
        seen[ids[column]].append(values)
    return found
