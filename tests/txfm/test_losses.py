"""The losses, gene by gene and reduced; the authors' own classes and torch.distributions are the judges."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import NegativeBinomial, Poisson

from txfm.activations import rectified_tanh
from txfm.losses import (
    mean_over_genes,
    mean_over_samples,
    mse,
    negative_binomial,
    poisson,
    smooth_l1,
    zero_inflated_negative_binomial,
)
from txfm.preprocess import log_normalise, size_factors


def tensor(values: np.ndarray, requires_grad: bool = False) -> torch.Tensor:
    return torch.from_numpy(values).requires_grad_(requires_grad)


def close(found: torch.Tensor | np.ndarray, expected: np.ndarray) -> None:
    found = found.detach().numpy() if isinstance(found, torch.Tensor) else found
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


def test_every_array_of_the_authors_programs_is_reproduced(model_oracle) -> None:  # type: ignore[no-untyped-def]
    given, expected = model_oracle.given, model_oracle.expected
    logits = tensor(given["z"], requires_grad=True)
    activation = rectified_tanh(logits)
    logits_BG = tensor(given["logits"], requires_grad=True)
    prediction_BG = rectified_tanh(logits_BG)
    loss_BG = poisson(prediction_BG, tensor(expected["preprocessed"]))
    counts_BG = tensor(given["raw_counts"])
    log_mean_BG = (size_factors(counts_BG, "library_size_log1p", 1e5) * tensor(given["mu"])).log()
    found = {
        "activation": activation,
        "activation_grad": torch.autograd.grad(activation.sum(), logits)[0],
        "preprocessed": log_normalise(counts_BG),
        "xhat": prediction_BG,
        "loss_per_gene": loss_BG,
        "dloss_dlogit_meanreduction": torch.autograd.grad(loss_BG.mean(), logits_BG)[0],
        "nb_nll_raw_counts": negative_binomial(log_mean_BG, tensor(given["theta"]).log(), counts_BG),
    }
    assert found.keys() == expected.keys()
    for name, values in found.items():
        close(values, expected[name])
    close(log_normalise(given["raw_counts"]), expected["preprocessed"])


def test_every_number_of_the_authors_programs_is_reproduced(model_oracle) -> None:  # type: ignore[no-untyped-def]
    stated = dict(model_oracle.stated)
    logits_BG, measured_BG = tensor(model_oracle.given["logits"]), tensor(model_oracle.given["measured"])
    target_BG = log_normalise(tensor(model_oracle.given["raw_counts"]))
    loss_BG = poisson(rectified_tanh(logits_BG), target_BG)
    theirs_BG = torch.nn.functional.poisson_nll_loss(
        rectified_tanh(logits_BG), target_BG.exp(), log_input=True, full=False, reduction="none"
    )
    assert stated.pop("torch_PoissonNLLLoss_equal") is True
    torch.testing.assert_close(loss_BG, theirs_BG, rtol=1e-14, atol=0)
    # Two forms of one formula agree to rounding, there and here
    sigmoid_BG = math.log1p(1e5) * torch.relu(2 * torch.sigmoid(logits_BG / (2 * math.e)) - 1)
    assert (sigmoid_BG - rectified_tanh(logits_BG)).abs().max() < 2 * stated.pop("tanh_form_max_abs_diff")
    assert stated.pop("eq12_max_abs_diff") < 1e-13  # see test_the_gradient_is_equation_12
    small = torch.tensor(1e-9, dtype=torch.float64)
    loss_32 = poisson(rectified_tanh(logits_BG.float()), target_BG.float())
    assert loss_32.dtype == torch.float32
    assert loss_32.mean().item() == pytest.approx(stated.pop("fp32_loss_mean"), rel=1e-6)
    assert stated.pop("bf16_loss_mean") > 1.002 * loss_32.mean().item()  # why ours are float32 at least
    found = {
        "loss_mean_all_genes": loss_BG.mean(),
        "loss_mean_measured_only": loss_BG[measured_BG].mean(),
        "loss_mean_of_per_sample_measured_means": mean_over_samples(loss_BG, measured_BG),
        "loss_min_possible_mean": poisson(target_BG, target_BG).mean(),
        "L_plus_1_log": rectified_tanh(torch.tensor(1e6, dtype=torch.float64)),
        "slope_at_0plus": rectified_tanh(small) / small,
    }
    assert found.keys() == stated.keys()
    for name, value in found.items():
        assert value.item() == pytest.approx(stated[name], rel=1e-10), name


def test_the_gradient_is_equation_12(model_oracle) -> None:  # type: ignore[no-untyped-def]
    logits_BG = tensor(model_oracle.given["logits"], requires_grad=True)
    target_BG = tensor(model_oracle.expected["preprocessed"])
    prediction_BG = rectified_tanh(logits_BG)
    (gradient_BG,) = torch.autograd.grad(poisson(prediction_BG, target_BG).sum(), logits_BG)
    slope_BG = math.log1p(1e5) / (4 * math.e) / torch.cosh(logits_BG / (4 * math.e)) ** 2 * (logits_BG > 0)
    close(gradient_BG, ((prediction_BG.exp() - target_BG.exp()) * slope_BG).detach().numpy())
    assert (gradient_BG != 0).float().mean() > 0.3


@pytest.mark.parametrize("loss", [poisson, mse, smooth_l1])
def test_a_loss_of_expression_is_least_where_prediction_equals_target(loss) -> None:  # type: ignore[no-untyped-def]
    target = torch.tensor([0.0, 1.5, 8.0], dtype=torch.float64)
    prediction = target.clone().requires_grad_()
    assert torch.autograd.grad(loss(prediction, target).sum(), prediction)[0].abs().max() < 1e-12
    assert (loss(target, target) < loss(target + 0.1, target)).all()
    assert (loss(target, target) < loss(target - 0.1, target)).all()


def test_squared_and_smooth_errors_have_their_values() -> None:
    prediction, target = torch.tensor([0.0, 1.0, 5.0]), torch.tensor([0.5, 1.0, 2.0])
    assert mse(prediction, target).tolist() == [0.25, 0.0, 9.0]
    assert smooth_l1(prediction, target).tolist() == [0.125, 0.0, 2.5]


@pytest.mark.parametrize("loss", [poisson, mse, smooth_l1])
def test_half_precision_is_widened(loss) -> None:  # type: ignore[no-untyped-def]
    assert loss(*torch.ones(2, 2, dtype=torch.bfloat16)).dtype == torch.float32
    assert loss(*torch.ones(2, 2, dtype=torch.float64)).dtype == torch.float64


def count_grid() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Means, inverse dispersions and counts over all orders of magnitude, both sides of the series' threshold at 64."""
    mean = torch.tensor([1e-6, 1e-3, 0.3, 1.0, 17.0, 900.0, 3e5], dtype=torch.float64)
    dispersion = torch.tensor([1e-4, 0.01, 0.7, 5.0, 63.9, 64.0, 64.1, 1e3, 1e5], dtype=torch.float64)
    counts = torch.tensor([0.0, 1.0, 2.0, 10.0, 300.0, 20_000.0, 4e6], dtype=torch.float64)
    return torch.meshgrid(mean, dispersion, counts, indexing="ij")  # type: ignore[return-value]


def test_negative_binomial_is_that_of_torch_distributions() -> None:
    mean, dispersion, counts = count_grid()
    law = NegativeBinomial(total_count=dispersion, probs=mean / (mean + dispersion), validate_args=False)
    found = negative_binomial(mean.log(), dispersion.log(), counts)
    # Their probabilities near 1 and differences of large logarithms lose digits, ours do not: see the next test
    np.testing.assert_allclose(found, -law.log_prob(counts), rtol=1e-8, atol=1e-8)
    moderate = (dispersion < 70) & (mean < 1e3) & (counts < 1e3)
    np.testing.assert_allclose(found[moderate], -law.log_prob(counts)[moderate], rtol=1e-11, atol=1e-11)


def test_negative_binomial_is_a_sum_of_logarithms_at_every_dispersion() -> None:
    """Gamma(theta + k) / Gamma(theta) = theta (theta + 1) ... (theta + k - 1), which needs no gamma function."""
    for dispersion in (1e-12, 1e-3, 2.0, 63.0, 65.0, 1e4, 1e9, 1e14):
        for mean in (1e-9, 0.4, 30.0, 1e5):
            for count in (0, 1, 7, 250):
                rising = math.fsum(math.log(dispersion + i) for i in range(count))
                rest = count * (math.log(mean) - math.log(dispersion) - math.log1p(mean / dispersion))
                expected = math.lgamma(count + 1) - rising - rest + dispersion * math.log1p(mean / dispersion)
                inputs = (torch.tensor(value, dtype=torch.float64) for value in (mean, dispersion, count))
                mean_, dispersion_, count_ = inputs
                found = negative_binomial(mean_.log(), dispersion_.log(), count_).item()
                assert found == pytest.approx(expected, rel=1e-11, abs=1e-10), (dispersion, mean, count)


@pytest.mark.parametrize("log_dispersion", [30.0, 100.0, 300.0])
def test_negative_binomial_of_large_dispersion_is_the_poisson_law(log_dispersion: float) -> None:
    mean, counts = torch.tensor([0.2, 4.0, 5e4], dtype=torch.float64), torch.tensor([0.0, 9.0, 5e4])
    log_dispersion_ = torch.full((3,), log_dispersion, dtype=torch.float64, requires_grad=True)
    loss = negative_binomial(mean.log(), log_dispersion_, counts)
    np.testing.assert_allclose(loss.detach(), -Poisson(mean).log_prob(counts.double()), rtol=1e-9)
    assert torch.autograd.grad(loss.sum(), log_dispersion_)[0].abs().max() < 1e-3


def test_negative_binomial_from_float32_parameters_has_no_rounding_of_its_own() -> None:
    mean, dispersion, counts = (values.float() for values in count_grid())
    found = negative_binomial(mean.log(), dispersion.log(), counts)
    expected = negative_binomial(mean.log().double(), dispersion.log().double(), counts.double())
    assert torch.equal(found, expected)


def test_zero_inflated_loss_is_a_mixture_of_torch_distributions() -> None:
    mean, dispersion, counts = count_grid()
    law = NegativeBinomial(total_count=dispersion, probs=mean / (mean + dispersion), validate_args=False)
    for logit in (-8.0, -1.0, 0.0, 3.0):
        share = torch.tensor(logit, dtype=torch.float64).sigmoid()
        likelihood = law.log_prob(counts).exp() * (1 - share) + share * (counts == 0)
        found = zero_inflated_negative_binomial(mean.log(), dispersion.log(), torch.full_like(mean, logit), counts)
        comparable = likelihood > 1e-280  # exp underflows below
        np.testing.assert_allclose(found[comparable], -likelihood[comparable].log(), rtol=1e-8, atol=1e-8)
        assert torch.isfinite(found).all()


def test_zero_inflated_loss_without_extra_zeros_is_the_negative_binomial() -> None:
    mean, dispersion, counts = count_grid()
    plain = negative_binomial(mean.log(), dispersion.log(), counts)
    inflated = zero_inflated_negative_binomial(mean.log(), dispersion.log(), torch.full_like(mean, -1e6), counts)
    np.testing.assert_allclose(inflated, plain, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("loss", [negative_binomial, zero_inflated_negative_binomial])
def test_gradients_of_the_count_losses_are_those_of_finite_differences(loss) -> None:  # type: ignore[no-untyped-def]
    generator = torch.Generator().manual_seed(0)
    log_mean = (3 * torch.randn(6, 5, generator=generator, dtype=torch.float64)).requires_grad_()
    # Inverse dispersions on both sides of the series' threshold
    log_dispersion = torch.tensor([-4.0, 0.0, 2.0, 4.5, 7.0], dtype=torch.float64, requires_grad=True)
    counts = torch.poisson(log_mean.detach().exp(), generator=generator)
    counts[0] = 0
    zero_logits = torch.randn(6, 5, generator=generator, dtype=torch.float64).requires_grad_()
    parameters = (log_mean, log_dispersion, *((zero_logits,) if loss is zero_inflated_negative_binomial else ()))
    assert torch.autograd.gradcheck(lambda *given: loss(*given, counts), parameters)


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
    assert mean_over_genes(loss_BG, torch.zeros(2, 3, dtype=torch.bool)).tolist() == [0.0, 0.0]
    loss = mean_over_samples(loss_BG, torch.zeros(2, 3, dtype=torch.bool))
    assert loss.item() == 0
    assert torch.autograd.grad(loss, loss_BG)[0].abs().max() == 0
