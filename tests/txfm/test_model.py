"""Activation, preprocessing, block design and masking."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from txfm.config import PRESETS, ModelConfig, config_from_json, config_from_mapping
from txfm.describe import describe, parameters_by_part
from txfm.errors import InputError
from txfm.masking import choose_visible, seeded_generator
from txfm.model import MIN_INITIAL_LOGIT, TxFM, attention, inverse_rectified_tanh, rectified_tanh
from txfm.preprocess import log_normalise

CPU = torch.device("cpu")


def small_network(n_genes: int = 40, **overrides: object) -> TxFM:
    base = {
        "width": 16,
        "n_heads": 2,
        "n_blocks": 3,
        "samples_seen": 100,
        "n_visible_genes": 12,
        "layer_scale_init": 1.0,
    }
    network = TxFM(config_from_mapping(base | overrides), n_genes)
    network.initialise(torch.full((n_genes,), 2.0), seeded_generator(CPU, "test"))
    return network


def some_input(n_samples: int = 4, n_visible: int = 12, n_genes: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    generator = seeded_generator(CPU, "input")
    positions_BK = torch.stack([torch.randperm(n_genes, generator=generator)[:n_visible] for _ in range(n_samples)])
    return positions_BK, 4 * torch.rand(n_samples, n_visible, generator=generator)


@pytest.mark.parametrize(("preset", "millions"), [("S", 56.70), ("B", 158.52), ("L", 402.64)])
def test_presets_have_the_published_parameter_counts(preset: str, millions: float) -> None:
    total = parameters_by_part(PRESETS[preset], 44_349)["total"]
    assert round(total / 1e6, 2) == millions


def test_parts_add_up_to_the_total_and_are_described() -> None:
    parts = parameters_by_part(PRESETS["nano"], 1000)
    assert sum(count for part, count in parts.items() if part != "total") == parts["total"]
    assert f"{parts['total']:,}" in describe("nano", PRESETS["nano"], 44_349)  # the preset caps its vocabulary at 1,000


def test_linear_decoder_is_one_layer() -> None:
    assert parameters_by_part(config_from_mapping({"preset": "B", "n_decoder_blocks": 0}), 100)["decoder hidden"] == 0


def test_activation_rises_from_zero_to_its_bound() -> None:
    logits = torch.tensor([-5.0, 0.0, 1e-3, 1e4], dtype=torch.float64)
    expression = rectified_tanh(logits)
    assert expression[:2].tolist() == [0.0, 0.0]
    assert expression[2] / 1e-3 == pytest.approx(1.0588430662694335, rel=1e-6)  # slope at 0+, metrics of the oracle
    assert expression[3] == pytest.approx(math.log(1e5 + 1))


def test_inverse_activation_gives_the_logit_back() -> None:
    logits = torch.linspace(0, 30, 50, dtype=torch.float64)
    torch.testing.assert_close(inverse_rectified_tanh(rectified_tanh(logits)), logits, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("of", [np.asarray, torch.from_numpy])
def test_log_normalise_scales_each_sample_to_the_library_size(of) -> None:  # type: ignore[no-untyped-def]
    counts = np.array([[1.0, 3.0, 0.0], [0.0, 0.0, 0.0]])
    expression = log_normalise(of(counts), library_size=100)
    np.testing.assert_allclose(np.asarray(expression), [[np.log(26), np.log(76), 0], [0, 0, 0]], rtol=1e-15)
    assert counts[0, 0] == 1.0


def test_integer_counts_become_float64() -> None:
    assert log_normalise(np.array([[1, 2]])).dtype == np.float64


def test_last_block_computes_the_same_cls_row_as_the_full_block() -> None:
    network = small_network().eval()
    tokens_BTD = network.tokens(*some_input())
    block = network.blocks[-1]
    full_BTD = block(tokens_BTD, None, tokens_BTD.shape[1], None)
    torch.testing.assert_close(block(tokens_BTD, None, 1, None), full_BTD[:, :1], rtol=1e-5, atol=1e-6)


def test_padding_changes_nothing() -> None:
    network = small_network().eval()
    positions_BK, values_BK = some_input()
    padded = functional.pad(positions_BK, (0, 3)), functional.pad(values_BK, (0, 3), value=9.0)
    is_real_BK = functional.pad(torch.ones_like(positions_BK, dtype=torch.bool), (0, 3), value=False)
    expected_BD = network.encode(positions_BK, values_BK)
    torch.testing.assert_close(network.encode(*padded, is_real_BK), expected_BD, rtol=1e-5, atol=1e-6)


def test_order_of_the_visible_genes_does_not_matter() -> None:
    network = small_network().eval()
    positions_BK, values_BK = some_input()
    flipped_BD = network.encode(positions_BK.flip(1), values_BK.flip(1))
    torch.testing.assert_close(flipped_BD, network.encode(positions_BK, values_BK), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("padded", [False, True])
def test_explicit_bf16_attention_agrees_with_flash_attention(padded: bool) -> None:
    generator = seeded_generator(CPU, "attention")
    q, k, v = (torch.randn(3, 2, 9, 8, generator=generator) for _ in range(3))
    is_real_BT = torch.arange(9).expand(3, -1) < 6 if padded else None
    exact = attention(q, k, v, is_real_BT)
    explicit = attention(q.bfloat16(), k.bfloat16(), v.bfloat16(), is_real_BT)
    torch.testing.assert_close(explicit.float(), exact, rtol=0, atol=0.03)  # bf16 has 8 bits


@torch.no_grad()
def test_stochastic_depth_skips_half_of_the_samples_and_doubles_the_others() -> None:
    block = small_network(stochastic_depth=0.5).blocks[-1].train()
    block.mlp_out.weight.zero_()  # only the attention branch acts
    tokens_BTD = small_network().tokens(*some_input(n_samples=8))
    cls_B1D = tokens_BTD[:, :1]
    branch_B1D = block.eval()(tokens_BTD, None, 1, None) - cls_B1D
    change_B1D = block.train()(tokens_BTD, None, 1, seeded_generator(CPU, 0)) - cls_B1D
    skipped = change_B1D.abs().amax(dim=(1, 2)) == 0
    assert int(skipped.sum()) == 4
    torch.testing.assert_close(change_B1D[~skipped], 2 * branch_B1D[~skipped])
    again_B1D = block(tokens_BTD, None, 1, seeded_generator(CPU, 0)) - cls_B1D
    assert torch.equal(change_B1D, again_B1D)


@torch.no_grad()
def test_decoder_starts_at_the_mean_expression_and_no_gene_starts_dead() -> None:
    mean_expression_G = torch.tensor([0.0, 0.01, 3.0, 11.5129])
    network = TxFM(config_from_mapping({"preset": "nano"}), 4)
    network.initialise(mean_expression_G, seeded_generator(CPU, "test"))
    start_G = rectified_tanh(network.decoder_out.bias.detach())
    assert float(start_G[2]) == pytest.approx(3.0, rel=1e-5)
    assert float(network.decoder_out.bias.min()) == pytest.approx(MIN_INITIAL_LOGIT)
    assert torch.isfinite(network.decoder_out.bias).all()


def test_masking_is_uniform_over_measured_genes() -> None:
    measured_BG = torch.ones(4000, 20, dtype=torch.bool)
    measured_BG[:, 15:] = False
    visible = choose_visible(measured_BG, 5, seeded_generator(CPU, 3))
    drawn = torch.bincount(visible.positions_BK.flatten(), minlength=20).double()
    assert visible.is_real_BK is None
    assert drawn[15:].sum() == 0
    expected = 4000 * 5 / 15
    # Without replacement the variance per gene is that of a Bernoulli(1/3), so this statistic has 14 degrees of freedom
    statistic = float(((drawn[:15] - expected) ** 2).sum() / (expected * (1 - 1 / 3)) * (14 / 15))
    assert statistic < 36.1  # 0.1% point of chi-square with 14 degrees of freedom
    assert all(len(set(row)) == 5 for row in visible.positions_BK[:50].tolist())


def test_masks_are_a_function_of_seed_and_step() -> None:
    measured_BG = torch.ones(2, 50, dtype=torch.bool)
    first, again, other = (
        choose_visible(measured_BG, 9, seeded_generator(CPU, "train", 0, step)) for step in (4, 4, 5)
    )
    assert torch.equal(first.positions_BK, again.positions_BK)
    assert not torch.equal(first.positions_BK, other.positions_BK)


def test_samples_with_few_measured_genes_are_padded() -> None:
    measured_BG = torch.zeros(2, 10, dtype=torch.bool)
    measured_BG[0, :8] = True
    measured_BG[1, [2, 5]] = True
    visible = choose_visible(measured_BG, 6, seeded_generator(CPU, 0))
    assert visible.is_real_BK is not None
    assert visible.is_real_BK.sum(dim=1).tolist() == [6, 2]
    assert set(visible.positions_BK[1][visible.is_real_BK[1]].tolist()) == {2, 5}


def test_weight_decay_of_the_published_run() -> None:
    assert PRESETS["B"].weight_decay(186_758) == pytest.approx(0.00535, abs=5e-6)  # sec. A.1
    assert PRESETS["B"].total_steps(1_434_299) == 200 * 934  # the paper's 186,758 lets batches cross epochs


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ('{"preset": "nanno"}', "did you mean 'nano'"),
        ('{"preset": "nano", "max_lrr": 1}', "did you mean 'max_lr'"),
        ('{"preset": "nano", "width": "64"}', "width"),
        ('{"preset": "nano", "n_heads": 5}', "divisor of width 64"),
        ('{"preset": "nano", "epochs": 1, "samples_seen": 5}', "one of epochs, samples_seen"),
        ('{"width": 8}', "n_heads"),
        ("{", "JSON"),
    ],
)
def test_a_wrong_model_entry_is_named(entry: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        config_from_json(entry)


def test_one_budget_replaces_the_other() -> None:
    config = config_from_mapping({"preset": "B", "samples_seen": 3000})
    assert (config.epochs, config.total_steps(10_000)) == (None, 2)
    assert isinstance(config, ModelConfig)
