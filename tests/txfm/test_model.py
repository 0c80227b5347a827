"""Block design, layers, initial weights and the configuration."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from txfm.activations import ACTIVATIONS
from txfm.config import PRESETS, ModelConfig, config_from_json, config_from_mapping
from txfm.cost import parameters_by_part
from txfm.describe import describe
from txfm.errors import InputError
from txfm.hardware import Hardware
from txfm.masking import sample_keys, seeded_generator
from txfm.model import TxFM, attention, draw_kept_rows

CPU = torch.device("cpu")
ON_CPU = Hardware(device=CPU, precision="float32", threads=1)


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
    assert f"{parts['total']:,}" in describe(
        "nano", PRESETS["nano"], 44_349, ON_CPU
    )  # the preset caps its vocabulary at 1,000


def test_linear_decoder_is_one_layer() -> None:
    assert parameters_by_part(config_from_mapping({"preset": "B", "n_decoder_blocks": 0}), 100)["decoder hidden"] == 0


@pytest.mark.parametrize(("loss", "extra"), [("negative_binomial", 44_349), ("zero_inflated_negative_binomial", None)])
def test_parameters_of_a_loss_exist_with_that_loss_only(loss: str, extra: int | None) -> None:
    n_genes, width = 44_349, PRESETS["B"].width
    extra = n_genes + n_genes * (width + 1) if extra is None else extra  # dispersions, and a second last layer
    plain, given = (parameters_by_part(replace(PRESETS["B"], loss=name), n_genes) for name in ("poisson", loss))
    assert given["total"] - plain["total"] == extra
    assert sum(count for part, count in given.items() if part != "total") == given["total"]


def test_last_block_computes_the_same_cls_row_as_the_full_block() -> None:
    network = small_network().eval()
    tokens_BTD = network.tokens(*some_input())
    block = network.blocks[-1]
    full_BTD = block(tokens_BTD, None, tokens_BTD.shape[1], None)
    torch.testing.assert_close(block(tokens_BTD, None, 1, None), full_BTD[:, :1], rtol=1e-5, atol=1e-6)


def test_layer_outputs_are_those_of_a_network_without_shortcuts() -> None:
    network = small_network(n_decoder_blocks=2).eval()
    positions_BK, values_BK = some_input()
    found = network.layer_outputs(positions_BK, values_BK)
    tokens_BTD, expected = network.tokens(positions_BK, values_BK), {}
    for number, block in enumerate(network.blocks, start=1):
        tokens_BTD = block(tokens_BTD, None, tokens_BTD.shape[1], None)  # the last block over all tokens too
        expected[f"block{number}"] = tokens_BTD[:, 0]
    expected["cls"] = network.final_norm(tokens_BTD[:, 0])
    hidden_BD = network.decoder_in(expected["cls"])
    for number, block in enumerate(network.decoder_blocks, start=1):
        hidden_BD = expected[f"decoder{number}"] = block(hidden_BD)
    assert tuple(found) == tuple(expected) == network.config.layer_names
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, rtol=1e-5, atol=1e-6)
    assert torch.equal(found["cls"], network.encode(positions_BK, values_BK))
    logits_BG = network(positions_BK, values_BK).logits_BG
    assert torch.equal(network.decoder_out(found["decoder2"]), logits_BG)


def test_layer_outputs_ignore_padding_and_end_at_cls_with_a_linear_decoder() -> None:
    network = small_network(n_decoder_blocks=0).eval()
    positions_BK, values_BK = some_input()
    expected = network.layer_outputs(positions_BK, values_BK)
    assert tuple(expected) == ("block1", "block2", "block3", "cls")
    padded = functional.pad(positions_BK, (0, 3)), functional.pad(values_BK, (0, 3), value=9.0)
    is_real_BK = functional.pad(torch.ones_like(positions_BK, dtype=torch.bool), (0, 3), value=False)
    for name, values in network.layer_outputs(*padded, is_real_BK).items():
        torch.testing.assert_close(values, expected[name], rtol=1e-5, atol=1e-6)


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
def test_stochastic_depth_leaves_skipped_samples_alone_and_doubles_the_branch_of_the_others() -> None:
    network = small_network(stochastic_depth=0.5)
    kept = draw_kept_rows(network.config, sample_keys(torch.arange(8), "test"))
    assert kept[0] is None
    block = network.blocks[-1].train()
    block.mlp_out.weight.zero_()  # only the attention branch acts
    tokens_BTD = small_network().tokens(*some_input(n_samples=8))
    cls_B1D = tokens_BTD[:, :1]
    branch_B1D = block.eval()(tokens_BTD, None, 1, None) - cls_B1D
    change_B1D = block.train()(tokens_BTD, None, 1, kept[-1]) - cls_B1D
    is_kept_B = change_B1D.abs().amax(dim=(1, 2)) > 0
    assert is_kept_B.nonzero().flatten().tolist() == kept[-1].attention.tolist()
    assert 0 < len(kept[-1].attention) < 8
    torch.testing.assert_close(change_B1D[is_kept_B], 2 * branch_B1D[is_kept_B])


@torch.no_grad()
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_decoder_starts_at_the_mean_expression_and_no_gene_starts_dead(activation: str) -> None:
    mean_expression_G = torch.tensor([0.0, 0.01, 3.0, 11.5129])
    network = TxFM(config_from_mapping({"preset": "nano", "activation": activation}), 4)
    network.initialise(mean_expression_G, seeded_generator(CPU, "test"))
    bias_G = network.decoder_out.bias
    torch.testing.assert_close(bias_G, ACTIVATIONS[activation].initial_logits(mean_expression_G, 1e5))
    assert ACTIVATIONS[activation].is_alive(bias_G, 1e5).all()


@torch.no_grad()
def test_a_zero_inflated_loss_starts_near_the_negative_binomial() -> None:
    network = small_network(loss="zero_inflated_negative_binomial")
    output = network(*some_input())
    assert 0.03 < float(torch.sigmoid(output.zero_logits_BG).mean()) < 0.07
    assert output.log_dispersion_G.tolist() == [0.0] * 40
    plain = small_network()(*some_input())
    assert plain.zero_logits_BG is None
    assert plain.log_dispersion_G is None


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
        ('{"preset": "nano", "loss": "poison"}', "did you mean 'poisson'"),
        ('{"preset": "nano", "loss": "hinge"}', "poisson or mse or smooth_l1"),
        ('{"preset": "nano", "loss": 3}', "loss has the wrong type"),
        ('{"preset": "nano", "activation": "rectified-tanh"}', "did you mean 'rectified_tanh'"),
        ('{"preset": "nano", "preprocessing": "log1"}', "did you mean 'log1p'"),
        ('{"preset": "nano", "mask_temperature": NaN}', "a finite number"),
        ('{"preset": "nano", "mask_temperature": null}', "a number"),
        ("{", "JSON"),
    ],
)
def test_a_wrong_model_entry_is_named(entry: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        config_from_json(entry)


def test_a_model_of_before_these_fields_has_their_defaults() -> None:
    later = ("loss", "activation", "preprocessing", "mask_temperature")
    older = {name: value for name, value in PRESETS["nano"].as_mapping().items() if name not in later}
    assert ModelConfig(**older) == PRESETS["nano"]


def test_one_budget_replaces_the_other() -> None:
    config = config_from_mapping({"preset": "B", "samples_seen": 3000})
    assert (config.epochs, config.total_steps(10_000)) == (None, 2)
    assert isinstance(config, ModelConfig)
