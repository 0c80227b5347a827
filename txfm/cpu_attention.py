"""Softmax attention in bf16 on a CPU, one head of one sample at a time, while its scores are in the cache."""

import math
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F

# Probabilities that one call keeps for its backward pass; above, they are calculated again
KEPT_BYTES = 2**28


def headwise_attention(
    q_BHTE: torch.Tensor, k_BHTE: torch.Tensor, v_BHTE: torch.Tensor, is_real_BT: torch.Tensor | None
) -> torch.Tensor:
    """``softmax(q k' / sqrt(E)) v`` of every head, with all its T x T scores at hand; padding is attended by nobody.

    At T = 2,049 and E = 64 the two passes take two thirds of the time of torch's flash attention, whose bf16 form is no
    faster on a CPU than its float32 form (benchmarks/train_step.py): matrix products of a whole head run near the
    processor's bf16 peak, and the scores, 8 MiB, stay in its last-level cache.

    Parameters
    ----------
    q_BHTE, k_BHTE, v_BHTE : torch.Tensor (B, H, T, E), bfloat16
        On the CPU.
    is_real_BT : torch.Tensor (B, T), bool, optional
        False for padding.

    Returns
    -------
    torch.Tensor (B, H, T, E), bfloat16
    """
    return _Headwise.apply(q_BHTE, k_BHTE, v_BHTE, is_real_BT)


def n_samples_kept(n_heads: int, n_tokens: int) -> int:
    """Samples of the largest call that keeps its probabilities: its backward pass takes a quarter less time."""
    return KEPT_BYTES // (2 * n_heads * n_tokens**2)


class _Headwise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q_BHTE: torch.Tensor, k_BHTE: torch.Tensor, v_BHTE: torch.Tensor, is_real_BT: torch.Tensor | None
    ) -> torch.Tensor:
        n_samples, n_heads, n_tokens, width = q_BHTE.shape
        with torch.autocast("cpu", enabled=False):
            q, k, v = q_BHTE * width**-0.5, k_BHTE.contiguous(), v_BHTE.contiguous()
            out = torch.empty_like(v)
            scores_TT = q.new_empty(n_tokens, n_tokens)
            keeps = any(ctx.needs_input_grad) and n_samples <= n_samples_kept(n_heads, n_tokens)
            kept = []
            for sample, head in product(range(n_samples), range(n_heads)):
                padding_T = None if is_real_BT is None else ~is_real_BT[sample]
                share_TT = _shares(q[sample, head], k[sample, head], padding_T, scores_TT)
                torch.mm(share_TT, v[sample, head], out=out[sample, head])
                if keeps:
                    kept.append(share_TT)
        ctx.save_for_backward(q, k, v, out)
        ctx.kept, ctx.is_real_BT = kept, is_real_BT
        return out

    @staticmethod
    def backward(ctx: Any, grad_BHTE: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q, k, v, out = ctx.saved_tensors
        n_samples, n_heads, n_tokens, width = q.shape
        grad = grad_BHTE.contiguous()
        # The softmax's backward pass is share * (d share - sum over tokens of share * d share); the sum is out . d out.
        # Two more columns let the product that gives d share subtract it, in float32: bf16 and what bf16 leaves of it
        sums = -(grad.float() * out).sum(dim=-1, keepdim=True)
        rounded = sums.to(q.dtype)
        grad_less_sums = torch.cat([grad, rounded, (sums - rounded).to(q.dtype)], dim=-1)
        v_and_ones = F.pad(v, (0, 2), value=1.0)
        grad_q, grad_k, grad_v = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        scores_TT = q.new_empty(n_tokens, n_tokens)
        for number, here in enumerate(product(range(n_samples), range(n_heads))):
            if ctx.kept:
                share_TT = ctx.kept[number]
            else:
                padding_T = None if ctx.is_real_BT is None else ~ctx.is_real_BT[here[0]]
                share_TT = _shares(q[here], k[here], padding_T, scores_TT)
            torch.mm(share_TT.t(), grad[here], out=grad_v[here])
            torch.mm(grad_less_sums[here], v_and_ones[here].t(), out=scores_TT)
            scores_TT.mul_(share_TT)
            torch.mm(scores_TT, k[here], out=grad_q[here])
            torch.mm(scores_TT.t(), q[here], out=grad_k[here])
        return grad_q.mul_(width**-0.5), grad_k, grad_v, None


def _shares(
    q_TE: torch.Tensor, k_TE: torch.Tensor, padding_T: torch.Tensor | None, room_TT: torch.Tensor
) -> torch.Tensor:
    """How much each query attends to each token, (T, T); `room_TT` is written over."""
    torch.mm(q_TE, k_TE.t(), out=room_TT)
    if padding_T is not None:
        room_TT.masked_fill_(padding_T, -math.inf)
    return torch.softmax(room_TT, dim=-1)
