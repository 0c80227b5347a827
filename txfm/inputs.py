"""A batch of samples on the device, dense. Shapes as in model.py."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from txfm.config import ModelConfig
from txfm.preprocess import size_factors

if TYPE_CHECKING:
    from txfm.corpus import Batch


@dataclass(frozen=True, kw_only=True, eq=False)
class Inputs:
    """Some samples as the masked task needs them, float32.

    Attributes
    ----------
    counts_BG : torch.Tensor (B, G)
        Raw counts, 0 where not measured.
    size_factors_B1 : torch.Tensor (B, 1)
        What the counts were divided by: library size / L, or 1.
    x_BG : torch.Tensor (B, G)
        Expression in log1p space, ``log1p(counts / size factor)``: input and target.
    measured_BG : torch.Tensor (B, G), bool
        Genes that the sample's study measured.
    n_measured_B : numpy.ndarray (B,), int64
        Their number, on the host.
    """

    counts_BG: torch.Tensor
    size_factors_B1: torch.Tensor
    x_BG: torch.Tensor
    measured_BG: torch.Tensor
    n_measured_B: np.ndarray

    @classmethod
    def of(
        cls, counts_BG: torch.Tensor, measured_BG: torch.Tensor, n_measured_B: np.ndarray, config: ModelConfig
    ) -> "Inputs":
        """Preprocess counts as the configuration says."""
        factors_B1 = size_factors(counts_BG, config.preprocessing, config.library_size_counts)
        return cls(
            counts_BG=counts_BG,
            size_factors_B1=factors_B1,
            x_BG=torch.log1p(counts_BG / factors_B1),
            measured_BG=measured_BG,
            n_measured_B=n_measured_B,
        )

    def __len__(self) -> int:
        return len(self.n_measured_B)

    def totals(self) -> torch.Tensor:
        """Sums (B, 1) of ``exp(x) - 1``: L, or the library size where counts are not scaled; 0 without counts."""
        return self.counts_BG.sum(dim=1, keepdim=True) / self.size_factors_B1

    def rows(self, start: int, stop: int) -> "Inputs":
        """A part of the samples; nothing is copied."""
        part = slice(start, stop)
        return Inputs(
            counts_BG=self.counts_BG[part],
            size_factors_B1=self.size_factors_B1[part],
            x_BG=self.x_BG[part],
            measured_BG=self.measured_BG[part],
            n_measured_B=self.n_measured_B[part],
        )


def inputs_of(batch: "Batch", measured_SG: torch.Tensor, config: ModelConfig) -> Inputs:
    """Densify and preprocess a batch on the device of `measured_SG`.

    The CSR arrays travel, not the dense matrix. The library size is the sum over the vocabulary's genes that the sample
    measured.

    Parameters
    ----------
    batch : Batch
    measured_SG : torch.Tensor (n_studies, G), bool
        `batch.measured` on the device.
    config : ModelConfig
        Says how counts are preprocessed.

    Returns
    -------
    Inputs
    """
    device = measured_SG.device
    n_samples, n_genes = len(batch), measured_SG.shape[1]
    sparse = batch.torch()
    if device.type == "cuda":  # from page-locked memory, so that nothing waits for the copies
        sparse = sparse.pin_memory().to(device, non_blocking=True)
    row_starts = torch.arange(0, n_samples * n_genes, n_genes, device=device)
    rows = torch.repeat_interleave(row_starts, sparse.indptr.diff(), output_size=len(batch.counts))
    counts_BG = torch.zeros(n_samples * n_genes, device=device)
    counts_BG = counts_BG.index_put_((rows + sparse.positions,), sparse.counts.float()).view(n_samples, n_genes)
    measured_BG = measured_SG[sparse.study_index]
    n_measured_B = np.count_nonzero(batch.measured, axis=1)[batch.study_index]
    return Inputs.of(counts_BG, measured_BG, n_measured_B, config)
