"""Perturbation consistency at the size of the K562 screen: seconds and peak memory as cells grow.

    python benchmarks/consistency.py [--cells 100000 1900000] [--width 768] [--perturbations 9866] [--folder DIR]

Writes simulated embeddings as .npy (5.8 GB at the largest) and labels, then aligns and measures them in a process of
its own. Peak memory is the resident set of that process, from wait4; the bar is 2 GB.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

N_BATCHES = 272  # gem groups of the screen
CONTROL_SHARE = 0.04  # 72,000 of 1.9 million cells
MEASURE = """
import sys, time
from pathlib import Path
import numpy as np
from txfm.consistency.align import align
from txfm.consistency.cells import Cells, NpyEmbeddings
from txfm.consistency.statistic import measure_consistency
path, labels = sys.argv[1:3]
arrays = np.load(labels)
names = [f"g{i}" for i in range(int(arrays["code"].max()) + 1)]
cells = Cells.from_codes(arrays["code"], names, arrays["code"] < 0, arrays["batch"])
start = time.perf_counter()
aligned = align(NpyEmbeddings(Path(path)), cells)
middle = time.perf_counter()
found = measure_consistency(aligned, cells)
end = time.perf_counter()
print(f"align {middle - start:.0f} s, measure {end - middle:.0f} s, p < 0.1: {np.nanmean(found.p_pooled < 0.1):.1%}"
      f" pooled, {np.nanmean(found.p_per_perturbation < 0.1):.1%} per perturbation; {found.n_null:,} null cosines")
"""


def write_screen(folder: Path, n_cells: int, width: int, n_perturbations: int) -> tuple[Path, Path]:
    """Write embeddings, half of whose perturbations shift their cells, and the labels of the cells."""
    rng = np.random.default_rng(n_cells)
    code = rng.integers(0, n_perturbations, n_cells).astype(np.int32)
    code[rng.random(n_cells) < CONTROL_SHARE] = -1
    batch = rng.integers(0, N_BATCHES, n_cells).astype(np.int32)
    shift = rng.standard_normal((n_perturbations + 1, width), dtype=np.float32) * np.float32(0.3)
    shift[::2] = 0
    shift[-1] = 0  # code -1, controls
    batch_shift = rng.standard_normal((N_BATCHES, width), dtype=np.float32)
    embeddings, labels = folder / f"{n_cells}.npy", folder / f"{n_cells}.npz"
    with embeddings.open("wb") as stream:
        header = {"descr": "<f4", "fortran_order": False, "shape": (n_cells, width)}
        np.lib.format.write_array_header_1_0(stream, header)
        for start in range(0, n_cells, 20_000):
            rows = slice(start, start + 20_000)
            values = rng.standard_normal((len(code[rows]), width), dtype=np.float32)
            values += shift[code[rows]] + batch_shift[batch[rows]]
            values.tofile(stream)
    np.savez(labels, code=code, batch=batch)
    return embeddings, labels


def main() -> None:
    """Measure each size and print a line of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, nargs="+", default=[100_000, 400_000, 1_900_000])
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--perturbations", type=int, default=9_866)
    parser.add_argument("--folder", type=Path, help="where the embeddings go meanwhile (default: the system's)")
    args = parser.parse_args()
    for n_cells in args.cells:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            paths = write_screen(Path(folder), n_cells, args.width, args.perturbations)
            start = time.perf_counter()
            command = [sys.executable, "-c", MEASURE, *map(str, paths)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            told = process.stdout.read().strip()
            _, status, usage = os.wait4(process.pid, 0)
            assert os.waitstatus_to_exitcode(status) == 0, "the measurement failed"
            seconds, peak = time.perf_counter() - start, usage.ru_maxrss * 1024 / 1e9
            print(f"{n_cells:,} cells x {args.width}: {seconds:.0f} s, peak {peak:.2f} GB; {told}", flush=True)


if __name__ == "__main__":
    main()
