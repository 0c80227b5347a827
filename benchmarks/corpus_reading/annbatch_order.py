"""The order in which annbatch hands out rows: one .npz file of row numbers and batch lengths.

Runs in the environment of the competitors. Rows are numbered over the stores in the order of the variant's links.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import zarr
from annbatch import DatasetCollection, Loader


def main() -> None:
    """Write the rows of as many batches as are asked for, epoch after epoch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("links", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--chunk-size", type=int, required=True)
    parser.add_argument("--preload-nchunks", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--batches", type=int, required=True)
    args = parser.parse_args()
    zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"})
    loader = Loader(
        batch_size=args.batch_size,
        chunk_size=args.chunk_size,
        preload_nchunks=args.preload_nchunks,
        shuffle=True,
        return_index=True,
        rng=np.random.default_rng(args.seed),
        preload_to_gpu=False,
    )
    loader.use_collection(
        DatasetCollection(args.links), load_adata=lambda group: ad.AnnData(X=ad.io.sparse_dataset(group["X"]))
    )
    rows: list[np.ndarray] = []
    while len(rows) < args.batches:
        for batch in loader:
            rows.append(batch["index"])
            if len(rows) == args.batches:
                break
    np.savez(args.out, rows=np.concatenate(rows), lengths=[len(batch) for batch in rows])
    sys.stdout.write("{}\n")


if __name__ == "__main__":
    main()
