"""How long one optimiser step of the nano model takes: ours in bf16, ours in float32, and a plain implementation.

The plain one is what a reader of the paper would write first: torch.nn.TransformerEncoder in float32 with a padding
mask, every block over all tokens, the default AdamW. All three see the same batches and take turns within one run, so
that whatever else the machine does hits them alike. Prints medians; `--threads 1 2` repeats it per number of threads.

    python benchmarks/train_step.py --threads 1 2
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from txfm.activations import rectified_tanh
from txfm.config import ModelConfig, config_from_mapping
from txfm.corpus import Batch
from txfm.hardware import choose_hardware
from txfm.inputs import inputs_of
from txfm.losses import poisson
from txfm.masking import choose_visible, sample_keys
from txfm.model import DecoderBlock
from txfm.objective import batch_loss, masked_task
from txfm.statistics import MeanExpression
from txfm.training.optimiser import adamw
from txfm.training.weights import new_network

CPU = torch.device("cpu")
N_GENES = 1000


class PlainTxFM(nn.Module):
    """The same architecture from torch's ready-made parts."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.width
        self.gene_table = nn.Embedding(N_GENES, width - 1)
        self.cls = nn.Parameter(torch.zeros(1, 1, width))
        layer = nn.TransformerEncoderLayer(
            width, config.n_heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, config.n_blocks, nn.LayerNorm(width), enable_nested_tensor=False)
        blocks = [DecoderBlock(width) for _ in range(config.n_decoder_blocks)]
        last = nn.Linear(width, N_GENES)
        nn.init.constant_(last.bias, 1.0)
        self.decoder = nn.Sequential(nn.Linear(width, width), *blocks, last)

    def forward(self, positions_BK: torch.Tensor, values_BK: torch.Tensor, padding_BK: torch.Tensor) -> torch.Tensor:
        tokens_BKD = torch.cat([self.gene_table(positions_BK), values_BK.unsqueeze(-1)], dim=-1)
        tokens_BTD = torch.cat([self.cls.expand(len(tokens_BKD), -1, -1), tokens_BKD], dim=1)
        padding_BT = nn.functional.pad(padding_BK, (1, 0), value=False)
        return self.decoder(self.encoder(tokens_BTD, src_key_padding_mask=padding_BT)[:, 0])


def simulated_batches(n_batches: int, n_samples: int) -> list[Batch]:
    """Counts as sparse as single cells', all genes measured."""
    rng = np.random.default_rng(0)
    batches = []
    for _ in range(n_batches):
        counts = rng.negative_binomial(0.3, 0.1, (n_samples, N_GENES))
        rows, positions = np.nonzero(counts)
        indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n_samples))])
        batches.append(
            Batch(
                indptr=indptr,
                positions=positions.astype(np.int32),
                counts=counts[rows, positions].astype(np.int32),
                study_index=np.zeros(n_samples, dtype=np.int64),
                measured=np.ones((1, N_GENES), dtype=bool),
                _ids=lambda: [str(row) for row in range(n_samples)],
            )
        )
    return batches


def our_step(config: ModelConfig, batches: list[Batch], precision: str) -> Callable[[int], None]:
    """One whole step as in training: batch to tensors, masks, forward, backward, AdamW."""
    means = MeanExpression(by_study=np.full((1, N_GENES), 100.0), overall=np.full(N_GENES, 100.0))
    network = new_network(config, means, 0, CPU)
    optimiser = adamw(network, 0.0)
    measured_SG = torch.ones(1, N_GENES, dtype=torch.bool)

    def step(index: int) -> None:
        inputs = inputs_of(batches[index % len(batches)], measured_SG, config)
        optimiser.zero_grad(set_to_none=True)
        keys_B = sample_keys(torch.arange(len(inputs)), "train", index)
        visible = choose_visible(inputs.measured_BG, config.n_visible_genes, keys_B, n_measured_B=inputs.n_measured_B)
        batch_loss(masked_task(network, config, inputs, visible, precision), inputs).backward()
        optimiser.step()

    return step


def plain_step(config: ModelConfig, batches: list[Batch]) -> Callable[[int], None]:
    """The same step for the plain implementation."""
    network = PlainTxFM(config)
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.max_lr, weight_decay=0.0)
    measured_SG = torch.ones(1, N_GENES, dtype=torch.bool)

    def step(index: int) -> None:
        inputs = inputs_of(batches[index % len(batches)], measured_SG, config)
        draw_BG = torch.rand(inputs.x_BG.shape)
        positions_BK = draw_BG.topk(config.n_visible_genes, dim=1).indices
        values_BK = inputs.x_BG.gather(1, positions_BK)
        optimiser.zero_grad()
        logits_BG = network(positions_BK, values_BK, torch.zeros_like(positions_BK, dtype=torch.bool))
        poisson(rectified_tanh(logits_BG), inputs.x_BG).mean().backward()
        optimiser.step()

    return step


def measure(steps: dict[str, Callable[[int], None]], n_rounds: int) -> dict[str, list[float]]:
    """Seconds per step; the implementations take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for index in range(-5, n_rounds):  # five rounds of warm-up
        for name, step in steps.items():
            started = time.perf_counter()
            step(index)
            if index >= 0:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time of one nano step.")
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="numbers of CPU threads (default 1)")
    parser.add_argument("--rounds", type=int, default=60, help="steps of each implementation (default 60)")
    args = parser.parse_args()
    config = config_from_mapping({"preset": "nano"})
    batches = simulated_batches(8, config.batch_size_samples)
    for threads in args.threads:
        print(choose_hardware("cpu", "auto", threads))
        steps = {
            "txfm bf16": our_step(config, batches, "bf16"),
            "txfm float32": our_step(config, batches, "float32"),
            "nn.TransformerEncoder float32": plain_step(config, batches),
        }
        seconds = measure(steps, args.rounds)
        slowest = statistics.median(seconds["nn.TransformerEncoder float32"])
        print(f"{'':32}{'median':>10}{'10-90%':>18}{'samples/s':>12}{'speed-up':>10}")
        for name, values in seconds.items():
            median = statistics.median(values)
            low, high = np.quantile(values, [0.1, 0.9])
            spread = f"{low * 1e3:.1f}-{high * 1e3:.1f} ms"
            rate = config.batch_size_samples / median
            print(f"{name:32}{median * 1e3:7.1f} ms{spread:>18}{rate:12.0f}{slowest / median:9.2f}x")


if __name__ == "__main__":
    main()
