"""Seconds and peak memory of the metrics on labels of cells, by number of cells; each in a process of its own.

python benchmarks/evaluation_cells.py --cells 10000 100000 --dimensions 256 --repeats 3 --out cells.json
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

METRICS = ("clustering_scores", "silhouette_scores", "linear", "mlp")


def measure(metric: str, n: int, d: int) -> dict[str, float]:
    """Seconds of one metric on simulated cells, and MiB that the process grew by at its peak."""
    from txfm.evaluation import clustering_scores, silhouette_scores
    from txfm.evaluation.cells.probes import classify
    from txfm.evaluation.cells.splits import split_samples

    rng = np.random.default_rng(0)
    code, batch = rng.integers(12, size=n), rng.integers(8, size=n).astype(str)
    values = (rng.standard_normal((n, d)) + rng.standard_normal((12, d))[code]).astype(np.float32)
    labels = code.astype(str)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    if metric == "clustering_scores":
        clustering_scores(values, labels)
    elif metric == "silhouette_scores":
        silhouette_scores(values, labels, batch)
    else:
        classify(values, labels, split_samples(labels, batch, 0), metric)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "grown_mib": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="+", default=[10_000])
    parser.add_argument("--dimensions", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--metrics", nargs="+", choices=METRICS, default=list(METRICS))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)  # metric and cells: what a child process measures
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one[0], int(args.one[1]), args.dimensions)))
        return
    rows = []
    for n in args.cells:
        for metric in args.metrics:
            command = [sys.executable, "-P", __file__, "--one", metric, str(n), "--dimensions", str(args.dimensions)]
            runs = [
                json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                for _ in range(args.repeats)
            ]
            seconds = sorted(run["seconds"] for run in runs)
            peak = max(run["grown_mib"] for run in runs)
            rows.append({"metric": metric, "cells": n, "dimensions": args.dimensions, "seconds": seconds, "mib": peak})
            print(
                f"{metric:18} {n:>8,} cells: median {statistics.median(seconds):.2f} s "
                f"({seconds[0]:.2f} to {seconds[-1]:.2f}), {peak:,.0f} MiB",
                flush=True,
            )
    if args.out:
        args.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
