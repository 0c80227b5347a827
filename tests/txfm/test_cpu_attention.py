"""Attention head by head beside torch's in double precision, forward and backward."""

import pytest
import torch
import torch.nn.functional as F

from txfm import cpu_attention, model
from txfm.cpu_attention import headwise_attention

SHAPE = 2, 3, 70, 16  # samples, heads, tokens, width of a head


def draw(seed: int) -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    found, expected = found.detach().double(), expected.detach()
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("kept_bytes", [0, 2**28])  # probabilities are calculated again, or kept
def test_it_agrees_with_torchs_attention_in_double_precision(
    monkeypatch: pytest.MonkeyPatch, padded: bool, kept_bytes: int
) -> None:
    monkeypatch.setattr(cpu_attention, "KEPT_BYTES", kept_bytes)
    is_real_BT = torch.arange(70).expand(2, -1) < torch.tensor([[70], [41]]) if padded else None
    wide = [draw(seed).requires_grad_() for seed in range(3)]
    upstream = draw(3)
    mask = None if is_real_BT is None else is_real_BT[:, None, None, :]
    expected = F.scaled_dot_product_attention(*wide, attn_mask=mask)
    gradients = torch.autograd.grad(expected, wide, upstream)

    narrow = [tensor.detach().bfloat16().requires_grad_() for tensor in wide]
    found = headwise_attention(*narrow, is_real_BT)
    assert relative_error(found, expected) < 0.01  # bf16 has 8 bits
    for got, wanted in zip(torch.autograd.grad(found, narrow, upstream.bfloat16()), gradients, strict=True):
        assert relative_error(got, wanted) < 0.015
    if is_real_BT is not None:
        found = headwise_attention(*narrow, is_real_BT)
        for got in torch.autograd.grad(found, narrow[1:], upstream.bfloat16()):
            assert not got[1, :, 41:].any()  # padding gets no gradient


def test_what_all_tokens_share_is_subtracted_before_it_is_rounded() -> None:
    """Values far from zero: of what they add to every token's gradient nothing is left, and bf16 would round it."""
    narrow = [tensor.bfloat16().requires_grad_() for tensor in (draw(0), draw(1), draw(2) + 5)]
    wide = [tensor.detach().double().requires_grad_() for tensor in narrow]
    upstream = draw(3).bfloat16()
    expected = torch.autograd.grad(F.scaled_dot_product_attention(*wide), wide, upstream.double())
    found = torch.autograd.grad(headwise_attention(*narrow, None), narrow, upstream)
    assert relative_error(found[0], expected[0]) < 0.02
    assert relative_error(found[1], expected[1]) < 0.015


def test_kept_and_recalculated_probabilities_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    def gradients(kept_bytes: int) -> tuple[torch.Tensor, ...]:
        monkeypatch.setattr(cpu_attention, "KEPT_BYTES", kept_bytes)
        narrow = [draw(seed).bfloat16().requires_grad_() for seed in range(3)]
        return torch.autograd.grad(headwise_attention(*narrow, None), narrow, draw(3).bfloat16())

    assert all(torch.equal(a, b) for a, b in zip(gradients(0), gradients(2**28), strict=True))


def test_large_attention_in_bf16_on_a_cpu_takes_this_way(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(*arguments: torch.Tensor) -> torch.Tensor:
        calls.append(arguments[0].shape)
        return headwise_attention(*arguments)

    monkeypatch.setattr(model, "headwise_attention", counted)
    monkeypatch.setattr(model, "MAX_EXPLICIT_SCORES", 2 * 3 * 70 * 70 - 1)
    narrow = [draw(seed).bfloat16() for seed in range(3)]
    exact = F.scaled_dot_product_attention(*(draw(seed) for seed in range(3)))
    assert relative_error(model.attention(*narrow, None), exact) < 0.01
    model.attention(narrow[0][:, :, :1], *narrow[1:], None)  # the last block's CLS query alone
    model.attention(*(tensor.float() for tensor in narrow), None)
    assert calls == [SHAPE]
