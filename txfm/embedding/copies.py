"""Columns of an input that say the same thing twice: legacy TCGA tables repeat 1,075 genes with every value equal.

Adding them up would double these genes, while two different columns of one name are two measurements that do add up.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse as sp

# Two sparse columns may agree by chance. They are copies if they agree on this many counts or on this many samples with
# a count; below it they are added up, which changes a gene by less than this (curation judges alike: docs/genes.md).
MIN_COUNTS, MIN_SAMPLES = 100, 10


def find_copies(names: Sequence[str], used: np.ndarray, blocks: Iterator[sp.csr_matrix]) -> np.ndarray:
    """Find columns with the same name and the same counts in every sample; without equal names, no block is read.

    Each repeated column keeps the sum of count times a random number of the sample: equal columns have equal sums, and
    different ones have them with a probability of about 2^-64.

    Parameters
    ----------
    names : sequence of str (n_genes,)
    used : numpy.ndarray (n_genes,), bool
        Columns that are asked for.
    blocks : iterator of scipy.sparse.csr_matrix
        All rows, in order.

    Returns
    -------
    numpy.ndarray, int64
        Columns that repeat an earlier one, ascending.
    """
    columns_of: dict[str, list[int]] = defaultdict(list)
    for column in np.flatnonzero(used).tolist():
        columns_of[names[column]].append(column)
    groups = [columns for columns in columns_of.values() if len(columns) > 1]
    if not groups:
        return np.empty(0, dtype=np.int64)
    repeated = np.array(sorted(column for columns in groups for column in columns), dtype=np.int64)
    random = np.random.default_rng(0)
    sums = np.zeros(len(repeated), dtype=np.uint64)
    counts, samples = np.zeros(len(repeated)), np.zeros(len(repeated), dtype=np.int64)
    for block in blocks:
        weights = random.integers(0, 2**64, size=block.shape[0], dtype=np.uint64, endpoint=False)
        part = block[:, repeated].tocoo()
        np.add.at(counts, part.col, part.data)
        np.add.at(samples, part.col, part.data != 0)
        # the bits of the value: fractions of expected counts differ, too
        np.add.at(sums, part.col, part.data.astype(np.float64).view(np.uint64) * weights[part.row])
    evident = (counts >= MIN_COUNTS) | (samples >= MIN_SAMPLES)
    sum_of = dict(zip(repeated[evident].tolist(), sums[evident].tolist(), strict=True))
    copies = []
    for columns in groups:
        seen: set[int] = set()
        for column in (column for column in columns if column in sum_of):
            if sum_of[column] in seen:
                copies.append(column)
            seen.add(sum_of[column])
    return np.array(sorted(copies), dtype=np.int64)
