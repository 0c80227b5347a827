"""AnnData objects, in memory or backed by a file."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import scipy.sparse as sp

from txfm.embedding.inputs.anndata_layout import SOME_VALUES
from txfm.embedding.inputs.raw_counts import check_numbers, places_of_counts
from txfm.embedding.inputs.samples import BLOCK_VALUES, Rows, Samples
from txfm.embedding.inputs.stored_rows import CompressedRows, DenseRows, as_supported, turn_compressed
from txfm.errors import InputError


def open_in_memory(adata: anndata.AnnData, scratch: Path, counts: str = "X") -> Samples:
    """Open one matrix of an AnnData; X of a backed one is read in blocks.

    Parameters
    ----------
    adata : anndata.AnnData
    scratch : Path
        An empty folder, in which the X of a backed AnnData that is compressed by genes is turned.
    counts : str
        "X", "raw" or "layers/NAME".

    Raises
    ------
    InputError
        It is no AnnData, or has no such matrix.
    """
    if not isinstance(adata, anndata.AnnData):
        raise InputError(
            "This cannot be embedded, because nothing names its genes",
            expected="an AnnData of raw counts, with Ensembl ids or gene symbols in var, or the path of a file",
            found=type(adata).__name__,
            todo="anndata.AnnData(counts, var=pandas.DataFrame(index=gene_names))",
        )
    matrices = _matrices(adata)
    if counts not in matrices:
        raise InputError(
            f"There is no {counts} in this AnnData",
            expected="a matrix of raw counts, by name: X, raw or layers/NAME",
            found=", ".join(matrices) or "no matrix",
            todo="; ".join(_others_with_counts(matrices, counts)),
        )
    where = f"the AnnData's {counts}"
    return Samples(
        where=where,
        rows=_rows(matrices[counts](), where, scratch),
        var=(adata.raw if counts == "raw" else adata).var,
        read_obs=lambda: adata.obs,
        other_counts=lambda: _others_with_counts(matrices, counts),
    )


class MemoryRows:
    """A matrix in memory that can be sliced by rows (`txfm.embedding.inputs.samples.Rows`)."""

    def __init__(self, matrix: Any) -> None:
        self.shape = (int(matrix.shape[0]), int(matrix.shape[1]))
        self._matrix = matrix

    def blocks(self) -> Iterator[sp.csr_matrix]:
        """Yield blocks of as many rows as hold `BLOCK_VALUES` dense values."""
        n_rows = max(1, BLOCK_VALUES // max(1, self.shape[1]))
        for start in range(0, self.shape[0], n_rows):
            rows = self._matrix[start : start + n_rows]
            yield sp.csr_matrix(rows if sp.issparse(rows) else as_supported(rows))


def _matrices(adata: anndata.AnnData) -> dict[str, Callable[[], Any]]:
    """What may hold counts; a view of an AnnData copies a matrix when it is asked for."""
    found: dict[str, Callable[[], Any]] = {}
    if _x(adata) is not None:
        found["X"] = lambda: adata.X
    if adata.raw is not None:
        found["raw"] = lambda: adata.raw.X
    return found | {f"layers/{name}": partial(adata.layers.__getitem__, name) for name in adata.layers}


def _x(adata: anndata.AnnData) -> Any:
    """Its X. Of some views of a backed AnnData, such as one in reverse order, anndata cannot give it."""
    try:
        return adata.X
    except (ValueError, TypeError, IndexError) as error:
        raise InputError(
            "anndata cannot read X of this view",
            where="the AnnData's X",
            found=str(error),
            todo="pass adata.to_memory(), or a view of ascending rows",
        ) from error


def _rows(matrix: Any, where: str, scratch: Path) -> Rows:
    check_numbers(np.dtype(matrix.dtype), where)
    if isinstance(matrix, h5py.Dataset):
        return DenseRows(matrix)
    if hasattr(matrix, "group"):  # anndata's view of a sparse matrix on disk
        shape = (int(matrix.shape[0]), int(matrix.shape[1]))
        return (
            CompressedRows(matrix.group, shape)
            if matrix.format == "csr"
            else turn_compressed(matrix.group, shape, scratch)
        )
    return MemoryRows(matrix.tocsr() if sp.issparse(matrix) else matrix)


def _others_with_counts(matrices: dict[str, Callable[[], Any]], refused: str) -> list[str]:
    return places_of_counts((name, _some_values(get())) for name, get in matrices.items() if name != refused)


def _some_values(matrix: Any) -> np.ndarray:
    rows = matrix[: max(1, SOME_VALUES // max(1, matrix.shape[1]))]
    return rows.data if sp.issparse(rows) else np.asarray(rows)
