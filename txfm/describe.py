"""What a configuration is and costs, in words."""

import math

from txfm.config import ModelConfig
from txfm.cost import (
    activation_bytes,
    embedding_flops_per_sample,
    n_tokens,
    parameters_by_part,
    state_bytes,
    training_flops_per_sample,
)
from txfm.errors import InputError
from txfm.hardware import Hardware
from txfm.training.masked_genes import refuse_nothing_masked
from txfm.training.micro_batch import available_bytes, choose_micro_batch


def describe(name: str, config: ModelConfig, n_genes: int, hardware: Hardware, n_samples: int | None = None) -> str:
    """Shapes, parameters, FLOPs and memory.

    Parameters
    ----------
    name : str
        Of the model.
    config : ModelConfig
    n_genes : int
        G, before a cap on the vocabulary.
    hardware : Hardware
        Whose memory and precision count.
    n_samples : int, optional
        Training samples; None = unknown, and with it the cost of a budget in epochs.

    Raises
    ------
    InputError
        K leaves no gene masked.
    """
    n_genes = min(n_genes, config.max_genes or n_genes)
    refuse_nothing_masked(config, n_genes)
    lines = [
        f"{name} at {n_genes:,} genes: {config.n_blocks} blocks, {config.n_heads} heads, width {config.width}",
        f"  K = {config.n_visible_genes:,} visible genes, batch {config.batch_size_samples:,} samples",
        "shapes (B samples)",
        *_shapes(config, n_genes),
        "parameters",
    ]
    for part, count in parameters_by_part(config, n_genes).items():
        lines.append(f"  {part:<28}{count:>14,}  {count / 1e6:9.2f}M")
    lines += ["training cost (matrix products, forward and backward)", *_cost(config, n_genes, n_samples)]
    lines += ["embedding cost (matrix products, forward)", *_embedding_cost(config, n_genes)]
    lines += [f"memory of a training step (estimate), {hardware.precision}", *_memory(config, n_genes, hardware)]
    return "\n".join(lines)


def _shapes(config: ModelConfig, n_genes: int) -> list[str]:
    width, tokens, hidden = config.width, n_tokens(config, n_genes), config.mlp_ratio * config.width
    heads = f"{config.n_heads}, {tokens:,}, {width // config.n_heads}"
    rows = [
        ("gene table", f"({n_genes:,}, {width - 1})"),
        ("counts, expression, measured", f"(B, {n_genes:,})"),
        ("tokens: CLS and K genes", f"(B, {tokens:,}, {width})"),
        ("queries, keys, values", f"(B, {heads})"),
        ("hidden layer of a block's MLP", f"(B, {tokens:,}, {hidden:,})"),
        ("tokens after the last block", f"(B, 1, {width}), the CLS token alone"),
        ("embedding", f"(B, {width})"),
        (f"decoder, {config.n_decoder_blocks} residual blocks", f"(B, {width})"),
        ("logits", f"(B, {n_genes:,})"),
    ]
    return [f"  {stage:<34}{shape}" for stage, shape in rows]


def _cost(config: ModelConfig, n_genes: int, n_samples: int | None) -> list[str]:
    per_sample = training_flops_per_sample(config, n_genes)
    per_step = per_sample * config.batch_size_samples
    rows = [("a sample", _flops(per_sample)), ("a step", _flops(per_step))]
    if config.epochs is not None and n_samples is None:
        rows.append(("in all", f"{config.epochs:g} epochs: that depends on the samples (--corpus, --variant)"))
    else:
        steps = config.total_steps(n_samples) if n_samples is not None else config.steps
        steps = steps or -(-(config.samples_seen or 0) // config.batch_size_samples)
        rows.append(("in all", f"{_flops(per_step * steps)}, {steps:,} steps"))
    return [f"  {what:<34}{cost}" for what, cost in rows]


def _embedding_cost(config: ModelConfig, n_genes: int) -> list[str]:
    """Of what `txfm embed` shows by default, all measured genes, and of as many as in training."""
    n_few = n_tokens(config, n_genes) - 1
    shown = {f"a sample, all {n_genes:,} genes": n_genes, f"a sample, --genes {n_few}": n_few}
    return [f"  {what:<34}{_flops(embedding_flops_per_sample(config, n))}" for what, n in shown.items()]


def _memory(config: ModelConfig, n_genes: int, hardware: Hardware) -> list[str]:
    precision, device = hardware.precision, hardware.device
    size = min(config.micro_batch_size_samples or config.batch_size_samples, config.batch_size_samples)
    rows = [("weights, gradients, AdamW", state_bytes(config, n_genes, precision))]
    for n in sorted({1, size}):
        rows.append((f"activations of {n:,} samples", activation_bytes(config, n_genes, n, precision, device.type)))
    lines = [f"  {part:<34}{_bytes(n_bytes)}" for part, n_bytes in rows]
    available = available_bytes(device)
    try:
        largest = choose_micro_batch(config, n_genes, config.batch_size_samples, hardware, available)
        fits = f"{largest:,} samples at a time fit" if largest < config.batch_size_samples else "the whole batch fits"
    except InputError:
        fits = "not even one sample fits"
    return [*lines, f"  {fits} into the {available / 2**30:.1f} GiB available on {device}"]


def _bytes(number: int) -> str:
    return f"{number / 2**30:11,.2f} GiB" if number >= 2**30 else f"{number / 2**20:11,.2f} MiB"


def _flops(number: float) -> str:
    exponent = min(max(int(math.log10(max(number, 1))) // 3, 0), 7)
    return f"{number / 1000**exponent:.4g} {' kMGTPEZ'[exponent].strip()}FLOP"
