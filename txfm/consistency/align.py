"""Aligning embeddings across batches: PCA of the control cells, then each batch to mean 0 and variance 1 (sec. C.2)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from txfm.consistency.cells import Cells, Embeddings
from txfm.errors import InputError

# Below this share of the largest variance a direction holds but rounding: float32 has 24 bits, (2^-24)^2 = 4e-15.
LEAST_VARIANCE = 1e-14


def sums_by_group(values: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the groups that are there, and the sum of the rows (n, d) of each."""
    order = np.argsort(groups, kind="stable")
    present, starts = np.unique(groups[order], return_index=True)
    return present, np.add.reduceat(values[order], starts, axis=0)


@dataclass(frozen=True, kw_only=True, eq=False)
class AlignedEmbeddings:
    """Embeddings that are aligned block by block while they are read.

    Attributes
    ----------
    embeddings : Embeddings
    centre : numpy.ndarray (d,)
        Mean of the controls.
    rotation : numpy.ndarray (d, n_components)
        Principal components of the controls.
    batch : numpy.ndarray (n_cells,)
    mean, scale : numpy.ndarray (n_batches, n_components)
        Of all cells of a batch; a scale of 1 where they do not vary.
    """

    embeddings: Embeddings
    centre: np.ndarray
    rotation: np.ndarray
    batch: np.ndarray
    mean: np.ndarray
    scale: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Cells, dimensions."""
        return self.embeddings.shape[0], self.rotation.shape[1]

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (first row, float64 block)."""
        for start, block in self.embeddings.blocks():
            batch = self.batch[start : start + len(block)]
            scores = (block - self.centre) @ self.rotation
            scores -= self.mean[batch]
            scores /= self.scale[batch]
            yield start, scores


def align(embeddings: Embeddings, cells: Cells) -> AlignedEmbeddings:
    """Fit the alignment in two passes.

    Returns
    -------
    AlignedEmbeddings
        In as many components as the controls have: min(controls - 1, dimensions), less those without variance.

    Raises
    ------
    InputError
        There are fewer than two controls, or they are all alike.
    """
    return standardise_by_batch(embeddings, cells.batch, *_components_of_controls(embeddings, cells.is_control))


def standardise_by_batch(
    embeddings: Embeddings, batch: np.ndarray, centre: np.ndarray, rotation: np.ndarray
) -> AlignedEmbeddings:
    """Rotate, then scale each batch to mean 0 and variance 1 (ddof 0) over all of its cells, controls or not.

    Parameters
    ----------
    embeddings : Embeddings
    batch : numpy.ndarray (n_cells,)
        0, 1, ...
    centre, rotation : numpy.ndarray (d,), (d, n_components)
        The identity leaves the dimensions as they are.
    """
    n_batches = int(batch.max()) + 1
    total = np.zeros((n_batches, rotation.shape[1]))
    squares = np.zeros_like(total)
    sizes = np.bincount(batch, minlength=n_batches)[:, None]
    for start, block in embeddings.blocks():
        of_block = batch[start : start + len(block)]
        scores = (block - centre) @ rotation
        present, sums = sums_by_group(scores, of_block)
        total[present] += sums
        squares[present] += sums_by_group(scores * scores, of_block)[1]
    mean = total / sizes
    variance = squares / sizes - mean * mean
    # What is left of the difference where all cells of a batch are equal.
    constant = variance <= 1e-12 * (squares / sizes)
    scale = np.sqrt(np.where(constant, 1.0, variance))
    return AlignedEmbeddings(
        embeddings=embeddings, centre=centre, rotation=rotation, batch=batch, mean=mean, scale=scale
    )


def _components_of_controls(embeddings: Embeddings, is_control: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n_controls, width = int(is_control.sum()), embeddings.shape[1]
    if n_controls < 2:
        raise InputError(
            "The screen has too few controls to align its batches",
            expected="at least 2 cells whose is_control is true",
            found=f"{n_controls} of {len(is_control):,} cells",
            todo="correct `obs.control_labels` of the study, or name the labels with --controls",
        )
    centre, directions, variances = (
        _by_rows(embeddings, is_control) if n_controls < width else _by_products(embeddings, is_control)
    )
    order = np.argsort(-variances)[: min(n_controls - 1, width)]
    order = order[variances[order] > LEAST_VARIANCE * variances.max()]
    if variances.max() <= 0 or len(order) == 0:
        raise InputError("All controls have the same embedding", found=f"{n_controls:,} equal vectors")
    return centre, directions[:, order]


def _controls(embeddings: Embeddings, is_control: np.ndarray) -> Iterator[np.ndarray]:
    """The controls' rows, block by block."""
    for start, block in embeddings.blocks():
        if not np.isfinite(block).all():
            row = start + int(np.flatnonzero(~np.isfinite(block).all(axis=1))[0])
            raise InputError("The embeddings hold NaN or infinity", found=f"row {row:,}")
        controls = block[is_control[start : start + len(block)]]
        if len(controls):
            yield controls


def _by_rows(embeddings: Embeddings, is_control: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean (d,), directions (d, n) and variances (n,) of n controls, fewer than d: rows take less than products."""
    rows = np.concatenate(list(_controls(embeddings, is_control)))
    centre = rows.mean(axis=0)
    _, singular, directions = np.linalg.svd(rows - centre, full_matrices=False)
    return centre, directions.T, singular**2 / len(rows)


def _by_products(embeddings: Embeddings, is_control: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean (d,), directions (d, d) and variances (d,) of any number of controls, from sums over blocks."""
    width, n_seen = embeddings.shape[1], 0
    shift = np.zeros(width)  # near the mean, so that the squares below lose no digits
    total, products = np.zeros(width), np.zeros((width, width))
    for controls in _controls(embeddings, is_control):
        if n_seen == 0:
            shift = controls.mean(axis=0)
        controls -= shift
        total += controls.sum(axis=0)
        products += controls.T @ controls
        n_seen += len(controls)
    mean = total / n_seen
    variances, directions = np.linalg.eigh(products / n_seen - np.outer(mean, mean))
    return shift + mean, directions, variances
