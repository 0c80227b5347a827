"""Which batches of a study are held out for validation."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

# Times the wanted share: 5% may become 7.5%
MOST_ABOVE = 1.5


def validation_batches(sizes: Mapping[str, int], *, study: str, share: float, seed: int) -> frozenset[str]:
    """Choose whole batches for validation, as close to a share of the samples as they allow.

    Batches are taken in the order of a hash of (seed, study, batch), each one only if it brings the total closer to
    the target and not above one and a half times of it: a batch that is too large for that is passed over for smaller
    ones. So a batch's turn does not depend on the other batches or on how many of its samples a filter left; whether
    the last ones are taken may. A study with two batches or more always gives one to validation and keeps one for
    training; where none is small enough, that is the smallest. A study with one batch gives all to training.

    Parameters
    ----------
    sizes : mapping
        Kept samples of each batch.
    study : str
        Part of the hash, so that batch "1" of two studies are drawn independently.
    share : float
        Wanted share of the samples, in [0, 1).
    seed : int

    Returns
    -------
    frozenset of str
        The batches for validation.
    """
    batches = [batch for batch in sizes if sizes[batch] > 0]
    if len(batches) < 2 or share <= 0:
        return frozenset()
    batches.sort(key=lambda batch: hashlib.sha256(f"{seed}\x1f{study}\x1f{batch}".encode()).hexdigest())
    target = share * sum(sizes[batch] for batch in batches)
    chosen: list[str] = []
    total = 0
    for batch in batches:
        with_it = total + sizes[batch]
        closer = abs(with_it - target) < abs(total - target) and with_it <= MOST_ABOVE * target
        if closer and len(chosen) < len(batches) - 1:
            chosen.append(batch)
            total += sizes[batch]
    return frozenset(chosen) if chosen else frozenset([min(batches, key=lambda batch: sizes[batch])])
