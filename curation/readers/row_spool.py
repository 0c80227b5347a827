"""Blocks of samples on disk: what lets a text table that lists samples be parsed once and read often."""

from __future__ import annotations

import shutil
import tempfile
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import sparse


class RowSpool:
    """Collects blocks of rows in order, returns them as often as asked; `n_columns` is that of every block."""

    def __init__(self, folder: Path, *, n_columns: int) -> None:
        self.n_rows = 0
        self._n_columns = n_columns
        self._firsts: list[int] = []
        self._folder = Path(tempfile.mkdtemp(prefix="rows.", dir=folder))

    def append(self, counts: sparse.csr_matrix) -> None:
        """Add the rows that follow."""
        number = len(self._firsts)
        for name, values in (("data", counts.data), ("indices", counts.indices), ("indptr", counts.indptr)):
            np.save(self._folder / f"{number}.{name}.npy", values)
        self._firsts.append(self.n_rows)
        self.n_rows += counts.shape[0]

    def blocks(self) -> Iterator[tuple[int, sparse.csr_matrix]]:
        """Yield (first row, CSR block) as they came."""
        for number, first in enumerate(self._firsts):
            yield first, self._block(number)

    def rows(self, first: int, last: int) -> sparse.csr_matrix:
        """Return rows `first` to `last` - 1."""
        start, stop = bisect_right(self._firsts, first) - 1, bisect_right(self._firsts, max(first, last - 1))
        found = sparse.vstack([self._block(number) for number in range(start, stop)], format="csr")
        return found[first - self._firsts[start] : last - self._firsts[start]]

    def _block(self, number: int) -> sparse.csr_matrix:
        data, indices, indptr = (
            np.load(self._folder / f"{number}.{name}.npy") for name in ("data", "indices", "indptr")
        )
        return sparse.csr_matrix((data, indices, indptr), shape=(len(indptr) - 1, self._n_columns))

    def close(self) -> None:
        """Remove the blocks."""
        shutil.rmtree(self._folder, ignore_errors=True)
