"""Counts that compress as real ones do: a pool of cells or bulk samples on disk, from which any number of rows is read.

A cell is a Poisson draw around one of 24 profiles; genes are log-normal with the spread at which a cell of 6,000 counts
shows 2,050 genes. Rows repeat the pool of 50,000 cells. After a shuffle two equal rows meet in a chunk of 64 cells with
a probability of about 4 %, so the repeats do not help the compression.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

N_PROFILES = 24
BLOCK_ROWS = 2_000


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Of the counts of an assay.

    Attributes
    ----------
    n_genes : int
        Of the axis.
    n_measured : int
        The first of them, which the study measured.
    mean_nnz : int
        Genes with a count, of a mean sample.
    mean_counts : float
        Counts of a mean sample.
    n_pool : int
        Different samples.
    """

    n_genes: int
    n_measured: int
    mean_nnz: int
    mean_counts: float
    n_pool: int


CELLS = Shape(n_genes=20_000, n_measured=20_000, mean_nnz=2_190, mean_counts=6_000, n_pool=50_000)
BULK = Shape(n_genes=60_000, n_measured=58_000, mean_nnz=29_900, mean_counts=4e7, n_pool=1_000)


def spread_of(shape: Shape, normal: np.ndarray) -> float:
    """Return the log-normal spread at which a sample of the mean counts shows the mean number of genes."""
    low, high = 0.1, 8.0
    for _ in range(40):
        spread = (low + high) / 2
        mean = np.exp(spread * normal)
        mean *= shape.mean_counts / mean.sum()
        low, high = (spread, high) if (1 - np.exp(-mean)).sum() > shape.mean_nnz else (low, spread)
    return spread


def write_pool(folder: Path, shape: Shape, seed: int = 0) -> Path:
    """Write the pool as three arrays; a folder that is complete stays as it is."""
    if (folder / "indptr.npy").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=shape.n_measured)
    spread = spread_of(shape, normal)
    profiles = np.exp(spread * normal + rng.normal(0, 0.5, (N_PROFILES, shape.n_measured)))
    profiles *= shape.mean_counts / profiles.sum(axis=1, keepdims=True)
    lengths, position = [], 0
    size = int(shape.n_pool * shape.mean_nnz * 1.5)
    columns = np.lib.format.open_memmap(folder / "indices.npy", mode="w+", dtype=np.int32, shape=(size,))
    counts = np.lib.format.open_memmap(folder / "data.npy", mode="w+", dtype=np.int32, shape=(size,))
    for _ in range(0, shape.n_pool, 100):
        depth = rng.lognormal(-0.08, 0.4, (100, 1))
        drawn = sparse.csr_matrix(rng.poisson(profiles[rng.integers(0, N_PROFILES, 100)] * depth).astype(np.int32))
        stop = position + drawn.nnz
        columns[position:stop], counts[position:stop] = drawn.indices, drawn.data
        lengths.append(np.diff(drawn.indptr))
        position = stop
    np.save(folder / "indptr.npy", np.concatenate([[0], np.cumsum(np.concatenate(lengths), dtype=np.int64)]))
    return folder


class Pool:
    """Rows of a pool on disk; what is read lies in the page cache, not in memory of the process.

    `n_axis` is the length of the axis, if that is not the shape's own.
    """

    def __init__(self, folder: Path, shape: Shape, *, n_axis: int | None = None) -> None:
        self._indptr, self._columns, self._counts = (
            np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("indptr", "indices", "data")
        )
        self._n_axis = n_axis or shape.n_genes
        self.n_measured = shape.n_measured

    @property
    def mean_nnz(self) -> float:
        """Non-zeros of a mean row."""
        return float(self._indptr[-1] / (len(self._indptr) - 1))

    def nnz(self, n_rows: int) -> int:
        """Return the non-zeros of `n_rows` rows."""
        rounds, rest = divmod(n_rows, len(self._indptr) - 1)
        return int(rounds * self._indptr[-1] + self._indptr[rest])

    def blocks(self, n_rows: int) -> Iterator[tuple[int, sparse.csr_matrix]]:
        """Yield (first row, int32 counts on the axis with columns in order) until there are `n_rows`."""
        n_pool = len(self._indptr) - 1
        block_rows = min(BLOCK_ROWS, n_pool // 10)
        for first in range(0, n_rows, block_rows):
            start = first % n_pool
            stop = start + min(block_rows, n_rows - first)
            indptr = np.asarray(self._indptr[start : stop + 1])
            entries = slice(indptr[0], indptr[-1])
            arrays = (np.array(self._counts[entries]), np.array(self._columns[entries]), indptr - indptr[0])
            yield first, sparse.csr_matrix(arrays, shape=(stop - start, self._n_axis))
