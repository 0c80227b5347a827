"""Are modules made of genes that are known to belong together? Hypergeometric tests, adjusted for their number."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from txfm.evaluation.genes.modules import Modules

SIGNIFICANT = 0.05  # adjusted p
COLUMNS = "module n_genes source set_name overlap set_size expected fold p_value p_adjusted".split()


def enrich_sets(modules: Modules, sets_of: Mapping[str, Mapping[str, np.ndarray]]) -> pd.DataFrame:
    """Over-representation of gene sets in modules.

    Parameters
    ----------
    modules : Modules
        Of n genes, which are the background.
    sets_of : mapping of str to mapping of str to numpy.ndarray
        Source to name of the set to its rows of the n genes.

    Returns
    -------
    pandas.DataFrame
        `COLUMNS`: a row a module and set that share a gene; p_value is P(overlap or more) of drawing the module's genes
        at random, p_adjusted Benjamini-Hochberg over all modules and sets of the source, those without overlap (p = 1)
        included.
    """
    n = len(modules.module_of)
    members = modules.members()
    parts = []
    for source, sets in sets_of.items():
        rows = []
        for name, genes in sets.items():
            in_module = modules.module_of[genes]
            overlaps = np.bincount(in_module[in_module >= 0], minlength=len(members))
            for module in np.flatnonzero(overlaps):
                rows.append((int(module), len(members[module]), source, name, int(overlaps[module]), len(genes)))
        parts.append(_tested(rows, n, n_tests=len(members) * len(sets)))
    return joined(parts)


def enrich_relations(modules: Modules, pairs_of: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Over-representation of related pairs among the pairs of genes within modules.

    Parameters
    ----------
    modules : Modules
        Of n genes; all their n (n - 1) / 2 pairs are the background.
    pairs_of : mapping of str to numpy.ndarray (p, 2), int64
        Database to its different pairs, as rows of the n genes.

    Returns
    -------
    pandas.DataFrame
        `COLUMNS`: a row a module and database, set_name "related pairs"; overlap, set_size and expected count pairs.
        Adjusted over the modules of a database. Pairs that share a gene are not independent, so p-values order modules
        and should not be read as probabilities.
    """
    sizes = [len(genes) for genes in modules.members()]
    n = len(modules.module_of)
    parts = []
    for database, pairs in pairs_of.items():
        first, second = modules.module_of[pairs[:, 0]], modules.module_of[pairs[:, 1]]
        within = np.bincount(first[(first == second) & (first >= 0)], minlength=len(sizes))
        rows = [(i, size, database, "related pairs", int(within[i]), len(pairs)) for i, size in enumerate(sizes)]
        drawn = [size * (size - 1) // 2 for size in sizes]
        parts.append(_tested(rows, n * (n - 1) // 2, n_tests=len(rows), drawn=drawn))
    return joined(parts)


def joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables of tests one below the other; an empty one has no types, so it is left out."""
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=COLUMNS)


def _tested(
    rows: Sequence[tuple[int, int, str, str, int, int]], n: int, n_tests: int, drawn: Sequence[int] | None = None
) -> pd.DataFrame:
    """p-values of overlaps of sets with `drawn` of n things; tests without a row count as p = 1."""
    table = pd.DataFrame(rows, columns=COLUMNS[:6])
    sizes = np.array(table["n_genes"] if drawn is None else drawn, dtype=np.int64)
    overlap, set_size = table["overlap"].to_numpy(dtype=np.int64), table["set_size"].to_numpy(dtype=np.int64)
    table["expected"] = sizes * set_size / n
    table["fold"] = overlap / np.maximum(table["expected"], np.finfo(float).tiny)
    table["p_value"] = stats.hypergeom.sf(overlap - 1, n, set_size, sizes)
    every = np.concatenate([table["p_value"], np.ones(n_tests - len(table))])
    table["p_adjusted"] = stats.false_discovery_control(every)[: len(table)] if len(every) else []
    return table.astype({"fold": float, "expected": float, "p_adjusted": float})
