"""Write h5ad files block by block, as the sources have them: dense with old categories, or sparse with raw.X."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
from scipy import sparse

from curation.simulate.draws import log_normalised
from curation.simulate.study import MISSING, SimulatedPart

# Elements of one chunk of a growing array
CHUNK = 65_536
CLINICAL = ("author", "donor_id", "assay", "cell_type", "tissue", "Tissue_in_paper")
_STRING = h5py.string_dtype(encoding="utf-8")


class GrowingArray:
    """A 1-d dataset that is written front to back without knowing its length."""

    def __init__(self, group: h5py.Group, name: str, dtype: object, *, compression: str | None = None) -> None:
        self.dataset = group.create_dataset(
            name, shape=(0,), maxshape=(None,), chunks=(CHUNK,), dtype=dtype, compression=compression
        )

    def append(self, values: np.ndarray | Sequence[str]) -> None:
        """Write the next values."""
        start = self.dataset.shape[0]
        self.dataset.resize((start + len(values),))
        self.dataset[start:] = values


class CsrGroup:
    """A sparse matrix as anndata writes it, sample by sample."""

    def __init__(self, parent: h5py.Group, name: str) -> None:
        self._group = parent.create_group(name)
        self._data = GrowingArray(self._group, "data", np.float32, compression="lzf")
        self._indices = GrowingArray(self._group, "indices", np.int32, compression="lzf")
        self._indptr = GrowingArray(self._group, "indptr", np.int64)
        self._indptr.append(np.zeros(1, dtype=np.int64))
        self._nnz = self._rows = 0

    def append(self, counts: sparse.csr_matrix) -> None:
        """Write the next samples."""
        self._data.append(counts.data.astype(np.float32))
        self._indices.append(counts.indices)
        self._indptr.append(counts.indptr[1:].astype(np.int64) + self._nnz)
        self._nnz += counts.nnz
        self._rows += counts.shape[0]

    def close(self, n_columns: int) -> None:
        """Write what is known at the end."""
        _encode(self._group, "csr_matrix", "0.1.0", shape=np.array([self._rows, n_columns]))


class ObsGroup:
    """The table of samples: an index, text columns as categories, numbers as they are."""

    def __init__(self, file: h5py.File, index: str, *, categorical: Iterable[str], legacy: bool = False) -> None:
        self._group = file.create_group("obs")
        self._index = index
        self._ids = GrowingArray(self._group, index, _STRING)
        self._wanted = frozenset(categorical)
        self._legacy = legacy
        self._columns: dict[str, GrowingArray] = {}
        self._codes: dict[str, dict[str, int]] = {}

    def append(self, ids: list[str], obs: Mapping[str, np.ndarray]) -> None:
        """Write the next samples."""
        self._ids.append(ids)
        for name, values in obs.items():
            if name not in self._columns:
                self._columns[name] = self._open(name, values)
            self._columns[name].append(self._coded(name, values) if name in self._codes else values)

    def _open(self, name: str, values: np.ndarray) -> GrowingArray:
        if name not in self._wanted:
            return GrowingArray(self._group, name, _STRING if values.dtype == object else values.dtype)
        self._codes[name] = {}
        if self._legacy:
            return GrowingArray(self._group, name, np.int32)
        return GrowingArray(self._group.create_group(name), "codes", np.int32)

    def _coded(self, name: str, values: np.ndarray) -> np.ndarray:
        codes = self._codes[name]
        return np.array([-1 if v == MISSING else codes.setdefault(v, len(codes)) for v in values], dtype=np.int32)

    def close(self) -> None:
        """Write the categories."""
        for name, codes in self._codes.items():
            if self._legacy:
                names = self._group.require_group("__categories").create_dataset(name, data=list(codes), dtype=_STRING)
                self._group[name].attrs["categories"] = names.ref
            else:
                names = self._group[name].create_dataset("categories", data=list(codes), dtype=_STRING)
                _encode(names, "string-array", "0.2.0")
                _encode(self._group[name]["codes"], "array", "0.2.0")
                _encode(self._group[name], "categorical", "0.2.0", ordered=False)
        order = np.array(list(self._columns), dtype=object)
        self._group.attrs.create("column-order", order, dtype=_STRING)
        _encode(self._group, "dataframe", "0.1.0" if self._legacy else "0.2.0", _index=self._index)
        if not self._legacy:
            plain = [name for name in self._columns if name not in self._codes]
            for name in (self._index, *plain):
                text = h5py.check_string_dtype(self._group[name].dtype) is not None
                _encode(self._group[name], "string-array" if text else "array", "0.2.0")


def write_dense_screen(part: SimulatedPart, path: Path) -> None:
    """Write the K562 screen: X dense, contiguous, uncompressed float32; obs with `__categories`, as anndata 0.7 did."""
    with h5py.File(path, "w") as file:
        matrix = file.create_dataset("X", shape=(part.n_samples, len(part.genes)), dtype=np.float32)
        _encode(matrix, "array", "0.1.0")
        obs = ObsGroup(file, "cell_barcode", categorical=("gene", "gene_transcript", "sgID_AB"), legacy=True)
        for samples in part.blocks():
            matrix[samples.first : samples.first + len(samples.ids)] = samples.counts.toarray()
            obs.append(samples.ids, samples.obs)
        obs.close()
        _write_var(file.create_group("var"), "gene_id", part.genes.ids, {"gene_name": part.genes.labels}, legacy=True)
        file.create_group("uns")


def write_atlas(part: SimulatedPart, path: Path, *, matrix: str) -> None:
    """Write a CELLxGENE atlas: counts in `matrix`, X or raw/X; in the second case X is log-normalised."""
    in_raw = matrix == "raw/X"
    with h5py.File(path, "w") as file:
        _encode(file, "anndata", "0.1.0")
        counts = CsrGroup(file.create_group("raw"), "X") if in_raw else CsrGroup(file, "X")
        normalised = CsrGroup(file, "X") if in_raw else None
        obs = ObsGroup(file, "_index", categorical=CLINICAL)
        for samples in part.blocks():
            counts.append(samples.counts)
            if normalised is not None:
                normalised.append(log_normalised(samples.counts))
            obs.append(samples.ids, samples.obs)
        for group in (counts, normalised):
            if group is not None:
                group.close(len(part.genes))
        obs.close()
        for folder in ("raw/var", "var") if in_raw else ("var",):
            _write_var(file.create_group(folder), "_index", part.genes.ids, {"feature_name": part.genes.labels})
        if in_raw:
            _encode(file["raw"], "raw", "0.1.0")


def write_scperturb(part: SimulatedPart, path: Path, *, categorical: Iterable[str]) -> None:
    """Write a file of scPerturb: counts in X, symbols as index of var, Ensembl ids in its column ensembl_id."""
    with h5py.File(path, "w") as file:
        _encode(file, "anndata", "0.1.0")
        counts = CsrGroup(file, "X")
        obs = ObsGroup(file, "cell_barcode", categorical=categorical)
        for samples in part.blocks():
            counts.append(samples.counts)
            obs.append(samples.ids, samples.obs)
        counts.close(len(part.genes))
        obs.close()
        _write_var(file.create_group("var"), "gene_symbol", part.genes.labels, {"ensembl_id": part.genes.ids})


def _write_var(
    group: h5py.Group,
    index: str,
    names: Sequence[str],
    columns: Mapping[str, Sequence[str]],
    *,
    legacy: bool = False,
) -> None:
    for name, values in {index: names, **columns}.items():
        column = group.create_dataset(name, data=list(values), dtype=_STRING)
        if not legacy:
            _encode(column, "string-array", "0.2.0")
    group.attrs.create("column-order", np.array(list(columns), dtype=object), dtype=_STRING)
    _encode(group, "dataframe", "0.1.0" if legacy else "0.2.0", _index=index)


def _encode(item: h5py.Group | h5py.Dataset, kind: str, version: str, **attributes: object) -> None:
    item.attrs.update({"encoding-type": kind, "encoding-version": version, **attributes})
