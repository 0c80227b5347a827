"""Sets of genes that belong together: GMT files, and the clusters that efaar-benchmarking brings."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from txfm.errors import InputError

SUFFIXES = (".gmt", ".tsv")


def read_gene_sets(path: Path) -> dict[str, frozenset[str]]:
    """Read sets of names.

    Parameters
    ----------
    path : Path
        .gmt: name, description and genes, separated by tabs (Broad Institute). .tsv: name, a tab, and genes separated
        by spaces, as ``CORUM_clusters.tsv`` of efaar-benchmarking.

    Raises
    ------
    InputError
        The kind is unknown, it cannot be read, or a line has no genes.
    """
    if path.suffix not in SUFFIXES:
        raise InputError("The kind of the gene sets is unknown", where=str(path), expected=" or ".join(SUFFIXES))
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("The gene sets cannot be read", where=str(path), found=str(error)) from error
    sets: dict[str, frozenset[str]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, *fields = line.split("\t")
        genes = frozenset(gene for gene in (fields[1:] if path.suffix == ".gmt" else " ".join(fields).split()) if gene)
        if not genes or name in sets:
            raise InputError(
                "A line of the gene sets cannot be used",
                where=f"{path}, line {number}",
                expected="a name that no other set has, and genes",
                found=line[:60],
                todo="a file that begins with 'version https://git-lfs' is a pointer: fetch the file itself"
                if "git-lfs" in lines[0]
                else "",
            )
        sets[name] = genes
    if not sets:
        raise InputError("There are no gene sets in this file", where=str(path))
    return sets


def rows_of_sets(
    sets: Mapping[str, frozenset[str]], row_of_name: Mapping[str, int], min_genes: int
) -> tuple[dict[str, np.ndarray], int]:
    """The sets as rows of a matrix of genes, and how many were left out for fewer than `min_genes` genes in it."""
    found = {
        name: np.unique([row_of_name[gene] for gene in genes if gene in row_of_name]).astype(np.int64)
        for name, genes in sets.items()
    }
    kept = {name: rows for name, rows in found.items() if len(rows) >= min_genes}
    return kept, len(found) - len(kept)
