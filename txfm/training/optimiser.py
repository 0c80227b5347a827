"""The optimiser of the paper (sec. A.1)."""

from typing import Any

import numpy as np
import torch

from txfm.model import TxFM


def adamw(network: TxFM, weight_decay: float, measured: np.ndarray | None = None) -> torch.optim.AdamW:
    """AdamW with the configuration's betas; decay applies to matrices, not to biases, norms, LayerScale and CLS.

    Parameters
    ----------
    network : TxFM
    weight_decay : float
        Decoupled: a step with learning rate lr multiplies weights by 1 - lr * weight_decay.
    measured : numpy.ndarray (G,), bool, optional
        Genes that some training sample measured. The rows of other genes get no gradient, and no decay: they stay as
        they are. None = all.
    """
    config = network.config
    rates = None if not weight_decay or measured is None or measured.all() else weight_decay * measured
    of_genes = [] if rates is None else _matrices_of_genes(network)
    apart = {id(parameter) for parameter in of_genes}
    matrices = [parameter for parameter in network.parameters() if parameter.ndim >= 2 and id(parameter) not in apart]
    others = [parameter for parameter in network.parameters() if parameter.ndim < 2 or id(parameter) in apart]
    optimiser = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=config.max_lr,
        betas=(config.adam_beta1, config.adam_beta2),
        eps=config.adam_epsilon,
        fused=True,
    )
    if rates is not None:
        rates_G1 = torch.from_numpy(rates[:, None]).to(network.cls.device, torch.float32)
        optimiser.register_step_pre_hook(_RowDecay(of_genes, rates_G1))
    return optimiser


def _matrices_of_genes(network: TxFM) -> list[torch.Tensor]:
    """Those with a row for each gene of the vocabulary."""
    last_layers = [layer for layer in (network.decoder_out, network.zero_out) if layer is not None]
    return [network.gene_table.weight, *(layer.weight for layer in last_layers)]


class _RowDecay:
    """Decays rows at rates of their own before each step, as AdamW decays whole matrices; a hook of an optimiser."""

    def __init__(self, matrices: list[torch.Tensor], rates_G1: torch.Tensor) -> None:
        self._matrices, self._rates_G1 = matrices, rates_G1

    @torch.no_grad()
    def __call__(self, optimiser: torch.optim.Optimizer, *_: Any) -> None:
        rates_G1, found_inf = self._rates_G1, getattr(optimiser, "found_inf", None)
        if found_inf is not None:  # the step will change nothing, and neither does this
            rates_G1 = torch.where(found_inf > 0, 0, rates_G1)
        for matrix in self._matrices:  # not times 1 - lr * rate, which float32 rounds to 1 for the rates of a long run
            matrix.addcmul_(matrix, rates_G1, value=-optimiser.param_groups[0]["lr"])
