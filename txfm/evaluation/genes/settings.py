"""The numbers of the gene benchmark (paper, app. B; Figures 2 and 6); nothing heavy is imported."""

from dataclasses import dataclass

SWEEP = (8, 16, 32, 64, 128, 256, 512, 1024)  # components of Figure 6


@dataclass(frozen=True, kw_only=True)
class RecallSettings:
    """How recall is measured.

    Attributes
    ----------
    n_null : int
        Random pairs of a null; all pairs where there are not so many, and then one draw. The paper does not say how
        many: at 5,000 the recall varies by 0.75 points from draw to draw, at 1,000,000 by less than 0.06.
    seeds : tuple of int
        Of the draws.
    thresholds : (float, float)
        Shares of the null below and above which a pair is recalled.
    """

    n_null: int = 1_000_000
    seeds: tuple[int, ...] = (0, 1, 2)
    thresholds: tuple[float, float] = (0.05, 0.95)

    def seeds_for(self, n_genes: int) -> tuple[int | None, ...]:
        """The draws over some genes; (None,) where the null is all pairs, for which nothing is drawn."""
        return self.seeds if self.n_null < n_genes * (n_genes - 1) // 2 else (None,)


@dataclass(frozen=True, kw_only=True)
class ModuleSettings:
    """How modules of genes are found.

    Attributes
    ----------
    n_neighbours : int
        Of a gene in the graph, by cosine.
    resolution : float
        Of the modularity: more gives more and smaller modules.
    seeds : tuple of int
        Of Leiden; the partition of the highest modularity is taken.
    min_module_genes : int
        A smaller community is no module.
    min_set_genes : int
        Gene sets with fewer genes among those compared are left out.
    """

    n_neighbours: int = 15
    resolution: float = 1.0
    seeds: tuple[int, ...] = (0, 1, 2)
    min_module_genes: int = 3
    min_set_genes: int = 5
