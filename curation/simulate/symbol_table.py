"""A table of gene symbols as old studies have them, and what must become of each."""

from __future__ import annotations

import re

import numpy as np

from curation.simulate.axis_names import AxisNames
from curation.simulate.gene_table import MAPPED, GeneTable, TableBuilder

# Dates among the symbols of a table that went through Excel: of one gene and of several
DATES = (("March", 1), ("March", 2), ("September", 2), ("September", 8), ("December", 1))


def symbol_table(names: AxisNames, rng: np.random.Generator, n_genes: int) -> GeneTable:
    """Draw a table of symbols: current, older and shared ones, clone names, dates, two symbols of one gene."""
    table = TableBuilder(names, rng)
    n_few = max(3, n_genes // 100)
    n_clones = n_genes // 10
    mito = [position for position in names.mito.tolist() if position in names.safe_symbols]
    dated = {position for month, day in DATES for genes in names.of_date(month, day) for position in genes}
    current = sorted(set(names.safe_symbols) - set(mito) - dated)
    n_current = min(len(current), n_genes - n_clones - 5 * n_few - len(mito))
    chosen = sorted([*mito, *rng.permutation(current)[:n_current].tolist()])
    used = set(chosen)
    for position in chosen:
        table.add(names.safe_symbols[position], position, MAPPED)
    for older in (names.previous, names.alias):
        # one gene under its older name only; one under both names
        alone = [name for name, position in older.items() if position not in used | dated]
        for name in table.draw(alone, n_few):
            if older[name] not in used:
                table.add(name, older[name], MAPPED)
                used.add(older[name])
        twice = [name for name, position in older.items() if position in set(chosen)]
        for name in table.draw(twice, max(1, n_few // 2)):
            table.add(name, older[name], MAPPED)
    table.dropped(table.draw(names.ambiguous, n_few), "ambiguous_symbol")
    table.dropped(
        (f"RP{i % 13 + 1}-{100 + i}X{i % 23}.{i % 9 + 1}" for i in range(n_clones)), "unknown_symbol", boost=0.05
    )
    table.dropped(["NOTAGENE1", "NOTAGENE2"], "unknown_symbol")
    table.dropped(["eGFP", "tdTomato"], "transgene")
    table.dropped(["ERCC-00002", "ERCC-00003"], "spike_in")
    _open_reading_frames(table, used, n_few)
    for month, day in DATES:
        _date(table, used, month, day)
    return table.build()


def _open_reading_frames(table: TableBuilder, used: set[int], n: int) -> None:
    """Add capital forms of symbols like C1orf112 that the table does not hold otherwise."""
    names = table.names
    known = {name for kind in names.by_kind.values() for name in kind}
    form = re.compile(r"^C(\d+|X|Y)orf(\d+)$")
    found = {i: symbol.replace("orf", "ORF") for i, symbol in names.safe_symbols.items() if form.match(symbol)}
    chosen = [i for i, capital in found.items() if i not in used and capital not in known][:n]
    for position in chosen:
        table.add(found[position], position, MAPPED)
        used.add(position)


def _date(table: TableBuilder, used: set[int], month: str, day: int) -> None:
    """Add a date as Excel makes it of a symbol: one gene is given its counts back, several are not told apart."""
    genes = table.names.of_date(month, day)
    if not genes or any(len(found) != 1 or -1 in found for found in genes):
        return  # which gene it was is not plain
    positions = set().union(*genes)
    text = f"{day}-{month[:3]}"
    if len(positions) > 1:
        table.dropped([text], "excel_date")
    elif positions.isdisjoint(used):
        table.add(text, min(positions), MAPPED)
        used |= positions
