"""What no reader of these stores can pass: decoding all chunks alone, and gathering rows from memory alone.

A process of its own that prints one line of JSON. Decode: numcodecs' Blosc over every chunk of X/data and X/indices,
the encoded bytes already in memory, into buffers that are used again. Gather: SciPy's row index of a CSR matrix of two
32-bit arrays into arrays that are used again, in batches of shuffled rows out of a pool of 16,384, which no cache of a
processor holds. csr_rows: the same as csr[rows], into new arrays, as a reader's batches have to be.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numcodecs import Blosc, blosc
from scipy import sparse
from scipy.sparse import _sparsetools

POOL_ROWS = 16_384
GATHER_SECONDS = 3.0


def train_stores(corpus: Path, variant: str) -> list[Path]:
    """Return the stores of the variant's training samples."""
    stores = json.loads((corpus / "variants" / f"{variant}.json").read_text())["stores"]
    return [corpus / store["path"] for store in stores if store["split"] == "train" and store["n_samples"]]


def encoded_chunks(array: Path) -> tuple[list[bytes], np.dtype, int]:
    """Return the encoded chunks of a sharded array, its type and the elements of a chunk."""
    about = json.loads((array / "zarr.json").read_text())
    (sharding,) = about["codecs"]
    inner = sharding["configuration"]["chunk_shape"][0]
    per_shard = about["chunk_grid"]["configuration"]["chunk_shape"][0] // inner
    chunks = []
    for number in range(-(-about["shape"][0] // (per_shard * inner))):
        shard = (array / "c" / str(number)).read_bytes()
        index = np.frombuffer(shard[-16 * per_shard - 4 : -4], "<u8").reshape(-1, 2).tolist()
        chunks += [shard[start : start + length] for start, length in index if start != 2**64 - 1]
    return chunks, np.dtype(about["data_type"]), inner


def in_threads(work: Callable[[int], None], n_threads: int) -> dict[str, float]:
    """Return the seconds and CPU seconds that `n_threads` threads take, each called with its number."""
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(lambda _: time.sleep(0.01), range(n_threads)))  # the threads are there
        started, cpu_before = time.perf_counter(), time.process_time()
        list(pool.map(work, range(n_threads)))
        return {"pass_s": time.perf_counter() - started, "cpu_s": time.process_time() - cpu_before}


def decode(corpus: Path, variant: str, n_threads: int) -> dict[str, float]:
    """Decode every chunk of X once."""
    blosc.use_threads = False  # a chunk is decoded by the thread that asks
    jobs = []
    n_samples = 0
    for store in train_stores(corpus, variant):
        n_samples += json.loads((store / "X" / "zarr.json").read_text())["attributes"]["shape"][0]
        for name in ("data", "indices"):
            chunks, dtype, length = encoded_chunks(store / "X" / name)
            jobs += [(chunk, dtype.itemsize * length) for chunk in chunks]
    n_bytes = max(size for _, size in jobs)
    buffers = [np.zeros(n_bytes, np.uint8) for _ in range(n_threads)]
    codec = Blosc()

    def work(thread: int) -> None:
        for chunk, size in jobs[thread::n_threads]:
            codec.decode(chunk, out=buffers[thread][:size])

    return {"n_samples": n_samples} | in_threads(work, n_threads)


def gather(corpus: Path, variant: str, n_threads: int, batch_size: int, *, new_arrays: bool) -> dict[str, float]:
    """Gather batches from the first rows of the first store for some seconds."""
    import anndata as ad
    import zarr

    x = ad.io.sparse_dataset(zarr.open_group(train_stores(corpus, variant)[0], mode="r")["X"])
    pool = x[: min(POOL_ROWS, x.shape[0])]
    indptr, columns, counts = (part.astype(np.int32) for part in (pool.indptr, pool.indices, pool.data))
    matrix = sparse.csr_matrix((counts, columns, indptr), shape=pool.shape)
    room = int(batch_size * np.diff(indptr).max())
    gathered = [0] * n_threads

    def work(thread: int) -> None:
        rng = np.random.default_rng(thread)
        into = np.zeros(room, np.int32), np.zeros(room, np.int32)
        stop = time.perf_counter() + GATHER_SECONDS
        while time.perf_counter() < stop:
            order = rng.permutation(len(indptr) - 1).astype(np.int32)
            for first in range(0, len(order), batch_size):
                rows = order[first : first + batch_size]
                if new_arrays:
                    gathered[thread] += matrix[rows].shape[0]
                else:
                    _sparsetools.csr_row_index(len(rows), rows, indptr, columns, counts, *into)
                    gathered[thread] += len(rows)

    seconds = in_threads(work, n_threads)
    return {"n_samples": sum(gathered)} | seconds


def main() -> None:
    """Measure one ceiling and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ceiling", choices=("decode", "gather", "csr_rows"))
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--variant", default="all")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--batch-size", type=int, default=1_024)
    args = parser.parse_args()
    if args.ceiling == "decode":
        found = decode(args.corpus, args.variant, args.threads)
    else:
        found = gather(args.corpus, args.variant, args.threads, args.batch_size, new_arrays=args.ceiling == "csr_rows")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
