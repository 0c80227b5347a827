"""Training losses, per gene and without reduction. Shapes as in model.py.

All compute in float32 or wider: in bf16 the mean of the Poisson loss moves by 0.3%.
"""

import torch
import torch.nn.functional as F


def poisson(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Poisson loss in log space, ``exp(xhat) - xhat * exp(x)`` (sec. 2, eq. 2).

    Up to a constant it is the negative log-likelihood of ``exp(x) = normalised count + 1`` under a Poisson law of rate
    ``exp(xhat)``; its minimum lies at ``xhat = x``.

    Parameters
    ----------
    prediction, target : torch.Tensor (..., n_genes)
        xhat and x, both in log1p space.

    Returns
    -------
    torch.Tensor (..., n_genes)
        One loss a gene, no reduction.
    """
    predicted, wanted = _widened(prediction, target)
    return torch.exp(predicted) - predicted * torch.exp(wanted)


def mse(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Squared error in log1p space; arguments and shape as for `poisson`."""
    return F.mse_loss(*_widened(prediction, target), reduction="none")


def smooth_l1(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """``e^2 / 2`` for an error |e| < 1 in log1p space, ``|e| - 1/2`` beyond; arguments and shape as for `poisson`."""
    return F.smooth_l1_loss(*_widened(prediction, target), reduction="none")


def negative_binomial(log_mean: torch.Tensor, log_dispersion: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood of raw counts under a negative binomial law (parameters of Risso et al. 2018).

    Of mean m and inverse dispersion theta: r = theta, p = m / (m + theta), variance ``m + m^2 / theta``. Exact from the
    Poisson law (theta large) to nearly all zeros (theta small).

    Parameters
    ----------
    log_mean : torch.Tensor (..., n_genes)
        log m in counts, finite: of size factor times predicted mean.
    log_dispersion : torch.Tensor (n_genes,) or (..., n_genes)
        log theta.
    counts : torch.Tensor (..., n_genes)
        Raw counts.

    Returns
    -------
    torch.Tensor (..., n_genes), float64
        Float64, because logarithms of the gamma function of a million counts are 10^7 and nearly cancel.
    """
    log_mean, log_dispersion, counts = log_mean.double(), log_dispersion.double(), counts.double()
    dispersion = torch.exp(log_dispersion)
    log_odds = log_mean - log_dispersion  # of p
    return (
        torch.lgamma(counts + 1)
        - _log_rising_factorial(dispersion, counts)
        - dispersion * F.logsigmoid(-log_odds)  # theta log(1 - p)
        - counts * F.logsigmoid(log_odds)  # k log p; softplus would be cut at 20, which a million counts notice
    )


def zero_inflated_negative_binomial(
    log_mean: torch.Tensor, log_dispersion: torch.Tensor, zero_logits: torch.Tensor, counts: torch.Tensor
) -> torch.Tensor:
    """Negative log-likelihood under extra zeros: 0 with probability pi, else a negative binomial count.

    Parameters
    ----------
    log_mean, log_dispersion, counts
        As for `negative_binomial`.
    zero_logits : torch.Tensor (..., n_genes)
        log(pi / (1 - pi)).

    Returns
    -------
    torch.Tensor (..., n_genes), float64
    """
    of_count = negative_binomial(log_mean, log_dispersion, counts)
    zero_logits = zero_logits.double()
    log_extra, log_counted = F.logsigmoid(zero_logits), F.logsigmoid(-zero_logits)
    return torch.where(counts == 0, -torch.logaddexp(log_extra, log_counted - of_count), of_count - log_counted)


def mean_over_genes(loss_BG: torch.Tensor, counted_BG: torch.Tensor) -> torch.Tensor:
    """Mean of the loss over each sample's counted genes; a gene that is not counted gets a gradient of exactly zero.

    Parameters
    ----------
    loss_BG : torch.Tensor (B, G)
        Loss per gene.
    counted_BG : torch.Tensor (B, G), bool
        Genes that the sample's study measured (or a subset of them).

    Returns
    -------
    torch.Tensor (B,)
        Zero for a sample without a counted gene: there is no mean, and `mean_over_samples` leaves such a sample out.
    """
    total_B = torch.where(counted_BG, loss_BG, 0).sum(dim=1)
    return total_B / counted_BG.sum(dim=1).clamp(min=1)


def mean_over_samples(loss_BG: torch.Tensor, counted_BG: torch.Tensor, n_samples: int | None = None) -> torch.Tensor:
    """Mean over each sample's counted genes, then over the samples that have one.

    Parameters
    ----------
    loss_BG, counted_BG : torch.Tensor (B, G)
        As for `mean_over_genes`.
    n_samples : int, optional
        What the sum over samples is divided by; None = the samples with a counted gene. A part of a batch passes the
        whole batch's number, so that the parts add up to the batch's mean.

    Returns
    -------
    torch.Tensor ()
        Zero, with a gradient of exactly zero, when no sample has a counted gene.
    """
    divisor = counted_BG.any(dim=1).sum() if n_samples is None else torch.as_tensor(n_samples, device=loss_BG.device)
    return mean_over_genes(loss_BG, counted_BG).sum() / divisor.clamp(min=1)


def _widened(prediction: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    wide = torch.promote_types(torch.promote_types(prediction.dtype, target.dtype), torch.float32)
    return prediction.to(wide), target.to(wide)


def _log_rising_factorial(x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
    """``log(Gamma(x + n) / Gamma(x))``; for large x by the difference of two Stirling series, which loses no digits."""
    is_large = x >= 64
    small, large = torch.where(is_large, 1.0, x), torch.where(is_large, x, 64.0)  # both branches stay finite
    by_series = n * torch.log(large) + (large + n - 0.5) * torch.log1p(n / large) - n
    by_series = by_series + _stirling_remainder(large + n) - _stirling_remainder(large)
    return torch.where(is_large, by_series, torch.lgamma(small + n) - torch.lgamma(small))


def _stirling_remainder(x: torch.Tensor) -> torch.Tensor:
    """``log Gamma(x) - [(x - 1/2) log x - x + log(2 pi) / 2]``, to 1e-16 for x >= 64."""
    inverse_square = x**-2
    return (1 / 12 - inverse_square * (1 / 360 - inverse_square / 1260)) / x
