"""Readers beside the disk, and beside what libraries need for the same bytes.

    python benchmarks/readers.py [dense] [sparse] [gct] [--gigabytes 2] [--repeats 3] [--folder FOLDER]

dense   a contiguous uncompressed h5ad of the shape of the genome-wide K562 file (8,248 genes, float32, 30% not zero):
        all blocks, beside sequential reads of the same file (readinto, 8 MB) and beside h5py with scipy's constructor.
        The file leaves the page cache before each run.
sparse  a gzip-compressed CSR h5ad of 30,000 genes: all blocks, beside reading data and indices with h5py alone.
gct     a GCT of 17,382 samples: from open to the last block, beside unpacking the same gzip file alone.

Runs are interleaved; medians with the range, and the peak of resident memory of a process that only reads.
"""

import argparse
import gzip
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from curation.catalog import Part
from curation.readers import open_part

PIECE = 8 * 2**20


def write_dense(path: Path, n_bytes: int) -> None:
    """Write a contiguous h5ad, block by block."""
    rng = np.random.default_rng(0)
    n_genes = 8_248
    n_samples = n_bytes // (4 * n_genes)
    block = rng.poisson(rng.gamma(0.4, 2.0, size=(4_000, n_genes))).astype(np.float32)
    block *= rng.random(block.shape) < 0.3 / (block > 0).mean()
    obs = pd.DataFrame({"gem_group": np.arange(n_samples) % 50}, index=[f"c{i}" for i in range(n_samples)])
    ad.AnnData(obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(n_genes)])).write_h5ad(path)
    with h5py.File(path, "a") as file:
        file.pop("X", None)
        matrix = file.create_dataset("X", shape=(n_samples, n_genes), dtype="<f4")
        for first in range(0, n_samples, len(block)):
            matrix[first : first + len(block)] = block[: min(len(block), n_samples - first)]


def write_sparse(path: Path, n_bytes: int) -> None:
    """Write a compressed CSR h5ad of 1,500 non-zeros a sample."""
    rng = np.random.default_rng(0)
    n_genes, nnz = 30_000, 1_500
    n_samples = n_bytes // (8 * nnz)
    indices = np.sort(rng.integers(0, n_genes // nnz, (n_samples, nnz)) + np.arange(nnz) * (n_genes // nnz), axis=1)
    values = rng.geometric(0.5, n_samples * nnz).astype(np.float32)
    indptr = np.arange(n_samples + 1) * nnz
    counts = sparse.csr_matrix((values, indices.ravel().astype(np.int32), indptr), shape=(n_samples, n_genes))
    obs = pd.DataFrame({"gem_group": np.arange(n_samples) % 50}, index=[f"c{i}" for i in range(n_samples)])
    table = ad.AnnData(counts, obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(n_genes)]))
    table.write_h5ad(path, compression="gzip")


def write_gct(path: Path, n_bytes: int) -> None:
    """Write a gzip-compressed GCT of as many genes as make up `n_bytes` of text."""
    rng = np.random.default_rng(0)
    n_samples = 17_382
    values = rng.poisson(rng.gamma(0.3, 1_000.0, size=(40, n_samples)))
    lines = ["\t".join(map(str, row)) for row in values.tolist()]
    n_genes = max(40, n_bytes // (len("".join(lines)) // len(lines)))
    with gzip.open(path, "wt", compresslevel=1) as handle:
        handle.write(f"#1.2\n{n_genes}\t{n_samples}\nName\tDescription\t")
        handle.write("\t".join(f"GTEX-{i}" for i in range(n_samples)) + "\n")
        for gene in range(n_genes):
            handle.write(f"ENSG{gene}\tG{gene}\t{lines[gene % len(lines)]}\n")


def forget(path: Path) -> None:
    """Take a file out of the page cache."""
    with path.open("rb") as handle:
        os.fsync(handle.fileno())
        os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def blocks(path: Path, format_: str) -> int:
    """Read every block with our reader; return the non-zeros."""
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        part = Part(name="p", format=format_, files={"matrix": path.name})
        reader = open_part(part, sources=path.parent, scratch=Path(scratch), columns=frozenset({"gem_group"}))
        total = sum(block.counts.nnz for block in reader.blocks())
        reader.close()
    return total


def sequential(path: Path) -> int:
    """Read the bytes of a file."""
    buffer = bytearray(PIECE)
    total = 0
    with path.open("rb", buffering=0) as handle:
        while n := handle.readinto(buffer):
            total += n
    return total


def h5py_and_scipy(path: Path) -> int:
    """Read a dense X with h5py, 254 rows a time, into scipy's CSR."""
    with h5py.File(path) as file:
        x = file["X"]
        return sum(sparse.csr_matrix(x[first : first + 254]).nnz for first in range(0, x.shape[0], 254))


def h5py_arrays(path: Path) -> int:
    """Read data and indices of a sparse X with h5py alone, 2 Mi a time."""
    with h5py.File(path) as file:
        x = file["X"]
        return sum(
            len(x["data"][first : first + 2**21]) + len(x["indices"][first : first + 2**21])
            for first in range(0, x["data"].shape[0], 2**21)
        )


def unpacked(path: Path) -> int:
    """Unpack a gzip file."""
    total = 0
    with gzip.open(path) as handle:
        while piece := handle.read(PIECE):
            total += len(piece)
    return total


BENCHMARKS: dict[str, tuple[str, Callable[[Path, int], None], dict[str, Callable[[Path], int]]]] = {
    "dense": (
        "x.h5ad",
        write_dense,
        {"disk": sequential, "ours": lambda path: blocks(path, "h5ad"), "h5py + scipy": h5py_and_scipy},
    ),
    "sparse": ("s.h5ad", write_sparse, {"h5py alone": h5py_arrays, "ours": lambda path: blocks(path, "h5ad")}),
    "gct": ("x.gct.gz", write_gct, {"gzip alone": unpacked, "ours": lambda path: blocks(path, "gct")}),
}


def main() -> None:
    """Print a line a method; with `--only`, run one method once and print its peak memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="dense, sparse, gct; all if none is named")
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--only", nargs=3, metavar=("NAME", "METHOD", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        name, method, file = options.only
        BENCHMARKS[name][2][method](Path(file))
        print(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")))
        return
    for name in options.names or list(BENCHMARKS):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            file_name, write, methods = BENCHMARKS[name]
            path = Path(folder) / file_name
            with get_context("spawn").Pool(1) as writer:  # what it holds shall not count as ours
                writer.apply(write, (path, int(options.gigabytes * 1e9)))
            n_bytes = unpacked(path) if name == "gct" else h5_bytes(path)
            seconds: dict[str, list[float]] = {method: [] for method in methods}
            cpu = dict.fromkeys(methods, 0.0)
            for _ in range(options.repeats):
                for method, run in methods.items():
                    forget(path)
                    started, cpu_before = time.perf_counter(), time.process_time()
                    run(path)
                    seconds[method].append(time.perf_counter() - started)
                    cpu[method] += time.process_time() - cpu_before
            for method, taken in seconds.items():
                speeds = sorted(n_bytes / t / 1e6 for t in taken)
                command = [sys.executable, __file__, "--only", name, method, str(path)]
                print(
                    f"{name:8}{method:14}{statistics.median(speeds):8.0f} MB/s ({speeds[0]:.0f} to {speeds[-1]:.0f}), "
                    f"{cpu[method] / options.repeats / n_bytes * 1e9:.2f} CPU s/GB, peak {peak_mb(command):.0f} MB; "
                    f"{n_bytes / 1e9:.2f} GB of values or text",
                    flush=True,
                )


def h5_bytes(path: Path) -> int:
    """Return the bytes of X, unpacked."""
    with h5py.File(path) as file:
        x = file["X"]
        return x.size * 4 if isinstance(x, h5py.Dataset) else 8 * x["data"].size


def peak_mb(command: list[str]) -> float:
    """Return the peak of resident memory of a command, which prints it."""
    # not from wait4: the forked copy of this process counts there, before the command takes its place
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return int(found.split()[1]) / 1024


if __name__ == "__main__":
    main()
