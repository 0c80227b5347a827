"""How well expression is reconstructed: rank correlation of each gene, and structure within batches.

Shapes: n cells, g genes.
"""

import warnings
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import rankdata

from txfm.booleans import strict_booleans
from txfm.errors import InputError
from txfm.evaluation.checked_arrays import checked_embedding, checked_labels
from txfm.evaluation.postprocessing import FewControlsWarning, rows_by_group


def spearman_by_gene(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Spearman's correlation of each gene over the cells; ties have the mean of their ranks.

    Parameters
    ----------
    prediction, target : numpy.ndarray (n, g)

    Returns
    -------
    numpy.ndarray (g,)
        NaN where the target is the same in all cells; 0 where the prediction is and the target is not.

    Raises
    ------
    InputError
        Shapes do not fit, or a value is not finite.
    """
    prediction, target = checked_embedding(prediction, "prediction"), checked_embedding(target, "target")
    if prediction.shape != target.shape:
        raise InputError("Prediction and target do not fit", found=f"{prediction.shape}, {target.shape}")
    centred = []
    for values in (prediction, target):
        ranks = rankdata(values, axis=0)
        centred.append(ranks - ranks.mean(axis=0))
    norms = [np.sqrt((each**2).sum(axis=0)) for each in centred]
    products = (centred[0] * centred[1]).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = products / (norms[0] * norms[1])
    return np.where(norms[1] == 0, np.nan, np.where(norms[0] == 0, 0.0, correlation))


def structural_integrity(
    prediction: np.ndarray, target: np.ndarray, batch: np.ndarray, is_control: np.ndarray
) -> float:
    """How well a prediction keeps the differences to the controls of a batch (Tx-Evaluation).

    Prediction and target are centred on the mean of their own controls in each batch. With D the mean over batches of
    the Frobenius norm of their difference divided by the batch's cells, and M the same of the target alone, integrity
    is 1 - D / (2 M): 1 for a perfect prediction, 0.5 for one that is 0 everywhere, below 0 for a bad one.

    Parameters
    ----------
    prediction, target : numpy.ndarray (n, g)
    batch : numpy.ndarray (n,)
    is_control : numpy.ndarray (n,), bool

    Returns
    -------
    float
        NaN where no cell differs from its batch's controls.

    Raises
    ------
    InputError
        Shapes do not fit, a value is not finite, or a batch is missing.

    Warns
    -----
    FewControlsWarning
        A batch has no control: its cells are not centred, as in the original.
    """
    target = checked_embedding(target, "target")
    batch = checked_labels(batch, len(target), "batches")
    sums = StructureSums.of(batch, checked_labels(is_control, len(target), "marks of controls"))
    sums.add(checked_embedding(prediction, "prediction"), target)
    return sums.integrity


@dataclass(kw_only=True, eq=False)
class StructureSums:
    """Squared distances of each batch, added up over blocks of genes: memory does not grow with their number.

    Attributes
    ----------
    batches : list of numpy.ndarray
        Rows of each batch.
    controls : list of numpy.ndarray
        Its controls among them.
    distances, lengths : numpy.ndarray
        Squared norms of prediction - target and of target, by batch.
    """

    batches: list[np.ndarray]
    controls: list[np.ndarray]
    distances: np.ndarray = field(init=False)
    lengths: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.distances, self.lengths = np.zeros((2, len(self.batches)))

    @classmethod
    def of(cls, batch: np.ndarray, is_control: np.ndarray) -> "StructureSums":
        """Nothing added yet."""
        is_control = strict_booleans(is_control, "is_control")
        batches = [rows for _, rows in rows_by_group(np.asarray(batch))]
        controls = [rows[is_control[rows]] for rows in batches]
        if without := sum(len(rows) == 0 for rows in controls):
            warnings.warn(
                f"{without:,} of {len(batches):,} batches have no control: their expression is not centred",
                FewControlsWarning,
                stacklevel=3,
            )
        return cls(batches=batches, controls=controls)

    def add(self, prediction: np.ndarray, target: np.ndarray) -> None:
        """Add some genes (n, g) of all cells."""
        n_cells = sum(len(rows) for rows in self.batches)
        if prediction.shape != target.shape or len(target) != n_cells:
            raise InputError(
                "Prediction, target and cells do not fit",
                expected=f"two matrices with {n_cells:,} rows",
                found=f"{prediction.shape}, {target.shape}",
            )
        for index, (rows, controls) in enumerate(zip(self.batches, self.controls, strict=True)):
            predicted, wanted = (values[rows].astype(np.float64) for values in (prediction, target))
            if len(controls):
                predicted -= prediction[controls].mean(axis=0, dtype=np.float64)
                wanted -= target[controls].mean(axis=0, dtype=np.float64)
            self.distances[index] += ((predicted - wanted) ** 2).sum()
            self.lengths[index] += (wanted**2).sum()

    @property
    def integrity(self) -> float:
        """See `structural_integrity`."""
        sizes = np.array([len(rows) for rows in self.batches])
        distance, length = ((np.sqrt(sums) / sizes).mean() for sums in (self.distances, self.lengths))
        return float(1 - distance / (2 * length)) if length > 0 else float("nan")
