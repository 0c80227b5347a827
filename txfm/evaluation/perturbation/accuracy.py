"""How often the right class is the first, or among the first five, of what a classifier names."""

from dataclasses import dataclass

import numpy as np

TOP = 5


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Hits among the test cells.

    Attributes
    ----------
    top1_hits, top5_hits : int
        The right class scores highest; is one of the five highest (of all, where there are fewer).
    n_cells, n_classes : int
        Test cells, and classes that the classifier tells apart.
    """

    top1_hits: int
    top5_hits: int
    n_cells: int
    n_classes: int

    @property
    def top1(self) -> float:
        """Share of test cells."""
        return self.top1_hits / self.n_cells

    @property
    def top5(self) -> float:
        """Share of test cells."""
        return self.top5_hits / self.n_cells

    @property
    def score(self) -> float:
        """Mean of both, as Tx-Evaluation averages them."""
        return (self.top1 + self.top5) / 2


def count_hits(scores: np.ndarray, targets: np.ndarray) -> tuple[int, int]:
    """Top-1 and top-5 hits of scores (n, number of classes) for target classes (n,); ties go to the first class."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :TOP]
    is_hit = best == np.asarray(targets)[:, None]
    return int(is_hit[:, 0].sum()), int(is_hit.sum())
