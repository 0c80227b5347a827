"""For debugging: can the network learn one batch by heart? If not, model, loss or optimiser are wrong, not the data."""

from dataclasses import replace

import numpy as np
import torch

from txfm.config import ModelConfig
from txfm.hardware import Hardware
from txfm.inputs import Inputs, inputs_of
from txfm.losses import mean_over_samples, poisson
from txfm.masking import Visible, choose_visible, sample_keys
from txfm.model import TxFM
from txfm.objective import masked_task
from txfm.statistics import mask_log_weights, mean_expression
from txfm.training.optimiser import adamw
from txfm.training.samples import Samples
from txfm.training.step import TrainingStep
from txfm.training.weights import new_network

# What may be left of the deviance at the start, which is about that of the mean expression
PASSING_SHARE = 0.5
WARMUP_STEPS = 10
N_LINES = 10


def overfit_batch(samples: Samples, config: ModelConfig, seed: int, n_steps: int, hardware: Hardware) -> bool:
    """Train on the first batch with the masks of the first step, print how the loss falls, and write nothing.

    Stochastic depth and weight decay are off; the learning rate stays at its peak after a short warm-up.

    Parameters
    ----------
    samples : Samples
    config : ModelConfig
        Its batch must fit into memory as a whole.
    seed : int
    n_steps : int
    hardware : Hardware

    Returns
    -------
    bool
        Whether the Poisson deviance of the batch fell below `PASSING_SHARE` of its start.
    """
    config = replace(config, stochastic_depth=0.0)
    corpus = samples.training(batch_size=config.batch_size_samples, seed=seed)
    batch = next(corpus.batches())
    means = mean_expression(corpus, config.library_size_counts, config.preprocessing)
    network = new_network(config, means, seed, hardware.device)
    log_weights = mask_log_weights(corpus, config.mask_temperature)
    take_step = TrainingStep(
        network, adamw(network, 0.0), corpus.measured, log_weights, hardware, seed=seed, micro_batch=len(batch)
    )
    inputs = inputs_of(batch, torch.from_numpy(corpus.measured).to(hardware.device), config)
    keys_B = sample_keys(torch.arange(len(batch), device=hardware.device), "train", seed, 0)
    visible = choose_visible(inputs.measured_BG, config.n_visible_genes, keys_B, take_step.log_weights_G)
    n_counted = int(np.count_nonzero(inputs.n_measured_B))
    print(f"overfitting one batch of {len(batch)} samples, {n_steps} steps; {hardware}", flush=True)
    start = _deviance(network, inputs, visible, hardware.precision)
    for number in range(n_steps):
        lr = config.max_lr * min(1.0, (number + 1) / WARMUP_STEPS)
        loss, norm = take_step(batch, 0, lr, n_counted)
        if (number + 1) % max(1, n_steps // N_LINES) == 0:
            print(f"step {number + 1}/{n_steps}, loss {float(loss):.4f}, gradient norm {float(norm):.3g}", flush=True)
    share = _deviance(network, inputs, visible, hardware.precision) / start
    passed = share < PASSING_SHARE
    print(
        f"{'passed' if passed else 'failed'}: {share:.1%} of the deviance at the start is left "
        f"(to pass: below {PASSING_SHARE:.0%})",
        flush=True,
    )
    return passed


@torch.no_grad()
def _deviance(network: TxFM, inputs: Inputs, visible: Visible, precision: str) -> float:
    """Poisson deviance of the predicted means on the preprocessed scale, whatever the loss."""
    network.eval()
    outcome = masked_task(network, network.config, inputs, visible, precision)
    network.train()
    predicted_BG = torch.log1p(outcome.expected())
    deviance_BG = poisson(predicted_BG, inputs.x_BG) - poisson(inputs.x_BG, inputs.x_BG)
    return float(mean_over_samples(deviance_BG, inputs.measured_BG))
