"""Rows of a table that say the same thing twice.

Legacy TCGA matrices repeat 601 genes with every value equal (ACTB among them). Adding such rows would double the
gene's counts, while two different rows of one gene are two measurements that do add up.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from scipy import sparse

from curation.spool import shuffle_keys

# Two sparse rows may agree by chance (TP53 1, 0, 0 twice). They are copies if they agree on at least this many counts,
# or samples with a count; below it they are added up, which changes a gene by less than this.
MIN_COUNTS = 100
MIN_SAMPLES = 10


class CopyFinder:
    """Finds columns with the same id and the same counts in every sample, while blocks stream by.

    Each repeated column keeps one 64-bit sum of count times a random number of the sample: equal columns have equal
    sums, and two different columns have them with a probability of about 2^-64.
    """

    def __init__(self, ids: list[str]) -> None:
        groups: dict[str, list[int]] = defaultdict(list)
        for column, gene in enumerate(ids):
            groups[gene].append(column)
        self._groups = [columns for columns in groups.values() if len(columns) > 1]
        self._columns = np.array(sorted(column for columns in self._groups for column in columns), dtype=np.int64)
        self._sums = np.zeros(len(self._columns), dtype=np.uint64)
        self._counts = np.zeros(len(self._columns), dtype=np.int64)
        self._samples = np.zeros(len(self._columns), dtype=np.int64)

    @property
    def repeated_columns(self) -> np.ndarray:
        """Columns whose id an earlier column has, ascending."""
        return np.array(sorted(column for columns in self._groups for column in columns[1:]), dtype=np.int64)

    def update(self, counts: sparse.csr_matrix, rows: np.ndarray) -> None:
        """Take the next samples; `rows` numbers them (int64), each number once."""
        if not len(self._columns):
            return
        weights = shuffle_keys("copies", rows)
        part = counts[:, self._columns].tocoo()
        np.add.at(self._counts, part.col, part.data.astype(np.int64))
        np.add.at(self._samples, part.col, part.data != 0)  # a fraction below 0.5 is a stored zero
        with np.errstate(over="ignore"):
            np.add.at(self._sums, part.col, part.data.astype(np.uint64) * weights[part.row])

    def copies(self) -> np.ndarray:
        """Return the columns that equal an earlier column of the same id beyond chance, in order."""
        evident = (self._counts >= MIN_COUNTS) | (self._samples >= MIN_SAMPLES)
        sums = dict(zip(self._columns[evident].tolist(), self._sums[evident].tolist(), strict=True))
        found = []
        for columns in self._groups:
            seen = set()
            for column in columns:
                if column not in sums:
                    continue
                if sums[column] in seen:
                    found.append(column)
                seen.add(sums[column])
        return np.array(sorted(found), dtype=np.int64)
