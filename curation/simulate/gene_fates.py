"""What must become of each gene id of a simulated study under a recipe."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import IO, Any

import numpy as np

from curation.simulate.axis_names import AxisNames
from curation.simulate.gene_table import MAPPED
from curation.simulate.study import SimulatedStudy

GENE_COLUMNS = ("part", "gene_id", "outcome", "target")


class GeneFates:
    """Outcome of every id of every table.

    Parameters
    ----------
    study : SimulatedStudy
    names : AxisNames
    detected : ndarray of int, shape (n_axis_genes,)
        Candidates with a count at each gene.
    min_samples_per_gene : int
    """

    def __init__(
        self, study: SimulatedStudy, names: AxisNames, detected: np.ndarray, min_samples_per_gene: int
    ) -> None:
        self._study, self._names = study, names
        in_parts = np.zeros(len(names), dtype=np.int64)
        for part in study.parts:
            in_parts[part.genes.mapped] += 1
        everywhere = in_parts == len(study.parts)
        frequent = detected >= min_samples_per_gene
        self.measured = everywhere & frequent
        self._axis_drops = {
            "not_in_every_part_of_the_study": (in_parts > 0) & ~everywhere,
            "below_min_samples_per_gene": everywhere & ~frequent,
        }

    def _rows(self) -> Iterator[tuple[int, str, str, int, str]]:
        """Yield part number, part name, id, axis position and reason of each row of each table."""
        for number, part in enumerate(self._study.parts):
            genes = part.genes
            for gene, position, reason in zip(genes.ids, genes.positions.tolist(), genes.reasons, strict=True):
                yield number, part.name, gene, position, reason

    def _outcome(self, position: int, reason: str) -> str:
        if reason != MAPPED:
            return reason
        return next((dropped for dropped, mask in self._axis_drops.items() if mask[position]), MAPPED)

    def dropped_counts(self, totals: Sequence[np.ndarray]) -> dict[str, int]:
        """Return the counts on dropped genes by reason, from the counts of each gene of each part."""
        found: Counter[str] = Counter()
        values = np.concatenate(totals).tolist()
        for total, (_, _, _, position, reason) in zip(values, self._rows(), strict=True):
            outcome = self._outcome(position, reason)
            if outcome != MAPPED:
                found[outcome] += total
        return found

    def summary(self) -> dict[str, Any]:
        """Count genes by outcome; an id that several parts have counts once."""
        outcomes: dict[tuple[str, int], tuple[int, str]] = {}
        seen: Counter[tuple[int, str]] = Counter()
        for number, _, gene, position, reason in self._rows():
            outcomes[gene, seen[number, gene]] = (position, reason)
            seen[number, gene] += 1
        targets = [position for position, reason in outcomes.values() if reason == MAPPED]
        dropped = Counter(reason for _, reason in outcomes.values() if reason != MAPPED)
        dropped.update({reason: int(mask.sum()) for reason, mask in self._axis_drops.items() if mask.any()})
        measured = [gene for gene, is_kept in zip(self._names.ids, self.measured, strict=True) if is_kept]
        return {
            "in_table": len(outcomes),
            "mapped": len(targets),
            "merged": len(targets) - len(set(targets)),
            "dropped": dict(sorted(dropped.items())),
            "kept": len(measured),
            "kept_sha256": hashlib.sha256("\n".join(measured).encode()).hexdigest(),
        }

    def write(self, handle: IO[str]) -> None:
        """Write part, id, outcome and, for a mapped id, the gene of the axis."""
        table = csv.writer(handle, delimiter="\t", lineterminator="\n")
        table.writerow(GENE_COLUMNS)
        for _, part, gene, position, reason in self._rows():
            target = self._names.ids[position] if position >= 0 else ""
            table.writerow((part, gene, self._outcome(position, reason), target))
