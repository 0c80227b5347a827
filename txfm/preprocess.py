"""From raw counts to the model's input (sec. A.2, eq. 3-4)."""

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch

    Counts = TypeVar("Counts", np.ndarray, torch.Tensor)
else:
    Counts = TypeVar("Counts")


def log_normalise(counts: "Counts", library_size: float = 1e5) -> "Counts":
    """Scale every sample to `library_size` counts, then log1p: ``x = log1p(L * c / sum(c))`` (sec. A.2, eq. 3-4).

    Parameters
    ----------
    counts : numpy.ndarray or torch.Tensor (n_samples, n_genes)
        Raw counts, one row a sample, zero where a gene was not measured. The sum is taken over the given genes: the
        model passes its vocabulary's genes that the sample measured. That is the paper's "genes profiled in that
        sample" for an uncapped vocabulary, and for a capped one it makes training and embedding agree.
    library_size : float
        L, in counts.

    Returns
    -------
    same type and shape
        A row without counts stays zero. Floating input keeps its precision; integers become float64 (numpy) or torch's
        default type.
    """
    if isinstance(counts, np.ndarray):
        floating = counts if np.issubdtype(counts.dtype, np.floating) else counts.astype(np.float64)
        totals = floating.sum(axis=-1, keepdims=True)
        totals[totals == 0] = 1
        return np.log1p(floating * (library_size / totals))
    import torch

    values = counts if counts.is_floating_point() else counts.to(torch.get_default_dtype())
    total = values.sum(dim=-1, keepdim=True)
    return torch.log1p(values * (library_size / torch.where(total == 0, 1, total)))
