"""How long one optimiser step takes: ours beside a straightforward implementation, at several sizes of model.

    python benchmarks/train_step.py [--models nano S B] [--threads 2] [--rounds 5] [--batch-sizes 32 8 4]
    python benchmarks/train_step.py --device cuda --models S B L
    python benchmarks/train_step.py --loader CORPUS --variant VARIANT --models nano

The straightforward one is what a reader of the paper would write first: dense float32 batches of all 44,349 genes,
torch.nn.TransformerEncoder over all tokens in every block with a padding mask, no stochastic depth, the default AdamW.
All see the same counts and take turns within one run, so that whatever else the machine does hits them alike; the
speed-up is the median (range) of the ratios within a round. A nano model has the 1,000 genes of its preset: the
straightforward one takes their columns out of the dense batch. As many samples pass at once as training chooses
(--batch-size auto); a step of the paper's 1,536 samples is a sum over many.

On a GPU our step is compiled and MFU is printed: FLOPs of the matrix products of forward and backward (txfm/cost.py) a
second, by the dense bf16 peak of the device.

--loader measures what share of a training's time is spent waiting for the next batch of a corpus.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import nn

from txfm.activations import rectified_tanh
from txfm.config import PRESETS, ModelConfig
from txfm.corpus import Batch
from txfm.cost import training_flops_per_sample
from txfm.hardware import Hardware, choose_hardware
from txfm.losses import poisson
from txfm.model import DecoderBlock
from txfm.statistics import MeanExpression
from txfm.training.micro_batch import available_bytes, choose_micro_batch
from txfm.training.optimiser import adamw
from txfm.training.samples import CorpusSamples
from txfm.training.step import TrainingStep
from txfm.training.throughput import known_peak
from txfm.training.weights import new_network

N_GENES = 44_349
BATCH_SIZES = {"cpu": {"nano": 32, "S": 8, "S6": 8, "B": 4, "L": 2}, "cuda": dict.fromkeys(("S", "S6", "B", "L"), 96)}
PLAIN = "nn.TransformerEncoder float32"

Step = Callable[[int], None]


class PlainTxFM(nn.Module):
    """The same architecture from torch's ready-made parts."""

    def __init__(self, config: ModelConfig, n_genes: int) -> None:
        super().__init__()
        width = config.width
        self.gene_table = nn.Embedding(n_genes, width - 1)
        self.cls = nn.Parameter(torch.zeros(1, 1, width))
        layer = nn.TransformerEncoderLayer(
            width, config.n_heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, config.n_blocks, nn.LayerNorm(width), enable_nested_tensor=False)
        blocks = [DecoderBlock(width) for _ in range(config.n_decoder_blocks)]
        last = nn.Linear(width, n_genes)
        nn.init.constant_(last.bias, 1.0)
        self.decoder = nn.Sequential(nn.Linear(width, width), *blocks, last)

    def forward(self, positions_BK: torch.Tensor, values_BK: torch.Tensor, padding_BK: torch.Tensor) -> torch.Tensor:
        tokens_BKD = torch.cat([self.gene_table(positions_BK), values_BK.unsqueeze(-1)], dim=-1)
        tokens_BTD = torch.cat([self.cls.expand(len(tokens_BKD), -1, -1), tokens_BKD], dim=1)
        padding_BT = nn.functional.pad(padding_BK, (1, 0), value=False)
        return self.decoder(self.encoder(tokens_BTD, src_key_padding_mask=padding_BT)[:, 0])


def vocabulary_size(config: ModelConfig) -> int:
    """Genes of the model."""
    return config.max_genes or N_GENES


def simulated_counts(n_batches: int, n_samples: int) -> list[np.ndarray]:
    """Counts (n_samples, 44,349) as sparse as single cells', all genes measured."""
    rng = np.random.default_rng(0)
    return [rng.negative_binomial(0.1, 0.1, (n_samples, N_GENES)).astype(np.int32) for _ in range(n_batches)]


def csr_batch(counts: np.ndarray, n_genes: int) -> Batch:
    """The batch that the corpus reader would give."""
    rows, positions = np.nonzero(counts[:, :n_genes])
    return Batch(
        indptr=np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(counts)))]),
        positions=positions.astype(np.int32),
        counts=counts[rows, positions],
        study_index=np.zeros(len(counts), dtype=np.int64),
        measured=np.ones((1, n_genes), dtype=bool),
        _ids=lambda: [str(row) for row in range(len(counts))],
    )


def our_step(config: ModelConfig, batches: Sequence[Batch], hardware: Hardware) -> Step:
    """One whole step as in training: batch to tensors, masks, forward, backward, AdamW."""
    n_genes = vocabulary_size(config)
    means = MeanExpression(by_study=np.full((1, n_genes), 100.0), overall=np.full(n_genes, 100.0))
    network = new_network(config, means, 0, hardware.device)
    micro_batch = choose_micro_batch(config, n_genes, len(batches[0]), hardware, available_bytes(hardware.device))
    step = TrainingStep(
        network, adamw(network, 0.0), batches[0].measured, None, hardware, seed=0, micro_batch=micro_batch
    )

    def take(index: int) -> None:
        step(batches[index % len(batches)], index, config.max_lr, len(batches[0]))

    return take


def plain_step(config: ModelConfig, dense: Sequence[np.ndarray], device: torch.device) -> Step:
    """The same step for the straightforward implementation."""
    n_genes = vocabulary_size(config)
    network = PlainTxFM(config, n_genes).to(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.max_lr, weight_decay=0.0)

    def take(index: int) -> None:
        counts_BG = torch.from_numpy(dense[index % len(dense)].astype(np.float32)).to(device)[:, :n_genes]
        x_BG = torch.log1p(counts_BG / counts_BG.sum(dim=1, keepdim=True) * config.library_size_counts)
        positions_BK = torch.rand(x_BG.shape, device=device).topk(config.n_visible_genes, dim=1).indices
        values_BK = x_BG.gather(1, positions_BK)
        optimiser.zero_grad()
        logits_BG = network(positions_BK, values_BK, torch.zeros_like(positions_BK, dtype=torch.bool))
        poisson(rectified_tanh(logits_BG), x_BG).mean().backward()
        optimiser.step()

    return take


def measure(steps: dict[str, Step], n_rounds: int, n_warm_up: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of each step; the implementations take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for index in range(-n_warm_up, n_rounds):
        for name, step in steps.items():
            started = time.perf_counter()
            step(index)
            if device.type == "cuda":
                torch.cuda.synchronize()
            if index >= 0:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def spread(values: Sequence[float], form: str) -> str:
    """Median (range)."""
    return f"{statistics.median(values):{form}} ({min(values):{form}}-{max(values):{form}})"


def compare(name: str, args: argparse.Namespace, n_samples: int) -> None:
    """Measure one model and print its table."""
    config = PRESETS[name]
    fast = choose_hardware(args.device, "bf16", args.threads, compiled=None)
    slow = choose_hardware(args.device, "float32", args.threads, compiled=None)
    dense = simulated_counts(2, n_samples)
    batches = [csr_batch(counts, vocabulary_size(config)) for counts in dense]
    steps = {"txfm bf16": our_step(config, batches, fast)}
    if not args.ours_alone:
        steps |= {"txfm float32": our_step(config, batches, slow), PLAIN: plain_step(config, dense, fast.device)}
    seconds = measure(steps, args.rounds, 2 if fast.device.type == "cpu" else 5, fast.device)
    flops = training_flops_per_sample(config, vocabulary_size(config)) * n_samples
    peak = known_peak(fast)
    print(f"\n{name}, {vocabulary_size(config):,} genes, K = {config.n_visible_genes:,}, batch {n_samples}; {fast}\n")
    print("| step | ms | samples/s | speed-up | TFLOP/s | MFU |\n|---|---:|---:|---:|---:|---:|")
    for title, taken in seconds.items():
        ratios = [plain / ours for plain, ours in zip(seconds.get(PLAIN, taken), taken, strict=True)]
        rate = flops / statistics.median(taken)
        mfu = "" if peak is None else f"{rate / peak:.1%}"
        cells = [spread([1e3 * value for value in taken], ",.1f"), f"{n_samples / statistics.median(taken):,.2f}"]
        print(f"| {title} | {' | '.join(cells)} | {spread(ratios, '.2f')} | {rate / 1e12:.3f} | {mfu} |", flush=True)


def loader_share(name: str, args: argparse.Namespace) -> None:
    """Measure how long a training waits for batches."""
    config = PRESETS[name]
    hardware = choose_hardware(args.device, "auto", args.threads, compiled=None)
    samples = CorpusSamples(corpus=args.loader, variant=args.variant, max_genes=config.max_genes)
    corpus = samples.training(batch_size=config.batch_size_samples, seed=0)
    n_genes = len(corpus.vocabulary)
    means = MeanExpression(by_study=np.full(corpus.measured.shape, 100.0), overall=np.full(n_genes, 100.0))
    network = new_network(config, means, 0, hardware.device)
    step = TrainingStep(
        network, adamw(network, 0.0), corpus.measured, None, hardware, seed=0, micro_batch=config.batch_size_samples
    )
    waited, stepped, batches = [], [], iter(corpus)
    for number in islice(range(corpus.n_batches), args.rounds):
        started = time.perf_counter()
        batch = next(batches)
        arrived = time.perf_counter()
        step(batch, number, config.max_lr, len(batch))
        waited.append(arrived - started)
        stepped.append(time.perf_counter() - arrived)
    waits, takes = sum(waited[1:]), sum(stepped[1:])
    print(
        f"{name} on {args.variant}, {n_genes:,} genes, {len(waited)} steps of {config.batch_size_samples}\n{hardware}\n"
        f"{waits / (waits + takes):.2%} of the time waiting for batches (bar 5%); the first {waited[0]:.2f} s, then "
        f"{spread([1e3 * wait for wait in waited[1:]], '.2f')} ms a step of "
        f"{spread([1e3 * taken for taken in stepped[1:]], ',.1f')} ms"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=list(PRESETS), default=["nano", "S", "B"])
    parser.add_argument("--batch-sizes", type=int, nargs="+", help="samples a step, one a model")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's choice)")
    parser.add_argument("--rounds", type=int, default=5, help="steps of each implementation")
    parser.add_argument("--ours-alone", action="store_true", help="without the straightforward implementation")
    parser.add_argument("--loader", type=Path, metavar="CORPUS", help="measure the reader's share of a training's time")
    parser.add_argument("--variant", help="of that corpus")
    args = parser.parse_args()
    sizes = args.batch_sizes or [BATCH_SIZES[args.device.partition(":")[0]][name] for name in args.models]
    for name, n_samples in zip(args.models, sizes, strict=True):
        if args.loader:
            loader_share(name, args)
        else:
            compare(name, args, n_samples)


if __name__ == "__main__":
    main()
