"""A sample's fingerprint: 64 bits of its counts on every mapped gene, before any gene is dropped.

It is the sum over genes of count times a fixed random number of the gene's Ensembl id, modulo 2^64: the same for the
same counts whatever the order of the columns, the axis or the recipe. Two different samples of a corpus share one with
a probability of about 2^-64 a pair.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import zarr
from scipy import sparse

from curation.errors import InputError

# Two cells with few counts may agree by chance, above all on a panel of some 70 genes. Samples are taken for copies of
# each other only with at least this many counts on this many genes.
MIN_COUNTS = 100
MIN_GENES = 30


def evident(n_genes: np.ndarray, library_size: np.ndarray) -> np.ndarray:
    """Return which samples hold enough that another one with the same counts is a copy."""
    return (n_genes >= MIN_GENES) & (library_size >= MIN_COUNTS)


def weights_of(ensembl_ids: Iterable[str]) -> np.ndarray:
    """Return the random number of each gene, uint64."""
    digests = [hashlib.sha256(gene.encode()).digest()[:8] for gene in ensembl_ids]
    return np.array([int.from_bytes(digest, "little") for digest in digests], dtype=np.uint64)


def fingerprints_of(counts: sparse.csr_matrix, weights: np.ndarray) -> np.ndarray:
    """Return the fingerprint of each sample, uint64; `weights` has one number a column."""
    wide = sparse.csr_matrix((counts.data.astype(np.uint64), counts.indices, counts.indptr), shape=counts.shape)
    found: np.ndarray = wide @ weights
    return found


class Fingerprints:
    """The fingerprints of all samples of some stores, 8 bytes a sample."""

    def __init__(self, values: np.ndarray) -> None:
        self._values = np.unique(values)

    @classmethod
    def of_stores(cls, stores: Iterable[Path]) -> Fingerprints:
        """Read those of stores on disk.

        Raises
        ------
        InputError
            A store is not there, or is of a format without fingerprints.
        """
        return cls(np.concatenate([np.empty(0, np.uint64), *map(read_fingerprints, stores)]))

    def hold(self, values: np.ndarray) -> np.ndarray:
        """Return which of `values` are among them."""
        if not len(self._values):
            return np.zeros(len(values), dtype=bool)
        places = np.minimum(np.searchsorted(self._values, values), len(self._values) - 1)
        return self._values[places] == values


def read_fingerprints(store: Path) -> np.ndarray:
    """Return the fingerprints of a store's samples in row order, those of samples with few counts left out."""
    try:
        columns = ("n_genes", "library_size", "fingerprint")
        arrays = [zarr.open_array(store / "obs" / name, mode="r") for name in columns]
        n_genes, library_size, values = (np.asarray(array[:]) for array in arrays)
    except (FileNotFoundError, KeyError) as error:
        raise InputError(
            "there are no fingerprints",
            where=str(store),
            expected="a store of format 0.2 or later",
            found=str(error),
            todo="curate this study again",
        ) from error
    chosen: np.ndarray = values[evident(n_genes, library_size)]
    return chosen
