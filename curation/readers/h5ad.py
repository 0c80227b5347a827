"""h5ad files read in place, by rows: dense, CSR or CSC matrices, old and new encodings of obs and var."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from curation.blocks import BLOCK_NNZ, Block, csr_from_dense, rows_per_block
from curation.catalog import Part
from curation.errors import InputError
from curation.qc import require_column
from curation.readers.text import join_metadata
from curation.spool import TripletSpool


class H5adReader:
    """`matrix`: one h5ad file; counts in `part.matrix`: X, raw/X, layers/NAME, or auto (raw/X if there, else X)."""

    def __init__(self, part: Part, sources: Path, scratch: Path) -> None:
        path = sources / part.files["matrix"]
        self._file = _open(path)
        self._scratch = scratch
        self._spool: TripletSpool | None = None
        name = part.matrix if part.matrix != "auto" else ("raw/X" if "raw/X" in self._file else "X")
        if name not in self._file:
            raise InputError(
                f"there is no {name}",
                where=str(path),
                expected=f"a matrix of raw counts at {name}",
                found=", ".join(_matrices(self._file)) or "no matrix at all",
                todo="name one of these as `matrix` of this part in the catalogue",
            )
        self._matrix = self._file[name]
        self._where = f"{path}, {name}"
        var = read_frame(self._file["raw/var" if name.startswith("raw/") else "var"])
        if part.gene_column:
            require_column(var, part.gene_column, where=f"{path}, var", wanted_by="`gene_column` of the part")
        self.gene_ids = [str(gene) for gene in (var[part.gene_column] if part.gene_column else var.index)]
        obs = read_frame(self._file["obs"])
        self._obs = join_metadata([str(sample) for sample in obs.index], obs, where=str(path))
        self._layout = _layout(self._matrix)
        shape = tuple(int(n) for n in (self._matrix.shape if self._layout == "dense" else self._matrix.attrs["shape"]))
        if shape != (len(self._obs), len(self.gene_ids)):
            raise InputError(
                "the matrix does not fit obs and var",
                where=self._where,
                expected=f"{len(self._obs)} x {len(self.gene_ids)}",
                found=f"{shape[0]} x {shape[1]}",
                todo="the file is damaged: fetch it again",
            )

    @property
    def n_samples(self) -> int:
        """Rows of obs."""
        return len(self._obs)

    def blocks(self) -> Iterator[Block]:
        """Yield the samples in file order."""
        rows = {"dense": self._dense_rows, "csr": self._csr_rows, "csc": self._csc_rows}[self._layout]
        for first, counts in rows():
            yield Block(counts=counts, obs=self._obs.iloc[first : first + counts.shape[0]])

    def _dense_rows(self) -> Iterator[tuple[int, sparse.csr_matrix]]:
        step = rows_per_block(len(self.gene_ids))
        if self._matrix.chunks:  # whole chunks: a chunk that two reads share is decompressed twice
            step = max(1, step // self._matrix.chunks[0]) * self._matrix.chunks[0]
        for first in range(0, self.n_samples, step):
            yield first, csr_from_dense(self._matrix[first : first + step])

    def _csr_rows(self) -> Iterator[tuple[int, sparse.csr_matrix]]:
        indptr = self._matrix["indptr"][:].astype(np.int64)
        first = 0
        while first < self.n_samples:
            last = int(np.searchsorted(indptr, indptr[first] + BLOCK_NNZ, side="right")) - 1
            last = min(max(last, first + 1), self.n_samples)
            part = slice(indptr[first], indptr[last])
            values = self._matrix["data"][part].astype(np.float64)
            shape = (last - first, len(self.gene_ids))
            yield (
                first,
                sparse.csr_matrix(
                    (values, self._matrix["indices"][part], indptr[first : last + 1] - indptr[first]), shape=shape
                ),
            )
            first = last

    def _csc_rows(self) -> Iterator[tuple[int, sparse.csr_matrix]]:
        if self._spool is None:
            indptr = self._matrix["indptr"][:].astype(np.int64)
            mean_nnz = max(1.0, indptr[-1] / max(1, self.n_samples))
            spool = TripletSpool(
                self._scratch,
                n_rows=self.n_samples,
                n_columns=len(self.gene_ids),
                rows_per_run=max(1, int(BLOCK_NNZ / mean_nnz)),
            )
            for start in range(0, int(indptr[-1]), BLOCK_NNZ):
                stop = min(start + BLOCK_NNZ, int(indptr[-1]))
                genes = np.searchsorted(indptr, np.arange(start, stop), side="right") - 1
                spool.append(self._matrix["indices"][start:stop], genes, self._matrix["data"][start:stop])
            self._spool = spool
        yield from self._spool.blocks()

    def close(self) -> None:
        """Close the file and remove the temporary runs."""
        self._file.close()
        if self._spool is not None:
            self._spool.close()


def _open(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise InputError(
            "this is not a readable HDF5 file",
            where=str(path),
            expected="an h5ad file",
            found=str(error),
            todo="delete it and fetch it again",
        ) from error


def _matrices(file: h5py.File) -> list[str]:
    """Return the names that `matrix` may take in this file."""
    layers = [f"layers/{name}" for name in file.get("layers", {})]
    return [name for name in ("X", "raw/X") if name in file] + layers


def _layout(matrix: h5py.Dataset | h5py.Group) -> str:
    if isinstance(matrix, h5py.Dataset):
        return "dense"
    encoding = matrix.attrs.get("encoding-type", matrix.attrs.get("h5sparse_format", ""))
    return "csc" if "csc" in str(encoding) else "csr"


def read_frame(group: h5py.Group | h5py.Dataset) -> pd.DataFrame:
    """Return obs or var as strings, whichever way the file's version of anndata encoded it.

    Known: groups with categorical sub-groups (anndata >= 0.8), groups with `__categories` (0.7), compound datasets
    (0.6). Missing values become "".
    """
    if isinstance(group, h5py.Dataset):
        table = group[:]
        columns = {name: _strings(table[name]) for name in table.dtype.names}
        index = columns.pop("index", None) or columns.pop("_index")
        return pd.DataFrame(columns, index=pd.Index(index, dtype=object))
    index_name = str(group.attrs.get("_index", "_index"))
    names = [name for name in group if name not in (index_name, "__categories")]
    frame = {name: column for name in names if (column := _column(group, name)) is not None}
    return pd.DataFrame(frame, index=pd.Index(_strings(group[index_name][:]), dtype=object))


def _column(group: h5py.Group, name: str) -> list[str] | None:
    """Return one column as strings; None for what is not a column (a nested group of unknown kind)."""
    item = group[name]
    if isinstance(item, h5py.Group):
        if "codes" in item:
            return _categories(item["codes"][:], item["categories"][:])
        return _masked(item) if "values" in item else None
    if "__categories" in group and name in group["__categories"]:
        return _categories(item[:], group["__categories"][name][:])
    return _strings(item[:])


def _categories(codes: np.ndarray, categories: np.ndarray) -> list[str]:
    names = [*_strings(categories), ""]  # code -1, missing, picks the last
    return [names[code] for code in codes]


def _masked(item: h5py.Group) -> list[str]:
    """Return a nullable integer, boolean or string column."""
    values = _strings(item["values"][:])
    return ["" if missing else value for value, missing in zip(values, item["mask"][:], strict=True)]


def _strings(values: np.ndarray | list[Any]) -> list[str]:
    return [_string(value) for value in values]


def _string(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float | np.floating) and np.isnan(value):
        return ""
    return str(value)
