"""Triplets without a size line (sci-Plex's UMI.count.matrix): gene index, cell index, count."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import polars as pl

from curation.catalog import Part
from curation.errors import InputError
from curation.readers.id_lists import HEADER_WORDS, IdList, read_ids
from curation.readers.matrix_market import entries
from curation.readers.matrix_reader import MatrixReader, damage_told
from curation.readers.metadata import read_metadata, sample_table
from curation.readers.mtx import check_inside
from curation.readers.triplet_spool import TripletSpool

# Cells of the catalogue's only such study have some 900 genes; a run then holds 2,330 of them.
MEAN_NNZ = 900


def open_triplets(part: Part, sources: Path, scratch: Path, columns: frozenset[str] | None) -> MatrixReader:
    """Open `matrix` (three columns without header, indices from 1), `features`, `barcodes`, optional `metadata`.

    Nothing in the matrix says how long the lists are, and a header that is taken for a label, or a label that is taken
    for a header, gives every count to its neighbour. So both lists are held against the largest index.
    """
    path = sources / part.files["matrix"]
    lists = {role: read_ids(sources / part.files[role]) for role in ("features", "barcodes")}
    n_genes, n_samples = (len(lists[role].ids) for role in ("features", "barcodes"))
    for role, labels in lists.items():
        if not labels.header and _looks_like_a_header(labels.ids):
            raise InputError(
                "the first line of a list looks like a header that is not known",
                where=str(sources / part.files[role]),
                expected=f"a label like {labels.ids[1]!r}, or a header: {', '.join(sorted(HEADER_WORDS - {''}))}",
                found=repr(labels.ids[0]),
                todo="name its first column `id`, or take the line away; every label would else be one row off",
            )
    metadata = read_metadata(sources / part.files["metadata"], columns) if "metadata" in part.files else None
    samples = sample_table(lists["barcodes"].ids, metadata, where=str(path))
    with ExitStack() as stack, damage_told(str(path)):
        spool = TripletSpool(scratch, n_rows=n_samples, n_columns=n_genes, mean_nnz=MEAN_NNZ)
        stack.callback(spool.close)
        largest = {"features": 0, "barcodes": 0}
        for genes, cells, values in entries(path, skip=0):
            largest["features"] = max(largest["features"], int(genes.max()) + 1)
            largest["barcodes"] = max(largest["barcodes"], int(cells.max()) + 1)
            for role, length in (("features", n_genes), ("barcodes", n_samples)):
                if largest[role] > length:
                    raise _too_short(sources / part.files[role], lists[role], largest[role])
            check_inside(genes, cells, shape=(n_genes, n_samples))
            spool.append(cells, genes, values)
        return MatrixReader(
            where=str(path),
            gene_ids=lists["features"].ids.to_list(),
            rows=spool,
            samples=samples,
            closing=stack.pop_all(),
        )


def _looks_like_a_header(ids: pl.Series) -> bool:
    """Return whether the first label alone has no digit: all ids of Ensembl and all barcodes of plates have one."""
    has_digit = ids.str.contains(r"\d")
    return len(ids) > 1 and not has_digit[0] and bool(has_digit[1:].all())


def _too_short(path: Path, labels: IdList, largest: int) -> InputError:
    header = "the first line was taken for a header" if labels.header else "no line was taken for a header"
    return InputError(
        "the matrix has an index beyond the end of its list of labels",
        where=str(path),
        expected=f"at least {largest} labels",
        found=f"{len(labels.ids)} labels ({header})",
        todo="check that matrix and lists are of one export, and the first line of the list",
    )
