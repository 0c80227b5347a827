"""Output activations: from logits to predicted expression in log1p space, and back. Shapes as in model.py.

``exp(prediction) - 1`` is the predicted mean, in the units of the preprocessed counts. Logits are float32 or wider:
bf16 moves the loss by 0.3%.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch

from txfm.inputs import Inputs


def rectified_tanh(logits: torch.Tensor, library_size: float = 1e5) -> torch.Tensor:
    """``phi(z) = log(L + 1) * ReLU(tanh(z / 4e))`` (sec. 2, eq. 1), from 0 to below log(L + 1).

    Parameters
    ----------
    logits : torch.Tensor
        z, any shape.
    library_size : float
        L, in counts.

    Returns
    -------
    torch.Tensor
        Predicted expression in log1p space.
    """
    return math.log1p(library_size) * torch.relu(torch.tanh(logits / (4 * math.e)))


def inverse_rectified_tanh(expression: torch.Tensor, library_size: float = 1e5) -> torch.Tensor:
    """The logit whose `rectified_tanh` is `expression`; zero for zero, finite below log(L + 1)."""
    return 4 * math.e * torch.atanh(expression / math.log1p(library_size))


def clamped_relu(logits: torch.Tensor, library_size: float = 1e5) -> torch.Tensor:
    """``min(ReLU(z), log(L + 1))``; no gradient on either side."""
    return logits.clamp(min=0.0, max=math.log1p(library_size))


def softmax(logits_BG: torch.Tensor, totals_B1: torch.Tensor, measured_BG: torch.Tensor) -> torch.Tensor:
    """``log(1 + N * softmax(z))``: a sample's total N is shared out among the genes that it measured.

    Parameters
    ----------
    logits_BG : torch.Tensor (B, G)
    totals_B1 : torch.Tensor (B, 1)
        N, sum of the sample's preprocessed counts: L, or its library size where counts are not scaled.
    measured_BG : torch.Tensor (B, G), bool
        A gene that is not measured gets 0, and its logit a gradient of exactly zero.

    Returns
    -------
    torch.Tensor (B, G)
    """
    lowest = torch.finfo(logits_BG.dtype).min  # finite: a sample without a measured gene must not become NaN
    shares_BG = torch.softmax(logits_BG.masked_fill(~measured_BG, lowest), dim=1)
    return torch.log1p(totals_B1 * shares_BG * measured_BG)


def inverse_softmax(expression: torch.Tensor, library_size: float = 1e5) -> torch.Tensor:
    """Logits whose `softmax` is `expression`, if ``exp(expression) - 1`` adds up to N; else in proportion to it.

    Logits are unique up to a constant; here their softmax needs no scaling if N = L.
    """
    return torch.log(torch.expm1(expression) / library_size)


@dataclass(frozen=True, kw_only=True)
class Activation:
    """An activation by its name in a configuration.

    Attributes
    ----------
    expression : callable
        Logits (B, G), the samples' `Inputs` and L -> predicted expression (B, G).
    logits : callable
        Expression and L -> the logits that give it.
    is_alive : callable
        Logits and L -> bool, where the logit has a gradient.
    least_start : float
        Least expression that a gene starts with: its logit lies above what has no gradient, or hardly one.
    bounded : bool
        Whether expression stays below log(L + 1).
    """

    expression: Callable[[torch.Tensor, Inputs, float], torch.Tensor]
    logits: Callable[[torch.Tensor, float], torch.Tensor]
    is_alive: Callable[[torch.Tensor, float], torch.Tensor]
    least_start: float
    bounded: bool

    def initial_logits(self, mean_expression_G: torch.Tensor, library_size: float) -> torch.Tensor:
        """Finite logits (G,) with a gradient, whose expression is the given one, or near it where it is too extreme."""
        greatest = 0.99 * math.log1p(library_size) if self.bounded else None  # the inverse is infinite at the bound
        return self.logits(mean_expression_G.clamp(min=self.least_start, max=greatest), library_size)


def _above_zero(logits: torch.Tensor, _: float) -> torch.Tensor:
    return logits > 0


ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {
        "rectified_tanh": Activation(
            expression=lambda logits, _, library_size: rectified_tanh(logits, library_size),
            logits=inverse_rectified_tanh,
            is_alive=_above_zero,
            least_start=0.1,
            bounded=True,
        ),
        "relu": Activation(
            expression=lambda logits, _, __: torch.relu(logits),
            logits=lambda expression, _: expression,
            is_alive=_above_zero,
            least_start=0.1,
            bounded=False,
        ),
        "clamped_relu": Activation(
            expression=lambda logits, _, library_size: clamped_relu(logits, library_size),
            logits=lambda expression, _: expression,
            is_alive=lambda logits, library_size: (logits > 0) & (logits < math.log1p(library_size)),
            least_start=0.1,
            bounded=True,
        ),
        "softmax": Activation(
            expression=lambda logits, inputs, _: softmax(logits, inputs.totals(), inputs.measured_BG),
            logits=inverse_softmax,
            is_alive=lambda logits, _: torch.ones_like(logits, dtype=torch.bool),
            least_start=1e-3,  # 44,349 genes at 0.1 would take 5% of the total
            bounded=False,
        ),
    }
)
