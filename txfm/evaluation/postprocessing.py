"""Removing effects of batches from embeddings with the control cells alone: centering, standardising, TVN.

Definitions of EFAAR (Celik et al. 2024; `efaar_benchmarking.efaar` 1.0) and of Tx-Evaluation, which these equal
wherever every batch has controls. Where a batch has too few (none to centre on, fewer than two to scale on), they
answer NaN; here the controls of all batches stand in, with a warning that counts the batches and cells.

Shapes: n cells, d dimensions, r components.
"""

import warnings
from collections.abc import Callable, Iterator

import numpy as np
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from txfm.booleans import strict_booleans
from txfm.consistency.align import LEAST_VARIANCE
from txfm.errors import InputError
from txfm.evaluation.checked_arrays import checked_embedding, checked_labels

TVN_RIDGE = 0.5  # added to the covariance of a batch's controls: hard coded in efaar_benchmarking 1.0


class FewControlsWarning(UserWarning):
    """Some batches have too few controls: those of all batches were used."""


def center_on_controls(embedding: np.ndarray, is_control: np.ndarray, batch: np.ndarray | None) -> np.ndarray:
    """Subtract from every cell the mean of the controls of its batch.

    Parameters
    ----------
    embedding : numpy.ndarray (n, d)
    is_control : numpy.ndarray (n,), bool
    batch : numpy.ndarray (n,), or None
        None: one mean for all cells.

    Returns
    -------
    numpy.ndarray (n, d)
        float32 for a float32 embedding, else float64; computed in float64.

    Raises
    ------
    InputError
        There is no control, shapes do not fit, a value is not finite, or a batch is missing.

    Warns
    -----
    FewControlsWarning
        A batch has no control: the mean of all controls was subtracted.
    """

    def fit(controls: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        mean = controls.mean(axis=0)
        return lambda cells: cells - mean

    return _by_batch(embedding, is_control, batch, fit, least=1)


def standardise_on_controls(embedding: np.ndarray, is_control: np.ndarray, batch: np.ndarray | None) -> np.ndarray:
    """Centre and scale every dimension by mean and standard deviation (ddof 0) of the controls of a cell's batch.

    Parameters, returned array and errors as in `center_on_controls`. A dimension in which the controls do not vary is
    centred only.

    Warns
    -----
    FewControlsWarning
        A batch has fewer than two controls: mean and standard deviation of all controls were used.
    """
    return _by_batch(embedding, is_control, batch, lambda controls: StandardScaler().fit(controls).transform, least=2)


def tvn(embedding: np.ndarray, is_control: np.ndarray, batch: np.ndarray | None) -> np.ndarray:
    """Typical variation normalisation (Ando et al. 2017): whiten by all controls, then align covariances of batches.

    (i) Standardise on all controls; (ii) rotate to the principal components of all controls; (iii) standardise on all
    controls again; (iv) multiply the cells of each batch by (C + 0.5 I)^(-1/2), C the covariance (ddof 1) of its
    controls. There is no recolouring to a common covariance.

    Parameters and errors as in `center_on_controls`; batch None leaves (iv) out.

    Returns
    -------
    numpy.ndarray (n, r)
        r = min(number of controls, d), less the components in which the controls do not vary, whose noise of rounding
        EFAAR would scale up to variance 1. Signs of the components are arbitrary.

    Warns
    -----
    FewControlsWarning
        A batch has fewer than two controls: the covariance of all controls was used.
    """
    embedding, is_control, batch = _checked(embedding, is_control, batch)
    controls = embedding[is_control].astype(np.float64)
    if len(controls) < 2:
        raise InputError("TVN needs two controls", expected="two cells or more that are controls", found="1")
    if (controls == controls[0]).all():
        raise InputError("All controls have the same embedding", found=f"{len(controls):,} equal vectors")
    first = StandardScaler().fit(controls)
    pca = PCA(svd_solver="full" if len(controls) < 10 * controls.shape[1] else "covariance_eigh")
    pca.fit(first.transform(controls))
    varies = pca.explained_variance_ > LEAST_VARIANCE * pca.explained_variance_.max()
    # Steps i to iii are one affine map; the mean of the controls goes to 0.
    rotation = pca.components_[varies].T / first.scale_[:, None]
    rotation /= ((controls - first.mean_) @ rotation).std(axis=0)

    def whiten(cells: np.ndarray) -> np.ndarray:
        return (cells - first.mean_) @ rotation

    def fit(controls_of_batch: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        covariance = np.atleast_2d(np.cov(whiten(controls_of_batch), rowvar=False, ddof=1))
        variances, directions = np.linalg.eigh(covariance + TVN_RIDGE * np.eye(len(covariance)))
        root = directions / np.sqrt(variances) @ directions.T
        return lambda cells: whiten(cells) @ root

    if batch is None:
        return _apply(embedding, [(np.arange(len(embedding)), whiten)], rotation.shape[1])
    return _by_batch(embedding, is_control, batch, fit, least=2, width=rotation.shape[1])


METHODS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray | None], np.ndarray]] = {
    "none": lambda embedding, is_control, batch: embedding,
    "centering": center_on_controls,
    "standardising": standardise_on_controls,
    "tvn": tvn,
}


def rows_by_group(groups: np.ndarray) -> Iterator[tuple[object, np.ndarray]]:
    """Yield each group, in ascending order, and its rows."""
    names, codes = np.unique(groups, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    yield from zip(names.tolist(), np.split(order, np.cumsum(np.bincount(codes))[:-1]), strict=True)


def _by_batch(
    embedding: np.ndarray,
    is_control: np.ndarray,
    batch: np.ndarray | None,
    fit: Callable[[np.ndarray], Callable[[np.ndarray], np.ndarray]],
    *,
    least: int,
    width: int | None = None,
) -> np.ndarray:
    """Transform each batch by what was fitted to its controls, or to all controls if it has fewer than `least`."""
    embedding, is_control, batch = _checked(embedding, is_control, batch)
    if batch is None:
        batch = np.zeros(len(embedding), dtype=np.int8)
    plan, without = [], []
    of_all: Callable[[np.ndarray], np.ndarray] | None = None
    for _, rows in rows_by_group(batch):
        controls = rows[is_control[rows]]
        if len(controls) >= least:
            plan.append((rows, fit(embedding[controls].astype(np.float64))))
            continue
        if of_all is None:
            of_all = fit(embedding[is_control].astype(np.float64))
        without.append(len(rows))
        plan.append((rows, of_all))
    if without:
        few = "no control" if least == 1 else f"fewer than {least} controls"
        warnings.warn(
            f"{len(without):,} of {len(plan):,} batches, with {sum(without):,} of {len(embedding):,} cells, "
            f"have {few}: the controls of all batches stand in for theirs",
            FewControlsWarning,
            stacklevel=3,
        )
    return _apply(embedding, plan, embedding.shape[1] if width is None else width)


def _apply(
    embedding: np.ndarray, plan: list[tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]], width: int
) -> np.ndarray:
    out = np.empty((len(embedding), width), dtype=np.float32 if embedding.dtype == np.float32 else np.float64)
    for rows, transform in plan:
        out[rows] = transform(embedding[rows].astype(np.float64))
    return out


def _checked(
    embedding: np.ndarray, is_control: np.ndarray, batch: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    embedding = checked_embedding(embedding)
    is_control = strict_booleans(checked_labels(is_control, len(embedding), "marks of controls"), "is_control")
    batch = None if batch is None else checked_labels(batch, len(embedding), "batches")
    if not is_control.any():
        raise InputError("No cell is a control", expected="one or more, to align the batches by", found="none")
    return embedding, is_control, batch
