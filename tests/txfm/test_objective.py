"""The masked task through the model: what counts in the loss, what gets a gradient, and that every ablation learns."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from txfm.activations import ACTIVATIONS, rectified_tanh
from txfm.config import CHOICES, ModelConfig, config_from_mapping
from txfm.corpus import open_corpus
from txfm.inputs import Inputs, inputs_of
from txfm.losses import negative_binomial, poisson
from txfm.masking import choose_visible, sample_keys, seeded_generator
from txfm.model import TxFM, draw_kept_rows
from txfm.objective import LEAST_MEAN, LOSSES, Outcome, batch_loss, masked_task
from txfm.statistics import mask_log_weights, mean_expression
from txfm.training.weights import new_network

CPU = torch.device("cpu")


def task(measured_BG: torch.Tensor, **overrides: object) -> tuple[TxFM, Inputs]:
    config = config_from_mapping({"preset": "nano", "n_visible_genes": 12} | overrides)
    network = TxFM(config, measured_BG.shape[1])
    network.initialise(torch.full((network.n_genes,), 5.0), seeded_generator(CPU, "weights"))
    rate_BG = torch.rand(measured_BG.shape, generator=seeded_generator(CPU, "counts")) ** 3
    counts_BG = torch.poisson(60 * rate_BG, generator=seeded_generator(CPU, "draw")) * measured_BG
    return network, Inputs.of(counts_BG, measured_BG, measured_BG.sum(dim=1).numpy(), config)


def solve(network: TxFM, inputs: Inputs, precision: str = "float32", step: int = 0) -> Outcome:
    config, keys_B = network.config, sample_keys(torch.arange(len(inputs)), "test", step)
    visible = choose_visible(inputs.measured_BG, config.n_visible_genes, keys_B, n_measured_B=inputs.n_measured_B)
    return masked_task(network, config, inputs, visible, precision)


def test_every_name_of_a_configuration_has_its_loss() -> None:
    assert tuple(LOSSES) == CHOICES["loss"]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ["rectified_tanh", "softmax"])
def test_unmeasured_genes_get_exactly_zero_gradient_and_are_never_input(
    precision: str, loss: str, activation: str
) -> None:
    measured_BG = torch.ones(6, 40, dtype=torch.bool)
    measured_BG[:, 25:] = False
    network, inputs = task(measured_BG, loss=loss, activation=activation)
    spoiled = replace(inputs, x_BG=inputs.x_BG.masked_fill(~measured_BG, 9.0))
    losses = []
    for given in (inputs, spoiled):
        network.zero_grad(set_to_none=True)
        value = batch_loss(solve(network, given, precision), given)
        value.backward()
        losses.append(value.item())
    assert losses[0] == losses[1]
    genewise = [network.gene_table.weight, network.decoder_out.weight, network.decoder_out.bias]
    if network.log_dispersion is not None:
        genewise.append(network.log_dispersion)
    if network.zero_out is not None:
        genewise += [network.zero_out.weight, network.zero_out.bias]
    assert len(genewise) == {"negative_binomial": 4, "zero_inflated_negative_binomial": 6}.get(loss, 3)
    for parameter in genewise:
        assert parameter.grad is not None
        assert parameter.grad[25:].abs().max() == 0
        assert parameter.grad[:25].abs().max() > 0


def test_masked_and_visible_measured_genes_both_count_in_the_loss() -> None:
    network, inputs = task(torch.ones(3, 30, dtype=torch.bool))
    outcome = solve(network, inputs)
    assert batch_loss(outcome, inputs).item() == pytest.approx(outcome.loss_BG.mean().item(), rel=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_sample_without_a_measured_gene_of_the_vocabulary_has_no_part_in_the_loss(activation: str, loss: str) -> None:
    measured_BG = torch.ones(3, 30, dtype=torch.bool)
    measured_BG[1] = False
    network, inputs = task(measured_BG, activation=activation, loss=loss)
    outcome = solve(network, inputs)
    value = batch_loss(outcome, inputs)
    assert value.item() == pytest.approx(outcome.loss_BG[[0, 2]].mean().item(), rel=1e-6)
    value.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())


def test_the_count_losses_compare_the_predicted_mean_with_raw_counts() -> None:
    """Mean s_n * mu, with s_n = library size / L and mu = exp(prediction) - 1: metrics.md sec. 11."""
    network, inputs = task(torch.ones(3, 30, dtype=torch.bool), loss="negative_binomial")
    outcome = solve(network, inputs)
    mean_BG = (outcome.expression_BG.expm1() + LEAST_MEAN) * inputs.counts_BG.sum(dim=1, keepdim=True) / 1e5
    expected_BG = negative_binomial(mean_BG.log(), torch.zeros(30), inputs.counts_BG)
    torch.testing.assert_close(outcome.loss_BG, expected_BG, rtol=1e-5, atol=1e-6)
    plain, inputs = task(torch.ones(3, 30, dtype=torch.bool), loss="negative_binomial", preprocessing="log1p")
    outcome = solve(plain, inputs)
    log_mean_BG = (outcome.expression_BG.expm1() + LEAST_MEAN).log()
    expected_BG = negative_binomial(log_mean_BG, torch.zeros(30), inputs.counts_BG)
    torch.testing.assert_close(outcome.loss_BG, expected_BG, rtol=1e-5, atol=1e-6)


def test_the_expected_count_of_a_zero_inflated_loss_is_less_by_the_extra_zeros() -> None:
    network, inputs = task(torch.ones(3, 30, dtype=torch.bool), loss="zero_inflated_negative_binomial")
    outcome = solve(network, inputs)
    share = outcome.expected() / outcome.expression_BG.expm1()
    torch.testing.assert_close(share, 1 - torch.sigmoid(outcome.output.zero_logits_BG))
    plain, inputs = task(torch.ones(3, 30, dtype=torch.bool))
    outcome = solve(plain, inputs)
    torch.testing.assert_close(outcome.expected(), outcome.expression_BG.expm1())


@pytest.mark.parametrize("loss", LOSSES)
def test_bf16_changes_the_loss_by_less_than_half_a_percent(loss: str) -> None:
    network, inputs = task(torch.ones(16, 40, dtype=torch.bool), loss=loss)
    exact, rounded = (batch_loss(solve(network, inputs, precision), inputs) for precision in ("float32", "bf16"))
    assert rounded.dtype == exact.dtype
    assert rounded.item() == pytest.approx(exact.item(), rel=5e-3)


def test_the_gradient_reaches_the_logits_as_equation_12_says() -> None:
    network, inputs = task(torch.ones(4, 40, dtype=torch.bool))
    outcome = solve(network, inputs)
    logits_BG = outcome.output.logits_BG
    (gradient_BG,) = torch.autograd.grad(batch_loss(outcome, inputs), logits_BG)
    logits = logits_BG.detach().double().requires_grad_()
    slope_BG = torch.autograd.grad(rectified_tanh(logits).sum(), logits)[0]
    expected_BG = (outcome.expression_BG.double().exp() - inputs.x_BG.double().exp()) * slope_BG / logits.numel()
    torch.testing.assert_close(gradient_BG.double(), expected_BG, rtol=1e-4, atol=1e-4)


def test_one_batch_can_be_overfitted() -> None:
    network, inputs = task(torch.ones(8, 40, dtype=torch.bool), n_visible_genes=40)
    least = float(poisson(inputs.x_BG, inputs.x_BG).mean())
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.0)
    excess = []
    for _ in range(400):
        optimiser.zero_grad()
        loss = batch_loss(solve(network, inputs), inputs)
        loss.backward()
        optimiser.step()
        excess.append(loss.item() - least)
    assert excess[-1] < 0.05 * excess[0]


ABLATIONS: list[dict[str, object]] = [
    *({"loss": loss} for loss in CHOICES["loss"]),
    *({"activation": activation} for activation in CHOICES["activation"]),
    *({"loss": "negative_binomial", "activation": activation} for activation in CHOICES["activation"]),
    *({"preprocessing": preprocessing} for preprocessing in CHOICES["preprocessing"]),
    {"preprocessing": "log1p", "activation": "softmax"},
    {"preprocessing": "log1p", "loss": "zero_inflated_negative_binomial"},
    *({"n_visible_genes": number} for number in (4, 60)),
    *({"mask_temperature": temperature} for temperature in (-1.0, -0.5, 0.5, 1.0)),
    *({"n_decoder_blocks": number} for number in (0, 1, 8)),
    {"n_blocks": 6, "layer_scale_init": 1e-4, "stochastic_depth": 0.3},
    {"n_heads": 4},
]


@pytest.mark.parametrize("ablation", ABLATIONS, ids=str)
def test_every_ablation_is_one_config_value_and_lowers_its_loss(tiny_corpus: Any, ablation: dict[str, object]) -> None:
    base = {"preset": "nano", "width": 16, "n_visible_genes": 20, "max_lr": 3e-3}
    config = config_from_mapping(base | ablation)
    losses = losses_of_training(tiny_corpus, config, n_steps=40)
    assert all(torch.isfinite(torch.tensor(losses)))
    assert losses[-1] < losses[0]


def losses_of_training(corpus_of_test: Any, config: ModelConfig, n_steps: int) -> list[float]:
    """Losses of a fixed mask of 132 samples before and after some steps over them, all in one batch."""
    corpus = open_corpus(corpus_of_test.folder, "tiny", "train", batch_size=132)
    means = mean_expression(corpus, config.library_size_counts, config.preprocessing)
    network = new_network(config, means, 0, CPU).train()
    log_weights = mask_log_weights(corpus, config.mask_temperature)
    log_weights_G = None if log_weights is None else torch.from_numpy(log_weights)
    inputs = inputs_of(next(iter(corpus)), torch.from_numpy(corpus.measured), config)
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.max_lr, weight_decay=0.0)
    fixed = [solve_loss(network.eval(), inputs)]
    for step in range(n_steps):
        keys_B = sample_keys(torch.arange(len(inputs)), "train", step)
        visible = choose_visible(inputs.measured_BG, config.n_visible_genes, keys_B, log_weights_G, inputs.n_measured_B)
        kept = draw_kept_rows(config, sample_keys(torch.arange(len(inputs)), "stochastic depth", step))
        outcome = masked_task(network.train(), config, inputs, visible, "float32", kept)
        optimiser.zero_grad()
        batch_loss(outcome, inputs).backward()
        optimiser.step()
    return [*fixed, solve_loss(network.eval(), inputs)]


@torch.no_grad()
def solve_loss(network: TxFM, inputs: Inputs) -> float:
    return float(batch_loss(solve(network, inputs), inputs))
