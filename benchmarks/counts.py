"""How long it takes to prove that values are counts and to make integers of them: nanoseconds a value.

    python benchmarks/counts.py [--values 20000000] [--repeats 5]

Beside the plain way (float64, round, compare), interleaved in one process; prints the best of the repeats.
"""

import argparse
import time

import numpy as np

from curation.counts import Rounding, to_integers


def plain(values: np.ndarray) -> np.ndarray:
    """The same with whole arrays of float64."""
    wide = values.astype(np.float64)
    rounded = np.rint(wide)
    assert np.isfinite(wide).all()
    assert wide.min() >= 0
    assert np.abs(wide - rounded).max() <= 1e-6
    return rounded.astype(np.int32)


def seconds(values: np.ndarray, kind: str | None) -> float:
    """Time one run; None is the plain way."""
    started = time.perf_counter()
    plain(values) if kind is None else to_integers(values, count_kind=kind, where="", record=Rounding())
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--values", type=int, default=20_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    counts = rng.negative_binomial(0.5, 0.1, arguments.values) + 1
    fractions = (counts + rng.random(len(counts))).astype(np.float32)
    rows = {f"{dtype}, integers": (counts.astype(dtype), "umi") for dtype in ("float32", "float64", "int32", "int64")}
    rows["float32, fractions of expected counts"] = (fractions, "expected")
    print(f"{'values':40s}{'ours':>8s}{'plain':>8s}   ns a value")
    for name, (values, kind) in rows.items():
        runs = [
            (seconds(values, kind), np.nan if kind == "expected" else seconds(values, None))
            for _ in range(arguments.repeats)
        ]
        ours, whole = (best / len(values) * 1e9 for best in np.min(runs, axis=0))
        print(f"{name:40s}{ours:8.2f}{whole:8.2f}")


if __name__ == "__main__":
    main()
