"""Embedding a file: samples a second, and the memory that does not grow with the file.

    python benchmarks/embed.py [dense] [dense-gzip] [csr] [csc] [--rows 2500 10000] [--genes 20000] [--vocabulary 500]

Writes simulated .h5ad files of each kind and size, then runs each in a process of its own: once with an embedder that
does nothing (reading, checking and matching alone), once with TxFM of the smallest preset and random weights. The file
leaves the page cache before each run. Memory is the peak of the process (VmHWM), beside what it holds once its
libraries are loaded.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

from txfm.embedder import Embedder
from txfm.embedding.options import PLAIN, EncoderOptions

KINDS = ("dense", "dense-gzip", "csr", "csc")
SHARE_NOT_ZERO = 0.1
BLOCK_ROWS = 500


def gene_ids(n: int) -> list[str]:
    """Names in the form of Ensembl's."""
    return [f"ENSG{i:011d}" for i in range(n)]


def write_file(path: Path, kind: str, n_rows: int, n_genes: int) -> None:
    """Write counts of which a tenth is not zero."""
    rng = np.random.default_rng(0)
    block = rng.poisson(rng.gamma(0.4, 2.0, size=(BLOCK_ROWS, n_genes))).astype(np.float32)
    block *= rng.random(block.shape) < SHARE_NOT_ZERO / (block > 0).mean()
    var, obs = pd.DataFrame(index=gene_ids(n_genes)), pd.DataFrame(index=[f"cell {i}" for i in range(n_rows)])
    if kind in ("csr", "csc"):
        rows = sp.vstack([sp.csr_matrix(block)] * -(-n_rows // BLOCK_ROWS), format="csr")[:n_rows]
        ad.AnnData(rows if kind == "csr" else rows.tocsc(), obs=obs, var=var).write_h5ad(path)
        return
    ad.AnnData(obs=obs, var=var).write_h5ad(path)
    with h5py.File(path, "a") as file:
        file.pop("X", None)
        options = {"compression": "gzip", "compression_opts": 1} if kind == "dense-gzip" else {}
        matrix = file.create_dataset("X", shape=(n_rows, n_genes), dtype="<f4", **options)
        matrix.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        step = BLOCK_ROWS * 10
        for first in range(0, n_rows, step):
            rows = np.tile(block, (10, 1))[: min(step, n_rows - first)]
            matrix[first : first + len(rows)] = rows


class Nothing(Embedder):
    """An embedder whose vectors are one number."""

    def encoder(self, visible: np.ndarray, options: EncoderOptions = PLAIN) -> "Nothing":
        """Itself."""
        return self

    def gene_tables(self) -> dict[str, np.ndarray]:
        """None."""
        return {}

    def encode(self, counts: sp.csr_matrix) -> np.ndarray:
        """Sums of the rows."""
        return np.asarray(counts.sum(axis=1), dtype=np.float32)


def measure(path: Path, method: str, n_vocabulary: int) -> None:
    """Embed one file into a .npy beside it, and print seconds, peak and baseline of memory in MB."""
    import torch

    from txfm.config import config_from_mapping
    from txfm.embedding.gene_names import KnownGenes
    from txfm.embedding.inputs.opening import open_samples
    from txfm.embedding.outputs.npy_file import write_npy
    from txfm.embedding.run import EmbeddingRun
    from txfm.masking import seeded_generator
    from txfm.model import TxFM
    from txfm.pretrained import PretrainedModel
    from txfm.vocabulary import Vocabulary

    ids = tuple(gene_ids(n_vocabulary))
    genes = Vocabulary(axis_positions=np.arange(n_vocabulary), ensembl_ids=ids, symbols=ids)
    embedder: Embedder = Nothing(genes, {"n_dimensions": 1})
    if method == "embed":
        network = TxFM(config_from_mapping({"preset": "nano", "samples_seen": 1}), n_vocabulary)
        network.initialise(torch.ones(n_vocabulary), seeded_generator(torch.device("cpu"), "benchmark"))
        embedder = PretrainedModel(network.requires_grad_(False).eval(), genes, {"n_dimensions": 64})
    before = peak_mb()
    started = time.perf_counter()
    with open_samples(path, known=KnownGenes(genes)) as samples:
        run = EmbeddingRun(samples, embedder)
        write_npy(path.with_suffix(".npy"), run.blocks(), run.n_samples, run.width)
    print(time.perf_counter() - started, peak_mb(), before)


def peak_mb() -> float:
    """The peak of resident memory of this process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def forget(path: Path) -> None:
    """Take a file out of the page cache."""
    with path.open("rb") as handle:
        os.fsync(handle.fileno())
        os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    """Print a row a file and method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"{', '.join(KINDS)}; all if none is named")
    parser.add_argument("--rows", type=int, nargs="+", default=[2_500, 10_000])
    parser.add_argument("--genes", type=int, default=20_000)
    parser.add_argument("--vocabulary", type=int, default=500)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--only", nargs=2, metavar=("FILE", "METHOD"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        measure(Path(options.only[0]), options.only[1], options.vocabulary)
        return
    print(f"{options.genes:,} genes in the file, {options.vocabulary:,} in the vocabulary")
    print(f"{'file':12}{'samples':>9}{'MB':>8}  {'method':8}{'samples/s':>10}{'peak MB':>9}{'libraries':>11}")
    for kind in options.kinds or KINDS:
        for n_rows in options.rows:
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                path = Path(folder) / "x.h5ad"
                write_file(path, kind, n_rows, options.genes)
                for method in ("read", "embed"):
                    forget(path)
                    command = [sys.executable, __file__, "--vocabulary", str(options.vocabulary)]
                    done = subprocess.run(
                        [*command, "--only", str(path), method], check=True, capture_output=True, text=True
                    )
                    seconds, peak, before = map(float, done.stdout.split())
                    size = path.stat().st_size / 1e6
                    found = f"{n_rows / seconds:>10,.0f}{peak:>9,.0f}{before:>11,.0f}"
                    print(f"{kind:12}{n_rows:>9,}{size:>8,.0f}  {method:8}{found}", flush=True)


if __name__ == "__main__":
    main()
