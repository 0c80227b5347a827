"""Training losses, per gene and without reduction."""

import torch


def poisson(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Poisson loss in log space, ``exp(xhat) - xhat * exp(x)`` (sec. 2, eq. 2).

    Up to a constant it is the negative log-likelihood of ``exp(x) = normalised count + 1`` under a Poisson law of rate
    ``exp(xhat)``; its minimum lies at ``xhat = x``.

    Parameters
    ----------
    prediction, target : torch.Tensor (..., n_genes)
        xhat and x, both in log1p space. Half precision is widened to float32: in bf16 the mean moves by 0.3%.

    Returns
    -------
    torch.Tensor (..., n_genes)
        One loss a gene, no reduction.
    """
    wide = torch.promote_types(torch.promote_types(prediction.dtype, target.dtype), torch.float32)
    predicted, wanted = prediction.to(wide), target.to(wide)
    return torch.exp(predicted) - predicted * torch.exp(wanted)


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
