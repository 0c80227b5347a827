"""Simulated corpora for benchmarks/corpus_read.py, written once by curation itself.

Drawing 410 million counts takes longer than reading them a hundred times. A pool of samples is drawn properly and each
sample of a study is one of the pool, thinned or rescaled on its own, so that no two are equal and a chunk, which holds
64 single cells, hardly ever holds two of the same origin: the codec sees no repeats that real data would not have.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import polars as pl
from scipy import sparse

from curation.axis import ALIAS_COLUMNS, GeneAxis
from curation.build import Curation, curate_training
from curation.catalog import Study
from curation.corpus import assemble, compose
from curation.recipe import Recipe

ROWS_PER_BLOCK = 10_000
POOL_CELLS, POOL_BULK = 20_000, 300
# Entries of a pooled cell that a cell keeps where nothing else is said: enough lost that each is another cell
KEPT = 0.9
CELL_STATES = 24


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """A simulated study.

    Attributes
    ----------
    name : str
    assay : {"sc", "bulk"}
    n_samples, n_nonzeros : int
        Samples, and non-zeros of one on average, before batches and depths differ.
    n_batches : int
    depth_range : tuple of float
        Lowest and highest share of a sample's entries that a batch keeps (single cell), or factor of its counts (bulk).
    pool : int
        Samples that are drawn.
    """

    name: str
    assay: str
    n_samples: int
    n_nonzeros: int
    n_batches: int = 1
    depth_range: tuple[float, float] = (KEPT, KEPT)
    pool: int = POOL_CELLS


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A corpus of simulated studies on an axis of `n_genes` genes."""

    name: str
    n_genes: int
    studies: tuple[StudyPlan, ...]

    @property
    def n_samples(self) -> int:
        """Samples of all studies."""
        return sum(study.n_samples for study in self.studies)

    def corpus(self, folder: Path) -> Path:
        """Return where the corpus lies."""
        return folder / f"{self.name}-{self.n_samples}x{self.n_genes}"

    def h5ad(self, folder: Path) -> Path:
        """Return the source of the only study, which readers of h5ad get."""
        return self.corpus(folder) / "source" / f"{self.studies[0].name}.h5ad"


def single_cell(n_samples: int = 200_000) -> Profile:
    """Return the profile of peers.md: 20,000 genes, about 2,050 non-zeros a cell."""
    # depths differ, so that 2,003 non-zeros at the mean depth come to 2,053 on average
    cells = StudyPlan(name="cells", assay="sc", n_samples=n_samples, n_nonzeros=2_003)
    return Profile(name="sc", n_genes=20_000, studies=(cells,))


def bulk(n_samples: int = 3_000) -> Profile:
    """Return 40,000 genes, 29,000 non-zeros a sample, counts up to millions."""
    tissue = StudyPlan(name="tissue", assay="bulk", n_samples=n_samples, n_nonzeros=29_000, pool=POOL_BULK)
    return Profile(name="bulk", n_genes=40_000, studies=(tissue,))


def mixed(scale: float = 1.0) -> Profile:
    """Return six studies of unequal size whose batches differ in depth, for the quality of the shuffle."""
    cells = {  # samples, batches, share of a cell's entries that a batch keeps
        "a100k": (100_000, 12, (0.2, KEPT)),
        "b40k": (40_000, 8, (0.5, KEPT)),
        "c20k": (20_000, 5, (0.1, 0.4)),
        "d5k": (5_000, 4, (0.3, KEPT)),
        "e1k": (1_000, 2, (0.6, 0.9)),
    }
    plans = [
        StudyPlan(
            name=name,
            assay="sc",
            n_samples=int(n_samples * scale),
            n_nonzeros=2_500,
            n_batches=n_batches,
            depth_range=depth_range,
            pool=3_000,
        )
        for name, (n_samples, n_batches, depth_range) in cells.items()
    ]
    tissue = StudyPlan(
        name="f500",
        assay="bulk",
        n_samples=int(500 * scale),
        n_nonzeros=29_000,
        n_batches=3,
        depth_range=(0.3, 3.0),
        pool=60,
    )
    studies = (*plans, tissue)
    return Profile(name="mixed", n_genes=30_000, studies=studies)


def write_corpus(profile: Profile, folder: Path, *, keep_source: bool) -> Path:
    """Write a profile's corpus with its variant `all` of one split, train; return it. What is there is used again."""
    target = profile.corpus(folder)
    if (target / "variants" / "all.json").is_file():
        return target
    partial = target.with_name(f".{target.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "source").mkdir(parents=True)
    ids = [f"ENSG{i:011d}" for i in range(profile.n_genes)]
    genes = pl.DataFrame({"ensembl_id": ids, "symbol": "", "biotype": "", "chromosome": ""})
    names = pl.DataFrame(schema=dict.fromkeys(ALIAS_COLUMNS, pl.String))
    GeneAxis(genes=genes, names=names).write(partial / "genes.parquet")
    reports = []
    for number, plan in enumerate(profile.studies):
        write_h5ad(partial / "source" / f"{plan.name}.h5ad", plan, ids, seed=number)
        reports.append(curate(partial, plan))
        if not keep_source:
            (partial / "source" / f"{plan.name}.h5ad").unlink()
    assemble(
        partial, name=profile.name, axis_source="simulated", reports=reports, studies={}, out=partial / "corpus.json"
    )
    members = {plan.name: "plain" for plan in profile.studies}
    compose(partial, variant="all", members=members, held_out=[], reports=reports)
    partial.rename(target)
    return target


def curate(corpus: Path, plan: StudyPlan) -> Path:
    """Write the stores of a study from its h5ad file; return the QC report."""
    known = {"licence": "CC0", "role": "train", "publication_key": ["simulated", plan.name], "organism": "human"}
    empty: dict[str, object] = {
        "filters": [],
        "alternatives": [],
        "do_not_use": [],
        "citation": {},
        "title": "",
        "notes": "",
        "status": {},
    }
    file = f"{plan.name}.h5ad"
    study = Study.from_mapping(
        {"name": plan.name, "assay": plan.assay, "count_kind": "umi" if plan.assay == "sc" else "reads"}
        | {"gene_ids": "ensembl", "gene_prefix_keep": None, "expected": None, "simulation": None, "simulated": True}
        | {"obs": {"batch": {"column": "batch"}}, "files": {file: {"addresses": ["file:simulated"]}}}
        | {"parts": [{"name": "p", "format": "h5ad", "files": {"matrix": file}}]}
        | known
        | empty
    )
    task = Curation(
        study=study,
        recipe=Recipe(),
        recipe_name="plain",
        genes=corpus / "genes.parquet",
        sources=corpus / "source",
        seed=0,
    )
    stores = {split: corpus / "stores" / f"{plan.name}.plain.{split}.zarr" for split in ("train", "validation")}
    report = corpus / "source" / f"{plan.name}.json"
    curate_training(task, **stores, report=report, validation_share=0.0)
    return report


def write_h5ad(path: Path, plan: StudyPlan, ids: list[str], *, seed: int) -> None:
    """Write a study's table as anndata does (float32, uncompressed), block by block."""
    n = plan.n_samples
    rng = np.random.default_rng([seed, n])
    # unequal batches, one after the other as in a real file
    share = np.sort(rng.dirichlet(np.full(plan.n_batches, 3.0)))[::-1]
    sizes = np.maximum(1, (share * n).astype(np.int64))
    sizes[0] += n - sizes.sum()
    batch_of_row = np.repeat(np.arange(plan.n_batches), sizes)
    depth_of_batch = rng.permutation(np.geomspace(*plan.depth_range, plan.n_batches))
    batch = pd.Categorical([f"b{number:02d}" for number in batch_of_row])
    obs = pd.DataFrame({"batch": batch}, index=[f"s{i:07d}" for i in range(n)])
    ad.AnnData(obs=obs, var=pd.DataFrame(index=ids)).write_h5ad(path)
    draw = {"sc": thinned_cells, "bulk": rescaled_bulk}[plan.assay]
    with h5py.File(path, "a") as file:
        file.pop("X", None)
        group = file.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [n, len(ids)]})
        columns = group.create_dataset("indices", shape=(0,), maxshape=(None,), chunks=(2**18,), dtype="i4")
        values = group.create_dataset("data", shape=(0,), maxshape=(None,), chunks=(2**18,), dtype="f4")
        indptr = [np.zeros(1, np.int64)]
        for block in draw(rng, plan, len(ids), depth_of_batch[batch_of_row]):
            start = len(columns)
            columns.resize((start + block.nnz,))
            values.resize((start + block.nnz,))
            columns[start:], values[start:] = block.indices, block.data
            indptr.append(indptr[-1][-1] + block.indptr[1:].astype(np.int64))
        group.create_dataset("indptr", data=np.concatenate(indptr))


def thinned_cells(
    rng: np.random.Generator, plan: StudyPlan, n_genes: int, kept: np.ndarray
) -> Iterator[sparse.csr_matrix]:
    """Yield blocks of cells: each one of the pool, of whose entries it keeps the share `kept`."""
    pool = pooled_cells(rng, min(plan.pool, plan.n_samples), n_genes, plan.n_nonzeros / KEPT)
    for first in range(0, plan.n_samples, ROWS_PER_BLOCK):
        share = kept[first : first + ROWS_PER_BLOCK]
        block = pool[rng.integers(0, pool.shape[0], len(share))]
        lengths = np.diff(block.indptr)
        limit = np.repeat((share * 256).astype(np.uint16), lengths)
        stays = np.frombuffer(rng.bytes(block.nnz), np.uint8) < limit
        ends = np.concatenate([[0], np.cumsum(stays)])[block.indptr]
        yield sparse.csr_matrix((block.data[stays], block.indices[stays], ends), shape=block.shape)


def pooled_cells(rng: np.random.Generator, n: int, n_genes: int, n_nonzeros: float) -> sparse.csr_matrix:
    """Draw cells: log-normal genes, states that differ in them, log-normal depth, Poisson counts."""
    popularity = rng.lognormal(0, 2.0, n_genes)
    states = popularity * rng.lognormal(0, 0.7, (CELL_STATES, n_genes))
    states /= states.sum(axis=1, keepdims=True)
    depth = rng.lognormal(0, 0.4, n)
    state = rng.integers(0, CELL_STATES, n)
    states *= fitting_depth(lambda scale: (1 - np.exp(-scale * states)).sum(axis=1).mean(), n_nonzeros)
    rates = states.astype(np.float32)
    blocks = []
    for first in range(0, n, 1_000):
        rows = slice(first, first + 1_000)
        rate = rates[state[rows]] * depth[rows, None].astype(np.float32)
        u = rng.random(rate.shape, dtype=np.float32)
        found, genes = np.nonzero(u < -np.expm1(-rate))
        lam = rate[found, genes].astype(np.float64)
        # counts given that there is one: the first comes before 1, the others after it
        waited = -np.log1p(rng.random(len(lam)) * np.expm1(-lam))
        counts = 1 + rng.poisson(np.maximum(lam - waited, 0))
        indptr = np.concatenate([[0], np.cumsum(np.bincount(found, minlength=len(rate)))])
        blocks.append(sparse.csr_matrix((counts.astype(np.float32), genes.astype(np.int32), indptr), shape=rate.shape))
    return sparse.vstack(blocks, format="csr")


def rescaled_bulk(
    rng: np.random.Generator, plan: StudyPlan, n_genes: int, factor: np.ndarray
) -> Iterator[sparse.csr_matrix]:
    """Yield blocks of bulk samples: each one of the pool, its counts scaled, with noise, and rounded."""
    rate = rng.lognormal(0, 2.5, n_genes)
    rate *= fitting_depth(lambda scale: (1 - np.exp(-scale * rate)).sum(), plan.n_nonzeros)
    n = min(plan.pool, plan.n_samples)
    pool = sparse.csr_matrix(rng.poisson(rate * rng.gamma(5.0, 0.2, (n, n_genes))).astype(np.float32))
    for first in range(0, plan.n_samples, 1_000):
        scale = factor[first : first + 1_000]
        block = pool[rng.integers(0, n, len(scale))]
        noise = rng.standard_normal(block.nnz, dtype=np.float32) * 0.2
        block.data = np.ceil(block.data * np.exp(noise) * np.repeat(scale, np.diff(block.indptr)).astype(np.float32))
        yield block


def fitting_depth(nonzeros: Callable[[float], float], wanted: float) -> float:
    """Return the factor of the rates that gives the wanted number of non-zeros."""
    low, high = 1e-3, 1e9
    for _ in range(60):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if nonzeros(middle) < wanted else (low, middle)
    return low
