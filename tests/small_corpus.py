"""A small corpus of production code: bulk and single cell, two recipes of a study, two names of the paper's Table 1."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from curation.axis import ALIAS_COLUMNS, GeneAxis
from curation.build import Curation, curate_training
from curation.catalog import Study
from curation.corpus import assemble, compose
from curation.recipe import Recipe

N_AXIS = 400
# study -> (assay, genes, samples, batches); single cells are sparse, bulk is not; one batch gives no validation rows
STUDIES: Mapping[str, tuple[str, int, int, int]] = {
    "breast_cancer": ("sc", 240, 400, 8),
    "gtex": ("bulk", 300, 40, 8),
    "mine": ("sc", 200, 240, 8),
    "single": ("sc", 100, 50, 1),
}
RECIPES: Mapping[str, Recipe] = {"plain": Recipe(), "strict": Recipe(min_genes_per_sample=40, min_samples_per_gene=60)}
MEMBERS = {
    "all": {"breast_cancer": "plain", "gtex": "plain", "mine": "plain", "single": "plain"},
    "minus_bulk": {"breast_cancer": "plain", "mine": "plain"},
    "strict": {"breast_cancer": "plain", "gtex": "plain", "mine": "strict"},
}


def build_corpus(folder: Path, *, seed: int = 0) -> Path:
    """Write the corpus; return its folder. Another seed gives other counts."""
    corpus = folder / "corpus"
    ids = [f"ENSG{i:011d}" for i in range(N_AXIS)]
    genes = pl.DataFrame(
        {"ensembl_id": ids, "symbol": [f"G{i}" for i in range(N_AXIS)], "biotype": "", "chromosome": "chr1"}
    )
    names = pl.DataFrame(schema=dict.fromkeys(ALIAS_COLUMNS, pl.String))
    GeneAxis(genes=genes, names=names).write(corpus / "genes.parquet")
    rng = np.random.default_rng(seed)
    reports = {}
    for study, (assay, n_genes, n_samples, n_batches) in STUDIES.items():
        columns = np.sort(rng.choice(N_AXIS, n_genes, replace=False))
        levels = rng.gamma(0.6, 3.0 if assay == "sc" else 300.0, n_genes)
        counts = rng.poisson(levels, (n_samples, n_genes))
        rows = [f"b{i % n_batches}-{i}," + ",".join(map(str, row)) for i, row in enumerate(counts.tolist())]
        header = "," + ",".join(ids[i] for i in columns)
        (folder / f"{study}.csv").write_text("\n".join([header, *rows, ""]))
        for recipe in {"plain", *(members.get(study, "plain") for members in MEMBERS.values())}:
            task = Curation(
                study=_study(study, assay),
                recipe=RECIPES[recipe],
                recipe_name=recipe,
                genes=corpus / "genes.parquet",
                sources=folder,
                seed=0,
            )
            stores = {split: corpus / "stores" / f"{study}.{recipe}.{split}.zarr" for split in ("train", "validation")}
            reports[study, recipe] = folder / f"{study}.{recipe}.json"
            curate_training(task, **stores, report=reports[study, recipe], validation_share=0.25)
    about = {study: {"title": study, "citation": {}, "licence": "CC0"} for study in STUDIES}
    everything = list(reports.values())
    out = corpus / "corpus.json"
    assemble(corpus, name="small", axis_source="toy", reports=everything, studies=about, out=out)
    for variant, members in MEMBERS.items():
        of_members = [reports[member] for member in members.items()]
        compose(corpus, variant=variant, members=members, held_out=["elsewhere"], reports=of_members)
    return corpus


def _study(name: str, assay: str) -> Study:
    part = {"name": "p", "format": "dense_text", "orientation": "samples_by_genes", "files": {"matrix": f"{name}.csv"}}
    fields: dict[str, Any] = {
        "name": name,
        "title": name,
        "assay": assay,
        "count_kind": "umi" if assay == "sc" else "reads",
        "gene_ids": "ensembl",
        "gene_prefix_keep": None,
        "expected": None,
        "simulation": None,
        "simulated": False,
        "obs": {"batch": {"pattern": "^(b[0-9])"}},
        "parts": [part],
        "files": {f"{name}.csv": {"addresses": ["file:toy"]}},
        "licence": "CC0",
        "role": "train",
        "publication_key": ["toy", name],
        "organism": "human",
    }
    return Study.from_mapping(
        fields | {"filters": [], "alternatives": [], "do_not_use": []} | {"citation": {}, "status": {}, "notes": ""}
    )


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus of seed 0, for tests that only read it."""
    return build_corpus(tmp_path_factory.mktemp("small"))
