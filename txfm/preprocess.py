"""From raw counts to the model's input and target (sec. A.2, eq. 3-4)."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch

    Counts = TypeVar("Counts", np.ndarray, torch.Tensor)
else:
    Counts = TypeVar("Counts")

# Name -> size factor of a sample from its sum of counts and L; a sample without counts stays as it is
SIZE_FACTORS: Mapping[str, Callable[[Any, float], Any]] = MappingProxyType(
    {
        "library_size_log1p": lambda totals, library_size: totals / library_size + (totals == 0),
        "log1p": lambda totals, library_size: totals * 0.0 + 1.0,
    }
)


def size_factors(counts: "Counts", preprocessing: str, library_size: float) -> "Counts":
    """What a sample's counts are divided by before log1p.

    Parameters
    ----------
    counts : numpy.ndarray or torch.Tensor (n_samples, n_genes)
        As for `preprocess`.
    preprocessing : str
        A name of `SIZE_FACTORS`.
    library_size : float
        L, in counts.

    Returns
    -------
    same type (n_samples, 1)
        ``sum(c) / L``, or 1; 1 for a row without counts.
    """
    return SIZE_FACTORS[preprocessing](counts.sum(-1)[..., None], library_size)


def preprocess(counts: "Counts", preprocessing: str, library_size: float) -> "Counts":
    """Expression in log1p space: ``x = log1p(c / size factor)``.

    Parameters
    ----------
    counts : numpy.ndarray or torch.Tensor (n_samples, n_genes)
        Raw counts, one row a sample, zero where a gene was not measured. The sum is taken over the given genes: the
        model passes its vocabulary's genes that the sample measured. That is the paper's "genes profiled in that
        sample" for an uncapped vocabulary, and for a capped one it makes training and embedding agree.
    preprocessing : str
        A name of `SIZE_FACTORS`.
    library_size : float
        L, in counts.

    Returns
    -------
    same type and shape
        A row without counts stays zero. Floating input keeps its precision; integers become float64 (numpy) or torch's
        default type.
    """
    scaled = counts / size_factors(counts, preprocessing, library_size)
    return np.log1p(scaled) if isinstance(scaled, np.ndarray) else scaled.log1p()


def log_normalise(counts: "Counts", library_size: float = 1e5) -> "Counts":
    """Scale every sample to `library_size` counts, then log1p: ``x = log1p(L * c / sum(c))`` (sec. A.2, eq. 3-4).

    `preprocess` as the paper does it by default; see there.
    """
    return preprocess(counts, "library_size_log1p", library_size)
