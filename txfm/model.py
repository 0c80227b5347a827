"""TxFM: a ViT encoder over visible genes and an MLP decoder over all genes, in one file.

Shapes: B samples, K visible genes, T = K + 1 tokens (the CLS token first), G vocabulary, D width, H heads.
The paper is silent on the inside of a block; this is the pre-norm ViT block that reproduces its parameter counts.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from txfm.activations import ACTIVATIONS
from txfm.config import ModelConfig
from txfm.cpu_attention import headwise_attention
from txfm.masking import random_bits, uniform

# The value's channel reaches 11.5, so at 0.02 the first LayerNorm would see little but the value. Explained deviance of
# nano after 60,000 real samples: 0.20 at 1.0, 0.25 at 0.3, 0.21 at 0.1.
GENE_TABLE_INIT_STD = 0.3
LAST_LAYER_INIT_STD = 0.02
MAX_HEADWISE_TOKENS = 2**13  # 128 MiB of scores in bf16
MAX_EXPLICIT_SCORES = 2**24  # 32 MiB in bf16, about one processor's last-level cache
INITIAL_ZERO_LOGIT = -3.0  # 5% extra zeros: nearly the negative binomial law, with a gradient


class Output(NamedTuple):
    """What the network says of some samples."""

    logits_BG: torch.Tensor
    """Of every gene of the vocabulary; an activation turns them into expression."""
    cls_BD: torch.Tensor
    """The samples' embeddings."""
    zero_logits_BG: torch.Tensor | None = None
    """Log odds of an extra zero, with a zero-inflated loss."""
    log_dispersion_G: torch.Tensor | None = None
    """Logarithms of the inverse dispersions, with a negative binomial loss."""

    def float(self) -> "Output":
        """In float32."""
        zero_logits_BG = None if self.zero_logits_BG is None else self.zero_logits_BG.float()
        return Output(self.logits_BG.float(), self.cls_BD.float(), zero_logits_BG, self.log_dispersion_G)


def attention(
    q_BHQE: torch.Tensor, k_BHTE: torch.Tensor, v_BHTE: torch.Tensor, is_real_BT: torch.Tensor | None
) -> torch.Tensor:
    """Softmax attention of Q queries over T tokens, E = D / H; padding is attended by nobody.

    torch's flash attention, except in bf16 on a CPU, where that is slow (benchmarks/train_step.py): there, matrix
    products with a softmax between; of all heads at once while their scores fit into the cache, else head by head.
    """
    real = None if is_real_BT is None else is_real_BT[:, None, None, :]
    n_samples, n_heads, n_queries, n_tokens = (*q_BHQE.shape[:3], k_BHTE.shape[2])
    is_bf16_on_cpu = q_BHQE.device.type == "cpu" and q_BHQE.dtype == torch.bfloat16
    if is_bf16_on_cpu and n_samples * n_heads * n_queries * n_tokens <= MAX_EXPLICIT_SCORES:
        with torch.autocast("cpu", enabled=False):
            scores_BHQT = (q_BHQE * q_BHQE.shape[-1] ** -0.5) @ k_BHTE.transpose(-1, -2)
            if real is not None:
                scores_BHQT = scores_BHQT.masked_fill(~real, -math.inf)
            return torch.softmax(scores_BHQT, dim=-1) @ v_BHTE
    if is_bf16_on_cpu and n_queries == n_tokens <= MAX_HEADWISE_TOKENS:
        return headwise_attention(q_BHQE, k_BHTE, v_BHTE, is_real_BT)
    mask = None if real is None else real.expand(-1, -1, n_queries, -1)
    return F.scaled_dot_product_attention(q_BHQE, k_BHTE, v_BHTE, attn_mask=mask)


class KeptRows(NamedTuple):
    """Samples that do not skip a block's attention, and those that do not skip its MLP: int64, ascending."""

    attention: torch.Tensor
    mlp: torch.Tensor


def keep_probabilities(config: ModelConfig) -> list[float]:
    """Of each block: 1 in the first, from where it falls linearly to ``1 - stochastic_depth`` in the last."""
    return [1 - config.stochastic_depth * number / max(config.n_blocks - 1, 1) for number in range(config.n_blocks)]


def draw_kept_rows(
    config: ModelConfig, keys_B: torch.Tensor, device: torch.device | None = None
) -> list[KeptRows | None] | None:
    """Draw what stochastic depth keeps: each sample by itself, so that it does not matter with which others it passes.

    That is the law of Huang et al. 2016. A fixed share of the samples of a pass would do the same work every time, but
    rounds to all of them in small passes.

    Parameters
    ----------
    config : ModelConfig
    keys_B : torch.Tensor (B,), int64
        Of `sample_keys`, on the CPU, where the numbers of rows are known without waiting for a GPU.
    device : torch.device, optional
        Of the answer; None = the CPU.

    Returns
    -------
    list or None
        For each block the rows that it keeps, None where it always keeps all; None without stochastic depth.
    """
    if config.stochastic_depth == 0:
        return None
    draws_BL2 = uniform(random_bits(keys_B, 2 * config.n_blocks)).view(len(keys_B), config.n_blocks, 2)
    kept: list[KeptRows | None] = []
    for number, probability in enumerate(keep_probabilities(config)):
        if probability == 1:
            kept.append(None)
            continue
        is_kept_B2 = draws_BL2[:, number] < probability
        rows = [is_kept_B2[:, branch].nonzero().flatten().to(device, non_blocking=True) for branch in range(2)]
        kept.append(KeptRows(*rows))
    return kept


class Block(nn.Module):
    """Pre-norm transformer block with optional LayerScale; rows that skip a branch are not computed."""

    def __init__(self, config: ModelConfig, keep_probability: float = 1.0) -> None:
        super().__init__()
        width, hidden = config.width, config.mlp_ratio * config.width
        self.n_heads = config.n_heads
        self.kept_branch_scale = 1 / keep_probability  # so that a branch adds as much on average as when all keep it
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp_in = nn.Linear(width, hidden)
        self.mlp_out = nn.Linear(hidden, width)
        init = config.layer_scale_init
        self.attention_scale = None if init is None else nn.Parameter(torch.full((width,), init))
        self.mlp_scale = None if init is None else nn.Parameter(torch.full((width,), init))

    def forward(
        self,
        tokens_BTD: torch.Tensor,
        is_real_BT: torch.Tensor | None,
        n_queries: int,
        kept: KeptRows | None = None,
    ) -> torch.Tensor:
        """Update the first `n_queries` tokens and return only them: (B, n_queries, D).

        The decoder sees nothing but the last block's CLS token, so that block runs with n_queries = 1, which is exact:
        keys and values still come from every token.
        """
        n_tokens = tokens_BTD.shape[1]
        queries_BQD = tokens_BTD if n_queries == n_tokens else tokens_BTD[:, :n_queries]  # a slice's gradient is a copy
        if kept is None or not self.training:
            queries_BQD = queries_BQD + self._attend(tokens_BTD, is_real_BT, n_queries)
            return queries_BQD + self._mlp(queries_BQD)
        real = None if is_real_BT is None else is_real_BT.index_select(0, kept.attention)
        branch_BQD = self._attend(tokens_BTD.index_select(0, kept.attention), real, n_queries).to(queries_BQD.dtype)
        queries_BQD = queries_BQD.index_add(0, kept.attention, branch_BQD, alpha=self.kept_branch_scale)
        branch_BQD = self._mlp(queries_BQD.index_select(0, kept.mlp)).to(queries_BQD.dtype)
        return queries_BQD.index_add(0, kept.mlp, branch_BQD, alpha=self.kept_branch_scale)

    def _attend(self, tokens_BTD: torch.Tensor, is_real_BT: torch.Tensor | None, n_queries: int) -> torch.Tensor:
        n_samples, n_tokens, width = tokens_BTD.shape
        head_width = width // self.n_heads
        normed_BTD = self.attention_norm(tokens_BTD)
        if n_queries == n_tokens:
            qkv = self.qkv(normed_BTD).view(n_samples, n_tokens, 3, self.n_heads, head_width)
            q, k, v = qkv.permute(2, 0, 3, 1, 4)
        else:
            q = F.linear(normed_BTD[:, :n_queries], self.qkv.weight[:width], self.qkv.bias[:width])
            q = q.view(n_samples, n_queries, self.n_heads, head_width).transpose(1, 2)
            kv = F.linear(normed_BTD, self.qkv.weight[width:], self.qkv.bias[width:])
            k, v = kv.view(n_samples, n_tokens, 2, self.n_heads, head_width).permute(2, 0, 3, 1, 4)
        mixed = attention(q, k, v, is_real_BT)
        mixed_BQD = mixed.transpose(1, 2).reshape(n_samples, n_queries, width)
        return _scaled_linear(mixed_BQD, self.attention_out, self.attention_scale)

    def _mlp(self, tokens: torch.Tensor) -> torch.Tensor:
        return _scaled_linear(F.gelu(self.mlp_in(self.mlp_norm(tokens))), self.mlp_out, self.mlp_scale)


def _scaled_linear(inputs: torch.Tensor, layer: nn.Linear, scale_D: torch.Tensor | None) -> torch.Tensor:
    """``layer(inputs) * scale_D``, with the layer's weights multiplied, which are fewer than what comes out of it."""
    if scale_D is None:
        return layer(inputs)
    return F.linear(inputs, layer.weight * scale_D[:, None], layer.bias * scale_D)


class DecoderBlock(nn.Module):
    """Residual block LayerNorm, Linear, GELU, Linear on the CLS embedding."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, width)
        self.outer = nn.Linear(width, width)

    def forward(self, hidden_BD: torch.Tensor) -> torch.Tensor:
        return hidden_BD + self.outer(F.gelu(self.inner(self.norm(hidden_BD))))


class TxFM(nn.Module):
    """Encoder and decoder. `encode` gives a sample's embedding, `decode` the logits of every gene.

    Parameters that only some losses need (docs/model.md) exist only with these: `log_dispersion` and `zero_out`.
    """

    def __init__(self, config: ModelConfig, n_genes: int) -> None:
        super().__init__()
        width = config.width
        self.config = config
        self.n_genes = n_genes
        self.gene_table = nn.Embedding(n_genes, width - 1)
        self.cls = nn.Parameter(torch.empty(width))
        self.blocks = nn.ModuleList(Block(config, probability) for probability in keep_probabilities(config))
        self.final_norm = nn.LayerNorm(width)
        has_hidden = config.n_decoder_blocks > 0  # a linear decoder is the last layer alone
        self.decoder_in = nn.Linear(width, width) if has_hidden else nn.Identity()
        self.decoder_blocks = nn.ModuleList(DecoderBlock(width) for _ in range(config.n_decoder_blocks))
        self.decoder_out = nn.Linear(width, n_genes)
        self.zero_out = nn.Linear(width, n_genes) if config.has_zero_inflation else None
        self.log_dispersion = nn.Parameter(torch.zeros(n_genes)) if config.has_dispersion else None

    def tokens(self, positions_BK: torch.Tensor, values_BK: torch.Tensor) -> torch.Tensor:
        """Token sequence (B, T, D): CLS, then concat(gene embedding, log-normalised value) per visible gene."""
        genes_BKD = torch.cat([self.gene_table(positions_BK), values_BK.unsqueeze(-1)], dim=-1)
        return torch.cat([self.cls.expand(len(genes_BKD), 1, -1), genes_BKD], dim=1)

    def encode(
        self,
        positions_BK: torch.Tensor,
        values_BK: torch.Tensor,
        is_real_BK: torch.Tensor | None = None,
        kept: Sequence[KeptRows | None] | None = None,
    ) -> torch.Tensor:
        """Embedding of a sample: the CLS output of the last block after the final norm.

        Parameters
        ----------
        positions_BK : torch.Tensor (B, K), int64
            Vocabulary positions of the visible genes.
        values_BK : torch.Tensor (B, K)
            Their log-normalised counts.
        is_real_BK : torch.Tensor (B, K), bool, optional
            False where a sample has fewer than K measured genes; such a token is seen by nobody. None = all real, which
            lets attention run without a mask.
        kept : sequence of KeptRows, optional
            Of `draw_kept_rows`, one a block; used in training mode only. None = no stochastic depth.

        Returns
        -------
        torch.Tensor (B, D)
        """
        return self._encode(positions_BK, values_BK, is_real_BK, kept)

    def decode(self, cls_BD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits (B, G) of every gene's expression and, with a zero-inflated loss, of an extra zero."""
        hidden_BD = self._hidden(cls_BD)
        return self.decoder_out(hidden_BD), None if self.zero_out is None else self.zero_out(hidden_BD)

    def forward(
        self,
        positions_BK: torch.Tensor,
        values_BK: torch.Tensor,
        is_real_BK: torch.Tensor | None = None,
        kept: Sequence[KeptRows | None] | None = None,
    ) -> Output:
        """Encode and decode; arguments as for `encode`."""
        cls_BD = self._encode(positions_BK, values_BK, is_real_BK, kept)
        logits_BG, zero_logits_BG = self.decode(cls_BD)
        return Output(logits_BG, cls_BD, zero_logits_BG, self.log_dispersion)

    def layer_outputs(
        self, positions_BK: torch.Tensor, values_BK: torch.Tensor, is_real_BK: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Embeddings (B, D) of every layer, by the names of `ModelConfig.layer_names`; arguments as for `encode`.

        Returns
        -------
        dict
            ``block1`` ... : the CLS token after each encoder block, before the final norm; ``cls``: what `encode`
            gives; ``decoder1`` ... : the hidden vector after each residual block of the decoder, the last of which
            `decoder_out` turns into logits. A linear decoder has none.
        """
        cls_of_blocks: list[torch.Tensor] = []
        cls_BD = self._encode(positions_BK, values_BK, is_real_BK, None, cls_of_blocks)
        hidden_of_blocks: list[torch.Tensor] = []
        self._hidden(cls_BD, hidden_of_blocks)
        return dict(zip(self.config.layer_names, [*cls_of_blocks, cls_BD, *hidden_of_blocks], strict=True))

    def _encode(
        self,
        positions_BK: torch.Tensor,
        values_BK: torch.Tensor,
        is_real_BK: torch.Tensor | None,
        kept: Sequence[KeptRows | None] | None,
        cls_of_blocks: list[torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """`encode`, which also appends the CLS token after each block to a list."""
        is_real_BT = None if is_real_BK is None else F.pad(is_real_BK, (1, 0), value=True)
        tokens_BTD = self.tokens(positions_BK, values_BK)
        for number, block in enumerate(self.blocks, start=1):
            n_queries = tokens_BTD.shape[1] if number < len(self.blocks) else 1
            tokens_BTD = block(tokens_BTD, is_real_BT, n_queries, None if kept is None else kept[number - 1])
            if cls_of_blocks is not None:
                cls_of_blocks.append(tokens_BTD[:, 0].clone())  # a view would keep all tokens in memory
        return self.final_norm(tokens_BTD[:, 0])

    def _hidden(self, cls_BD: torch.Tensor, hidden_of_blocks: list[torch.Tensor] | None = None) -> torch.Tensor:
        """What the last layer sees (B, D); appends the output of each residual block to a list."""
        hidden_BD = self.decoder_in(cls_BD)
        for block in self.decoder_blocks:
            hidden_BD = block(hidden_BD)
            if hidden_of_blocks is not None:
                hidden_of_blocks.append(hidden_BD)
        return hidden_BD

    @torch.no_grad()
    def initialise(self, mean_expression_G: torch.Tensor, generator: torch.Generator) -> None:
        """Draw the weights, and start every gene's prediction at its mean expression.

        Parameters
        ----------
        mean_expression_G : torch.Tensor (G,)
            In log1p space: log of the mean of exp(x) over training samples that measured the gene, where the Poisson
            loss has its minimum without any input. Each logit starts where the activation has a gradient.
        generator : torch.Generator
            On the CPU, where the model still is.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight, generator=generator)  # as in MAE: fits width 64 as well as 1,024
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.gene_table.weight, std=GENE_TABLE_INIT_STD, generator=generator)
        nn.init.normal_(self.cls, std=0.02, generator=generator)
        nn.init.normal_(self.decoder_out.weight, std=LAST_LAYER_INIT_STD, generator=generator)
        activation = ACTIVATIONS[self.config.activation]
        self.decoder_out.bias.copy_(activation.initial_logits(mean_expression_G, self.config.library_size_counts))
        if self.zero_out is not None:
            nn.init.normal_(self.zero_out.weight, std=LAST_LAYER_INIT_STD, generator=generator)
            nn.init.constant_(self.zero_out.bias, INITIAL_ZERO_LOGIT)
        if self.log_dispersion is not None:
            nn.init.zeros_(self.log_dispersion)
