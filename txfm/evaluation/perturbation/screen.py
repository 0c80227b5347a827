"""A screen: cells with a perturbation and a batch, controls among them; its split and its expression."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import scipy.sparse as sp

from txfm.booleans import strict_booleans
from txfm.errors import InputError
from txfm.evaluation.perturbation.splits import SPLIT_SEED, Split, split_screen
from txfm.evaluation.samples import LabelledSamples

SAMPLE_SEED = 0  # of the cells of a screen that is scored in part
TARGET_SUM = 1e4  # Tx-Evaluation: counts per 10,000, log1p
NAMED_LABELS = 8


@dataclass(frozen=True, eq=False)
class Expression:
    """Expression of the screen's cells.

    Attributes
    ----------
    log_normalised : scipy.sparse.csr_matrix (n, g), float32
        log1p of counts per 10,000 over the measured genes.
    mean_counts : numpy.ndarray (g,)
        Raw counts a cell.
    names : list of set of str
        All names that the file has of each gene.
    """

    log_normalised: sp.csr_matrix
    mean_counts: np.ndarray
    names: list[set[str]]

    def unexpressed(self, below: float) -> set[str]:
        """Names of the genes with fewer counts a cell, less those that another, expressed gene has too."""
        names: dict[bool, set[str]] = {True: set(), False: set()}
        for of_gene, is_few in zip(self.names, (self.mean_counts < below).tolist(), strict=True):
            names[is_few] |= of_gene
        return names[True] - names[False]


@dataclass(frozen=True, kw_only=True, eq=False)
class Screen:
    """Cells that are scored.

    Attributes
    ----------
    samples : LabelledSamples
        The file.
    rows : numpy.ndarray (n,), int64
        Its rows that are scored, by the names of the cells: permuting the file changes no draw.
    perturbation, batch : numpy.ndarray (n,), str
    is_control : numpy.ndarray (n,), bool
    dropped : dict
        Number of cells by the reason why they are not scored.
    counts : str
        Where the file has its raw counts.
    """

    samples: LabelledSamples
    rows: np.ndarray
    perturbation: np.ndarray
    batch: np.ndarray
    is_control: np.ndarray
    dropped: dict[str, int]
    counts: str = "X"

    def __len__(self) -> int:
        return len(self.rows)

    def split(self, seed: int = SPLIT_SEED) -> Split:
        """See `split_screen`; InputError where the screen is too small for it."""
        return split_screen(self.perturbation, self.batch, self.is_control, seed=seed)

    @cached_property
    def expression(self) -> Expression:
        """Read once; InputError where the file has no raw counts."""
        ascending = np.argsort(self.rows)
        counts, var = self.samples.counts(self.rows[ascending], self.counts)
        counts = counts[np.argsort(ascending)]
        totals = np.asarray(counts.sum(axis=1)).ravel()
        factors = np.divide(TARGET_SUM, totals, out=np.zeros_like(totals), where=totals > 0)
        mean_counts = np.asarray(counts.mean(axis=0), dtype=np.float64).ravel()
        normalised = sp.csr_matrix(sp.diags(factors) @ counts, dtype=np.float32)
        normalised.data = np.log1p(normalised.data)
        text = [
            var[column] for column in var if isinstance(var[column].dtype, pd.CategoricalDtype | np.dtypes.ObjectDType)
        ]
        columns = [var.index.astype(str), *(column.astype(str) for column in text)]
        names = [set(of_gene) - {"", "nan"} for of_gene in zip(*columns, strict=True)]
        return Expression(normalised, mean_counts, names)


def read_screen(
    samples: LabelledSamples,
    perturbation: str,
    batch: str,
    controls: Sequence[str] = (),
    *,
    counts: str = "X",
    max_cells: int | None = None,
) -> Screen:
    """Read the labels of a screen.

    Parameters
    ----------
    samples : LabelledSamples
    perturbation, batch : str
        Columns of obs. Cells without either are dropped, but for a control without a perturbation.
    controls : sequence of str
        Labels of controls in the column of perturbations; none: what the column `is_control` of obs says.
    counts : str
        Where the raw counts are.
    max_cells : int, optional
        Score this many random cells (`SAMPLE_SEED`) of a larger screen.

    Raises
    ------
    InputError
        There is no such column or label, is_control is not true or false in every row, there is no control, or nothing
        but controls.
    """
    labels, batches = samples.labels(perturbation), samples.labels(batch)
    is_control = _controls(samples, labels, perturbation, controls)
    labelled = (labels != "") | is_control
    dropped = {
        f"no {perturbation}": int((~labelled).sum()),
        f"no {batch}": int((labelled & (batches == "")).sum()),
    }
    rows, _ = samples.in_order(np.flatnonzero(labelled & (batches != "")), labels, batches)
    if max_cells is not None and len(rows) > max_cells:
        dropped[f"beyond a random {max_cells:,}"] = len(rows) - max_cells
        rows = rows[np.sort(np.random.default_rng(SAMPLE_SEED).choice(len(rows), max_cells, replace=False))]
    if not is_control[rows].any() or is_control[rows].all():
        raise InputError(
            "The screen has no controls to compare with" if len(rows) else "The screen has no labelled cell",
            where=str(samples.path),
            expected="cells of perturbations and controls, with a batch",
            found=f"{int(is_control[rows].sum()):,} controls of {len(rows):,} labelled cells",
        )
    return Screen(
        samples=samples,
        rows=rows,
        perturbation=labels[rows],
        batch=batches[rows],
        is_control=is_control[rows],
        dropped={reason: number for reason, number in dropped.items() if number},
        counts=counts,
    )


def _controls(samples: LabelledSamples, labels: np.ndarray, column: str, controls: Sequence[str]) -> np.ndarray:
    if controls:
        names, sizes = np.unique(labels, return_counts=True)
        if missing := [label for label in controls if label not in names]:
            frequent = ", ".join(names[np.argsort(-sizes, kind="stable")][:NAMED_LABELS])
            raise InputError(
                f"No cell is labelled {', '.join(missing)}",
                where=f"{samples.path}, obs[{column!r}]",
                expected=f"a label of the column, of which the most frequent are {frequent}",
                found=", ".join(missing),
            )
        return np.isin(labels, list(controls))
    if "is_control" not in samples.obs:
        raise InputError(
            "Nothing says which cells are controls",
            where=str(samples.path),
            expected="the label of controls (--control), or a column is_control in obs",
            found="neither",
        )
    return strict_booleans(samples.obs["is_control"], f"{samples.path}, obs['is_control']")
