"""One reader, one pass over a corpus, in a process of its own that prints one line of JSON.

Runs in the project's environment and in the one of the competitors (Python 3.12), so it imports nothing of ours at the
top. Each reader yields batches as (samples, positions, counts); what a training loop needs beside that is not asked of
the competitors: ours also yields sample ids and study indices.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Batches = Iterator[tuple[int, np.ndarray, np.ndarray]]
# Imports first, then a function that opens: so that the time of either is known
Opener = Callable[[Path, dict[str, Any]], Batches]


def ours() -> Opener:
    """txfm.open_corpus."""
    import inspect

    import txfm.corpus  # with all that it imports, as the other openers do

    def batches(corpus: Path, options: dict[str, Any]) -> Batches:
        known = inspect.signature(txfm.open_corpus).parameters
        arguments = {name: value for name, value in options.items() if name in known}
        stream = txfm.open_corpus(corpus, arguments.pop("variant"), "train", **arguments)
        for batch in stream:
            yield len(batch.study_index), batch.positions, batch.counts

    return batches


def annbatch() -> Opener:
    """annbatch.Loader with zarrs over the variant's links, X alone: the least that it can be asked for."""
    import anndata as ad
    import zarr
    from annbatch import DatasetCollection, Loader

    zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"})

    def x_alone(group: zarr.Group) -> ad.AnnData:
        return ad.AnnData(X=ad.io.sparse_dataset(group["X"]))

    def batches(corpus: Path, options: dict[str, Any]) -> Batches:
        zarr.config.set({"threading.max_workers": options["threads"]})
        loader = Loader(
            batch_size=options["batch_size"],
            chunk_size=options["chunk_size"],
            preload_nchunks=options["preload_nchunks"],
            shuffle=True,
            rng=np.random.default_rng(options["seed"]),
            preload_to_gpu=False,
        )
        loader.use_collection(DatasetCollection(corpus / "variants" / f"{options['variant']}.zarr"), load_adata=x_alone)
        for batch in loader:
            x = batch["X"]
            yield x.shape[0], x.indices, x.data

    return batches


def scdataset() -> Opener:
    """scDataset's block sampling on a backed h5ad file, with worker processes."""
    import anndata as ad
    from scdataset import BlockShuffling, scDataset
    from torch.utils.data import DataLoader

    class Rows:
        """Backed X with a length, which scDataset asks for; it passes sorted rows."""

        def __init__(self, path: str) -> None:
            self._x = ad.read_h5ad(path, backed="r").X

        def __len__(self) -> int:
            return self._x.shape[0]

        def __getitem__(self, rows: np.ndarray) -> Any:
            return self._x[rows]

    def batches(corpus: Path, options: dict[str, Any]) -> Batches:
        factor = options["fetch_factor"]
        data = scDataset(
            Rows(options["h5ad"]),
            BlockShuffling(block_size=options["block_size"]),
            batch_size=options["batch_size"],
            fetch_factor=factor,
        )
        workers = options["workers"]
        extra = {"prefetch_factor": factor + 1} if workers else {}
        for x in DataLoader(data, batch_size=None, num_workers=workers, **extra):
            yield x.shape[0], x.indices, x.data

    return batches


def ann_collection() -> Opener:
    """anndata's AnnCollection on a backed h5ad file, which AnnLoader calls, at shuffled rows."""
    import anndata as ad
    from anndata.experimental import AnnCollection

    def batches(corpus: Path, options: dict[str, Any]) -> Batches:
        collection = AnnCollection([ad.read_h5ad(options["h5ad"], backed="r")], join_vars="inner")
        rows = np.random.default_rng(options["seed"]).permutation(collection.n_obs)
        for first in range(0, len(rows), options["batch_size"]):
            x = collection[rows[first : first + options["batch_size"]]].X
            yield x.shape[0], x.indices, x.data

    return batches


def random_rows() -> Opener:
    """anndata's sparse_dataset on the same store, at shuffled rows: no blocks."""
    import anndata as ad
    import zarr

    def batches(corpus: Path, options: dict[str, Any]) -> Batches:
        stores = sorted((corpus / "variants" / f"{options['variant']}.zarr").glob("dataset_*"))
        x = ad.io.sparse_dataset(zarr.open_group(stores[0], mode="r")["X"])
        rows = np.random.default_rng(options["seed"]).permutation(x.shape[0])
        for first in range(0, len(rows), options["batch_size"]):
            found = x[np.sort(rows[first : first + options["batch_size"]])]
            yield found.shape[0], found.indices, found.data

    return batches


def parquet() -> Opener:
    """Hugging Face datasets on parquet files of lists, streamed through their shuffle buffer."""
    from datasets import load_dataset

    def batches(corpus: Path, options: dict[str, Any]) -> Batches:
        files = sorted(map(str, Path(options["parquet"]).glob("*.parquet")))
        rows = load_dataset("parquet", data_files=files, split="train", streaming=True)
        rows = rows.shuffle(seed=options["seed"], buffer_size=options["buffer_size"]).with_format("numpy")
        for batch in rows.iter(batch_size=options["batch_size"]):
            yield len(batch["positions"]), np.concatenate(batch["positions"]), np.concatenate(batch["counts"])

    return batches


READERS: dict[str, Callable[[], Opener]] = {
    function.__name__: function for function in (ours, annbatch, scdataset, ann_collection, random_rows, parquet)
}


def device_bytes() -> int:
    """Return the bytes that this process had the disk read."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("read_bytes")).split()[1])


def cpu_seconds() -> float:
    """Return the CPU time of this process, all threads, and of its children that have ended."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def main() -> None:
    """Read once and print what it took; `--started` is the monotonic clock before the process was started."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reader", choices=READERS)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("options", type=json.loads)
    parser.add_argument("--started", type=float, required=True)
    parser.add_argument("--limit-seconds", type=float, default=1e9, help="stop after the batch that passes it")
    parser.add_argument("--check", action="store_true", help="add up every count and position")
    args = parser.parse_args()
    opener = READERS[args.reader]()
    opened, cpu_before = time.monotonic(), cpu_seconds()
    first = 0.0
    n_samples = n_nonzeros = checksum = n_batches = 0
    for samples, positions, counts in opener(args.corpus, args.options):
        first = first or time.monotonic()
        n_batches += 1
        n_samples += samples
        n_nonzeros += len(counts)
        if args.check:
            weights = positions.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(1)
            checksum = (checksum + int((counts.astype(np.uint64) * weights).sum())) % 2**64
        if time.monotonic() - opened > args.limit_seconds:
            break
    ended = time.monotonic()
    found = {
        "imports_s": opened - args.started,
        "first_batch_s": first - opened,
        "pass_s": ended - opened,
        "cpu_s": cpu_seconds() - cpu_before,
        "n_batches": n_batches,
        "n_samples": n_samples,
        "n_nonzeros": n_nonzeros,
        "checksum": checksum,
        "device_bytes": device_bytes(),
    }
    sys.stdout.write("\n" + json.dumps(found) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
