"""Cell Ranger's HDF5 matrices: of version 2, a group a genome; of 3 and later, one group with a list of features."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

from txfm.embedding.inputs.raw_counts import check_numbers
from txfm.embedding.inputs.samples import Rows, Samples
from txfm.embedding.inputs.stored_rows import CompressedRows
from txfm.errors import InputError

GENE_EXPRESSION = "Gene Expression"
# Cell Ranger's types of features, by which a third column of types is told from one of chromosomes or biotypes
FEATURE_TYPES = frozenset(
    {
        GENE_EXPRESSION,
        "Antibody Capture",
        "Antigen Capture",
        "CRISPR Guide Capture",
        "Multiplexing Capture",
        "Custom",
        "Peaks",
    }
)


def is_tenx(file: h5py.File) -> bool:
    """Whether an HDF5 file has Cell Ranger's layout, of either version."""
    return any(isinstance(group, h5py.Group) and "barcodes" in group and "indptr" in group for group in file.values())


def open_tenx(file: h5py.File, where: str, genome: str | None = None) -> Samples:
    """Open a matrix of Cell Ranger.

    Parameters
    ----------
    file : h5py.File
        Stays open as long as the rows are read.
    where : str
    genome : str, optional
        Which one to read of a file that holds several.

    Returns
    -------
    Samples
        var: Ensembl ids in the index, `symbol`. Features of another type than gene expression, and genes of other
        genomes, are left out and counted in a note.

    Raises
    ------
    InputError
        The file holds several genomes and none is named, or it contradicts itself.
    """
    v3 = "matrix" in file
    genomes = [name for name, group in file.items() if isinstance(group, h5py.Group) and "barcodes" in group]
    chosen = None if v3 else _chosen(genomes, genome, where)
    group = file[chosen or "matrix"]
    n_genes, n_samples = (int(n) for n in group["shape"][:])
    names = group["features"] if v3 else group
    ids, symbols = (_texts(names[name]) for name in (("id", "name") if v3 else ("genes", "gene_names")))
    barcodes = _texts(group["barcodes"])
    if (len(ids), len(barcodes)) != (n_genes, n_samples):
        raise InputError(
            "The matrix does not fit its lists",
            where=where,
            expected=f"{len(ids):,} features x {len(barcodes):,} barcodes",
            found=f"{n_genes:,} x {n_samples:,}",
            todo="the file is damaged: copy or download it again",
        )
    check_numbers(group["data"].dtype, where)
    rows: Rows = CompressedRows(group, (n_samples, n_genes))
    types = _texts(names["feature_type"]) if v3 else None
    if types is not None and "genome" in names:
        of_genome = _texts(names["genome"])
        expressed = [name for name, kind in zip(of_genome, types, strict=True) if kind == GENE_EXPRESSION]
        chosen = _chosen(list(dict.fromkeys(expressed)), genome, where)
        types = [
            f"genes of {name}" if kind == GENE_EXPRESSION and name != chosen else kind
            for name, kind in zip(of_genome, types, strict=True)
        ]
    if chosen:  # files of several species write GRCh38_ENSG..., GRCh38_TP53
        prefix = re.compile(f"^{re.escape(chosen)}_+")
        ids, symbols = ([prefix.sub("", name) for name in each] for each in (ids, symbols))
    var = pd.DataFrame({"symbol": symbols}, index=pd.Index(ids, dtype=object))
    rows, var, notes = genes_only(rows, var, types)
    obs = pd.DataFrame(index=pd.Index(barcodes, dtype=object))
    return Samples(where=where, rows=rows, var=var, read_obs=lambda: obs, notes=notes)


class ChosenColumns:
    """Some columns of other rows."""

    def __init__(self, rows: Rows, columns: np.ndarray) -> None:
        self.shape = (rows.shape[0], len(columns))
        self._rows = rows
        self._columns = columns

    def blocks(self) -> Iterator[sp.csr_matrix]:
        """Yield the blocks of the other rows, with the chosen columns."""
        for block in self._rows.blocks():
            yield block[:, self._columns]


def genes_only(
    rows: Rows, var: pd.DataFrame, types: Sequence[str] | None
) -> tuple[Rows, pd.DataFrame, tuple[str, ...]]:
    """Leave out features that are no genes, and say how many; without Cell Ranger's types all are genes."""
    if types is None or not FEATURE_TYPES.intersection(types):
        return rows, var, ()
    is_gene = np.array([kind == GENE_EXPRESSION for kind in types], dtype=bool)
    if is_gene.all():
        return rows, var, ()
    counted = Counter(kind for kind in types if kind != GENE_EXPRESSION)
    note = "left out, no genes to embed: " + ", ".join(f"{number:,} {kind}" for kind, number in counted.items())
    return ChosenColumns(rows, np.flatnonzero(is_gene)), var[is_gene], (note,)


def _chosen(genomes: list[str], genome: str | None, where: str) -> str:
    if genome in genomes:
        return str(genome)
    if genome is None and len(genomes) == 1:
        return genomes[0]
    raise InputError(
        "The file holds several genomes" if genome is None else "There is no such genome",
        where=where,
        expected="one genome" if genome is None else str(genome),
        found=", ".join(genomes),
        todo="name the human one: genome='GRCh38' (--genome GRCh38)",
    )


def _texts(array: Any) -> list[str]:
    return [value.decode("utf-8", "replace") for value in array[:].tolist()]
