"""Cells of a simulated study: good ones, and the shallow, leaky and doubled ones that filters are for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from curation.simulate.draws import cell_counts, mean_counts
from curation.simulate.gene_table import GeneTable

# Standard deviation of the log depth between good cells
DEPTH_SD = 0.35
# Depth of a doublet, chosen so that it shows more genes than any good cell, and mitochondrial excess of a broken cell
DOUBLET_DEPTH = 8.0
LEAKY_MITO = 15.0


@dataclass(frozen=True, kw_only=True)
class CellModel:
    """How counts of the cells of one table are drawn.

    Attributes
    ----------
    genes : GeneTable
    mean : ndarray of float32, shape (n_table_genes,)
        Mean counts of a cell of depth 1.
    module : ndarray of int, shape (n_table_genes,)
        Group of genes that rise and fall together.
    shallow_share, doublet_share, leaky_share : float
        Cells with a quarter of the counts, with far too many, and with mitochondrial excess.
    """

    genes: GeneTable
    mean: np.ndarray
    module: np.ndarray
    n_modules: int
    shallow_share: float = 0.15
    doublet_share: float = 0.02
    leaky_share: float = 0.03

    @classmethod
    def of(
        cls,
        genes: GeneTable,
        rng: np.random.Generator,
        *,
        n_detected: float,
        n_modules: int = 8,
        shallow_share: float = 0.15,
        doublet_share: float = 0.02,
        leaky_share: float = 0.03,
    ) -> CellModel:
        """Build a model whose cell of depth 1 shows `n_detected` genes."""
        return cls(
            genes=genes,
            mean=mean_counts(genes.expression, n_detected),
            module=rng.integers(0, n_modules, len(genes)),
            n_modules=n_modules,
            shallow_share=shallow_share,
            doublet_share=doublet_share,
            leaky_share=leaky_share,
        )

    def draw(self, rng: np.random.Generator, n: int, fold: np.ndarray | None = None) -> sparse.csr_matrix:
        """Draw `n` cells; `fold` (n, n_modules) multiplies the genes of each module."""
        depth = rng.lognormal(0.0, DEPTH_SD, n)
        fate = rng.random(n)
        doublet = fate < self.doublet_share
        leaky = ~doublet & (fate < self.doublet_share + self.leaky_share)
        shallow = fate > 1 - self.shallow_share
        depth *= np.select([doublet, shallow], [DOUBLET_DEPTH, 0.25], 1.0)
        state = rng.lognormal(0.0, 0.2, (n, self.n_modules))
        if fold is not None:
            state *= fold
        mean = (depth[:, None] * state).astype(np.float32)[:, self.module]
        mean *= self.mean
        if leaky.any() and self.genes.is_mito.any():
            mean[np.ix_(leaky, self.genes.is_mito)] *= LEAKY_MITO
        return cell_counts(rng, mean)
