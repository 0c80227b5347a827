"""Threads for the training of small layers on a CPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

# Below, threads may wait for each other longer than they work, and lose more than they can gain. Two cores that another
# training shared, 2,000 cells, 40 classes, one step with one thread and with two: 2 and 158 ms at 64 dimensions, 8 and
# 132 at 500, 30 and 260 at 2,000. A fixed number: were it measured, the same run would not give the same scores twice.
SMALL_STEP = 200_000_000


@contextmanager
def few_threads(network: nn.Module, batch_size_cells: int) -> Iterator[None]:
    """One thread while a network is trained whose step has fewer than `SMALL_STEP` multiplications forward."""
    n_threads = torch.get_num_threads()
    if batch_size_cells * sum(parameter.numel() for parameter in network.parameters()) < SMALL_STEP:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)
