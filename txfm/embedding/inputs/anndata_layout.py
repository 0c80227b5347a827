"""Files in AnnData's layout, .h5ad and .zarr, read in place: only names of genes are loaded, counts come in blocks."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd

from txfm.embedding.inputs.raw_counts import check_numbers, places_of_counts
from txfm.embedding.inputs.samples import Rows, Samples, numbered
from txfm.embedding.inputs.stored_rows import CompressedRows, DenseRows, as_supported, turn_compressed
from txfm.errors import InputError

SOME_VALUES = 2**16  # of a matrix, to tell whether it holds counts
SPARSE_KINDS = ("csr", "csc")


def open_anndata_layout(group: Any, where: str, scratch: Path, counts: str = "X") -> Samples:
    """Open one matrix of a group.

    Parameters
    ----------
    group : h5py.File or zarr.Group
        Of any version of anndata from 0.6 on; stays open as long as the rows are read.
    where : str
        The file, for messages.
    scratch : Path
        An empty folder, in which a matrix that is compressed by genes (CSC) is turned.
    counts : str
        "X", "raw" or "layers/NAME".

    Raises
    ------
    InputError
        There is no such matrix, it is none, or it does not fit obs and var.
    """
    matrices = dict(_matrices(group))
    if counts not in matrices:
        raise InputError(
            f"There is no {counts} in this file",
            where=where,
            expected="a matrix of raw counts, by name: X, raw or layers/NAME",
            found=", ".join(matrices) or f"no matrix, only {', '.join(group) or 'an empty file'}",
            todo="; ".join(_others_with_counts(matrices, counts))
            or "check that this is an AnnData file (.h5ad, .zarr)",
        )
    matrix = matrices[counts]
    shape = _shape(matrix)
    place = f"{where}, {counts}"
    if len(shape) != 2:
        raise InputError(
            "This is no matrix", where=place, expected="samples x genes", found=f"an array of shape {shape}"
        )
    var = read_table(group["raw.var" if "raw.var" in group else "raw/var"] if counts == "raw" else group["var"])
    n_obs = _length(group["obs"]) if "obs" in group else shape[0]
    if (n_obs, len(var)) != shape:
        raise InputError(
            "The matrix does not fit its tables",
            where=place,
            expected=f"{n_obs:,} samples (obs) x {len(var):,} genes (var)",
            found=f"{shape[0]:,} x {shape[1]:,}",
            todo="the file is damaged: write or copy it again",
        )
    check_numbers(_values(matrix).dtype, place)
    rows: Rows
    if _kind(matrix) == "dense":
        rows = DenseRows(matrix)
    elif _kind(matrix) == "csr":
        rows = CompressedRows(matrix, shape)
    else:
        rows = turn_compressed(matrix, shape, scratch)
    return Samples(
        where=place,
        rows=rows,
        var=var,
        read_obs=lambda: read_table(group["obs"]) if "obs" in group else numbered(shape[0]),
        other_counts=lambda: _others_with_counts(matrices, counts),
    )


def _matrices(group: Any) -> Iterator[tuple[str, Any]]:
    """Name and element of everything that may hold counts; before anndata 0.7 raw was two elements."""
    places = {"X": "X", "raw": "raw.X" if "raw.X" in group else "raw/X"}
    places |= {f"layers/{name}": f"layers/{name}" for name in group.get("layers", ())}
    for name, place in places.items():
        if place in group and group[place].attrs.get("encoding-type") != "null":  # what anndata writes for None
            yield name, group[place]


def _kind(matrix: Any) -> str:
    """dense, csr or csc."""
    if hasattr(matrix, "shape"):
        return "dense"
    kind = str(matrix.attrs.get("encoding-type", matrix.attrs.get("h5sparse_format", "")))[:3]
    if kind not in SPARSE_KINDS or "data" not in matrix:
        raise InputError(
            "The matrix is of an unknown kind",
            where=matrix.name,
            expected="a dense, CSR or CSC matrix",
            found=f"a group of {', '.join(matrix) or 'nothing'}",
        )
    return kind


def _shape(matrix: Any) -> tuple[int, ...]:
    if _kind(matrix) == "dense":
        return tuple(int(n) for n in matrix.shape)
    return tuple(int(n) for n in matrix.attrs["shape" if "shape" in matrix.attrs else "h5sparse_shape"])


def _values(matrix: Any) -> Any:
    return matrix if _kind(matrix) == "dense" else matrix["data"]


def _others_with_counts(matrices: dict[str, Any], refused: str) -> list[str]:
    return places_of_counts((name, _some_values(matrix)) for name, matrix in matrices.items() if name != refused)


def _some_values(matrix: Any) -> np.ndarray:
    values = _values(matrix)
    if values.dtype.kind not in "iuf":
        return np.empty(0)
    n_first = SOME_VALUES if len(values.shape) == 1 else max(1, SOME_VALUES // max(1, values.shape[1]))
    return as_supported(values[:n_first])


def _length(table: Any) -> int:
    """Rows of obs, without reading it."""
    if isinstance(table, h5py.Dataset):
        return len(table)
    return int(table[table.attrs["_index"]].shape[0])


def read_table(element: Any) -> pd.DataFrame:
    """Read obs or var; before anndata 0.7 they were compound datasets with the names in the field `index`."""
    if not isinstance(element, h5py.Dataset):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", anndata.OldFormatWarning)  # it is read all the same
            return anndata.io.read_elem(element)
    frame = pd.DataFrame.from_records(element[:])
    frame = frame.set_index("index" if "index" in frame else frame.columns[0])
    frame.index = pd.Index([_text(name) for name in frame.index], dtype=object, name=None)
    for name in frame.select_dtypes(object):
        frame[name] = [_text(value) for value in frame[name]]
    return frame


def _text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
