"""What a configuration costs, without any data."""

import torch

from txfm.config import ModelConfig
from txfm.model import TxFM

# Korthikanti et al. 2022, table 2, without attention scores (flash attention): bytes per token, width and block, bf16
ACTIVATION_BYTES_PER_TOKEN_WIDTH_BLOCK = 34
BYTES_PER_PARAMETER = 16  # float32 weight, gradient and two AdamW moments


def parameters_by_part(config: ModelConfig, n_genes: int) -> dict[str, int]:
    """Parameters of each part; counted on torch's meta device, so L needs no memory.

    Parameters
    ----------
    config : ModelConfig
    n_genes : int
        G.

    Returns
    -------
    dict
        gene table, CLS token, encoder blocks, final norm, decoder hidden, decoder output; dispersion and extra zeros
        with a loss that needs them; total.
    """
    with torch.device("meta"):
        network = TxFM(config, n_genes)
    modules = {
        "gene table": network.gene_table,
        "encoder blocks": network.blocks,
        "final norm": network.final_norm,
        "decoder hidden": torch.nn.ModuleList([network.decoder_in, network.decoder_blocks]),
        "decoder output": network.decoder_out,
    }
    counts = {part: sum(parameter.numel() for parameter in module.parameters()) for part, module in modules.items()}
    counts["CLS token"] = network.cls.numel()
    if network.log_dispersion is not None:
        counts["dispersion"] = network.log_dispersion.numel()
    if network.zero_out is not None:
        counts["extra zeros"] = sum(parameter.numel() for parameter in network.zero_out.parameters())
    counts["total"] = sum(parameter.numel() for parameter in network.parameters())
    return counts


def training_flops_per_sample(config: ModelConfig, n_genes: int) -> float:
    """Matrix-multiplication FLOPs of forward and backward (3 x forward) for one sample with K visible genes.

    The last block computes queries, output and MLP for its CLS token only.
    """
    width, tokens = config.width, min(config.n_visible_genes, n_genes) + 1
    mlp = 4 * config.mlp_ratio * width**2
    full_block = tokens * (8 * width**2 + mlp) + 4 * tokens**2 * width
    last_block = tokens * 4 * width**2 + 4 * width**2 + mlp + 4 * tokens * width
    hidden_layers = 1 + 2 * config.n_decoder_blocks if config.n_decoder_blocks else 0
    last_layers = 2 if config.has_zero_inflation else 1
    decoder = 2 * width**2 * hidden_layers + 2 * width * n_genes * last_layers
    return 3.0 * ((config.n_blocks - 1) * full_block + last_block + decoder)


def memory_bytes(config: ModelConfig, n_genes: int) -> dict[str, int]:
    """Estimated training memory: weights with optimiser state, and activations of one micro-batch in bf16."""
    size = config.micro_batch_size_samples or config.batch_size_samples
    tokens = min(config.n_visible_genes, n_genes) + 1
    encoder = ACTIVATION_BYTES_PER_TOKEN_WIDTH_BLOCK * tokens * config.width * config.n_blocks
    genes = 4 * 8 * n_genes  # counts, expression, draw, logits, prediction, loss and two gradients, float32
    return {
        "weights, gradients, AdamW": BYTES_PER_PARAMETER * parameters_by_part(config, n_genes)["total"],
        f"activations of {size} samples": size * (encoder + genes),
    }


def describe(name: str, config: ModelConfig, n_genes: int) -> str:
    """A few lines for a person."""
    n_genes = min(n_genes, config.max_genes or n_genes)
    head = f"{name} at {n_genes:,} genes: {config.n_blocks} blocks, {config.n_heads} heads, width {config.width}"
    lines = [
        head,
        f"  K = {config.n_visible_genes:,} visible genes, batch {config.batch_size_samples:,} samples",
        "parameters",
    ]
    for part, count in parameters_by_part(config, n_genes).items():
        lines.append(f"  {part:<28}{count:>14,}  {count / 1e6:9.2f}M")
    lines.append("shapes")
    tokens = min(config.n_visible_genes, n_genes) + 1
    lines.append(
        f"  genes ({n_genes:,}, {config.width - 1}); tokens (B, {tokens:,}, {config.width}); logits (B, {n_genes:,})"
    )
    lines.append(f"training cost\n  {training_flops_per_sample(config, n_genes) / 1e9:,.2f} GFLOP per sample")
    lines.append("memory (estimate)")
    for part, size in memory_bytes(config, n_genes).items():
        lines.append(f"  {part:<36}{size / 2**30:9.2f} GiB")
    return "\n".join(lines)
