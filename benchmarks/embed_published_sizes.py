"""What embedding a sample costs at the published sizes: seconds by the number of genes shown, float32 and bf16.

    python benchmarks/embed_published_sizes.py [--models S B] [--genes 2048 8192] [--samples 2] [--repeats 3]

Random weights; the encoder alone, as `txfm embed` calls it. FLOPs are those that `txfm train --describe` prints.
"""

import argparse
import statistics
import time

import numpy as np
import scipy.sparse as sp
import torch

from txfm.config import PRESETS
from txfm.cost import embedding_flops_per_sample
from txfm.embedding.network_encoder import NetworkEncoder
from txfm.embedding.options import EncoderOptions
from txfm.model import TxFM

SHARE_NOT_ZERO = 0.1


def seconds_per_sample(encoder: NetworkEncoder, counts: sp.csr_matrix, repeats: int) -> list[float]:
    """Of each repeat, after one that warms up."""
    encoder.encode(counts[:1])
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        encoder.encode(counts)
        taken.append((time.perf_counter() - started) / counts.shape[0])
    return taken


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["S", "B"], choices=list(PRESETS))
    parser.add_argument("--genes", type=int, nargs="+", default=[2048, 8192])
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    print(f"{args.device}, {torch.get_num_threads()} threads")
    print("| model | genes shown | TFLOP a sample | precision | seconds a sample |\n|---|---:|---:|---|---:|")
    for name in args.models:
        config = PRESETS[name]
        for n_genes in args.genes:
            network = TxFM(config, n_genes).to(args.device).eval()
            counts = sp.random(args.samples, n_genes, SHARE_NOT_ZERO, format="csr", random_state=0)
            counts.data = np.ceil(counts.data * 20)
            for precision in ("float32", "bf16"):
                encoder = NetworkEncoder(network, np.arange(n_genes), EncoderOptions(precision=precision))
                taken = seconds_per_sample(encoder, counts, args.repeats)
                flops = embedding_flops_per_sample(config, n_genes) / 1e12
                spread = f"{statistics.median(taken):.2f} ({min(taken):.2f}-{max(taken):.2f})"
                print(f"| {name} | {n_genes:,} | {flops:.2f} | {precision} | {spread} |", flush=True)


if __name__ == "__main__":
    main()
