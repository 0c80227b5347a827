"""Perturbation consistency of a screen in memory: seconds and peak memory.

    python benchmarks/evaluation_perturbation.py [--cells 300000] [--width 768] [--perturbations 2000] [--rounds 3]

Simulated embeddings, half of whose perturbations shift their cells, are made in a process of their own, which calls
`txfm.evaluation.perturbation_consistency`: alignment, statistic and both nulls. Peak memory is the resident set of that
process, the embeddings among it, from wait4. Bars: 60 s and 3 GB on two cores. A screen that does not fit into
memory: benchmarks/consistency.py.
"""

import argparse
import os
import statistics
import subprocess
import sys

MEASURE = """
import sys, time
import numpy as np
from txfm.evaluation import perturbation_consistency
n, width, n_perturbations = map(int, sys.argv[1:4])
rng = np.random.default_rng(0)
code = rng.integers(0, n_perturbations, n)
names = np.array([*(f"g{i}" for i in range(n_perturbations)), "control"])
labels = names[np.where(rng.random(n) < 0.05, n_perturbations, code)]
batch = rng.integers(0, 48, n).astype(str)
shift = rng.standard_normal((n_perturbations + 1, width), dtype=np.float32) * np.float32(0.3)
shift[::2] = 0
embedding = rng.standard_normal((n, width), dtype=np.float32)
for start in range(0, n, 20_000):
    embedding[start : start + 20_000] += shift[code[start : start + 20_000]]
start = time.perf_counter()
found = perturbation_consistency(embedding, labels, batch, "control")
print(time.perf_counter() - start, (found["p_pooled"] < 0.01).mean(), (found["p_per_perturbation"] < 0.01).mean())
"""


def main() -> None:
    """Measure some rounds and print their median."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=300_000)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--perturbations", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    seconds, peaks = [], []
    for _ in range(args.rounds):
        command = [sys.executable, "-c", MEASURE, *map(str, (args.cells, args.width, args.perturbations))]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        took, pooled, own = map(float, process.stdout.read().split())
        _, status, usage = os.wait4(process.pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0, "the measurement failed"
        seconds.append(took)
        peaks.append(usage.ru_maxrss * 1024 / 1e9)
        print(f"{took:.1f} s, peak {peaks[-1]:.2f} GB; p < 0.01: {pooled:.1%} pooled, {own:.1%} each", flush=True)
    print(
        f"{args.cells:,} cells x {args.width}, {args.perturbations:,} perturbations: {statistics.median(seconds):.1f} "
        f"({min(seconds):.1f}-{max(seconds):.1f}) s, {max(peaks):.2f} GB (bars 60 s, 3 GB)"
    )


if __name__ == "__main__":
    main()
