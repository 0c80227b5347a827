"""What the metrics are given, checked once: embeddings, labels and rows that fit one another."""

import numpy as np

from txfm.errors import InputError

SAME = 1e-6  # of the largest number: the rounding of float32, ten times


def refuse_constant(embedding: np.ndarray, where: str = "") -> None:
    """Refuse vectors (n, d) that are all the same: they hold nothing, and their neighbours are no more than an order.

    Raises
    ------
    InputError
        No dimension differs between two rows by more than rounding.
    """
    low, high = embedding.min(axis=0), embedding.max(axis=0)
    largest = max(np.abs(low).max(), np.abs(high).max())
    if (high - low).max() <= SAME * largest:
        raise InputError(
            "The embedding is constant: all samples have the same vector",
            where=where,
            expected="vectors that differ between samples",
            found=f"{len(embedding):,} samples",
            todo="look for a model that collapsed, or for samples without counts",
        )
