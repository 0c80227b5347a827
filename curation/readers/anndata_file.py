"""The layout that h5ad files and anndata's Zarr stores share: X, raw, layers, obs and var."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from curation.catalog import Part
from curation.errors import InputError
from curation.readers.dense_rows import ContiguousRows, DenseRows
from curation.readers.frames import AnnDataFrame
from curation.readers.matrix_reader import MatrixReader, Rows, damage_told
from curation.readers.sparse_rows import SparseRows, turned_rows

# Samples of another matrix that are looked at, for advice
ROWS_OF_OTHERS = 64


def read_anndata(
    root: Any, part: Part, path: Path, scratch: Path, columns: frozenset[str] | None, stack: ExitStack
) -> MatrixReader:
    """Return a reader of the matrix that the part names.

    Parameters
    ----------
    root : group of h5py or zarr
    part : Part
        `matrix`: X, raw/X, layers/NAME, or auto (raw/X where there is one, else X); `gene_column`: of var.
    path : Path
        For messages.
    scratch : Path
    columns : frozenset of str or None
        Columns of obs that are wanted.
    stack : ExitStack
        Closes `root`; the reader takes it over.

    Raises
    ------
    InputError
        There is no such matrix or column, or the file contradicts itself.
    """
    name = part.matrix if part.matrix != "auto" else ("raw/X" if "raw/X" in matrices(root) else "X")
    found = matrices(root)
    if name not in found:
        raise InputError(
            f"there is no {name}",
            where=str(path),
            expected=f"a matrix of raw counts at {name}",
            found=", ".join(found) or "no matrix at all",
            todo="name one of these as `matrix` of this part in the catalogue",
        )
    gene_ids = _gene_ids(found[name][1], part, f"{path}, var")
    samples = AnnDataFrame(root["obs"], where=f"{path}, obs", columns=columns)
    where = f"{path}, {name}"
    shape = shape_of(found[name][0])
    if shape != (len(samples), len(gene_ids)):
        raise InputError(
            "the matrix does not fit obs and var",
            where=where,
            expected=f"{len(samples)} x {len(gene_ids)}",
            found=f"{shape[0]} x {shape[1]}",
            todo="the file is damaged: fetch it again",
        )

    def others() -> list[tuple[str, bool]]:
        return [(other, _like_counts(matrix)) for other, (matrix, _) in found.items() if other != name]

    with damage_told(where):
        rows = rows_of(found[name][0], scratch, stack)
    return MatrixReader(
        where=where, gene_ids=gene_ids, rows=rows, samples=samples, closing=stack.pop_all(), others=others
    )


def matrices(root: Any) -> dict[str, tuple[Any, Any]]:
    """Return the names that `matrix` may take -> (matrix, its var); anndata before 0.7 wrote `raw.X` and `raw.var`."""
    found = {"X": (root["X"], root["var"])} if "X" in root and "var" in root else {}
    for matrix, var in (("raw/X", "raw/var"), ("raw.X", "raw.var")):
        if matrix in root and var in root:
            found["raw/X"] = (root[matrix], root[var])
    layers = root.get("layers", {})
    return found | {f"layers/{name}": (layers[name], root["var"]) for name in layers}


def rows_of(matrix: Any, scratch: Path, stack: ExitStack) -> Rows:
    """Return the rows of a matrix of any layout."""
    layout = layout_of(matrix)
    if layout == "dense":
        if isinstance(matrix, h5py.Dataset) and ContiguousRows.suits(matrix):
            contiguous = ContiguousRows(matrix)
            stack.callback(contiguous.close)
            return contiguous
        dense = DenseRows(matrix, scratch)
        stack.callback(dense.close)
        return dense
    n_rows, n_columns = shape_of(matrix)
    if layout == "csr":
        return SparseRows(matrix, n_rows=n_rows, n_columns=n_columns)
    spool = turned_rows(matrix, scratch, n_rows=n_rows, n_columns=n_columns)
    stack.callback(spool.close)
    return spool


def layout_of(matrix: Any) -> str:
    """Return dense, csr or csc."""
    if hasattr(matrix, "dtype"):
        return "dense"
    encoding = matrix.attrs.get("encoding-type", matrix.attrs.get("h5sparse_format", ""))
    return "csc" if "csc" in str(encoding) else "csr"


def shape_of(matrix: Any) -> tuple[int, int]:
    """Return (samples, genes)."""
    shape = matrix.shape if hasattr(matrix, "dtype") else matrix.attrs.get("shape", matrix.attrs.get("h5sparse_shape"))
    if shape is None or len(shape) != 2:
        return (-1, -1)  # fits no obs and var, and is refused with them
    return int(shape[0]), int(shape[1])


def _gene_ids(var: Any, part: Part, where: str) -> list[str]:
    table = AnnDataFrame(var, where=where, columns=frozenset())
    if part.gene_column is None:
        return table.ids(0, len(table))
    if part.gene_column not in table.columns:
        raise InputError(
            f"there is no column {part.gene_column!r}",
            where=f"{where}, named by `gene_column` of the part",
            expected=f"a column {part.gene_column!r}",
            found=", ".join(table.columns) or "no columns",
            todo="correct the study's entry in the catalogue",
        )
    return table.column(part.gene_column)


def _like_counts(matrix: Any) -> bool:
    """Return whether the first values are integers from 0 on, one of them at least above."""
    if layout_of(matrix) == "dense":
        values = np.asarray(matrix[:ROWS_OF_OTHERS])
    else:
        values = np.asarray(matrix["data"][: ROWS_OF_OTHERS * 1_000])
    if not values.size or values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        return False
    return bool(values.min() >= 0 and values.max() > 0 and (values == np.floor(values)).all())
