"""Matrix Market triplets with their gene and barcode lists (Cell Ranger v2 and v3, and exports in that shape)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from curation.blocks import BLOCK_NNZ, Block
from curation.catalog import Part
from curation.errors import InputError
from curation.readers.text import (
    join_metadata,
    line_chunks,
    read_lines,
    read_metadata,
    read_table,
    separator_of,
    split_line,
    whole_file,
)
from curation.spool import TripletSpool

GENE_EXPRESSION = "Gene Expression"


class MtxReader:
    """`matrix`, `features` (or genes), `barcodes`, optional `metadata`; entries in any order, genes or samples as rows.

    Which side of the matrix is genes follows from the lists' lengths; equal lengths are read as genes by samples,
    the way Cell Ranger writes them. Features of another type than gene expression (antibodies, guides) are left out.
    """

    def __init__(self, part: Part, sources: Path, scratch: Path) -> None:
        path = sources / part.files["matrix"]
        ids, types = _read_features(sources / part.files["features"])
        sample_ids = _read_names(sources / part.files["barcodes"])
        n_header, (n_rows, n_columns, n_entries) = _read_sizes(path)
        self._samples_are_rows = (n_rows, n_columns) == (len(sample_ids), len(ids)) and len(ids) != len(sample_ids)
        if not self._samples_are_rows and (n_rows, n_columns) != (len(ids), len(sample_ids)):
            raise InputError(
                "the matrix does not fit its lists",
                where=str(path),
                expected=f"{len(ids)} genes x {len(sample_ids)} samples, either way round",
                found=f"{n_rows} x {n_columns}",
                todo="check that matrix, features and barcodes are of one export",
            )
        self._kept = [i for i, kind in enumerate(types) if kind == GENE_EXPRESSION]
        self.gene_ids = [ids[i] for i in self._kept]
        metadata = read_metadata(sources / part.files["metadata"]) if "metadata" in part.files else None
        self._obs = join_metadata(sample_ids, metadata, where=str(path))
        mean_nnz = max(1.0, n_entries / max(1, len(sample_ids)))
        self._spool = TripletSpool(
            scratch, n_rows=len(sample_ids), n_columns=len(ids), rows_per_run=max(1, int(BLOCK_NNZ / mean_nnz))
        )
        self._fill(path, n_header, (n_rows, n_columns, n_entries))

    def _fill(self, path: Path, n_header: int, sizes: tuple[int, int, int]) -> None:
        n_rows, n_columns, n_entries = sizes
        schema = {"row": pl.Int64, "column": pl.Int64, "value": pl.Float64}
        n_read = 0
        for chunk in line_chunks(path, skip=n_header):
            try:
                frame = pl.read_csv(io.BytesIO(chunk), has_header=False, separator=" ", schema=schema)
            except pl.exceptions.PolarsError as error:
                raise InputError(
                    "an entry cannot be read",
                    where=str(path),
                    expected="row, column and value, separated by a blank",
                    found=str(error).splitlines()[0],
                    todo="check that the file is whole",
                ) from error
            rows, columns = frame["row"].to_numpy() - 1, frame["column"].to_numpy() - 1
            below = len(rows) and min(rows.min(), columns.min()) < 0
            if below or (len(rows) and (rows.max() >= n_rows or columns.max() >= n_columns)):
                raise InputError(
                    "an entry lies outside the matrix",
                    where=str(path),
                    expected=f"rows 1 to {n_rows}, columns 1 to {n_columns}",
                    found=f"up to {rows.max() + 1}, {columns.max() + 1}; from {rows.min() + 1}, {columns.min() + 1}",
                    todo="the file is damaged: delete it and fetch it again",
                )
            samples, genes = (rows, columns) if self._samples_are_rows else (columns, rows)
            self._spool.append(samples, genes, frame["value"].to_numpy())
            n_read += frame.height
        if n_read != n_entries:
            self.close()
            raise InputError(
                "the matrix does not hold what its size line says",
                where=str(path),
                expected=f"{n_entries} entries",
                found=f"{n_read} entries",
                todo="the file is cut: delete it and fetch it again",
            )

    @property
    def n_samples(self) -> int:
        """Samples of the barcode list."""
        return len(self._obs)

    def blocks(self) -> Iterator[Block]:
        """Yield the samples in the order of the barcode list."""
        for first, counts in self._spool.blocks():
            if len(self._kept) != counts.shape[1]:
                counts = counts[:, self._kept]
            yield Block(counts=counts, obs=self._obs.iloc[first : first + counts.shape[0]])

    def close(self) -> None:
        """Remove the temporary runs."""
        self._spool.close()


def _read_sizes(path: Path) -> tuple[int, tuple[int, int, int]]:
    """Return the number of header lines and (rows, columns, entries)."""
    with whole_file(path) as handle:
        first = handle.readline().decode("utf-8", "replace").strip()
        if not first.lower().startswith("%%matrixmarket matrix coordinate") or "general" not in first.lower():
            raise InputError(
                "this is not a Matrix Market coordinate file",
                where=f"{path}, line 1",
                expected="%%MatrixMarket matrix coordinate integer (or real) general",
                found=repr(first[:80]),
                todo="check the format in the catalogue",
            )
        n_header = 1
        for line in handle:
            n_header += 1
            if not line.startswith(b"%"):
                sizes = line.split()
                if len(sizes) == 3 and all(field.isdigit() for field in sizes):
                    return n_header, (int(sizes[0]), int(sizes[1]), int(sizes[2]))
                break
    raise InputError(
        "the size line is missing or wrong",
        where=str(path),
        expected="three numbers",
        found=f"line {n_header}",
        todo="fetch the file again",
    )


def _read_names(path: Path) -> list[str]:
    """Return the first field of each line; a header of a csv list (`x`, `barcode`) is not expected in these formats."""
    with whole_file(path) as handle:
        return [line.decode().rstrip("\r\n").split("\t")[0].strip('"') for line in handle if line.strip()]


def _read_features(path: Path) -> tuple[list[str], list[str]]:
    """Return (ids, feature types) of a features.tsv or genes.tsv; a list without types is gene expression."""
    separator = separator_of(path)
    n_fields = len(split_line(read_lines(path, 1)[0], separator))
    frame = read_table(path, has_header=False, separator=separator, quote_char=None)
    ids = frame.to_series(0).fill_null("").to_list()
    types = frame.to_series(2).fill_null("").to_list() if n_fields >= 3 else [GENE_EXPRESSION] * len(ids)
    return ids, types
