"""Lists of genes and of samples beside a sparse matrix: tsv or csv, with or without header and row numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from curation.readers.text import read_table, separator_of

# First fields of a header, in lower case; no gene and no barcode is called so. "" and x: R's write.csv of a vector.
HEADER_WORDS = frozenset(
    {"", "x", "barcode", "barcodes", "cell", "cells", "cell_id", "cellid", "id", "gene", "genes", "gene_id", "gene_ids"}
    | {"gene_name", "gene_names", "gene_symbol", "gene_short_name", "symbol", "feature", "features", "v1", "index"}
)
GENE_EXPRESSION = "Gene Expression"
# Cell Ranger's types, by which a third column of types is told from one of chromosomes or biotypes
FEATURE_TYPES = frozenset(
    {GENE_EXPRESSION, "Antibody Capture", "Antigen Capture", "CRISPR Guide Capture", "Multiplexing Capture"}
    | {"VDJ", "VDJ-T", "VDJ-B", "Custom", "Peaks"}
)


@dataclass(frozen=True, kw_only=True)
class IdList:
    """One id a line.

    Attributes
    ----------
    ids : Series of str
        In file order, without the header.
    types : Series of str
        What Cell Ranger's third column says of each; Gene Expression where there is none.
    header : bool
        Whether the first line was taken for a header.
    """

    ids: pl.Series
    types: pl.Series
    header: bool


def read_ids(path: Path) -> IdList:
    """Read a list of ids: the first column that does not number the rows.

    Raises
    ------
    InputError
        It is damaged, empty, or not a table.
    """
    separator = separator_of(path)
    options = {} if separator == "," else {"quote_char": None}  # a tsv of genes may hold a prime: 5" end
    frame = read_table(path, has_header=False, separator=separator, **options).with_columns(pl.all().fill_null(""))
    frame = frame.with_columns(pl.all().str.strip_chars('" \r'))
    first = {field.lower() for field in frame.row(0)}
    header = first <= HEADER_WORDS | {"sample", "name", "feature_type"} and bool(first & HEADER_WORDS)
    if header:
        frame = frame[1:]
    numbered = pl.Series([str(i) for i in range(1, frame.height + 1)], dtype=pl.String)
    if frame.width > 1 and frame.height and (frame.to_series(0) == numbered).all():
        frame = frame[:, 1:]
    ids = frame.to_series(0)
    if frame.width >= 3 and frame.to_series(2).is_in(list(FEATURE_TYPES)).any():
        types = frame.to_series(2)
    else:
        types = pl.repeat(GENE_EXPRESSION, frame.height, dtype=pl.String, eager=True)
    return IdList(ids=ids, types=types, header=header)
