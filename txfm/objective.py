"""The masked task: show some genes of each sample, predict all, compare with all that were measured.

Shapes as in model.py.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import MappingProxyType

import torch

from txfm import losses
from txfm.activations import ACTIVATIONS
from txfm.config import ModelConfig
from txfm.inputs import Inputs
from txfm.losses import mean_over_samples
from txfm.masking import Visible
from txfm.model import KeptRows, Output

# Added to the mean of the negative binomial laws, in preprocessed counts: a prediction of 0 must not make a count
# impossible. One count of GTEx's 5 * 10^7 is 0.002.
LEAST_MEAN = 1e-4


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What one forward pass of the masked task gives, float32 or wider.

    Attributes
    ----------
    loss_BG : torch.Tensor (B, G)
        Of every gene; `batch_loss` takes the measured ones.
    expression_BG : torch.Tensor (B, G)
        The activation's answer in log1p space.
    output : Output
        What the network said.
    """

    loss_BG: torch.Tensor
    expression_BG: torch.Tensor
    output: Output

    def expected(self) -> torch.Tensor:
        """Expected preprocessed counts (B, G): ``exp(expression) - 1``, less what extra zeros take away."""
        if self.output.zero_logits_BG is None:
            return torch.expm1(self.expression_BG)
        return torch.expm1(self.expression_BG) * torch.sigmoid(-self.output.zero_logits_BG)


def masked_task(
    network: Callable[..., Output],
    config: ModelConfig,
    inputs: Inputs,
    visible: Visible,
    precision: str,
    kept: Sequence[KeptRows | None] | None = None,
) -> Outcome:
    """Show the visible genes of each sample, predict all genes.

    Parameters
    ----------
    network : TxFM
        Or what calls it: compiled, or wrapped for several ranks.
    config : ModelConfig
        The network's.
    inputs : Inputs
    visible : Visible
        Of `choose_visible`.
    precision : {"bf16", "float32"}
        Of the encoder and decoder; activation and loss are float32 in either case (bf16 moves the loss by 0.3%).
    kept : sequence of KeptRows, optional
        Of `draw_kept_rows`, what stochastic depth keeps, in training mode only; None = everything.

    Returns
    -------
    Outcome
    """
    values_BK = inputs.x_BG.gather(1, visible.positions_BK)
    with autocast(inputs.x_BG.device, precision):
        output = network(visible.positions_BK, values_BK, visible.is_real_BK, kept)
    output = output.float()
    activation = ACTIVATIONS[config.activation]
    expression_BG = activation.expression(output.logits_BG, inputs, config.library_size_counts)
    loss_BG = LOSSES[config.loss](expression_BG, output, inputs)
    return Outcome(loss_BG=loss_BG, expression_BG=expression_BG, output=output)


def batch_loss(outcome: Outcome, inputs: Inputs, n_samples: int | None = None) -> torch.Tensor:
    """Mean over each sample's measured genes, masked and visible, then over samples that measured a gene.

    `n_samples` is for parts of a batch: see `mean_over_samples`.
    """
    return mean_over_samples(outcome.loss_BG, inputs.measured_BG, n_samples)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """bf16 autocast, or nothing for float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()


def _log_mean_counts(expression_BG: torch.Tensor, inputs: Inputs) -> torch.Tensor:
    """Logarithm of the predicted mean in raw counts: s_n * mu, with s_n the size factor (docs/model.md)."""
    return torch.log(torch.expm1(expression_BG) + LEAST_MEAN) + torch.log(inputs.size_factors_B1)


def _negative_binomial(expression_BG: torch.Tensor, output: Output, inputs: Inputs) -> torch.Tensor:
    assert output.log_dispersion_G is not None
    log_mean_BG = _log_mean_counts(expression_BG, inputs)
    return losses.negative_binomial(log_mean_BG, output.log_dispersion_G, inputs.counts_BG)


def _zero_inflated(expression_BG: torch.Tensor, output: Output, inputs: Inputs) -> torch.Tensor:
    assert output.log_dispersion_G is not None
    assert output.zero_logits_BG is not None
    log_mean_BG = _log_mean_counts(expression_BG, inputs)
    return losses.zero_inflated_negative_binomial(
        log_mean_BG, output.log_dispersion_G, output.zero_logits_BG, inputs.counts_BG
    )


# By the name in a configuration: predicted expression (B, G), the network's output and the samples -> loss (B, G)
LOSSES: Mapping[str, Callable[[torch.Tensor, Output, Inputs], torch.Tensor]] = MappingProxyType(
    {
        "poisson": lambda expression_BG, _, inputs: losses.poisson(expression_BG, inputs.x_BG),
        "mse": lambda expression_BG, _, inputs: losses.mse(expression_BG, inputs.x_BG),
        "smooth_l1": lambda expression_BG, _, inputs: losses.smooth_l1(expression_BG, inputs.x_BG),
        "negative_binomial": _negative_binomial,
        "zero_inflated_negative_binomial": _zero_inflated,
    }
)
