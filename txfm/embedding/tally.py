"""What the rows of an input hold: counts on the model's genes and elsewhere, and samples without any."""

import csv
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from txfm.embedding.gene_match import GeneMatch
from txfm.embedding.outputs.destination import atomic

TOP = 5


class Tally:
    """Counts by input gene, added up while blocks of rows pass."""

    def __init__(self, match: GeneMatch) -> None:
        self.match = match
        self.n_empty = 0
        self.n_samples = 0
        self._counts = np.zeros(len(match.positions))

    def update(self, rows: sp.csr_matrix, counts: sp.csr_matrix) -> None:
        """Take a block: all its columns, and its counts over the vocabulary."""
        self._counts += np.bincount(rows.indices, weights=rows.data, minlength=len(self._counts))
        self.n_empty += count_empty(counts)
        self.n_samples += rows.shape[0]

    @property
    def matched_count_share(self) -> float:
        """Share of all counts that lie on the model's genes; 0 without counts."""
        total = self._counts.sum()
        return float(self._counts[self.match.positions >= 0].sum() / total) if total else 0.0

    def __str__(self) -> str:
        total = self._counts.sum()
        text = f"counts: {self.matched_count_share:.1%} of {total:,.0f} are on the model's genes"
        left_out = [(name, number) for name, _, number in self._left_out()[:TOP] if number]
        if left_out:
            text += "; most of the others are on " + ", ".join(f"{name} ({n / total:.1%})" for name, n in left_out)
        return text

    def _left_out(self) -> list[tuple[str, str, float]]:
        """Name, reason and counts of the input genes that are not used, those with most counts first."""
        unused = sorted(self.match.reasons, key=lambda i: (-self._counts[i], i))
        return [(self.match.names[i], self.match.reasons[i], float(self._counts[i])) for i in unused]

    def write_misses(self, path: Path) -> int:
        """Write every gene of either side that met none as csv, and return their number."""
        rows: list[tuple[str, str, str, float | str]] = [("input", *entry) for entry in self._left_out()]
        rows += [("model", gene, "not in the input", "") for gene in self.match.misses]
        with atomic(path) as temporary, temporary.open("w", newline="") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow(["side", "gene", "reason", "counts"])
            writer.writerows(rows)
        return len(rows)


def count_empty(counts: sp.csr_matrix) -> int:
    """Number of rows of (n_samples, G) without a count."""
    return int((np.asarray(counts.sum(axis=1)).ravel() == 0).sum())


def told_of_empty(n_empty: int, n_samples: int) -> str:
    """What is said about samples without a count on the model's genes; an empty text if there is none."""
    if not n_empty:
        return ""
    of_all = f"{n_empty:,} of {n_samples:,} samples have no count on the model's genes"
    return f"{of_all}: their embedding is that of an empty sample"
