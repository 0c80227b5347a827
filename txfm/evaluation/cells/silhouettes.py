"""Average silhouette widths of labels and of batches, as scib computes them (Luecken et al. 2022)."""

from dataclasses import dataclass

import numpy as np
from sklearn import config_context
from sklearn.metrics import silhouette_samples

from txfm.errors import InputError
from txfm.evaluation.checked_arrays import checked_embedding, checked_labels, refuse_constant

BLOCK_MIB = 256  # of distances at a time


@dataclass(frozen=True, kw_only=True)
class Silhouettes:
    """Both widths between 0 and 1, the larger the better.

    Attributes
    ----------
    label : float
        ``(s + 1) / 2``, s the mean silhouette of the labels. Eq. 16 of the paper leaves the scaling out, its Table 4
        does not.
    batch : float or None
        Mean over labels of the mean of ``1 - |s|``, s the silhouettes of batches among the samples of a label. The text
        of eq. 17 and the code of the authors disagree; this is the code. None where no label has what it takes.
    n_labels_of_batch : int
        Labels that count for `batch`: of at least two batches, and of more samples than batches.
    """

    label: float
    batch: float | None
    n_labels_of_batch: int


def silhouette_scores(embedding: np.ndarray, labels: np.ndarray, batch: np.ndarray | None = None) -> Silhouettes:
    """Silhouettes by Euclidean distance; distances are computed in blocks, never as a whole matrix.

    Parameters
    ----------
    embedding : numpy.ndarray (n, d)
    labels : numpy.ndarray (n,)
    batch : numpy.ndarray (n,), optional

    Raises
    ------
    InputError
        Fewer than two labels, or as many as samples; all samples have the same vector; what is given does not
        fit or is not finite.
    """
    embedding = checked_embedding(embedding).astype(np.float64)
    labels = checked_labels(labels, len(embedding), "labels")
    batch = None if batch is None else checked_labels(batch, len(embedding), "batches")
    if not 1 < len(set(labels)) < len(labels):
        raise InputError(
            "There are no silhouettes of these labels",
            expected="from two labels to one less than samples",
            found=f"{len(set(labels)):,} labels of {len(labels):,} samples",
        )
    refuse_constant(embedding)
    with config_context(working_memory=BLOCK_MIB):
        label = (float(silhouette_samples(embedding, labels).mean()) + 1) / 2
        widths = [] if batch is None else _mixing(embedding, labels, batch)
    return Silhouettes(label=label, batch=float(np.mean(widths)) if widths else None, n_labels_of_batch=len(widths))


def _mixing(embedding: np.ndarray, labels: np.ndarray, batch: np.ndarray) -> list[float]:
    """Mean of 1 - |silhouette of the batch| of each label that has one."""
    widths = []
    for label in np.unique(labels):
        rows = labels == label
        if 1 < len(set(batch[rows])) < rows.sum():
            widths.append(float((1 - np.abs(silhouette_samples(embedding[rows], batch[rows]))).mean()))
    return widths
