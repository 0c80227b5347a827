"""From logits to expression and back, and from counts to expression."""

import math

import numpy as np
import pytest
import torch

from txfm.activations import ACTIVATIONS, clamped_relu, rectified_tanh, softmax
from txfm.config import CHOICES, config_from_mapping
from txfm.inputs import Inputs
from txfm.preprocess import SIZE_FACTORS, log_normalise, preprocess

L = 1e5


def inputs(counts_BG: torch.Tensor, measured_BG: torch.Tensor, preprocessing: str = "library_size_log1p") -> Inputs:
    config = config_from_mapping({"preset": "nano", "preprocessing": preprocessing})
    return Inputs.of(counts_BG, measured_BG, measured_BG.sum(dim=1).numpy(), config)


def some_inputs(n_genes: int = 6) -> Inputs:
    counts_BG = torch.arange(3 * n_genes, dtype=torch.float64).reshape(3, n_genes)
    return inputs(counts_BG, torch.ones(3, n_genes, dtype=torch.bool))


def test_every_name_of_a_configuration_has_its_function() -> None:
    assert tuple(ACTIVATIONS) == CHOICES["activation"]
    assert tuple(SIZE_FACTORS) == CHOICES["preprocessing"]


def test_rectified_tanh_rises_from_zero_to_its_bound() -> None:
    logits = torch.tensor([-5.0, 0.0, 1e-3, 1e4], dtype=torch.float64)
    expression = rectified_tanh(logits)
    assert expression[:2].tolist() == [0.0, 0.0]
    assert expression[2] / 1e-3 == pytest.approx(1.0588430662694335, rel=1e-6)  # slope at 0+, metrics of the oracle
    assert expression[3] == pytest.approx(math.log(L + 1))


def test_clamped_relu_ends_at_the_bound_of_the_rectified_tanh() -> None:
    assert clamped_relu(torch.tensor([-1.0, 0.5, 11.0, 12.0]), L).tolist() == pytest.approx(
        [0.0, 0.5, 11.0, math.log1p(L)]
    )


@pytest.mark.parametrize("name", ["rectified_tanh", "relu", "clamped_relu"])
def test_the_inverse_gives_the_logits_back(name: str) -> None:
    activation, samples = ACTIVATIONS[name], some_inputs()
    logits = torch.linspace(1e-3, 11.5, 18, dtype=torch.float64).reshape(3, 6)
    expression = activation.expression(logits, samples, L)
    torch.testing.assert_close(activation.logits(expression, L), logits, rtol=1e-9, atol=1e-9)


def test_the_inverse_of_softmax_gives_the_expression_back() -> None:
    samples = some_inputs()
    expression = samples.x_BG.clamp(min=1e-6)
    found = ACTIVATIONS["softmax"].expression(ACTIVATIONS["softmax"].logits(expression, L), samples, L)
    torch.testing.assert_close(found, expression, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_is_alive_tells_where_the_gradient_is_not_zero(name: str) -> None:
    activation, samples = ACTIVATIONS[name], some_inputs()
    logits = torch.linspace(-4.3, 15.1, 18, dtype=torch.float64).reshape(3, 6).requires_grad_()
    expression = activation.expression(logits, samples, L)
    weights = torch.linspace(1, 2, 18, dtype=torch.float64).reshape(3, 6)  # the sum of a softmax has no gradient
    (gradient,) = torch.autograd.grad((weights * expression).sum(), logits)
    assert torch.equal(gradient != 0, activation.is_alive(logits, L))


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("preprocessing", SIZE_FACTORS)
def test_genes_start_at_their_mean_expression_finite_and_alive(name: str, preprocessing: str) -> None:
    counts_BG = torch.tensor([[0.0, 1.0, 40.0, 959.0]], dtype=torch.float64)
    samples = inputs(counts_BG, torch.ones(1, 4, dtype=torch.bool), preprocessing)
    mean_expression_G = samples.x_BG[0]
    logits_G = ACTIVATIONS[name].initial_logits(mean_expression_G, L)
    assert ACTIVATIONS[name].is_alive(logits_G, L).all()
    expression_BG = ACTIVATIONS[name].expression(logits_G.expand(1, -1), samples, L)
    torch.testing.assert_close(expression_BG[0, 1:3], mean_expression_G[1:3], rtol=2e-3, atol=0)
    assert 0 < expression_BG[0, 0] <= 0.11
    extreme_G = ACTIVATIONS[name].initial_logits(torch.tensor([0.0, 11.5129, 14.0]), L)
    assert torch.isfinite(extreme_G).all()
    assert ACTIVATIONS[name].is_alive(extreme_G, L).all()


def test_softmax_shares_the_total_among_measured_genes_alone() -> None:
    logits_BG = torch.randn(3, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    measured_BG = torch.tensor([[True] * 6, [True] * 2 + [False] * 4, [False] * 6])
    totals_B1 = torch.tensor([[L], [1234.0], [0.0]], dtype=torch.float64)
    expression_BG = softmax(logits_BG, totals_B1, measured_BG)
    assert expression_BG.expm1().sum(dim=1).tolist() == pytest.approx([L, 1234.0, 0.0])
    assert (expression_BG[~measured_BG] == 0).all()
    (gradient_BG,) = torch.autograd.grad((expression_BG**2).sum(), logits_BG)
    assert (gradient_BG[~measured_BG] == 0).all()
    assert torch.isfinite(gradient_BG).all()
    assert (gradient_BG[:1] != 0).all()


@pytest.mark.parametrize("of", [np.asarray, torch.from_numpy])
def test_log_normalise_scales_each_sample_to_the_library_size(of) -> None:  # type: ignore[no-untyped-def]
    counts = np.array([[1.0, 3.0, 0.0], [0.0, 0.0, 0.0]])
    expression = log_normalise(of(counts), library_size=100)
    np.testing.assert_allclose(np.asarray(expression), [[np.log(26), np.log(76), 0], [0, 0, 0]], rtol=1e-15)
    np.testing.assert_allclose(np.asarray(preprocess(of(counts), "log1p", 100)), np.log1p(counts), rtol=1e-15)
    assert counts[0, 0] == 1.0


def test_integer_counts_become_float64_and_float32_stays() -> None:
    for name in SIZE_FACTORS:
        assert preprocess(np.array([[1, 2]]), name, L).dtype == np.float64
        assert preprocess(np.array([[1, 2]], dtype=np.float32), name, L).dtype == np.float32


@pytest.mark.parametrize("preprocessing", SIZE_FACTORS)
def test_totals_are_what_the_target_adds_up_to(preprocessing: str) -> None:
    samples = inputs(torch.tensor([[1.0, 3.0], [0.0, 0.0]]), torch.ones(2, 2, dtype=torch.bool), preprocessing)
    assert samples.totals()[:, 0].tolist() == pytest.approx(samples.x_BG.expm1().sum(dim=1).tolist(), rel=1e-5)
    assert samples.totals()[0, 0] == pytest.approx(L if preprocessing == "library_size_log1p" else 4)
