"""A simulated study: tables of which any block of samples can be drawn again, alone and in any order."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from curation.simulate.axis_names import AxisNames
from curation.simulate.draws import rows_per_block
from curation.simulate.gene_table import GeneTable

MISSING = ""
_BASES = np.array(list("ACGT"))
# Odd, so that multiplying by it modulo 4^16 gives every sample another barcode
_SPREAD = 2_654_435_761


@dataclass(frozen=True, kw_only=True)
class Design:
    """What all simulated studies share.

    Attributes
    ----------
    names : AxisNames
    scale : float
        Samples as a share of Table 1.
    gene_share : float
        Genes as a share of the published tables; thresholds on genes a sample shrink with it.
    seed : int
    """

    names: AxisNames
    scale: float
    gene_share: float
    seed: int

    def rng(self, *words: str) -> np.random.Generator:
        """Return a generator of its own for anything that has a name."""
        return np.random.default_rng([self.seed, *(zlib.crc32(word.encode()) for word in words)])

    def n_genes(self, published: int) -> int:
        """Return how many genes a table gets that was published with `published`."""
        return max(40, round(published * self.gene_share))

    def n_samples(self, in_table_1: int, *, at_least: int) -> int:
        """Return how many samples a study gets."""
        return max(at_least, round(in_table_1 * self.scale))


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Some consecutive samples of a table.

    Attributes
    ----------
    first : int
        Row of the first of them.
    ids : list of str
    obs : dict of str to ndarray of str
        The source's own columns; `MISSING` where the source has no value.
    counts : csr_matrix of int32, shape (n_samples, n_table_genes)
    has_metadata : ndarray of bool
        Samples that the metadata table has a row of.
    copy_of : ndarray of int64
        Row of the earlier sample of this table with the same counts and columns, or -1.
    guest_of : ndarray of str
        Id, in the stores, of the sample of another study that has the same counts at every gene of the axis, or "".
    """

    first: int
    ids: list[str]
    obs: dict[str, np.ndarray]
    counts: sparse.csr_matrix
    has_metadata: np.ndarray
    copy_of: np.ndarray
    guest_of: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Guest:
    """A sample of another study that a table also holds, as atlases hold cells of older studies.

    Attributes
    ----------
    row : int
        Where it stands, in the first block of the table.
    sample_id : str
        Its id in the stores of its own study.
    counts : csr_matrix of int32, shape (1, n_table_genes)
    obs : mapping
        Columns that are not drawn for it.
    """

    row: int
    sample_id: str
    counts: sparse.csr_matrix
    obs: Mapping[str, str]


DrawSamples = Callable[[np.random.Generator, np.ndarray], tuple[list[str], dict[str, np.ndarray], sparse.csr_matrix]]


@dataclass(frozen=True, kw_only=True)
class SimulatedPart:
    """One table of a study.

    Attributes
    ----------
    name : str
    genes : GeneTable
    n_samples : int
    draw : callable
        (generator, rows) -> (sample ids, columns, counts); what it returns depends on nothing else.
    seed : tuple of int
    constants : mapping
        Columns that the catalogue adds.
    share_without_metadata : float
        Samples that the metadata table lacks.
    guests : tuple of Guest
    """

    name: str
    genes: GeneTable
    n_samples: int
    draw: DrawSamples
    seed: tuple[int, ...]
    constants: Mapping[str, str] = field(default_factory=dict)
    share_without_metadata: float = 0.0
    guests: tuple[Guest, ...] = ()

    @property
    def block_rows(self) -> int:
        """Samples a block."""
        return rows_per_block(len(self.genes))

    @property
    def n_blocks(self) -> int:
        """Blocks of the table."""
        return -(-self.n_samples // self.block_rows)

    def blocks(self) -> Iterator[Samples]:
        """Draw all samples in order."""
        return (self.block(i) for i in range(self.n_blocks))

    def block(self, i: int) -> Samples:
        """Draw one block.

        Every third block, from the first, ends with a copy of one of its samples; the second block begins with a copy
        of the second sample of the table.
        """
        samples = self._fresh(i)
        n = len(samples.ids)
        for guest in self.guests if i == 0 else ():
            _replace_row(samples.counts, guest.row, guest.counts)
            samples.guest_of[guest.row] = guest.sample_id
            for name, value in guest.obs.items():
                samples.obs[name][guest.row] = value
        if i % 3 == 0 and n >= 8:
            _copy(samples, n - 1, samples, n // 2)
        if i == 1:
            _copy(samples, 0, self._fresh(0), 1)
        return samples

    def _fresh(self, i: int) -> Samples:
        rng = np.random.default_rng([*self.seed, i])
        rows = np.arange(i * self.block_rows, min((i + 1) * self.block_rows, self.n_samples))
        ids, obs, counts = self.draw(rng, rows)
        known = rng.random(len(rows)) >= self.share_without_metadata
        known[: 2 if i == 0 else 0] = True
        return Samples(
            first=int(rows[0]),
            ids=ids,
            obs={name: values.astype(object) if values.dtype.kind == "U" else values for name, values in obs.items()},
            counts=counts,
            has_metadata=known,
            copy_of=np.full(len(rows), -1, dtype=np.int64),
            guest_of=np.full(len(rows), MISSING, dtype=object),
        )


@dataclass(frozen=True, kw_only=True)
class SimulatedStudy:
    """A study with its files' writer.

    Attributes
    ----------
    name : str
    parts : tuple of SimulatedPart
    write : callable
        Writes the study's files into a folder.
    entry : mapping
        Fields of the catalogue entry that differ from the real study's; files without addresses.
    perturbation_has_effect : mapping of str to bool
        For a screen.
    """

    name: str
    parts: tuple[SimulatedPart, ...]
    write: Callable[[Path], None]
    entry: Mapping[str, Any] = field(default_factory=dict)
    perturbation_has_effect: Mapping[str, bool] = field(default_factory=dict)

    @property
    def n_samples(self) -> int:
        """Samples of all tables."""
        return sum(part.n_samples for part in self.parts)


def barcodes(rows: np.ndarray) -> np.ndarray:
    """Return 16 bases for each row number; different rows below 4^16 get different ones."""
    spread = (rows.astype(np.uint64) * np.uint64(_SPREAD)) % np.uint64(4**16)
    digits = (spread[:, None] >> (2 * np.arange(16, dtype=np.uint64))) & np.uint64(3)
    return np.array(["".join(letters) for letters in _BASES[digits.astype(np.int64)]], dtype=object)


def some_missing(rng: np.random.Generator, values: np.ndarray, share: float) -> np.ndarray:
    """Return the values as strings with a share of them missing."""
    return np.where(rng.random(len(values)) < share, MISSING, values.astype(str)).astype(object)


def _copy(samples: Samples, row: int, origin: Samples, origin_row: int) -> None:
    """Give a sample the counts and columns of an earlier one; its id stays its own."""
    for name, values in samples.obs.items():
        values[row] = origin.obs[name][origin_row]
    samples.has_metadata[row] = origin.has_metadata[origin_row]
    samples.copy_of[row] = origin.first + origin_row
    samples.guest_of[row] = origin.guest_of[origin_row]
    _replace_row(samples.counts, row, origin.counts[origin_row])


def _replace_row(counts: sparse.csr_matrix, row: int, values: sparse.csr_matrix) -> None:
    joined = sparse.vstack([counts[:row], values, counts[row + 1 :]], format="csr", dtype=np.int32)
    counts.data, counts.indices, counts.indptr = joined.data, joined.indices, joined.indptr
