"""The loss, alone and through the model; the authors' own classes are the judge where the oracle is present."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from txfm.config import config_from_mapping
from txfm.losses import mean_over_genes, mean_over_samples, poisson
from txfm.masking import seeded_generator
from txfm.model import TxFM, rectified_tanh
from txfm.objective import Inputs, batch_loss, masked_task
from txfm.preprocess import log_normalise

CPU = torch.device("cpu")
ORACLE = Path(os.environ.get("DIVERSERNA_ORACLE", Path(__file__).parents[3] / "shared" / "oracle"))
needs_oracle = pytest.mark.skipif(
    not (ORACLE / "expected_model.npz").is_file(), reason="the authors' values are not here: set DIVERSERNA_ORACLE"
)


def tensor(values: np.ndarray, requires_grad: bool = False) -> torch.Tensor:
    return torch.from_numpy(values).requires_grad_(requires_grad)


def close(found: torch.Tensor | np.ndarray, expected: np.ndarray) -> None:
    found = found.detach().numpy() if isinstance(found, torch.Tensor) else found
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


@needs_oracle
def test_activation_preprocessing_loss_and_gradients_equal_the_authors_programs() -> None:
    given, expected = np.load(ORACLE / "inputs_model.npz"), np.load(ORACLE / "expected_model.npz")
    logits = tensor(given["z"], requires_grad=True)
    activation = rectified_tanh(logits)
    close(activation, expected["activation"])
    close(torch.autograd.grad(activation.sum(), logits)[0], expected["activation_grad"])
    close(log_normalise(given["raw_counts"]), expected["preprocessed"])
    close(log_normalise(tensor(given["raw_counts"])), expected["preprocessed"])
    logits_BG = tensor(given["logits"], requires_grad=True)
    prediction_BG = rectified_tanh(logits_BG)
    close(prediction_BG, expected["xhat"])
    loss_BG = poisson(prediction_BG, tensor(expected["preprocessed"]))
    close(loss_BG, expected["loss_per_gene"])
    close(torch.autograd.grad(loss_BG.mean(), logits_BG)[0], expected["dloss_dlogit_meanreduction"])


@needs_oracle
def test_the_training_reduction_equals_the_authors_values() -> None:
    given, expected = np.load(ORACLE / "inputs_model.npz"), np.load(ORACLE / "expected_model.npz")
    stated = json.loads((ORACLE / "expected_model.json").read_text())
    loss_B = mean_over_genes(tensor(expected["loss_per_gene"]), tensor(given["measured"]))
    assert float(loss_B.mean()) == pytest.approx(stated["loss_mean_of_per_sample_measured_means"], rel=1e-12)


def test_loss_is_least_where_prediction_equals_target() -> None:
    target = torch.tensor([0.0, 1.5, 8.0], dtype=torch.float64)
    prediction = target.clone().requires_grad_()
    loss = poisson(prediction, target)
    torch.testing.assert_close(loss.detach(), torch.exp(target) * (1 - target))
    assert torch.autograd.grad(loss.sum(), prediction)[0].abs().max() < 1e-12


def test_half_precision_is_widened() -> None:
    loss = poisson(torch.ones(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.bfloat16))
    assert loss.dtype == torch.float32


def test_a_sample_without_measured_genes_is_left_out_of_the_mean_and_of_its_divisor() -> None:
    loss_BG = torch.tensor([[1.0, 3.0], [torch.inf, 7.0], [6.0, 9.0]], requires_grad=True)
    counted_BG = torch.tensor([[True, True], [False, False], [True, False]])
    loss = mean_over_samples(loss_BG, counted_BG)
    assert loss.item() == (2.0 + 6.0) / 2
    assert torch.autograd.grad(loss, loss_BG)[0].tolist() == [[0.25, 0.25], [0.0, 0.0], [0.5, 0.0]]


def test_parts_of_a_batch_add_up_to_its_mean_over_samples() -> None:
    loss_BG = torch.tensor([[1.0, 3.0], [5.0, 7.0], [6.0, 9.0]])
    counted_BG = torch.tensor([[True, True], [False, False], [True, False]])
    parts = [mean_over_samples(loss_BG[part], counted_BG[part], n_samples=2) for part in (slice(0, 2), slice(2, 3))]
    assert float(sum(parts)) == mean_over_samples(loss_BG, counted_BG).item()


def test_a_batch_without_any_measured_gene_has_no_loss_and_no_gradient() -> None:
    loss_BG = torch.ones(2, 3, requires_grad=True)
    loss = mean_over_samples(loss_BG, torch.zeros(2, 3, dtype=torch.bool))
    assert loss.item() == 0
    assert torch.autograd.grad(loss, loss_BG)[0].abs().max() == 0


def task(n_genes: int, measured_BG: torch.Tensor, **overrides: object) -> tuple[TxFM, Inputs]:
    config = config_from_mapping({"preset": "nano", "n_visible_genes": 12} | overrides)
    network = TxFM(config, n_genes)
    network.initialise(torch.full((n_genes,), 5.0), seeded_generator(CPU, "weights"))
    rate_BG = torch.rand(measured_BG.shape, generator=seeded_generator(CPU, "counts")) ** 3
    counts_BG = torch.poisson(60 * rate_BG, generator=seeded_generator(CPU, "draw")) * measured_BG
    return network, Inputs(x_BG=log_normalise(counts_BG), measured_BG=measured_BG)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_unmeasured_genes_get_exactly_zero_gradient_and_are_never_input(precision: str) -> None:
    measured_BG = torch.ones(6, 40, dtype=torch.bool)
    measured_BG[:, 25:] = False
    network, inputs = task(40, measured_BG)
    spoiled = Inputs(x_BG=inputs.x_BG.masked_fill(~measured_BG, 9.0), measured_BG=measured_BG)
    losses = []
    for given in (inputs, spoiled):
        network.zero_grad(set_to_none=True)
        loss = batch_loss(masked_task(network, given, seeded_generator(CPU, 0), precision), given)
        loss.backward()
        losses.append(loss.item())
    assert losses[0] == losses[1]
    for gradient in (network.gene_table.weight.grad, network.decoder_out.weight.grad, network.decoder_out.bias.grad):
        assert gradient is not None
        assert gradient[25:].abs().max() == 0
        assert gradient[:25].abs().max() > 0


def test_masked_and_visible_measured_genes_both_count_in_the_loss() -> None:
    measured_BG = torch.ones(3, 30, dtype=torch.bool)
    network, inputs = task(30, measured_BG)
    outcome = masked_task(network, inputs, seeded_generator(CPU, 0), "float32")
    assert outcome.visible_BG.sum(dim=1).tolist() == [12, 12, 12]
    assert batch_loss(outcome, inputs).item() == pytest.approx(outcome.loss_BG.mean().item(), rel=1e-6)


def test_the_training_loss_ignores_a_sample_without_a_measured_gene_of_the_vocabulary() -> None:
    measured_BG = torch.ones(3, 30, dtype=torch.bool)
    measured_BG[1] = False
    network, inputs = task(30, measured_BG)
    outcome = masked_task(network, inputs, seeded_generator(CPU, 0), "float32")
    expected = outcome.loss_BG[[0, 2]].mean().item()
    assert batch_loss(outcome, inputs).item() == pytest.approx(expected, rel=1e-6)


def test_bf16_changes_the_loss_by_less_than_half_a_percent() -> None:
    network, inputs = task(40, torch.ones(16, 40, dtype=torch.bool))
    exact, rounded = (
        batch_loss(masked_task(network, inputs, seeded_generator(CPU, 0), precision), inputs).item()
        for precision in ("float32", "bf16")
    )
    assert rounded == pytest.approx(exact, rel=5e-3)


def test_one_batch_can_be_overfitted() -> None:
    network, inputs = task(40, torch.ones(8, 40, dtype=torch.bool), n_visible_genes=40)
    least = float(poisson(inputs.x_BG, inputs.x_BG).mean())
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.0)
    excess = []
    for _ in range(400):
        optimiser.zero_grad()
        loss = batch_loss(masked_task(network, inputs, seeded_generator(CPU, 0), "float32"), inputs)
        loss.backward()
        optimiser.step()
        excess.append(loss.item() - least)
    assert excess[-1] < 0.05 * excess[0]
