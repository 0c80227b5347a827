"""Weight decay: what it acts on, and what it leaves alone."""

import copy

import numpy as np
import pytest
import torch

from txfm.config import ModelConfig
from txfm.model import TxFM
from txfm.training.optimiser import adamw

MEASURED = np.array([True, False, True, True, False, True])
OF_GENES = ("gene_table.weight", "decoder_out.weight", "decoder_out.bias", "zero_out.weight", "zero_out.bias")
DECAY = 0.3


@pytest.fixture
def network() -> TxFM:
    config = ModelConfig(
        width=8,
        n_heads=1,
        n_blocks=1,
        n_decoder_blocks=1,
        steps=3,
        max_lr=0.1,
        loss="zero_inflated_negative_binomial",
    )
    network = TxFM(config, len(MEASURED))
    network.initialise(torch.zeros(len(MEASURED)), torch.Generator().manual_seed(0))
    return network


def take_steps(network: TxFM, measured: np.ndarray | None, found_inf: float | None = None) -> dict[str, torch.Tensor]:
    """Three steps with drawn gradients, zero for genes that were not measured; returns the weights."""
    trained = copy.deepcopy(network)
    optimiser = adamw(trained, DECAY, measured)
    if found_inf is not None:
        optimiser.found_inf = torch.tensor(found_inf)  # type: ignore[attr-defined]
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        for name, parameter in trained.named_parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
            if name in OF_GENES:
                parameter.grad[~MEASURED] = 0
        optimiser.step()
    return trained.state_dict()


def test_rows_of_genes_that_no_sample_measured_do_not_decay_and_all_else_does(network: TxFM) -> None:
    before, plain, apart = network.state_dict(), take_steps(network, None), take_steps(network, MEASURED)
    for name in OF_GENES:
        assert torch.equal(apart[name][~MEASURED], before[name][~MEASURED])
        torch.testing.assert_close(apart[name][MEASURED], plain[name][MEASURED])
        if name.endswith(".weight"):  # without this module they would have decayed
            torch.testing.assert_close(plain[name][~MEASURED], before[name][~MEASURED] * (1 - 0.1 * DECAY) ** 3)
    for name in before.keys() - set(OF_GENES):
        assert torch.equal(apart[name], plain[name])


def test_a_step_that_is_skipped_decays_nothing(network: TxFM) -> None:
    before, after = network.state_dict(), take_steps(network, MEASURED, found_inf=1.0)
    assert all(torch.equal(before[name], after[name]) for name in before)
