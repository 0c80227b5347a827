"""Curation beside the same steps in memory, and its peak memory as files grow.

    python benchmarks/curate.py throughput [--samples 100000] [--genes 30000] [--repeats 3]
    python benchmarks/curate.py memory [--rows 100000 1000000] [--values-per-row 500] [--dense-gb 20]

Both write simulated h5ad files first, block by block.

throughput: two programs on one sparse file whose genes are in another order than the axis, interleaved, each a process
of its own, page cache warm for both:
  ours       python -m curation curate: counts proved, genes mapped, gene filter, sample filter, repeated samples
             dropped, split by batch, seeded shuffle, sharded Zarr, content digests
  in memory  anndata.read_h5ad, a check for integers, genes reordered onto the axis, the same two filters, the same
             split, a seeded shuffle, AnnData.write_zarr; no digests, no search for repeats
Medians with the range; peak memory is the resident set of the process, from wait4.

memory: ours alone, on sparse files of growing numbers of rows and on a dense contiguous float32 file of 8,248 genes.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import polars as pl

from curation.axis import ALIAS_COLUMNS, GeneAxis

N_BATCHES = 24
ROWS_PER_BLOCK = 2_000
DENSE_GENES, DENSE_SHARE = 8_248, 0.3
IN_MEMORY = """
import sys
import anndata as ad, numpy as np, polars as pl
from curation.split import validation_batches
source, genes, out = sys.argv[1:4]
axis = pl.read_parquet(genes)["ensembl_id"].to_list()
table = ad.read_h5ad(source)
assert (table.X.data == np.rint(table.X.data)).all() and table.X.data.min() >= 0
table.var_names = [name.split(".")[0] for name in table.var_names]
known = set(table.var_names)
table = table[:, [gene for gene in axis if gene in known]].copy()
table = table[:, np.asarray((table.X > 0).sum(0)).ravel() >= 10].copy()
table = table[np.asarray((table.X > 0).sum(1)).ravel() >= 200].copy()
table.X = table.X.astype(np.int32)
held = validation_batches(table.obs["batch"].value_counts().to_dict(), study="toy", share=0.05, seed=0)
order = np.random.default_rng(0).permutation(table.n_obs)
for name, chosen in (("train", ~table.obs["batch"].isin(held)), ("validation", table.obs["batch"].isin(held))):
    table[order[chosen.to_numpy()[order]]].copy().write_zarr(f"{out}/{name}.zarr")
"""


def write_axis(folder: Path, n_genes: int) -> list[str]:
    """Write an axis of `n_genes` genes; return its ids."""
    ids = [f"ENSG{i:011d}" for i in range(n_genes)]
    names = pl.DataFrame(schema=dict.fromkeys(ALIAS_COLUMNS, pl.String))
    genes = pl.DataFrame({"ensembl_id": ids, "symbol": "", "biotype": "", "chromosome": ""})
    GeneAxis(genes=genes, names=names).write(folder / "genes.parquet")
    return ids


def write_frames(path: Path, n_rows: int, ids: list[str]) -> None:
    """Write obs and var of a file; X comes later."""
    rng = np.random.default_rng(0)
    obs = pd.DataFrame(
        {"batch": pd.Categorical([f"b{i % N_BATCHES}" for i in range(n_rows)])}, index=[f"c{i}" for i in range(n_rows)]
    )
    order = rng.permutation(len(ids))
    ad.AnnData(obs=obs, var=pd.DataFrame(index=[f"{ids[i]}.{i % 19 + 1}" for i in order])).write_h5ad(path)


def sparse_rows(n_rows: int, n_genes: int, per_row: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield (values of each row, columns, values) of blocks: log-normal genes, about `per_row` of them a row."""
    rng = np.random.default_rng(n_rows)
    popularity = rng.lognormal(0, 1.5, n_genes)
    ladder = np.cumsum(popularity / popularity.sum())
    for first in range(0, n_rows, ROWS_PER_BLOCK):
        n = min(ROWS_PER_BLOCK, n_rows - first)
        drawn = np.searchsorted(ladder, rng.random((n, per_row)))
        keys, times = np.unique(np.arange(n)[:, None] * n_genes + drawn, return_counts=True)
        yield np.bincount(keys // n_genes, minlength=n), (keys % n_genes).astype(np.int32), times.astype(np.float32)


def write_sparse(folder: Path, n_rows: int, n_genes: int, per_row: int) -> Path:
    """Write a CSR h5ad file as anndata does: float32, uncompressed."""
    path = folder / f"sparse_{n_rows}.h5ad"
    write_frames(path, n_rows, write_axis(folder, n_genes))
    with h5py.File(path, "a") as file:
        file.pop("X", None)
        group = file.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [n_rows, n_genes]})
        indptr = [np.zeros(1, np.int64)]
        columns = group.create_dataset("indices", shape=(0,), maxshape=(None,), chunks=(2**18,), dtype="i4")
        values = group.create_dataset("data", shape=(0,), maxshape=(None,), chunks=(2**18,), dtype="f4")
        for lengths, found, counts in sparse_rows(n_rows, n_genes, per_row):
            start = len(columns)
            columns.resize((start + len(found),))
            values.resize((start + len(found),))
            columns[start:], values[start:] = found, counts
            indptr.append(indptr[-1][-1] + np.cumsum(lengths))
        group.create_dataset("indptr", data=np.concatenate(indptr))
    return path


def write_dense(folder: Path, gigabytes: float) -> Path:
    """Write a contiguous float32 h5ad file, 30 % of it above zero, like the 66 GB file of the K562 screen."""
    n_rows = int(gigabytes * 1e9 / (4 * DENSE_GENES))
    path = folder / "dense.h5ad"
    write_frames(path, n_rows, write_axis(folder, DENSE_GENES))
    rng = np.random.default_rng(0)
    shape = (4 * ROWS_PER_BLOCK, DENSE_GENES)
    block = (rng.geometric(0.4, shape) * (rng.random(shape) < DENSE_SHARE)).astype(np.float32)
    with h5py.File(path, "a") as file:
        file.pop("X", None)
        matrix = file.create_dataset("X", shape=(n_rows, DENSE_GENES), dtype="f4")
        matrix.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        for first in range(0, n_rows, ROWS_PER_BLOCK):
            n = min(ROWS_PER_BLOCK, n_rows - first)
            rows = rng.integers(0, len(block), n)  # whole rows again, each changed at one gene, so that none repeats
            piece = block[rows]
            piece[np.arange(n), rng.integers(0, DENSE_GENES, n)] = np.arange(first, first + n) % 30_000 + 1
            matrix[first : first + n] = piece
    return path


def ours(source: Path, out: Path) -> list[str]:
    """Return the command line of `curation curate` for a file."""
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


def in_memory(source: Path, out: Path) -> list[str]:
    """Return the command line of the same steps with anndata."""
    paths = [str(path) for path in (source, source.with_name("genes.parquet"), out)]
    return [sys.executable, "-W", "ignore", "-c", IN_MEMORY, *paths]


def measure(command: list[str]) -> tuple[float, float]:
    """Run a command; return (seconds, peak resident MB)."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(command[:6])} ...")
    return time.perf_counter() - started, usage.ru_maxrss / 1e3


def written(function, *arguments) -> Path:
    """Write an input in a process of its own: a child's peak memory begins with what its parent holds at the fork."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as writer:
        path: Path = writer.submit(function, *arguments).result()
    return path


def throughput(args: argparse.Namespace, scratch: Path) -> None:
    """Compare the two programs."""
    source = written(write_sparse, scratch, args.samples, args.genes, args.values_per_row)
    print(f"{args.samples:,} samples x {args.genes:,} genes, {source.stat().st_size / 1e9:.2f} GB")
    print(f"{'method':9}  {'samples/s':>9}  {'(range)':>17}  {'peak MB':>7}  {'MB on disk':>10}")
    runs: dict[str, list[tuple[float, float]]] = {"ours": [], "in memory": []}
    size = {}
    for repeat in range(args.repeats):
        for method, command in (("ours", ours), ("in memory", in_memory)):
            out = scratch / f"{method}.{repeat}".replace(" ", "_")
            out.mkdir()
            runs[method].append(measure(command(source, out)))
            size[method] = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
            shutil.rmtree(out)
    for method, found in runs.items():
        rates = sorted(args.samples / seconds for seconds, _ in found)
        peak = statistics.median(memory for _, memory in found)
        spread = f"({rates[0]:,.0f}-{rates[-1]:,.0f})"
        print(f"{method:9}  {statistics.median(rates):>9,.0f}  {spread:>17}  {peak:>7,.0f}  {size[method]:>10,.1f}")


def memory(args: argparse.Namespace, scratch: Path) -> None:
    """Print the peak memory of ours on growing files."""
    print(f"{'file':24}  {'GB':>6}  {'samples/s':>9}  {'peak MB':>7}")
    jobs = [(f"sparse, {n:,} rows", write_sparse, (scratch, n, args.genes, args.values_per_row)) for n in args.rows]
    if args.dense_gb:
        jobs.append(("dense, contiguous", write_dense, (scratch, args.dense_gb)))
    for title, function, arguments in jobs:
        source = written(function, *arguments)
        out = scratch / "out"
        out.mkdir()
        seconds, peak = measure(ours(source, out))
        n_rows = json.loads((out / "report.json").read_text())["samples"]["read"]
        print(f"{title:24}  {source.stat().st_size / 1e9:>6.1f}  {n_rows / seconds:>9,.0f}  {peak:>7,.0f}", flush=True)
        shutil.rmtree(out)
        source.unlink()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    sub = verbs.add_parser("throughput")
    sub.add_argument("--samples", type=int, default=100_000)
    sub.add_argument("--genes", type=int, default=30_000)
    sub.add_argument("--values-per-row", type=int, default=3_000, help="counts a sample; some fall on the same gene")
    sub.add_argument("--repeats", type=int, default=3)
    sub.set_defaults(run=throughput)
    sub = verbs.add_parser("memory")
    sub.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    sub.add_argument("--genes", type=int, default=30_000)
    sub.add_argument("--values-per-row", type=int, default=500)
    sub.add_argument("--dense-gb", type=float, default=20.0, help="0 leaves it out")
    sub.set_defaults(run=memory)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        args.run(args, Path(scratch))


if __name__ == "__main__":
    main()
