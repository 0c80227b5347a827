"""What every input becomes: names of genes, labels of samples, and raw counts in blocks of rows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
import scipy.sparse as sp

from txfm.embedding.inputs.damage import damage_told
from txfm.embedding.inputs.raw_counts import check_raw_counts
from txfm.errors import InputError

BLOCK_VALUES = 2**21  # stored values of a block: 25 MB as float64 with their columns; larger blocks are no faster


class Rows(Protocol):
    """A matrix of samples x genes, read from the first row to the last, any number of times, in bounded memory."""

    @property
    def shape(self) -> tuple[int, int]:
        """Samples, genes."""

    def blocks(self) -> Iterator[sp.csr_matrix]:
        """Yield blocks of rows, all columns, with the values as they are stored."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """An opened input.

    Attributes
    ----------
    where : str
        The file and the matrix in it, for messages: "cells.h5ad, layers/counts".
    rows : Rows
    var : pandas.DataFrame (n_genes)
        Names of the genes, in the index and in columns.
    read_obs : callable
        Returns the labels of the samples, a DataFrame (n_samples) in the order of the rows; read when called.
    other_counts : callable
        Asked only when values are refused: what of the input holds raw counts instead, each as advice.
    notes : tuple of str
        What was found out or left out on opening, a line each.

    Raises
    ------
    InputError
        There is no sample or no gene.
    """

    where: str
    rows: Rows
    var: pd.DataFrame
    read_obs: Callable[[], pd.DataFrame]
    other_counts: Callable[[], list[str]] = list
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert len(self.var) == self.rows.shape[1], "one name for each column"
        for number, what in zip(self.rows.shape, ("samples", "genes"), strict=True):
            if number == 0:
                raise InputError(
                    f"The input has no {what}",
                    where=self.where,
                    expected="a matrix of samples x genes",
                    found=f"{self.rows.shape[0]:,} samples x {self.rows.shape[1]:,} genes",
                    todo="look at the step that wrote it: a filter may have removed everything",
                )

    @property
    def n_samples(self) -> int:
        """Rows of the input, none left out."""
        return self.rows.shape[0]

    def counts(self, *, allow_fractional: bool = False, chunk_rows: int | None = None) -> Iterator[sp.csr_matrix]:
        """Yield blocks of rows (n, n_genes) whose values were checked to be raw counts.

        Parameters
        ----------
        allow_fractional : bool
            Accept expected counts and other non-negative values.
        chunk_rows : int, optional
            Rows of a block; None = as many as hold `BLOCK_VALUES` values.

        Raises
        ------
        InputError
            Values are not raw counts (see `check_raw_counts`), or the file is damaged.
        """
        blocks = self.rows.blocks() if chunk_rows is None else _cut(self.rows.blocks(), chunk_rows)
        while True:
            with damage_told(self.where):
                block = next(blocks, None)
            if block is None:
                return
            check_raw_counts(block, self.where, allow_fractional=allow_fractional, find_counts=self.other_counts)
            yield block


def _cut(blocks: Iterator[sp.csr_matrix], n_rows: int) -> Iterator[sp.csr_matrix]:
    """The same rows in blocks of `n_rows`, the last one shorter."""
    held: list[sp.csr_matrix] = []
    n_held = 0
    for block in blocks:
        held.append(block)
        n_held += block.shape[0]
        if n_held < n_rows:
            continue
        rows = sp.vstack(held, format="csr") if len(held) > 1 else block
        whole = n_held - n_held % n_rows
        yield from (rows[start : start + n_rows] for start in range(0, whole, n_rows))
        held, n_held = [rows[whole:]], n_held - whole
    if n_held:
        yield sp.vstack(held, format="csr")


def numbered(n: int) -> pd.DataFrame:
    """A table of `n` rows named "0", "1", ..., for an input that names none."""
    return pd.DataFrame(index=pd.Index(np.arange(n).astype(str), dtype=object))
