"""Recall of known relationships: against efaar-benchmarking on one map, and on the genes of a whole vocabulary.

    pip install --no-deps --target DIR efaar-benchmarking==1.0 geomloss
    PYTHONPATH=DIR python -P benchmarks/evaluation_genes.py [--genes 17000] [--width 1024] [--map 2000] [--rounds 7]

The benchmarks of efaar-benchmarking import nothing beyond geomloss that is not here; scvi-tools is for another module.
The five databases are those that it brings. On the map both sides read the databases, take turns in an order drawn anew
each round (bar: 20 times faster), and must agree to 1e-12. The whole vocabulary is measured in processes of their own,
peak memory from wait4: the exact null of all pairs (bars: 15 s, 3 GB), and what `txfm evaluate genes` does for one
table, standardising, 256 components and three draws of 1,000,000 pairs.
"""

import argparse
import os
import subprocess
import sys
import time

import numpy as np
import pandas as pd

from txfm.evaluation.relation_files import read_relations
from txfm.evaluation.relationships import relationship_recall

LARGE = """
import sys, time
import numpy as np
from txfm.evaluation.genes.projection import project
from txfm.evaluation.relation_files import read_relations
from txfm.evaluation.relationships import relationship_recall
what, n, width = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = np.random.default_rng(0)
known = sorted({name for frame in read_relations().values() for column in frame for name in frame[column]})
names = np.array([*known, *(f"other{i}" for i in range(n))], dtype=object)[:n]
vectors = rng.standard_normal((n, width), dtype=np.float32)
start = time.perf_counter()
if what == "exact":
    recall = relationship_recall(vectors, names, read_relations())
else:
    projected = project(vectors, np.ones(n, bool), 256)
    for seed in range(3):
        recall = relationship_recall(projected, names, read_relations(), n_null=1_000_000, seed=seed)
seconds = time.perf_counter() - start
(union,) = recall[recall["database"] == "union"].to_dict("records")
print(f"{seconds:.2f} s; union {union['recall']:.2%} of {union['pairs']:,} pairs, null of {union['null_size']:,}")
"""


def ours(vectors: np.ndarray, names: list[str]) -> tuple[list[float], list[int]]:
    """Recall and pairs by database, the databases read from disk."""
    recall = relationship_recall(vectors, names, read_relations()).set_index("database").drop(["union", "mean"])
    return recall["recall"].tolist(), recall["pairs"].tolist()


def efaars(vectors: np.ndarray, names: list[str]) -> tuple[list[float], list[int]]:
    """The same by efaar-benchmarking."""
    from efaar_benchmarking.benchmarking import known_relationship_benchmark
    from sklearn.utils import Bunch

    the_map = Bunch(features=pd.DataFrame(vectors), metadata=pd.DataFrame({"gene": names}))
    recall = known_relationship_benchmark(the_map, "gene", recall_thr_pairs=[(0.05, 0.95)]).sort_values("source")
    return recall["recall_0.05_0.95"].tolist(), recall["query_distribution_size"].tolist()


def compare_on_a_map(n_genes: int, width: int, n_rounds: int) -> None:
    """Print seconds of both and their ratio."""
    rng = np.random.default_rng(1)
    known = sorted({name for frame in read_relations().values() for column in frame for name in frame[column]})
    seconds: dict[str, list[float]] = {"ours": [], "efaar-benchmarking": []}
    for number in range(n_rounds + 1):
        names = rng.choice(known, n_genes, replace=False).tolist()
        vectors = rng.standard_normal((n_genes, width))
        answers = {}
        for label in rng.permutation(list(seconds)).tolist():
            start = time.perf_counter()
            answers[label] = (ours if label == "ours" else efaars)(vectors, names)
            if number:  # the first round warms caches up
                seconds[label].append(time.perf_counter() - start)
        (our_recall, our_pairs), (their_recall, their_pairs) = answers["ours"], answers["efaar-benchmarking"]
        np.testing.assert_allclose(our_recall, their_recall, rtol=0, atol=1e-12)
        assert our_pairs == their_pairs
    for label, values in seconds.items():
        print(
            f"{n_genes:,} genes x {width}, {label}: {np.median(values):.3f} s ({min(values):.3f} to {max(values):.3f})"
        )
    ratios = np.divide(seconds["efaar-benchmarking"], seconds["ours"])
    print(
        f"  ratio {np.median(ratios):.1f} ({ratios.min():.1f} to {ratios.max():.1f}); recalls equal to 1e-12",
        flush=True,
    )


def measure_alone(what: str, n_genes: int, width: int) -> None:
    """Print seconds and peak memory of one measurement in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", LARGE, what, str(n_genes), str(width)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    told = process.stdout.read().strip()
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, "the measurement failed"
    print(f"{n_genes:,} genes x {width}, {what}: {told}; peak {usage.ru_maxrss * 1024 / 1e9:.2f} GB", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--genes", type=int, default=17_000, help="of the vocabulary (default %(default)s)")
    parser.add_argument("--width", type=int, default=1024, help="of its vectors (default %(default)s)")
    parser.add_argument("--map", type=int, default=2_000, help="genes of the map (default %(default)s)")
    parser.add_argument("--map-width", type=int, default=128, help="of its vectors (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="of the comparison, after one to warm up (default 7)")
    parser.add_argument("--repeats", type=int, default=3, help="of the measurements alone (default %(default)s)")
    args = parser.parse_args()
    compare_on_a_map(args.map, args.map_width, args.rounds)
    for what in ("exact", "drawn"):
        for _ in range(args.repeats):
            measure_alone(what, args.genes, args.width)


if __name__ == "__main__":
    main()
