"""The cells that are scored: those with a label, in an order that the file's does not change."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from txfm.errors import InputError
from txfm.evaluation.samples import LabelledSamples


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledCells:
    """Cells with a label.

    Attributes
    ----------
    rows : numpy.ndarray (n,), int64
        Rows of the file, by the names of the cells, then by label and batch: permuting the file changes neither draws
        nor splits.
    labels : numpy.ndarray (n,), str
    batch : numpy.ndarray (n,), str, or None
    dropped : dict
        Number of cells by the reason why they are not scored.
    n_alike : int
        Cells with the name, label and batch of another: only its order tells these apart.
    """

    rows: np.ndarray
    labels: np.ndarray
    batch: np.ndarray | None
    dropped: dict[str, int]
    n_alike: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    def draw(self, n: int, seed: int) -> np.ndarray:
        """Positions (ascending) of `n` cells, drawn without replacement; of all where there are no more."""
        if len(self) <= n:
            return np.arange(len(self))
        return np.sort(np.random.default_rng(seed).choice(len(self), n, replace=False))

    def description(self) -> dict[str, Any]:
        """For the record."""
        names, sizes = np.unique(self.labels, return_counts=True)
        batches, batch_sizes = np.unique(self.batch if self.batch is not None else [], return_counts=True)
        return {
            "n_cells": len(self),
            "cells_of_label": dict(zip(names.tolist(), sizes.tolist(), strict=True)),
            "cells_of_batch": dict(zip(batches.tolist(), batch_sizes.tolist(), strict=True)),
            "largest_label_share": float(sizes.max() / sizes.sum()),
        }


def read_cells(samples: LabelledSamples, label: str, batch: str | None = None) -> LabelledCells:
    """Read the labels of a file.

    Parameters
    ----------
    samples : LabelledSamples
    label, batch : str
        Columns of obs. Cells without a label, or without a batch where a column is named, are left out.

    Raises
    ------
    InputError
        There is no such column, or it has fewer than two labels.
    """
    labels = samples.labels(label)
    batches = None if batch is None else samples.labels(batch)
    has_label = labels != ""
    has_batch = np.ones(len(labels), dtype=bool) if batches is None else batches != ""
    dropped = {"no label": int((~has_label).sum()), "no batch": int((has_label & ~has_batch).sum())}
    known = [labels] if batches is None else [labels, batches]
    rows, n_alike = samples.in_order(np.flatnonzero(has_label & has_batch), *known)
    if len(set(labels[rows])) < 2:
        raise InputError(
            "There are no labels to tell apart",
            where=f"column {label} of {samples.path}",
            expected="two labels or more",
            found=", ".join(sorted(set(labels[rows]))) or "no label",
        )
    return LabelledCells(
        rows=rows,
        labels=labels[rows],
        batch=None if batches is None else batches[rows],
        dropped={reason: number for reason, number in dropped.items() if number},
        n_alike=n_alike,
    )
