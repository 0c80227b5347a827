"""The optimiser of the paper (sec. A.1)."""

import torch

from txfm.model import TxFM


def adamw(network: TxFM, weight_decay: float) -> torch.optim.AdamW:
    """AdamW with the configuration's betas; decay applies to matrices, not to biases, norms, LayerScale and CLS."""
    config = network.config
    matrices = [parameter for parameter in network.parameters() if parameter.ndim >= 2]
    others = [parameter for parameter in network.parameters() if parameter.ndim < 2]
    return torch.optim.AdamW(
        [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=config.max_lr,
        betas=(config.adam_beta1, config.adam_beta2),
        eps=config.adam_epsilon,
        fused=True,
    )
