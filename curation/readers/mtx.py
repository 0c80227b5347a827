"""Matrix Market triplets with their gene and barcode lists (Cell Ranger v2 and v3, and exports in that shape)."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from curation.catalog import Part
from curation.errors import InputError
from curation.readers.column_choice import ChosenColumns
from curation.readers.id_lists import GENE_EXPRESSION, read_ids
from curation.readers.matrix_market import entries, read_sizes
from curation.readers.matrix_reader import MatrixReader, damage_told
from curation.readers.metadata import read_metadata, sample_table
from curation.readers.text import line_chunks
from curation.readers.triplet_spool import TripletSpool


def open_mtx(part: Part, sources: Path, scratch: Path, columns: frozenset[str] | None) -> MatrixReader:
    """Open `matrix`, `features` (or genes), `barcodes`, optional `metadata`; entries in any order.

    Which side of the matrix is genes follows from the part's orientation, else from the lists' lengths; equal lengths
    are read as genes by samples, the way Cell Ranger writes them. Features of another type than gene expression
    (antibodies, guides) are left out and counted.
    """
    path = sources / part.files["matrix"]
    features = read_ids(sources / part.files["features"])
    barcodes = read_ids(sources / part.files["barcodes"])
    n_genes, n_samples = len(features.ids), len(barcodes.ids)
    n_header, (n_rows, n_columns, n_entries) = read_sizes(path)
    fits = {"genes_by_samples": (n_genes, n_samples), "samples_by_genes": (n_samples, n_genes)}
    if part.orientation is not None:
        fits = {part.orientation: fits[part.orientation]}
    orientation = next((name for name, shape in fits.items() if shape == (n_rows, n_columns)), None)
    if orientation is None:
        either = ", either way round" if part.orientation is None else f", as {part.orientation}"
        raise InputError(
            "the matrix does not fit its lists",
            where=str(path),
            expected=f"{n_genes} genes x {n_samples} samples{either}",
            found=f"{n_rows} x {n_columns}",
            todo="check that matrix, features and barcodes are of one export",
        )
    if not n_entries and next(line_chunks(path, skip=n_header), None) is None:
        raise InputError(
            "the matrix is whole but empty",
            where=str(path),
            expected="at least one entry",
            found=f"a size line of {n_rows} x {n_columns} with 0 entries, and none after it",
            todo="leave this part out of the catalogue, or point it at the matrix that holds the counts",
        )
    metadata = read_metadata(sources / part.files["metadata"], columns) if "metadata" in part.files else None
    samples = sample_table(barcodes.ids, metadata, where=str(path))
    with ExitStack() as stack, damage_told(str(path)):
        spool = TripletSpool(scratch, n_rows=n_samples, n_columns=n_genes, mean_nnz=n_entries / max(1, n_samples))
        stack.callback(spool.close)
        n_read = 0
        for rows, columns_, values in entries(path, skip=n_header):
            check_inside(rows, columns_, shape=(n_rows, n_columns))
            if orientation == "genes_by_samples":
                rows, columns_ = columns_, rows
            spool.append(rows, columns_, values)
            n_read += len(rows)
        if n_read != n_entries:
            raise InputError(
                "the matrix does not hold what its size line says",
                expected=f"{n_entries} entries",
                found=f"{n_read} entries",
                todo="the file is cut: delete it and fetch it again",
            )
        kept = np.flatnonzero((features.types == GENE_EXPRESSION).to_numpy())
        left_out = Counter(features.types.filter(features.types != GENE_EXPRESSION).to_list())
        return MatrixReader(
            where=str(path),
            gene_ids=features.ids.gather(kept).to_list(),
            rows=ChosenColumns(spool, kept, n_columns=n_genes) if left_out else spool,
            samples=samples,
            closing=stack.pop_all(),
            left_out=left_out,
        )


def check_inside(rows: np.ndarray, columns: np.ndarray, *, shape: tuple[int, int]) -> None:
    """Raise an InputError if an entry, counted from 0, lies outside a matrix of this shape."""
    if not len(rows):
        return
    if min(rows.min(), columns.min()) < 0 or rows.max() >= shape[0] or columns.max() >= shape[1]:
        raise InputError(
            "an entry lies outside the matrix",
            expected=f"rows 1 to {shape[0]}, columns 1 to {shape[1]}",
            found=f"rows {rows.min() + 1} to {rows.max() + 1}, columns {columns.min() + 1} to {columns.max() + 1}",
            todo="the file is damaged, or of another export than its lists: fetch them again",
        )
