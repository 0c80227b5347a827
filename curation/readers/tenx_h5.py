"""Cell Ranger's HDF5 matrices: v2, a group a genome, and v3, one group with a list of features."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import polars as pl

from curation.catalog import Part
from curation.errors import InputError
from curation.readers.column_choice import ChosenColumns
from curation.readers.h5ad import open_hdf5
from curation.readers.id_lists import GENE_EXPRESSION
from curation.readers.matrix_reader import MatrixReader, Rows, damage_told
from curation.readers.metadata import read_metadata, sample_table
from curation.readers.sparse_rows import SparseRows


def open_tenx_h5(part: Part, sources: Path, scratch: Path, columns: frozenset[str] | None) -> MatrixReader:
    """Open `matrix`: a file of Cell Ranger 2 or of 3 and later; `metadata`: optional table.

    Gene ids are Ensembl's. Where the file holds several genomes, the part names one. Features of another type than
    gene expression (antibodies, guides) are left out and counted.
    """
    path = sources / part.files["matrix"]
    metadata = read_metadata(sources / part.files["metadata"], columns) if "metadata" in part.files else None
    with ExitStack() as stack, damage_told(str(path)):
        file = stack.enter_context(open_hdf5(path))
        group, ids, chosen, left_out = _v3(file["matrix"], part, path) if "matrix" in file else _v2(file, part, path)
        n_genes, n_samples = (int(n) for n in group["shape"][:])
        barcodes = _texts(group["barcodes"])
        if (n_genes, n_samples) != (len(ids), len(barcodes)):
            raise InputError(
                "the matrix does not fit its lists",
                where=str(path),
                expected=f"{len(ids)} features x {len(barcodes)} barcodes",
                found=f"{n_genes} x {n_samples}",
                todo="the file is damaged: fetch it again",
            )
        kept = np.flatnonzero(chosen)
        rows: Rows = SparseRows(group, n_rows=n_samples, n_columns=n_genes)
        if len(kept) < n_genes:
            rows = ChosenColumns(rows, kept, n_columns=n_genes)
        return MatrixReader(
            where=f"{path}, {group.name}",
            gene_ids=ids.gather(kept).to_list(),
            rows=rows,
            samples=sample_table(barcodes, metadata, where=str(path)),
            closing=stack.pop_all(),
            left_out=left_out,
        )


def _v2(file: h5py.File, part: Part, path: Path) -> tuple[Any, pl.Series, np.ndarray, dict[str, int]]:
    genomes = [name for name, group in file.items() if isinstance(group, h5py.Group) and "barcodes" in group]
    group = file[_genome(genomes, part, path)]
    ids = _texts(group["genes"])
    return group, ids, np.ones(len(ids), dtype=bool), {}


def _v3(group: Any, part: Part, path: Path) -> tuple[Any, pl.Series, np.ndarray, dict[str, int]]:
    features = group["features"]
    ids, types = _texts(features["id"]), _texts(features["feature_type"])
    is_gene = (types == GENE_EXPRESSION).to_numpy()
    left_out = Counter(types.filter(types != GENE_EXPRESSION).to_list())
    if "genome" not in features:
        return group, ids, is_gene, dict(left_out)
    genomes = _texts(features["genome"])
    genome = _genome(genomes.filter(pl.Series(is_gene)).unique(maintain_order=True).to_list(), part, path)
    chosen = is_gene & (genomes == genome).to_numpy()
    left_out.update(genomes.filter(pl.Series(is_gene & ~chosen)).to_list())
    return group, ids, chosen, dict(left_out)


def _genome(genomes: list[str], part: Part, path: Path) -> str:
    """Return the genome to read: the part's, or the only one there is."""
    if part.genome is not None and part.genome in genomes:
        return part.genome
    if part.genome is None and len(genomes) == 1:
        return genomes[0]
    raise InputError(
        "the file holds several genomes" if part.genome is None and genomes else "there is no such genome",
        where=str(path),
        expected="one genome" if part.genome is None else f"a genome {part.genome!r}",
        found=", ".join(genomes) or "no matrix of Cell Ranger",
        todo="name one of these as `genome` of this part in the catalogue" if genomes else "check the part's format",
    )


def _texts(array: Any) -> pl.Series:
    return pl.Series([value.decode("utf-8", "replace") for value in array[:].tolist()], dtype=pl.String)
