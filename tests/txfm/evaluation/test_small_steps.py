"""Small layers are trained by one thread, and whoever comes after has the threads that were there before."""

import numpy as np
import pytest
import torch
from torch import nn

from txfm.evaluation.perturbation import linear_probe as probe
from txfm.evaluation.small_steps import SMALL_STEP, few_threads


@pytest.fixture(autouse=True)
def _two_threads():
    n_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(n_threads)


@pytest.mark.parametrize(("batch_size", "expected"), [(SMALL_STEP // 12 - 1, 1), (SMALL_STEP // 12 + 1, 2)])
def test_the_size_of_a_step_decides_and_the_threads_come_back(batch_size, expected):
    seen = []

    def diverge() -> None:
        with few_threads(nn.Linear(3, 3), batch_size):  # 12 weights and biases
            seen.append(torch.get_num_threads())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        diverge()
    assert (seen, torch.get_num_threads()) == ([expected], 2)


def test_a_probe_of_few_cells_is_trained_by_one_thread(monkeypatch):
    seen = set()

    def cross_entropy(scores, targets):
        seen.add(torch.get_num_threads())
        return nn.functional.cross_entropy(scores, targets)

    monkeypatch.setattr(probe, "cross_entropy", cross_entropy)
    labels, embedding = np.arange(60) % 3, np.random.default_rng(0).standard_normal((60, 4))
    probe.linear_probe(embedding, labels, np.arange(40), np.arange(40, 60))
    assert seen == {1}
