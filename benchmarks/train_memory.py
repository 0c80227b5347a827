"""Memory of one training step: what the formula behind `--batch-size auto` predicts beside what the step takes.

Each case runs in a process of its own: two steps of real training code, the second at its peak. On a CPU the peak is
the resident memory's high-water mark over what the process had before the network was made (Linux); on a GPU it is that
of torch's allocator.

    python benchmarks/train_memory.py
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from txfm.config import config_from_mapping
from txfm.corpus import Batch
from txfm.cost import activation_bytes, state_bytes
from txfm.hardware import Hardware, choose_hardware
from txfm.statistics import MeanExpression
from txfm.training.optimiser import adamw
from txfm.training.step import TrainingStep
from txfm.training.weights import new_network

# name, model, genes, samples
CASES = (
    ("nano", {"preset": "nano"}, 1000, 32),
    ("nano", {"preset": "nano"}, 1000, 256),
    ("nano, all genes", {"preset": "nano", "max_genes": None}, 44_349, 32),
    ("nano, all, NB", {"preset": "nano", "max_genes": None, "loss": "negative_binomial"}, 44_349, 32),
    ("S, K = 127", {"preset": "S", "n_visible_genes": 127}, 8000, 16),
    ("S, K = 511", {"preset": "S", "n_visible_genes": 511}, 8000, 8),
)


def simulated_batch(n_samples: int, n_genes: int) -> Batch:
    """Counts as sparse as single cells', all genes measured."""
    counts = np.random.default_rng(0).negative_binomial(0.3, 0.1, (n_samples, n_genes))
    rows, positions = np.nonzero(counts)
    return Batch(
        indptr=np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n_samples))]),
        positions=positions.astype(np.int32),
        counts=counts[rows, positions].astype(np.int32),
        study_index=np.zeros(n_samples, dtype=np.int64),
        measured=np.ones((1, n_genes), dtype=bool),
        _ids=lambda: [str(row) for row in range(n_samples)],
    )


def peak_of_a_step(entry: dict[str, object], n_genes: int, n_samples: int, hardware: Hardware) -> int:
    """Bytes of a step over one micro-batch, with weights, gradients and moments."""
    _two_steps({**entry, "width": 16, "n_heads": 1, "n_visible_genes": 7}, 32, 2, hardware)  # loads what libraries need
    before = resident_bytes("VmRSS")
    _two_steps(entry, n_genes, n_samples, hardware)
    if hardware.device.type == "cuda":
        return torch.cuda.max_memory_allocated(hardware.device)
    return resident_bytes("VmHWM") - before


def _two_steps(entry: dict[str, object], n_genes: int, n_samples: int, hardware: Hardware) -> None:
    batch = simulated_batch(n_samples, n_genes)
    config = config_from_mapping({**entry, "batch_size_samples": n_samples})
    means = MeanExpression(by_study=np.full((1, n_genes), 100.0), overall=np.full(n_genes, 100.0))
    network = new_network(config, means, 0, hardware.device)
    step = TrainingStep(network, adamw(network, 0.0), batch.measured, None, hardware, seed=0, micro_batch=n_samples)
    for number in range(2):
        step(batch, number, 1e-3, n_samples)


def resident_bytes(field: str) -> int:
    """A line of this process' memory as Linux counts it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Predicted and measured memory of a training step.")
    parser.add_argument("--device", default="cpu", help="cpu, cuda (default cpu)")
    parser.add_argument("--case", help=argparse.SUPPRESS)  # one measurement, in a process of its own
    args = parser.parse_args()
    if args.case:
        entry, n_genes, n_samples, precision = json.loads(args.case)
        print(peak_of_a_step(entry, n_genes, n_samples, choose_hardware(args.device, precision, 1)))
        return
    device_type = torch.device(args.device).type
    print(f"{'':18}{'genes':>8}{'batch':>7}  {'precision':10}{'predicted':>11}{'measured':>11}{'ratio':>7}")
    for name, entry, n_genes, n_samples in CASES:
        for precision in ("float32", "bf16"):
            config = config_from_mapping(entry)
            predicted = state_bytes(config, n_genes, precision)
            predicted += activation_bytes(config, n_genes, n_samples, precision, device_type)
            case = json.dumps([entry, n_genes, n_samples, precision])
            command = [sys.executable, __file__, "--device", args.device, "--case", case]
            measured = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            row = f"{name:18}{n_genes:8,}{n_samples:7}  {precision:10}"
            print(
                f"{row}{predicted / 2**20:7.0f} MiB{measured / 2**20:7.0f} MiB{predicted / measured:7.2f}", flush=True
            )


if __name__ == "__main__":
    main()
