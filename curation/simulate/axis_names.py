"""The names of an axis's genes as the simulator knows them: which are safe, old, shared or retired."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from functools import cached_property

import numpy as np

from curation.axis import GeneAxis

# Names that a rule about their form could take for something else (dates, clones, open reading frames, numbers)
_PLAIN = re.compile(r"^[A-Z][A-Z0-9]{2,}$")
_LIKE_A_DATE = re.compile(r"^(JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC|MARCH|SEPT)[A-Z]*\d+$")


class AxisNames:
    """What the simulator knows of an axis: which names are safe, old, shared or retired. Plain look-ups only."""

    def __init__(self, axis: GeneAxis) -> None:
        self.ids = axis.ensembl_ids
        self.symbols = axis.genes["symbol"].to_list()
        self.chromosomes = axis.genes["chromosome"].to_list()
        self.position = {gene: i for i, gene in enumerate(self.ids)}
        self.by_kind: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for name, gene, kind in axis.names.select("name", "ensembl_id", "kind").iter_rows():
            if name:
                self.by_kind[kind][name].update([gene] if gene else [])

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def mito(self) -> np.ndarray:
        """Axis positions of mitochondrial genes; by symbol where the axis states no chromosome."""
        pairs = zip(self.symbols, self.chromosomes, strict=True)
        found = [where in ("chrM", "MT") if where else symbol.startswith("MT-") for symbol, where in pairs]
        return np.flatnonzero(found)

    @cached_property
    def safe_symbols(self) -> dict[int, str]:
        """Axis position -> symbol that one gene has, and that no table of names gives to another."""
        often = Counter(self.symbols)
        found = {}
        for position, symbol in enumerate(self.symbols):
            named = {gene for kind in ("approved", "previous", "alias") for gene in self.by_kind[kind].get(symbol, ())}
            if symbol and often[symbol] == 1 and named <= {self.ids[position]}:
                found[position] = symbol
        return found

    def _only(self, kind: str) -> dict[str, tuple[int, ...]]:
        """Return plain names that are of this kind only, with the axis positions of all genes that have them."""
        others = [self.by_kind[other] for other in ("approved", "previous", "alias") if other != kind]
        symbols = set(self.symbols)
        found = {}
        for name, genes in sorted(self.by_kind[kind].items()):
            plain = _PLAIN.match(name) and not _LIKE_A_DATE.match(name)
            if plain and name not in symbols and not any(name in other for other in others):
                positions = sorted(self.position.get(gene, -1) for gene in genes)
                if positions[0] >= 0:
                    found[name] = tuple(positions)
        return found

    @cached_property
    def previous(self) -> dict[str, int]:
        """Names that one gene of the axis had before, and that no gene has now -> its position."""
        return {name: genes[0] for name, genes in self._only("previous").items() if len(genes) == 1}

    @cached_property
    def alias(self) -> dict[str, int]:
        """Names that are an alias of one gene of the axis, and nothing else -> its position."""
        return {name: genes[0] for name, genes in self._only("alias").items() if len(genes) == 1}

    @cached_property
    def ambiguous(self) -> tuple[str, ...]:
        """Names that are an alias of several genes of the axis, and nothing else."""
        return tuple(name for name, genes in self._only("alias").items() if len(genes) > 1)

    def of_date(self, month: str, day: int) -> list[set[int]]:
        """Return, for each name that Excel turns into this date, the axis positions of the genes that have or had it.

        Excel takes a beginning of a month's name, of three letters or more, and a number.
        """
        stems = {month[:n].upper() for n in range(3, len(month) + 1)}
        form = re.compile(rf"^({'|'.join(sorted(stems))})[- ]?0?{day}$", re.IGNORECASE)
        found: dict[str, set[int]] = defaultdict(set)
        for position, symbol in enumerate(self.symbols):
            if form.match(symbol):
                found[symbol].add(position)
        for kind in ("approved", "previous"):
            for name, genes in self.by_kind[kind].items():
                if form.match(name):
                    found[name] |= {self.position.get(gene, -1) for gene in genes}
        return list(found.values())

    @cached_property
    def retired(self) -> dict[str, tuple[int, ...]]:
        """Retired Ensembl ids -> positions of the genes they led to; none where the gene is gone."""
        found = {}
        for old, genes in sorted(self.by_kind["retired"].items()):
            positions = tuple(sorted(self.position[gene] for gene in genes if gene in self.position))
            if old not in self.position:
                found[old] = positions
        return found
