"""Gene lists of simulated studies: ids as their sources write them, and what must become of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from curation.simulate.axis_names import AxisNames

MAPPED = "mapped"
# Share of a cell's counts on mitochondrial genes where nothing is wrong with it
MITO_SHARE = 0.05
# Standard deviation of the log expression between genes: a few genes hold most counts, most genes are rare
EXPRESSION_SD = 1.8


@dataclass(frozen=True, kw_only=True)
class GeneTable:
    """The genes of one table.

    Attributes
    ----------
    ids : tuple of str
        As the file has them.
    positions : ndarray of int64
        Axis position that each id must get, or -1.
    reasons : tuple of str
        `MAPPED`, or why the id must be dropped.
    is_mito : ndarray of bool
        Mitochondrial genes of the axis.
    expression : ndarray of float64
        Share of a sample's counts; sums to 1.
    labels : tuple of str
        A second column of names, symbols mostly; the truth does not rest on it.
    """

    ids: tuple[str, ...]
    positions: np.ndarray
    reasons: tuple[str, ...]
    is_mito: np.ndarray
    expression: np.ndarray
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def mapped(self) -> np.ndarray:
        """Sorted axis positions that the table measures."""
        return np.unique(self.positions[self.positions >= 0])

    def without(self, dropped: np.ndarray) -> GeneTable:
        """Return the table without the rows at these indices."""
        kept = np.setdiff1d(np.arange(len(self)), dropped)
        share = self.expression[kept]
        return GeneTable(
            ids=tuple(self.ids[i] for i in kept),
            positions=self.positions[kept],
            reasons=tuple(self.reasons[i] for i in kept),
            is_mito=self.is_mito[kept],
            expression=share / share.sum(),
            labels=tuple(self.labels[i] for i in kept),
        )


class TableBuilder:
    """Collects rows of a gene table, then shuffles them and draws their expression."""

    def __init__(self, names: AxisNames, rng: np.random.Generator) -> None:
        self.names = names
        self.rng = rng
        self._rows: list[tuple[str, int, str, str, float]] = []

    def add(self, gene: str, position: int, reason: str, *, label: str = "", boost: float = 1.0) -> None:
        """Add one row; `boost` multiplies its expression."""
        self._rows.append((gene, position, reason, label or gene, boost))

    def dropped(self, genes: Iterable[str], reason: str, *, boost: float = 1.0) -> None:
        """Add rows that must be dropped."""
        for gene in genes:
            self.add(gene, -1, reason, boost=boost)

    def draw(self, found: Iterable[str], n: int) -> list[str]:
        """Return up to `n` of some names, drawn without repetition."""
        pool = list(found)
        chosen = self.rng.permutation(len(pool))[:n]
        return [pool[i] for i in sorted(chosen)]

    def build(self) -> GeneTable:
        """Return the table, its rows in random order."""
        order = self.rng.permutation(len(self._rows))
        rows = [self._rows[i] for i in order]
        positions = np.array([row[1] for row in rows], dtype=np.int64)
        is_mito = np.isin(positions, self.names.mito)
        expression = self.rng.lognormal(0.0, EXPRESSION_SD, len(rows)) * np.array([row[4] for row in rows])
        expression /= expression.sum()
        if is_mito.any():
            expression[is_mito] *= (
                MITO_SHARE / (1 - MITO_SHARE) * expression[~is_mito].sum() / expression[is_mito].sum()
            )
        return GeneTable(
            ids=tuple(row[0] for row in rows),
            positions=positions,
            reasons=tuple(row[2] for row in rows),
            is_mito=is_mito,
            expression=expression / expression.sum(),
            labels=tuple(row[3] for row in rows),
        )


def ensembl_table(
    names: AxisNames,
    rng: np.random.Generator,
    n_genes: int,
    *,
    versioned: bool = False,
    n_par_y: int = 0,
    n_mouse: int = 0,
    n_spike_ins: int = 0,
    always: np.ndarray | None = None,
) -> GeneTable:
    """Draw a table of Ensembl ids: 97 % on the axis, and a few of every kind that must be dropped or moved.

    Parameters
    ----------
    names : AxisNames
    rng : Generator
    n_genes : int
        Human genes; fewer where the axis has fewer.
    versioned : bool
        Ids carry versions, as GENCODE's do.
    n_par_y : int
        Rows `ENSG..._PAR_Y` beside their twins on X.
    n_mouse, n_spike_ins : int
        Mouse genes and ERCC spike-ins.
    always : ndarray of int, optional
        Axis positions that the table holds in any case.
    """
    table = TableBuilder(names, rng)
    n_few = max(2, n_genes // 200)
    n_axis = min(len(names), n_genes - 4 * n_few)
    fixed = np.union1d(names.mito, [] if always is None else always).astype(np.int64)
    free = np.setdiff1d(np.arange(len(names)), fixed)
    chosen = np.sort(np.concatenate([fixed, rng.permutation(free)[: max(0, n_axis - len(fixed))]])).tolist()

    def written(gene: str) -> str:
        return f"{gene}.{rng.integers(1, 20)}" if versioned else gene

    for position in chosen:
        table.add(written(names.ids[position]), position, MAPPED, label=names.symbols[position])
    # An id that no release had: nobody knows it
    unknown = [f"ENSG99{i:09d}" for i in range(n_few)]
    table.dropped([written(gene) for gene in unknown], "ensembl_id_not_on_axis")
    one = [old for old, genes in names.retired.items() if len(genes) == 1]
    for old in table.draw(one, n_few):
        table.add(written(old), names.retired[old][0], MAPPED)
    several = [old for old, genes in names.retired.items() if len(genes) > 1]
    table.dropped([written(old) for old in table.draw(several, n_few)], "split_ensembl_id")
    none = [old for old, genes in names.retired.items() if not genes]
    table.dropped([written(old) for old in table.draw(none, n_few)], "retired_ensembl_id")
    twins = [position for position in chosen if names.chromosomes[position] in ("chrX", "X")] or chosen
    for position in sorted(rng.choice(twins, min(n_par_y, len(twins)), replace=False).tolist()):
        table.add(f"{written(names.ids[position])}_PAR_Y", -1, "par_y", boost=0.1)
    if versioned:  # two versions of one gene: two measurements, which are added
        for position in sorted(rng.choice(chosen, 2, replace=False).tolist()):
            table.add(f"{names.ids[position]}.99", position, MAPPED)
    mouse = [f"ENSMUSG{i:011d}.{i % 9 + 1}" for i in range(n_mouse)]
    table.dropped(mouse, "other_organism", boost=0.02)
    table.dropped((f"ERCC-{i:05d}" for i in range(1, n_spike_ins + 1)), "spike_in")
    return table.build()
