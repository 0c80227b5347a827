"""Dense tables as text, either way round."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import polars as pl

from curation.catalog import Part
from curation.readers.dense_rows import csr_from_dense
from curation.readers.matrix_reader import MatrixReader, damage_told
from curation.readers.metadata import Metadata, read_metadata, sample_table
from curation.readers.number_rows import number_rows
from curation.readers.row_spool import RowSpool
from curation.readers.text import header_of, separator_of
from curation.readers.triplet_spool import TripletSpool

# Non-zeros that a sample of a table with genes as rows may have: the number of genes is not known before the end, and
# 60,000 is what annotations count, of which a bulk sample sees half.
GENES_SEEN = 30_000


def open_dense_text(part: Part, sources: Path, scratch: Path, columns: frozenset[str] | None) -> MatrixReader:
    """Open `matrix`: csv or tsv, plain or gz, one header line, names in the first column; `metadata`: optional table.

    The text is parsed once, into a spool under `scratch`.
    """
    path = sources / part.files["matrix"]
    separator = separator_of(path)
    metadata = read_metadata(sources / part.files["metadata"], columns) if "metadata" in part.files else None
    if part.orientation == "genes_by_samples":
        samples = header_of(path, separator)
        return open_genes_by_samples(path, samples, metadata, scratch, separator=separator, skip=1, n_labels=1)
    gene_ids = header_of(path, separator)
    with ExitStack() as stack, damage_told(str(path)):
        spool = RowSpool(scratch, n_columns=len(gene_ids))
        stack.callback(spool.close)
        ids: list[pl.Series] = []
        for names, values in number_rows(path, separator=separator, n_values=len(gene_ids), skip=1):
            ids.append(pl.Series(names, dtype=pl.String))
            spool.append(csr_from_dense(values))
        samples_ = sample_table(pl.concat(ids), metadata, where=str(path))
        return MatrixReader(where=str(path), gene_ids=gene_ids, rows=spool, samples=samples_, closing=stack.pop_all())


def open_genes_by_samples(
    path: Path,
    sample_ids: list[str],
    metadata: Metadata | None,
    scratch: Path,
    *,
    separator: str,
    skip: int,
    n_labels: int,
) -> MatrixReader:
    """Open a table that lists genes: `skip` lines, then rows of `n_labels` text columns and a number a sample."""
    with ExitStack() as stack, damage_told(str(path)):
        samples = sample_table(sample_ids, metadata, where=str(path))
        spool = TripletSpool(scratch, n_rows=len(samples), n_columns=None, mean_nnz=GENES_SEEN)
        stack.callback(spool.close)
        gene_ids: list[str] = []
        for names, values in number_rows(
            path, separator=separator, n_values=len(samples), skip=skip, n_labels=n_labels
        ):
            spool.append_rows(csr_from_dense(np.ascontiguousarray(values.T)), len(gene_ids))
            gene_ids += names
        spool.set_columns(len(gene_ids))
        return MatrixReader(where=str(path), gene_ids=gene_ids, rows=spool, samples=samples, closing=stack.pop_all())
