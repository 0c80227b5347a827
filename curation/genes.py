"""Gene identity: from a study's own gene ids to positions on the gene axis, with a reason for every dropped id."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from curation.axis import GeneAxis

# reasons, in words that the report prints
UNKNOWN_ENSEMBL = "ensembl_id_not_on_axis"
UNKNOWN_SYMBOL = "unknown_symbol"
AMBIGUOUS = "ambiguous_symbol"
OFF_AXIS = "gene_not_on_axis"
PAR_Y = "par_y"
EXCEL_DATE = "excel_date"
SPIKE_IN = "spike_in"
OTHER_ORGANISM = "other_organism"
NO_NAME = "no_name"
COPIED_ROW = "copy_of_another_row"

_ENSEMBL = re.compile(r"^ENSG\d{11}(\.\d+)?$")
_ENSEMBL_ANY = re.compile(r"^ENS[A-Z]*G\d{11}")
# "1-Mar", "2-Sep", "2015/09/01": what Excel makes of MARCH1, SEPT2, DEC1
_EXCEL = re.compile(
    r"^(\d{1,2}-(Mar|Sep|Dec|Oct|Apr|Nov|Feb)|(Mar|Sep|Dec|Oct|Apr|Nov|Feb)-\d{1,2}|\d{4}[-/]\d\d[-/]\d\d.*)$", re.I
)
# "C1ORF112" for C1orf112. Nothing wider: folding case would take a mouse table (Xkr4, Sox17) for a human one.
_CAPITAL_ORF = re.compile(r"^C(\d+|X|Y)ORF(\d+.*)$")
_SPIKE = re.compile(r"^ERCC[-_]\d{5}$")
EXAMPLES_PER_REASON = 5


@dataclass(frozen=True, kw_only=True)
class GeneMap:
    """Where each gene of a table goes.

    Attributes
    ----------
    positions : ndarray of int64, shape (n_table_genes,)
        Axis position, or -1 for a dropped gene.
    reasons : tuple of str, length n_table_genes
        "" for a mapped gene, else why it is dropped.
    how : tuple of str
        What the mapping of each gene rests on: `ensembl`, `symbol`, `approved`, `previous`, `alias`, `entrez`,
        `case`, or "".
    """

    positions: np.ndarray
    reasons: tuple[str, ...]
    how: tuple[str, ...]

    def without_copies(self, copies: np.ndarray) -> GeneMap:
        """Return the map with the genes at the indices `copies` dropped as copies of another row."""
        positions = self.positions.copy()
        positions[copies] = -1
        dropped = set(copies.tolist())
        return GeneMap(
            positions=positions,
            reasons=tuple(COPIED_ROW if i in dropped else reason for i, reason in enumerate(self.reasons)),
            how=tuple("" if i in dropped else how for i, how in enumerate(self.how)),
        )

    @property
    def measured(self) -> np.ndarray:
        """Return the sorted axis positions that the table measures."""
        return np.unique(self.positions[self.positions >= 0])


class GeneNames:
    """Looks ids up on an axis; one object serves all studies of a run."""

    def __init__(self, axis: GeneAxis) -> None:
        self._axis = axis
        self._symbols = _targets(zip(axis.genes["symbol"], axis.ensembl_ids, strict=True))
        self._names: dict[str, Mapping[str, tuple[str, ...]]] = {}
        for kind in ("approved", "previous", "alias", "entrez"):
            rows = axis.names.filter(kind=kind)
            self._names[kind] = _targets(zip(rows["name"], rows["ensembl_id"], strict=True))

    def map(self, ids: Iterable[str], id_kind: str, *, keep_prefix: str | None = None) -> GeneMap:
        """Map a table's gene ids onto the axis.

        Parameters
        ----------
        ids : iterable of str
            As the table has them, duplicates included.
        id_kind : {"ensembl", "symbol", "symbol_entrez"}
            What the catalogue says they are. An Ensembl id is recognised in any of them.
        keep_prefix : str, optional
            Only ids with this prefix belong to the study's organism.

        Returns
        -------
        GeneMap
            Two ids of one gene get the same position: their counts are added.
        """
        outcomes = [self._map_one(gene.strip(), id_kind, keep_prefix) for gene in ids]
        return GeneMap(
            positions=np.array([position for position, _, _ in outcomes], dtype=np.int64),
            reasons=tuple(reason for _, reason, _ in outcomes),
            how=tuple(how for _, _, how in outcomes),
        )

    def _map_one(self, gene: str, id_kind: str, keep_prefix: str | None) -> tuple[int, str, str]:
        if not gene:
            return -1, NO_NAME, ""
        if keep_prefix and not gene.startswith(keep_prefix):
            return -1, OTHER_ORGANISM, ""
        if _SPIKE.match(gene):
            return -1, SPIKE_IN, ""
        if gene.endswith("_PAR_Y") or gene.startswith("ENSGR"):
            return -1, PAR_Y, ""
        if _ENSEMBL.match(gene):
            position = self._axis.position.get(gene.split(".")[0], -1)
            return (position, "", "ensembl") if position >= 0 else (-1, UNKNOWN_ENSEMBL, "")
        if _ENSEMBL_ANY.match(gene):
            return -1, OTHER_ORGANISM, ""
        if id_kind == "ensembl":
            return -1, UNKNOWN_ENSEMBL, ""
        if id_kind == "symbol_entrez":
            return self._map_symbol_entrez(gene)
        return self._map_symbol(gene)

    def _at(self, gene: str, how: str) -> tuple[int, str, str]:
        """Return a gene's place on the axis, or that it has none."""
        position = self._axis.position.get(gene, -1)
        return (position, "", how) if position >= 0 else (-1, OFF_AXIS, "")

    def _map_symbol_entrez(self, gene: str) -> tuple[int, str, str]:
        """Map `A1BG|1`: the Entrez id is stable and goes first; `?|100133144` has nothing else."""
        symbol, _, entrez = gene.partition("|")
        found = self._names["entrez"].get(entrez, ())
        if len(found) == 1:
            return self._at(found[0], "entrez")
        return self._map_symbol(symbol) if symbol not in ("", "?") else (-1, UNKNOWN_SYMBOL, "")

    def _map_symbol(self, symbol: str) -> tuple[int, str, str]:
        """Map a symbol: current names before older ones; a name of two genes is dropped, not guessed.

        GENCODE gives some symbols to several ids; HGNC's approved id decides where it knows one.
        """
        found = self._symbols.get(symbol, ())
        if len(found) == 1:
            return self._at(found[0], "symbol")
        for kind in ("approved", "previous", "alias"):
            named = self._names[kind].get(symbol, ())
            if len(named) == 1:
                return self._at(named[0], kind)
            if len(named) > 1:
                return -1, AMBIGUOUS, ""
        if found:
            return -1, AMBIGUOUS, ""
        if _EXCEL.match(symbol):
            return -1, EXCEL_DATE, ""
        if _CAPITAL_ORF.match(symbol):
            position, reason, how = self._map_symbol(_CAPITAL_ORF.sub(r"C\1orf\2", symbol))
            return position, reason, "case" if how else ""
        return -1, UNKNOWN_SYMBOL, ""


def project(counts: sparse.csr_matrix, positions: np.ndarray, n_axis_genes: int) -> sparse.csr_matrix:
    """Move table columns to axis positions, adding columns that meet and leaving out those at -1.

    Parameters
    ----------
    counts : csr_matrix, shape (n_samples, n_table_genes)
    positions : ndarray, shape (n_table_genes,)
        Axis position of each column, -1 to leave it out.
    n_axis_genes : int

    Returns
    -------
    csr_matrix, shape (n_samples, n_axis_genes)
        Same dtype, columns sorted, no explicit zeros.
    """
    columns = positions[counts.indices]
    kept = columns >= 0
    kept_before = np.concatenate([[0], np.cumsum(kept)])
    moved = sparse.csr_matrix(
        (counts.data[kept], columns[kept].astype(np.int32), kept_before[counts.indptr]),
        shape=(counts.shape[0], n_axis_genes),
    )
    moved.sum_duplicates()
    moved.eliminate_zeros()
    return moved


def _targets(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Return the distinct genes of each name; unnamed genes are left out."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, gene in pairs:
        if name:
            found[name].add(gene)
    return {name: tuple(sorted(genes)) for name, genes in found.items()}
