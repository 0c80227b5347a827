"""Where a study's counts go: every count that is read is kept or dropped under one reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import sparse

from curation.errors import InputError
from curation.genes import COPIED_ROW, GeneMap

# Mean counts of a sample: deep bulk sequencing stays below 3e8 reads, base-pair coverage sums (recount) lie far above
MAX_MEAN_COUNTS = 3e8


class CountTally:
    """Sums the counts of each gene of each part's table over the samples that the recipe looks at."""

    def __init__(self, tables: Sequence[list[str]]) -> None:
        self._totals = [np.zeros(len(ids), dtype=np.int64) for ids in tables]
        self.n_samples = 0

    def add(self, part: int, counts: sparse.csr_matrix) -> None:
        """Take samples of a part, int32 counts over the genes of its table."""
        self._totals[part] += counts.sum(axis=0, dtype=np.int64).A1
        self.n_samples += counts.shape[0]

    @property
    def totals(self) -> Sequence[np.ndarray]:
        """Counts of each gene of each part's table."""
        return self._totals

    @property
    def total(self) -> int:
        """All counts."""
        return sum(int(totals.sum()) for totals in self._totals)

    def require_counts(self, where: str) -> None:
        """Raise an InputError if the mean sample holds more than a sequencer gives."""
        mean = self.total / max(1, self.n_samples)
        if mean > MAX_MEAN_COUNTS:
            raise InputError(
                "these integers are too large for counts",
                where=where,
                expected=f"counts of molecules or reads, up to {MAX_MEAN_COUNTS:.0e} a sample",
                found=f"{mean:.2e} a sample on average; base-pair coverage sums look like this",
                todo="divide coverage by the read length (recount3's transform_counts) and use the result",
            )

    def by_reason(self, maps: Sequence[GeneMap], axis_drops: Mapping[str, np.ndarray]) -> dict[str, int]:
        """Return the counts on dropped genes by reason.

        Parameters
        ----------
        maps : sequence of GeneMap
            Of each part, copies dropped.
        axis_drops : mapping of str to ndarray of bool, shape (n_axis_genes,)
            Reason to the mapped genes that it drops.
        """
        found: Counter[str] = Counter()
        for totals, genes in zip(self._totals, maps, strict=True):
            reasons = np.array(genes.reasons, dtype=object)
            for reason in set(genes.reasons) - {""}:
                found[reason] += int(totals[reasons == reason].sum())
            mapped = genes.positions >= 0
            for reason, mask in axis_drops.items():
                found[reason] += int(totals[mapped][mask[genes.positions[mapped]]].sum())
        return {reason: count for reason, count in sorted(found.items()) if count}

    def mapped_share(self, maps: Sequence[GeneMap]) -> float:
        """Return the share of the counts, copied rows left out, that is on genes of the axis."""
        mapped = sum(int(totals[genes.positions >= 0].sum()) for totals, genes in zip(self._totals, maps, strict=True))
        copied = self.by_reason(maps, {}).get(COPIED_ROW, 0)
        return mapped / (self.total - copied) if self.total > copied else 0.0
