"""From a batch of raw counts to the training loss. Shapes as in model.py."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch

from txfm.corpus import Batch
from txfm.losses import mean_over_samples, poisson
from txfm.masking import choose_visible
from txfm.model import TxFM, rectified_tanh
from txfm.preprocess import log_normalise


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """A batch on the device: log-normalised expression x_BG (0 where not measured) and the measured mask."""

    x_BG: torch.Tensor
    measured_BG: torch.Tensor

    def __len__(self) -> int:
        return len(self.x_BG)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one forward pass of the masked task gives, all float32."""

    loss_BG: torch.Tensor
    prediction_BG: torch.Tensor
    logits_BG: torch.Tensor
    cls_BD: torch.Tensor
    visible_BG: torch.Tensor


def inputs_of(batch: Batch, measured_SG: torch.Tensor, library_size: float) -> Inputs:
    """Densify and normalise a batch on the device of `measured_SG` (n_studies, G).

    The CSR arrays travel, not the dense matrix. The library size is the sum over the vocabulary's genes that the sample
    measured.
    """
    device = measured_SG.device
    n_genes = measured_SG.shape[1]
    rows = np.repeat(np.arange(len(batch), dtype=np.int64), np.diff(batch.indptr))
    places = torch.from_numpy(rows * n_genes + batch.positions).to(device)
    counts = torch.from_numpy(batch.counts).to(device, torch.float32)
    counts_BG = torch.zeros(len(batch) * n_genes, device=device).index_put_((places,), counts).view(len(batch), n_genes)
    measured_BG = measured_SG[torch.from_numpy(batch.study_index).to(device)]
    return Inputs(x_BG=log_normalise(counts_BG, library_size), measured_BG=measured_BG)


def masked_task(network: TxFM, inputs: Inputs, generator: torch.Generator, precision: str) -> Outcome:
    """Show K measured genes of each sample, predict all genes.

    Parameters
    ----------
    network : TxFM
    inputs : Inputs
    generator : torch.Generator
        Draws the masks, then what stochastic depth skips.
    precision : {"bf16", "float32"}
        Of the encoder and decoder; activation and loss are float32 in either case (bf16 moves the loss by 0.3%).
    """
    config = network.config
    visible = choose_visible(inputs.measured_BG, config.n_visible_genes, generator)
    values_BK = inputs.x_BG.gather(1, visible.positions_BK)
    with autocast(inputs.x_BG.device, precision):
        logits_BG, cls_BD = network(visible.positions_BK, values_BK, visible.is_real_BK, generator)
    logits_BG = logits_BG.float()
    prediction_BG = rectified_tanh(logits_BG, config.library_size_counts)
    loss_BG = poisson(prediction_BG, inputs.x_BG)
    visible_BG = torch.zeros_like(inputs.measured_BG).scatter_(1, visible.positions_BK, True) & inputs.measured_BG
    return Outcome(
        loss_BG=loss_BG, prediction_BG=prediction_BG, logits_BG=logits_BG, cls_BD=cls_BD.float(), visible_BG=visible_BG
    )


def batch_loss(outcome: Outcome, inputs: Inputs, n_samples: int | None = None) -> torch.Tensor:
    """Mean over each sample's measured genes, masked and visible, then over samples that measured a gene.

    `n_samples` is for parts of a batch: see `mean_over_samples`.
    """
    return mean_over_samples(outcome.loss_BG, inputs.measured_BG, n_samples)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """bf16 autocast, or nothing for float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()
