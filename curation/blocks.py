"""What crosses from a reader to curation: blocks of samples with their original gene ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

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
    counts : csr_matrix, shape (n_samples, n_table_genes)
        Values exactly as the source has them, in the source's own dtype (integer or floating); nothing is rounded yet.
        No duplicate entries; columns need not be sorted.
    obs : DataFrame, n_samples rows
        Index: the source's own sample ids. Columns: those of the source's columns that were asked for, as strings.
    """

    counts: sparse.csr_matrix
    obs: pd.DataFrame

    def __post_init__(self) -> None:
        assert self.counts.shape[0] == len(self.obs), "a block has one obs row a sample"


class PartReader(Protocol):
    """One part of a study, readable any number of times."""

    @property
    def where(self) -> str:
        """File, and the place in it, that the counts come from; for messages."""

    @property
    def gene_ids(self) -> list[str]:
        """Gene ids in the order of the table's columns, untouched."""

    @property
    def left_out(self) -> Mapping[str, int]:
        """Rows or columns of the table that are no genes (antibodies, guides, unmapped reads), counted by kind."""

    @property
    def n_samples(self) -> int:
        """Samples that `blocks` will yield."""

    @property
    def obs_columns(self) -> tuple[str, ...]:
        """Names of all columns of the source's metadata, asked for or not."""

    def blocks(self) -> Iterator[Block]:
        """Yield every sample once, in the order of the source."""

    def some_blocks(self, n_blocks: int, n_rows: int) -> Iterator[Block]:
        """Yield up to `n_blocks` blocks of up to `n_rows` rows, spread evenly from the first sample to the last."""

    def close(self) -> None:
        """Let go of files and temporary folders."""


def rows_per_block(n_genes: int, density: float = 1.0) -> int:
    """Return how many samples keep a block below `BLOCK_NNZ` values."""
    return max(1, int(BLOCK_NNZ / max(1.0, n_genes * density)))
