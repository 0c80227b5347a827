"""Gene identity: from a study's own gene ids to positions on the gene axis, with a reason for every dropped id."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from curation import gene_ids
from curation.axis import GeneAxis

# reasons, in words that the report prints
UNKNOWN_ENSEMBL = "ensembl_id_not_on_axis"
RETIRED = "retired_ensembl_id"
SPLIT = "split_ensembl_id"
UNKNOWN_SYMBOL = "unknown_symbol"
UNKNOWN_ENTREZ = "unknown_entrez_id"
AMBIGUOUS = "ambiguous_symbol"
OFF_AXIS = "gene_not_on_axis"
PAR_Y = "par_y"
EXCEL_DATE = "excel_date"
SPIKE_IN = "spike_in"
TRANSGENE = "transgene"
OTHER_ORGANISM = "other_organism"
NO_NAME = "no_name"
NOT_A_GENE = "not_a_gene"
COPIED_ROW = "copy_of_another_row"

_LOC = re.compile(r"^LOC(\d+)$")
EXAMPLES_PER_REASON = 5

Outcome = tuple[int, str, str]  # axis position or -1, reason or "", what the mapping rests on or ""


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
        What the mapping of each gene rests on: `ensembl`, `retired` (the stable-id history), `symbol` (of the axis),
        `approved`, `previous`, `alias`, `entrez`, `case`, `excel`, or "".
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
        for kind in ("approved", "previous", "alias", "entrez", "retired"):
            rows = axis.names.filter(kind=kind)
            self._names[kind] = _targets(zip(rows["name"], rows["ensembl_id"], strict=True))
        self._approved_symbol = {gene: symbol for symbol, genes in self._names["approved"].items() for gene in genes}
        official = (self._symbols, self._names["approved"], self._names["previous"])
        self._official_dates = _by_date(name for names in official for name in names)
        self._alias_dates = _by_date(self._names["alias"])

    def map(self, ids: Iterable[str], id_kind: str, *, keep_prefix: str | None = None) -> GeneMap:
        """Map a table's gene ids onto the axis.

        Parameters
        ----------
        ids : iterable of str
            As the table has them, duplicates included.
        id_kind : {"ensembl", "symbol", "symbol_entrez", "entrez"}
            What the catalogue says they are. An Ensembl id is recognised in any of them.
        keep_prefix : str, optional
            Only ids with this prefix belong to the study's organism. A prefix that ends in `_` (GRCh38_) was put before
            the id by who made the table, and is taken off.

        Returns
        -------
        GeneMap
            Two ids of one gene get the same position: their counts are added.
        """
        names = [gene.strip() for gene in ids]
        outcomes = [self._map_one(gene, id_kind, keep_prefix) for gene in names]
        self._repair_dates(names, outcomes, id_kind, keep_prefix)
        return GeneMap(
            positions=np.array([position for position, _, _ in outcomes], dtype=np.int64),
            reasons=tuple(reason for _, reason, _ in outcomes),
            how=tuple(how for _, _, how in outcomes),
        )

    def _map_one(self, gene: str, id_kind: str, keep_prefix: str | None) -> Outcome:
        if keep_prefix and gene:
            if not gene.startswith(keep_prefix):
                return -1, SPIKE_IN if gene_ids.is_spike_in(gene) else OTHER_ORGANISM, ""
            gene = _without_prefix(gene, keep_prefix)
        if gene_ids.is_no_name(gene):
            return -1, NO_NAME, ""
        if gene_ids.is_spike_in(gene):
            return -1, SPIKE_IN, ""
        if gene_ids.is_par_y(gene):
            return -1, PAR_Y, ""
        if stable := gene_ids.ensembl_id(gene):
            return self._map_ensembl(stable)
        if gene_ids.is_of_other_organism(gene):
            return -1, OTHER_ORGANISM, ""
        if gene_ids.is_not_a_gene(gene):
            return -1, NOT_A_GENE, ""
        if id_kind == "ensembl":
            return -1, UNKNOWN_ENSEMBL, ""
        if id_kind == "entrez":
            return self._map_entrez(gene.removesuffix(".0")) or (-1, UNKNOWN_ENTREZ, "")
        if id_kind == "symbol_entrez":
            return self._map_symbol_entrez(gene)
        return self._map_symbol(gene)

    def _map_ensembl(self, stable: str) -> Outcome:
        """Map an Ensembl id without version; one off the axis goes where its history leads, if that is one gene."""
        position = self._axis.position.get(stable, -1)
        if position >= 0:
            return position, "", "ensembl"
        heirs = self._names["retired"].get(stable)
        if heirs is None:
            return -1, UNKNOWN_ENSEMBL, ""
        if len(heirs) > 1:
            return -1, SPLIT, ""
        position = self._axis.position.get(heirs[0], -1)
        return (position, "", "retired") if position >= 0 else (-1, RETIRED, "")

    def _at(self, gene: str, how: str) -> Outcome:
        """Return the place of a gene that HGNC names, or that it has none.

        HGNC's Ensembl id may be of another release than the axis: then its history and its approved symbol are tried.
        """
        position, _, _ = self._map_ensembl(gene)
        if position < 0:
            same_symbol = self._symbols.get(self._approved_symbol.get(gene, ""), ())
            position = self._axis.position[same_symbol[0]] if len(same_symbol) == 1 else -1
        return (position, "", how) if position >= 0 else (-1, OFF_AXIS, "")

    def _map_entrez(self, number: str) -> Outcome | None:
        found = self._names["entrez"].get(number, ())
        return self._at(found[0], "entrez") if len(found) == 1 else None

    def _map_symbol_entrez(self, gene: str) -> Outcome:
        """Map `A1BG|1`: the Entrez id is stable and goes first; `?|100133144` has nothing else."""
        symbol, _, entrez = gene.partition("|")
        if found := self._map_entrez(entrez):
            return found
        return self._map_symbol(symbol) if symbol not in ("", "?") else (-1, UNKNOWN_SYMBOL, "")

    def _map_symbol(self, symbol: str) -> Outcome:
        """Map a symbol: current names before older ones; a name of two genes is dropped, not guessed.

        GENCODE gives some symbols to several ids; HGNC's approved id decides where it knows one.
        """
        current = self._symbols.get(symbol, ())
        if len(current) == 1:
            return self._at(current[0], "symbol")
        for kind in ("approved", "previous", "alias"):
            named = self._names[kind].get(symbol, ())
            if len(named) == 1:
                outcome = self._at(named[0], kind)
                return outcome if outcome[0] >= 0 or not current else (-1, AMBIGUOUS, "")
            if named or current:
                return -1, AMBIGUOUS, ""
        return self._map_unknown_symbol(symbol)

    def _map_unknown_symbol(self, symbol: str) -> Outcome:
        """Map a text that nobody uses as a symbol."""
        if gene_ids.excel_date(symbol):
            return -1, EXCEL_DATE, ""
        if (spelled := gene_ids.orf_symbol(symbol)) and spelled != symbol:
            position, reason, how = self._map_symbol(spelled)
            return position, reason, "case" if how else ""
        if found := _LOC.match(symbol):
            return self._map_entrez(found[1]) or (-1, UNKNOWN_SYMBOL, "")
        return -1, TRANSGENE if gene_ids.is_transgene(symbol) else UNKNOWN_SYMBOL, ""

    def _repair_dates(self, names: list[str], outcomes: list[Outcome], id_kind: str, keep_prefix: str | None) -> None:
        """Give a date back its gene where it can only be one.

        A date that occurs twice stands for two symbols. Where the table also has the gene under a name, the date stands
        for something else: Excel would have changed both.
        """
        dates = {}
        for i, (_, reason, _) in enumerate(outcomes):
            if reason == EXCEL_DATE:
                symbol = _without_prefix(names[i], keep_prefix)
                dates[i] = gene_ids.excel_date(symbol.partition("|")[0] if id_kind == "symbol_entrez" else symbol)
        times = Counter(date.key for date in dates.values() if date)
        taken = {position for position, _, _ in outcomes}
        for i, date in dates.items():
            if date and date.month and not date.again and times[date.key] == 1:
                position = self._gene_of_date(date.key)
                if position >= 0 and position not in taken:
                    outcomes[i] = position, "", "excel"

    def _gene_of_date(self, date: tuple[int, int]) -> int:
        """Return the axis position of the one gene whose symbol becomes this date, else -1.

        Tables hold symbols that were official in their time; an alias counts only where no official symbol fits.
        """
        candidates = self._official_dates.get(date) or self._alias_dates.get(date, [])
        found = {self._map_symbol(name)[0] for name in candidates}
        return found.pop() if len(found) == 1 else -1


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


def _by_date(names: Iterable[str]) -> dict[tuple[int, int], list[str]]:
    """Return the names that Excel takes for dates, by date."""
    found: dict[tuple[int, int], list[str]] = defaultdict(list)
    for name in names:
        if date := gene_ids.date_of_symbol(name):
            found[date].append(name)
    return dict(found)


def _without_prefix(gene: str, prefix: str | None) -> str:
    """Return an id without the genome that was put before it (GRCh38_); ENSG is part of the id and stays."""
    return gene.removeprefix(prefix) if prefix and prefix.endswith("_") else gene
