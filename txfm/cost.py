"""What a configuration costs: parameters, matrix-multiplication FLOPs and memory, without any data."""

import torch

from txfm.config import ModelConfig
from txfm.cpu_attention import n_samples_kept
from txfm.model import TxFM

PARAMETER_BYTES = 16  # float32 weight, gradient and two AdamW moments
AUTOCAST_COPY_BYTES = 2  # of each weight, in bf16, kept until the backward pass
# Of one block, per token and unit of width, kept for the backward pass; r = the MLP's ratio:
# input and output of two norms, q, k, v, attention's output, both sides of the GELU.
#   float32  4 * (4 + 3 + 1 + 2 r)
#   bf16     2 * (4 + 2 + 3 + 1 + 2 r): the residual stream and with it the norms' inputs stay float32
# The last block keeps its norm and the keys and values. While the gradients of one block are computed, about another
# block's share is in use, in bf16 two, because some are in both precisions. Per gene of the vocabulary: draw, counts,
# expression, mask, logits, prediction, loss and their gradients. benchmarks/train_memory.py compares all of it with the
# peak of real steps.
WORKING_BLOCKS = {"float32": 1.0, "bf16": 2.0}
LAST_BLOCK_BYTES = {"float32": 16, "bf16": 10}
GENE_BYTES = 80
# The likelihoods of raw counts are computed in float64
GENE_BYTES_OF_LOSS = {"negative_binomial": 350, "zero_inflated_negative_binomial": 430}


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


def n_tokens(config: ModelConfig, n_genes: int) -> int:
    """Tokens of one sample, T = K + 1 with the CLS token."""
    return min(config.n_visible_genes, n_genes) + 1


def embedding_flops_per_sample(config: ModelConfig, n_shown: int) -> float:
    """Matrix-multiplication FLOPs of the encoder's forward pass over one sample that shows `n_shown` genes.

    The last block computes queries, output and MLP for its CLS token only.
    """
    width, tokens = config.width, n_shown + 1
    mlp = 4 * config.mlp_ratio * width**2
    full_block = tokens * (8 * width**2 + mlp) + 4 * tokens**2 * width
    last_block = tokens * 4 * width**2 + 4 * width**2 + mlp + 4 * tokens * width
    return float((config.n_blocks - 1) * full_block + last_block)


def training_flops_per_sample(config: ModelConfig, n_genes: int) -> float:
    """Matrix-multiplication FLOPs of forward and backward (3 x forward) for one sample with K visible genes.

    Stochastic depth is not subtracted.
    """
    width = config.width
    hidden_layers = 1 + 2 * config.n_decoder_blocks if config.n_decoder_blocks else 0
    last_layers = 2 if config.has_zero_inflation else 1
    decoder = 2 * width**2 * hidden_layers + 2 * width * n_genes * last_layers
    return 3.0 * (embedding_flops_per_sample(config, n_tokens(config, n_genes) - 1) + decoder)


def state_bytes(config: ModelConfig, n_genes: int, precision: str) -> int:
    """Memory of weights, gradients and AdamW's moments, and of the weights' copies under bf16 autocast."""
    per_parameter = PARAMETER_BYTES + (AUTOCAST_COPY_BYTES if precision == "bf16" else 0)
    return per_parameter * parameters_by_part(config, n_genes)["total"]


def activation_bytes(config: ModelConfig, n_genes: int, n_samples: int, precision: str, device_type: str) -> int:
    """Peak memory of forward and backward over one micro-batch, beside `state_bytes`.

    Parameters
    ----------
    config : ModelConfig
    n_genes : int
        G.
    n_samples : int
        Of the micro-batch.
    precision : {"bf16", "float32"}
    device_type : str
        "cpu" or "cuda": on a CPU in bf16 small batches keep their attention scores (`txfm.cpu_attention`).
    """
    tokens = n_tokens(config, n_genes)
    element, float32_extra = (2, 4) if precision == "bf16" else (4, 0)
    block = float(element * (4 + 3 + 1 + 2 * config.mlp_ratio) + float32_extra)
    score_bytes = 2 * config.n_heads * tokens**2  # of a sample; only bf16 on a CPU keeps them
    if device_type == "cpu" and precision == "bf16" and n_samples <= n_samples_kept(config.n_heads, tokens):
        block += score_bytes / (tokens * config.width)
    blocks = (config.n_blocks - 1 + WORKING_BLOCKS[precision]) * block + LAST_BLOCK_BYTES[precision]
    return round(
        n_samples * (tokens * config.width * blocks + GENE_BYTES_OF_LOSS.get(config.loss, GENE_BYTES) * n_genes)
    )
