"""What stochastic depth skips is the sample's own draw: no matter how a batch is divided, the same gradient."""

from typing import Any

import pytest
import torch

from txfm.config import config_from_mapping
from txfm.corpus import Corpus, open_corpus
from txfm.hardware import Hardware
from txfm.masking import sample_keys
from txfm.model import KeptRows, TxFM, draw_kept_rows, keep_probabilities
from txfm.statistics import mean_expression
from txfm.training.optimiser import adamw
from txfm.training.step import TrainingStep
from txfm.training.weights import new_network

ONE_THREAD = Hardware(device=torch.device("cpu"), precision="float32", threads=1)
CONFIG = config_from_mapping({"preset": "nano", "width": 16, "n_blocks": 5, "n_visible_genes": 12} | {"max_lr": 1e-3})
DEEP = config_from_mapping(CONFIG.as_mapping() | {"stochastic_depth": 0.6})


def gradient_of_a_step(corpus: Corpus, micro_batch: int) -> torch.Tensor:
    network = new_network(DEEP, mean_expression(corpus, DEEP.library_size_counts), 0, ONE_THREAD.device).train()
    step = TrainingStep(
        network, adamw(network, 0.0), corpus.measured, None, ONE_THREAD, seed=0, micro_batch=micro_batch
    )
    batch = next(corpus.batches())
    step(batch, 3, 1e-3, len(batch))
    return torch.cat([parameter.grad.flatten().double() for parameter in network.parameters()])  # type: ignore[union-attr]


def test_micro_batches_of_any_size_give_the_gradient_of_the_whole_batch(tiny_corpus: Any) -> None:
    corpus = open_corpus(tiny_corpus.folder, "tiny", "train", batch_size=32)
    whole = gradient_of_a_step(corpus, 32)
    for size in (1, 3):
        difference = gradient_of_a_step(corpus, size) - whole
        assert float(difference.norm() / whole.norm()) < 1e-6


def test_a_sample_skips_what_its_own_key_says() -> None:
    keys_B = sample_keys(torch.arange(40), "test")
    whole, part = draw_kept_rows(DEEP, keys_B), draw_kept_rows(DEEP, keys_B[7:19])
    assert whole is not None
    assert part is not None
    assert whole[0] is part[0] is None
    for of_all, of_part in zip(whole[1:], part[1:], strict=True):
        for rows, rows_of_part in zip(of_all, of_part, strict=True):  # type: ignore[arg-type]
            assert torch.equal(rows[(rows >= 7) & (rows < 19)] - 7, rows_of_part)
    assert draw_kept_rows(CONFIG, keys_B) is None


def test_branches_are_kept_independently_with_the_probability_of_their_block() -> None:
    n_samples = 20_000
    kept = draw_kept_rows(DEEP, sample_keys(torch.arange(n_samples), "test"))
    assert kept is not None
    probabilities = keep_probabilities(DEEP)
    assert probabilities == pytest.approx([1.0, 0.85, 0.7, 0.55, 0.4])
    is_kept = torch.zeros(2 * len(kept), n_samples)
    for number, rows in enumerate(kept):
        for branch in range(2):
            is_kept[2 * number + branch, slice(None) if rows is None else rows[branch]] = 1
    share_L = is_kept.mean(dim=1)
    expected_L = torch.tensor(probabilities).repeat_interleave(2)
    deviation_L = (expected_L * (1 - expected_L) / n_samples).sqrt()
    assert bool(((share_L - expected_L).abs() <= 5 * deviation_L + 1e-6).all())
    correlations = torch.corrcoef(is_kept[2:])
    assert float((correlations - torch.eye(len(correlations))).abs().max()) < 5 / n_samples**0.5


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_block_that_every_sample_skips_changes_nothing_and_has_a_gradient_of_zero(precision: str) -> None:
    """Not no gradient at all, for which other ranks would wait."""
    none = torch.zeros(0, dtype=torch.int64)
    block = TxFM(DEEP, 40).blocks[2].train()
    tokens_BTD = torch.rand(2, 7, 16, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        out_BTD = block(tokens_BTD, None, 7, KeptRows(none, none))
    assert torch.equal(out_BTD, tokens_BTD)
    out_BTD.sum().backward()
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in block.parameters())
