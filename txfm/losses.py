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
        Zero for a sample without a counted gene.
    """
    total_B = torch.where(counted_BG, loss_BG, 0).sum(dim=1)
    return total_B / counted_BG.sum(dim=1).clamp(min=1)
