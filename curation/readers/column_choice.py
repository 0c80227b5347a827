"""Some columns of a matrix."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from curation.readers.matrix_reader import Rows


class ChosenColumns:
    """The columns `kept` (ascending) of other rows: what is left where a table also lists antibodies or guides."""

    def __init__(self, rows: Rows, kept: np.ndarray, *, n_columns: int) -> None:
        self.n_rows = rows.n_rows
        self._rows = rows
        self._n_kept = len(kept)
        self._new_column = np.full(n_columns, -1, dtype=np.int32)
        self._new_column[kept] = np.arange(len(kept), dtype=np.int32)

    def blocks(self) -> Iterator[tuple[int, sparse.csr_matrix]]:
        """Yield (first row, CSR block) over all rows in order."""
        for first, counts in self._rows.blocks():
            yield first, self._choose(counts)

    def rows(self, first: int, last: int) -> sparse.csr_matrix:
        """Return rows `first` to `last` - 1."""
        return self._choose(self._rows.rows(first, last))

    def _choose(self, counts: sparse.csr_matrix) -> sparse.csr_matrix:
        columns = self._new_column[counts.indices]
        chosen = columns >= 0
        before = np.concatenate([[0], np.cumsum(chosen)])
        indptr = before[counts.indptr].astype(counts.indptr.dtype)
        shape = (counts.shape[0], self._n_kept)
        return sparse.csr_matrix((counts.data[chosen], columns[chosen], indptr), shape=shape)
