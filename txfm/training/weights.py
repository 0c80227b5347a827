"""The weights that a training starts from."""

import numpy as np
import torch

from txfm.config import ModelConfig
from txfm.masking import seeded_generator
from txfm.model import TxFM
from txfm.statistics import MeanExpression


def new_network(config: ModelConfig, means: MeanExpression, seed: int, device: torch.device) -> TxFM:
    """A network with seeded weights; drawn on the CPU, so that every device starts alike."""
    network = TxFM(config, len(means.overall))
    log_means_G = torch.from_numpy(np.log(means.overall)).float()
    network.initialise(log_means_G, seeded_generator(torch.device("cpu"), "weights", seed))
    return network.to(device)
