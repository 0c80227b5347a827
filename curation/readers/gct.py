"""GCT 1.2 and 1.3 tables (GTEx): version line, size line, header, then genes by samples."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from curation.catalog import Part
from curation.errors import InputError
from curation.readers.dense_text import open_genes_by_samples
from curation.readers.matrix_reader import MatrixReader
from curation.readers.metadata import Metadata, read_metadata
from curation.readers.text import read_lines, split_line


def open_gct(part: Part, sources: Path, scratch: Path, columns: frozenset[str] | None) -> MatrixReader:
    """Open `matrix`: GCT file, plain or gz; `metadata`: optional table, which then counts instead of GCT 1.3's own.

    GCT 1.2 has the columns Name and Description before the samples. GCT 1.3 states on its size line how many columns
    describe genes after the id, and how many rows describe samples before the first gene.
    """
    path = sources / part.files["matrix"]
    version, sizes = read_lines(path, 2)
    numbers = [int(field) if field.isdigit() else -1 for field in sizes.split("\t")]
    n_sizes = {"#1.2": 2, "#1.3": 4}.get(version.strip())
    # spreadsheets fill the first two lines with tabs
    if n_sizes is None or min(numbers[:n_sizes]) < 0 or len(numbers) < n_sizes:
        raise InputError(
            "this is not a GCT file",
            where=f"{path}, lines 1 and 2",
            expected="#1.2, then the numbers of rows and columns; or #1.3, then four numbers",
            found=f"{version[:40]!r}, {sizes[:40]!r}",
            todo="check the format in the catalogue",
        )
    n_genes, n_samples, n_gene_columns, n_sample_rows = (*numbers[:n_sizes], 1, 0)[:4]
    lines = [split_line(line, "\t") for line in read_lines(path, 3 + n_sample_rows)[2:]]
    sample_ids = lines[0][1 + n_gene_columns :]
    if "metadata" in part.files:
        metadata: Metadata | None = read_metadata(sources / part.files["metadata"], columns)
    else:
        metadata = _own_metadata(sample_ids, lines[1:], 1 + n_gene_columns, columns) if n_sample_rows else None
    reader = open_genes_by_samples(
        path, sample_ids, metadata, scratch, separator="\t", skip=3 + n_sample_rows, n_labels=1 + n_gene_columns
    )
    found = (len(reader.gene_ids), reader.n_samples)
    if found != (n_genes, n_samples):
        reader.close()
        raise InputError(
            "the size line does not fit the table",
            where=f"{path}, line 2",
            expected=f"{n_genes} genes x {n_samples} samples",
            found=f"{found[0]} genes x {found[1]} samples",
            todo="the file is cut or was edited: fetch the original",
        )
    return reader


def _own_metadata(
    sample_ids: list[str], rows: list[list[str]], n_labels: int, columns: frozenset[str] | None
) -> Metadata:
    """Return what the rows above the first gene tell of the samples."""
    table = {row[0]: ["" if field == "NA" else field for field in row[n_labels:]] for row in rows}
    kept = {name: values for name, values in table.items() if columns is None or name in columns}
    frame = pl.DataFrame(kept, schema=dict.fromkeys(kept, pl.String))
    return Metadata(ids=pl.Series(sample_ids, dtype=pl.String), columns=tuple(table), frame=frame)
