"""First weights and orders of samples from a generator of our own: nothing else that draws changes a probe."""

import torch
from torch import nn


def linear_layer(n_inputs: int, n_outputs: int, random: torch.Generator) -> nn.Linear:
    """A layer with the first weights and biases that `torch.nn.Linear` has, drawn from `random`, on the CPU."""
    layer = nn.Linear(n_inputs, n_outputs)
    bound = n_inputs**-0.5
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -bound, bound, generator=random)
    return layer


def shuffled_batches(n: int, size: int, random: torch.Generator) -> tuple[torch.Tensor, ...]:
    """All of n rows in a random order, as int64 tensors of `size` rows, the last of fewer."""
    return torch.randperm(n, generator=random).split(size)
