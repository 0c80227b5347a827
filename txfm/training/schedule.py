"""Learning-rate schedule."""

import math


def one_cycle_lr(step: int, total_steps: int, max_lr: float, warmup_share: float = 0.1) -> float:
    """Cosine one-cycle: from max_lr/25 up to max_lr over the warm-up, then down to max_lr/250,000.

    Parameters
    ----------
    step : int
        0 for the first optimiser step.
    total_steps : int
    max_lr : float
    warmup_share : float
        0.1 in the paper; the two end points are those of torch's OneCycleLR, which the paper does not change.

    Returns
    -------
    float
    """
    n_warmup = warmup_share * total_steps
    start, end = max_lr / 25, max_lr / 25 / 1e4
    if step < n_warmup:
        return _cosine(start, max_lr, step / n_warmup)
    return _cosine(max_lr, end, (step - n_warmup) / max(total_steps - 1 - n_warmup, 1))


def _cosine(first: float, last: float, progress: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2
