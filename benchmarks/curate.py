"""Curation beside the same steps with anndata in memory: samples a second, and peak memory as samples grow.

    python benchmarks/curate.py [--samples 5000 20000 80000] [--genes 20000] [--repeats 3]

Writes simulated sparse h5ad files of growing size, then runs, interleaved and each as a process of its own,
  ours       python -m curation curate: blocks, gene map, gene filter, then sample filter, split, shuffle, sharded Zarr
  in memory  anndata.read_h5ad, the same filters and split, a shuffled copy, AnnData.write_zarr
and prints medians with the range. Peak memory is the resident set of the process, from wait4.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import polars as pl
from scipy import sparse

from curation.axis import ALIAS_COLUMNS, GeneAxis

NNZ_PER_SAMPLE = 1_500
IN_MEMORY = """
import sys
import anndata as ad, numpy as np
from curation.split import validation_batches
source, out = sys.argv[1:3]
table = ad.read_h5ad(source)
table = table[:, np.asarray((table.X > 0).sum(0)).ravel() >= 10].copy()
table = table[np.asarray((table.X > 0).sum(1)).ravel() >= 200].copy()
table.X = table.X.astype(np.int32)
held = validation_batches(table.obs["batch"].value_counts().to_dict(), study="toy", share=0.05, seed=0)
order = np.random.default_rng(0).permutation(table.n_obs)
for name, chosen in (("train", ~table.obs["batch"].isin(held)), ("validation", table.obs["batch"].isin(held))):
    table[order[chosen.to_numpy()[order]]].copy().write_zarr(f"{out}/{name}.zarr")
"""


def write_inputs(folder: Path, n_samples: int, n_genes: int) -> Path:
    """Write an h5ad file of `n_samples` cells in 24 batches and the axis of its genes."""
    rng = np.random.default_rng(n_samples)
    ids = [f"ENSG{i:011d}" for i in range(n_genes)]
    popularity = rng.lognormal(0, 1.5, n_genes)
    columns = rng.choice(n_genes, n_samples * NNZ_PER_SAMPLE, p=popularity / popularity.sum())
    rows = np.repeat(np.arange(n_samples), NNZ_PER_SAMPLE)
    counts = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=(n_samples, n_genes))
    obs = pd.DataFrame({"batch": [f"b{i % 24}" for i in range(n_samples)]}, index=[f"c{i}" for i in range(n_samples)])
    path = folder / f"{n_samples}.h5ad"
    ad.AnnData(counts, obs=obs, var=pd.DataFrame(index=ids)).write_h5ad(path)
    names = pl.DataFrame(schema=dict.fromkeys(ALIAS_COLUMNS, pl.String))
    genes = pl.DataFrame({"ensembl_id": ids, "symbol": "", "biotype": "", "chromosome": ""})
    GeneAxis(genes=genes, names=names).write(folder / "genes.parquet")
    return path


def command_of(method: str, source: Path, out: Path) -> list[str]:
    """Return the command line of one method."""
    if method == "in memory":
        return [sys.executable, "-W", "ignore", "-c", IN_MEMORY, str(source), str(out)]
    study = {
        "name": "toy", "title": "", "citation": {}, "licence": "", "role": "train", "publication_key": ["a", "b"],
        "assay": "sc", "organism": "human", "simulated": True, "count_kind": "umi", "gene_ids": "ensembl",
        "gene_prefix_keep": None, "expected": None, "obs": {"batch": {"column": "batch"}}, "filters": [],
        "parts": [{"name": "p", "format": "h5ad", "files": {"matrix": source.name}}],
        "files": {source.name: {"addresses": []}}, "alternatives": [], "do_not_use": [],
    }  # fmt: skip
    options: dict[str, object] = {
        "study": json.dumps(study),
        "recipe": json.dumps({"min_samples_per_gene": 10, "min_genes_per_sample": 200}),
        "recipe-name": "r",
        "split": json.dumps({"validation_share": 0.05, "seed": 0}),
        "genes": source.with_name("genes.parquet"),
        "sources": source.parent,
        "train": out / "train.zarr",
        "validation": out / "validation.zarr",
        "report": out / "report.json",
    }
    arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    return [sys.executable, "-m", "curation", "curate", *arguments]


def measure(command: list[str]) -> tuple[float, float]:
    """Run a command; return (seconds, peak resident MB)."""
    started = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(command[:6])} ...")
    return time.perf_counter() - started, usage.ru_maxrss / 1e3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, nargs="+", default=[5_000, 20_000, 80_000])
    parser.add_argument("--genes", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    print(f"{'samples':>8}  {'method':9}  {'samples/s':>9}  {'(range)':>15}  {'peak MB':>7}  {'MB on disk':>10}")
    with tempfile.TemporaryDirectory() as scratch:
        for n_samples in args.samples:
            # in a process of its own: a child's peak memory begins with what its parent holds at the fork
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as writer:
                source = writer.submit(write_inputs, Path(scratch), n_samples, args.genes).result()
            found: dict[str, list[tuple[float, float]]] = {"ours": [], "in memory": []}
            size = {}
            for repeat in range(args.repeats):
                for method, runs in found.items():
                    out = Path(scratch) / f"{method}.{n_samples}.{repeat}".replace(" ", "_")
                    out.mkdir()
                    runs.append(measure(command_of(method, source, out)))
                    size[method] = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
            for method, runs in found.items():
                rates = sorted(n_samples / seconds for seconds, _ in runs)
                peak = statistics.median(memory for _, memory in runs)
                spread = f"({rates[0]:,.0f}-{rates[-1]:,.0f})"
                rate = statistics.median(rates)
                print(
                    f"{n_samples:>8,}  {method:9}  {rate:>9,.0f}  {spread:>15}  {peak:>7,.0f}  {size[method]:>10,.1f}"
                )


if __name__ == "__main__":
    main()
