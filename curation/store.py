"""Write one store of the corpus: plain AnnData in sharded Zarr v3, whole or not at all (docs/corpus-format.md)."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import zarr
from scipy import sparse
from zarr.codecs import BloscCodec

from curation.digest import ArrayDigest, combined_digest, frame_digest

# 131,072 non-zeros a chunk: a prototype with a fixed number of rows a chunk read 3x slower on bulk
CHUNK_ELEMENTS = 131_072
# 32 Mi elements a shard: 64 to 128 MB before compression, 10^2 files for the full corpus instead of 10^5
SHARD_ELEMENTS = 256 * CHUNK_ELEMENTS
COUNT_DTYPE = np.dtype("int32")
INDPTR_DTYPE = np.dtype("int64")
# Codes of up to 65,535 columns fit in uint16, which halves the larger half of a store
UINT16_COLUMNS = 2**16

OBS_COLUMNS = (
    "study",
    "assay",
    "batch",
    "perturbation",
    "is_control",
    "cell_type",
    "cell_line",
    "donor",
    "tissue",
    "library_size",
    "n_genes",
    "source_row",
    "simulated",
)
CATEGORICAL = ("study", "assay", "batch", "perturbation", "cell_type", "cell_line", "donor", "tissue")
VAR_COLUMNS = ("symbol", "measured", "n_detected")


@dataclass(frozen=True, kw_only=True)
class StoreRecord:
    """What a written store holds."""

    n_samples: int
    nnz: int
    digest: str


def index_dtype(n_genes: int) -> np.dtype:
    """Return the dtype of column indices for an axis of `n_genes` genes."""
    return np.dtype("uint16") if n_genes < UINT16_COLUMNS else np.dtype("int32")


class _ShardedArray:
    """A 1-d array of known length, written front to back in whole shards."""

    def __init__(self, group: zarr.Group, name: str, *, length: int, dtype: np.dtype) -> None:
        n_chunks = max(1, -(-length // CHUNK_ELEMENTS))
        self._shard = min(SHARD_ELEMENTS, n_chunks * CHUNK_ELEMENTS)
        self._array = group.create_array(
            name,
            shape=(length,),
            dtype=dtype,
            chunks=(CHUNK_ELEMENTS,),
            shards=(self._shard,),
            compressors=BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"),
        )
        self._array.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        self._buffer: list[np.ndarray] = []
        self._buffered = 0
        self._written = 0
        self.digest = ArrayDigest(dtype)
        self._dtype = dtype

    def append(self, values: np.ndarray) -> None:
        values = values.astype(self._dtype, copy=False)
        self.digest.update(values)
        self._buffer.append(values)
        self._buffered += len(values)
        while self._buffered >= self._shard:
            self._flush(self._shard)

    def _flush(self, n: int) -> None:
        joined = np.concatenate(self._buffer)
        self._array[self._written : self._written + n] = joined[:n]
        self._written += n
        self._buffer, self._buffered = [joined[n:]], len(joined) - n

    def close(self) -> None:
        if self._buffered:
            self._flush(self._buffered)
        assert self._written == self._array.shape[0], "an array holds as many elements as were announced"


def write_store(
    path: Path,
    *,
    blocks: Iterable[sparse.csr_matrix],
    obs: pd.DataFrame,
    var: pd.DataFrame,
    nnz: int,
    curation: Mapping[str, Any],
    attributes: Mapping[str, Any],
) -> StoreRecord:
    """Write a store into a temporary folder beside `path`, then rename it there.

    Parameters
    ----------
    path : Path
        Where the store appears.
    blocks : iterable of csr_matrix, int32, shape (n, n_axis_genes)
        The samples in the order of `obs`, columns sorted.
    obs : DataFrame
        Index sample_id; columns `OBS_COLUMNS` but library_size and n_genes, which are counted here.
    var : DataFrame
        Index ensembl_id over the whole axis; columns symbol and measured. `n_detected` is counted here.
    nnz : int
        Non-zeros of all blocks together.
    curation : mapping
        Provenance, stored as JSON in uns/curation.
    attributes : mapping
        Further attributes of the root group.

    Returns
    -------
    StoreRecord
    """
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    partial.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{path.name}.*"):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        record = _write(partial, blocks=blocks, obs=obs, var=var, nnz=nnz, curation=curation, attributes=attributes)
        if path.exists():  # an orphan of a killed run came first; the same inputs gave it the same content
            path.rename(path.with_name(f"{partial.name}.replaced"))
        partial.rename(path)
    finally:
        for leftover in (partial, path.with_name(f"{partial.name}.replaced")):
            shutil.rmtree(leftover, ignore_errors=True)
    return record


def _write(
    partial: Path,
    *,
    blocks: Iterable[sparse.csr_matrix],
    obs: pd.DataFrame,
    var: pd.DataFrame,
    nnz: int,
    curation: Mapping[str, Any],
    attributes: Mapping[str, Any],
) -> StoreRecord:
    n_genes = len(var)
    root = zarr.open_group(partial, mode="w", zarr_format=3)
    matrix = root.create_group("X")
    matrix.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [len(obs), n_genes]})
    indices = _ShardedArray(matrix, "indices", length=nnz, dtype=index_dtype(n_genes))
    values = _ShardedArray(matrix, "data", length=nnz, dtype=COUNT_DTYPE)
    indptr = _ShardedArray(matrix, "indptr", length=len(obs) + 1, dtype=INDPTR_DTYPE)
    indptr.append(np.zeros(1, dtype=INDPTR_DTYPE))
    n_detected = np.zeros(n_genes, dtype=np.int64)
    library_sizes, genes_per_sample = [], []
    written = 0
    for block in blocks:
        indices.append(block.indices)
        values.append(block.data)
        indptr.append(block.indptr[1:].astype(INDPTR_DTYPE) + written)
        written += block.nnz
        n_detected += np.bincount(block.indices, minlength=n_genes)
        library_sizes.append(np.asarray(block.sum(axis=1, dtype=np.int64)).ravel())
        genes_per_sample.append(np.diff(block.indptr))
    for array in (indices, values, indptr):
        array.close()
    obs = obs.assign(
        library_size=np.concatenate([*library_sizes, np.empty(0, np.int64)]).astype(np.int64),
        n_genes=np.concatenate([*genes_per_sample, np.empty(0, np.int64)]).astype(np.int32),
    )[list(OBS_COLUMNS)]
    var = var.assign(n_detected=n_detected)[list(VAR_COLUMNS)]
    parts = {
        "X/indptr": indptr.digest.hexdigest(),
        "X/indices": indices.digest.hexdigest(),
        "X/data": values.digest.hexdigest(),
        "obs": frame_digest(obs),
        "var": frame_digest(var),
    }
    digest = combined_digest(parts)
    with ad.settings.override(auto_shard_zarr_v3=False):
        ad.io.write_elem(root, "obs", obs.astype(dict.fromkeys(CATEGORICAL, "category")))
        ad.io.write_elem(root, "var", var)
        ad.io.write_elem(root, "uns", {"curation": json.dumps(curation, sort_keys=True)})
        for name in ("layers", "obsm", "obsp", "varm", "varp"):
            ad.io.write_elem(root, name, {})
    root.attrs.update(
        {"encoding-type": "anndata", "encoding-version": "0.1.0", **attributes, "n_samples": len(obs), "nnz": nnz}
        | {"digest": digest, "digests": parts}
    )
    return StoreRecord(n_samples=len(obs), nnz=nnz, digest=digest)
