"""STAR's gene counts of the Genomic Data Commons: one file an aliquot, listed by a receipt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import polars as pl
from scipy import sparse

from curation.blocks import rows_per_block
from curation.catalog import Part
from curation.errors import InputError
from curation.readers.dense_rows import csr_from_dense
from curation.readers.matrix_reader import MatrixReader
from curation.readers.metadata import SampleTable
from curation.readers.text import read_table, whole_file

COUNTS = "unstranded"
# Rows that count reads of no gene: N_unmapped, N_multimapping, N_noFeature, N_ambiguous
NOT_GENES = "^N_"


def open_star_counts(part: Part, sources: Path, scratch: Path, columns: frozenset[str] | None) -> MatrixReader:
    """Open `matrix`: the receipt that the fetch step writes, with the columns aliquot and path.

    Sample ids are the aliquots' barcodes; the receipt's columns are the metadata. Of a file, a line of comment, the
    header and the four rows N_* are left out, and the counts are the column `unstranded`.
    """
    path = sources / part.files["matrix"]
    receipt = read_table(path, separator="\t", quote_char=None, comment_prefix="#").with_columns(pl.all().fill_null(""))
    missing = [name for name in ("file_id", "aliquot", "path") if name not in receipt.columns]
    if missing or not receipt.height:
        raise InputError(
            "this is not a receipt of the GDC's files",
            where=str(path),
            expected="a row a file, with columns file_id, aliquot and path",
            found=", ".join(receipt.columns) if missing else "no row",
            todo="fetch it with `python -m curation fetch`",
        )
    kept = [name for name in receipt.columns if columns is None or name in columns]
    aliquot = pl.when(pl.col("aliquot") == "").then("file_id").otherwise("aliquot")
    samples = SampleTable(receipt.select(aliquot).to_series(), tuple(receipt.columns), receipt.select(kept))
    rows = _StarRows([path.parent / name for name in receipt["path"].to_list()])
    return MatrixReader(
        where=f"{path}, column {COUNTS} of its files",
        gene_ids=rows.gene_ids.to_list(),
        rows=rows,
        samples=samples,
        closing=ExitStack(),
        left_out=rows.left_out,
    )


class _StarRows:
    """A file a row; the first one's genes are those of all."""

    def __init__(self, paths: list[Path]) -> None:
        self.n_rows = len(paths)
        self._paths = paths
        table = _read(paths[0])
        is_gene = ~table["gene_id"].str.contains(NOT_GENES)
        self._all_ids = table["gene_id"]
        self._is_gene = is_gene.to_numpy()
        self.gene_ids = table["gene_id"].filter(is_gene)
        self.left_out = dict.fromkeys(table["gene_id"].filter(~is_gene).to_list(), 1)

    def blocks(self) -> Iterator[tuple[int, sparse.csr_matrix]]:
        step = rows_per_block(len(self.gene_ids))
        for first in range(0, self.n_rows, step):
            yield first, self.rows(first, min(first + step, self.n_rows))

    def rows(self, first: int, last: int) -> sparse.csr_matrix:
        return csr_from_dense(np.stack([self._counts(path) for path in self._paths[first:last]]))

    def _counts(self, path: Path) -> np.ndarray:
        table = _read(path)
        if not table["gene_id"].equals(self._all_ids):
            raise InputError(
                "two files list different genes",
                where=str(path),
                expected=f"the {len(self._all_ids)} rows of {self._paths[0]}, in their order",
                found=_difference(table["gene_id"], self._all_ids),
                todo="the file is cut, or of another data release: list the files anew and fetch them",
            )
        found: np.ndarray = table[COUNTS].to_numpy()[self._is_gene]
        return found


def _read(path: Path) -> pl.DataFrame:
    """Return gene_id and the counts of one file."""
    if not path.exists():
        raise InputError(
            "a file of the receipt is not there",
            where=str(path),
            expected="the file that the fetch step put there",
            found="nothing",
            todo="run the fetch step of this study again",
        )
    with whole_file(path) as handle:
        content = handle.read()
    try:
        table = pl.read_csv(
            content,
            separator="\t",
            comment_prefix="#",
            columns=["gene_id", COUNTS],
            schema_overrides={"gene_id": pl.String, COUNTS: pl.Int64},
            quote_char=None,
        )
    except pl.exceptions.PolarsError as error:
        raise InputError(
            "this is not a file of STAR's gene counts",
            where=str(path),
            expected=f"columns gene_id and {COUNTS}, the latter of integers",
            found=str(error).splitlines()[0],
            todo="the file is damaged or of another workflow: remove it and run the fetch step again",
        ) from error
    if table.null_count().sum_horizontal().item():
        raise InputError(
            "a value is missing",
            where=str(path),
            expected=f"gene_id and {COUNTS} in every row",
            found="an empty field",
            todo="the file is cut: remove it and run the fetch step again",
        )
    return table


def _difference(found: pl.Series, expected: pl.Series) -> str:
    if len(found) != len(expected):
        return f"{len(found)} rows"
    place = int((found != expected).arg_max() or 0)
    return f"{found[place]} in place of {expected[place]}"
