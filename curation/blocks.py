"""What crosses from a reader to curation: blocks of samples with their original gene ids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from scipy import sparse

# Non-zeros a block may hold: 2 Mi float64 values with int32 columns are 25 MB, small beside the interpreter itself.
BLOCK_NNZ = 2**21
# A column of `Block.obs` that is there where some samples have no row in the metadata, true for them; also the reason
NO_METADATA = "no_metadata"


@dataclass(frozen=True, kw_only=True)
class Block:
    """Consecutive samples of one part of a study.

    Attributes
    ----------
    counts : csr_matrix, shape (n_samples, n_table_genes), float64
        Values exactly as the source has them; nothing is rounded yet.
    obs : DataFrame, n_samples rows
        Index: the source's own sample ids. Columns: the source's own columns, as strings.
    """

    counts: sparse.csr_matrix
    obs: pd.DataFrame

    def __post_init__(self) -> None:
        assert self.counts.shape[0] == len(self.obs), "a block has one obs row a sample"


class PartReader(Protocol):
    """One part of a study, readable any number of times."""

    @property
    def gene_ids(self) -> list[str]:
        """Gene ids in the order of the table's columns, untouched."""

    @property
    def n_samples(self) -> int:
        """Samples that `blocks` will yield."""

    def blocks(self) -> Iterator[Block]:
        """Yield every sample once, in the order of the source."""

    def close(self) -> None:
        """Let go of files and temporary folders."""


def rows_per_block(n_genes: int, density: float = 1.0) -> int:
    """Return how many samples keep a block below `BLOCK_NNZ` values."""
    return max(1, int(BLOCK_NNZ / max(1.0, n_genes * density)))


def csr_from_dense(values: np.ndarray) -> sparse.csr_matrix:
    """Return `values` (n_samples, n_genes) as CSR; NaN counts as a value, so that the count check sees it."""
    return sparse.csr_matrix(np.asarray(values, dtype=np.float64))
