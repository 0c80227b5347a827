"""Vectors as obsm["X_txfm"] of an .h5ad file or a .zarr store."""

import warnings
from pathlib import Path
from typing import Any

import anndata
import h5py
import zarr

from txfm.embedding.outputs.embedded import EMBEDDING_KEY, RECORD_KEY, Embedded

CHUNK_VALUES = 2**20  # of a .zarr: 4 MB


def write_h5ad(path: Path, embedded: Embedded) -> None:
    """Write an .h5ad: a copy of the input with the vectors added, or obs and var with the vectors.

    HDF5 copies groups as they are, chunk by chunk: X and everything else stays what it was, and is never in memory.
    """
    with h5py.File(path, "w") as out:
        if embedded.copy_of is None:
            _write_tables(out, embedded)
        else:
            with h5py.File(embedded.copy_of, "r") as source:
                _copy_without_ours(source, out)
        vectors = out["obsm"].create_dataset(EMBEDDING_KEY, shape=(embedded.n_samples, embedded.width), dtype="float32")
        _fill(out, vectors, embedded)


def write_zarr(path: Path, embedded: Embedded) -> None:
    """Write a .zarr store (Zarr v3): obs and var with the vectors."""
    out: Any = zarr.open_group(path, mode="w", zarr_format=3)
    with anndata.settings.override(zarr_write_format=3, auto_shard_zarr_v3=True):
        _write_tables(out, embedded)
        shape = (embedded.n_samples, embedded.width)
        chunks = (max(1, min(embedded.n_samples, CHUNK_VALUES // embedded.width)), embedded.width)
        vectors = out["obsm"].create_array(EMBEDDING_KEY, shape=shape, chunks=chunks, dtype="float32")
        _fill(out, vectors, embedded)


def can_be_copied(path: Path) -> bool:
    """Whether an .h5ad has the layout of anndata 0.7 or later, into which a group can be put."""
    with h5py.File(path, "r") as file:
        return all(isinstance(file.get(name), h5py.Group | None) for name in ("obs", "var", "obsm", "uns"))


def _write_tables(out: Any, embedded: Embedded) -> None:
    with warnings.catch_warnings():
        # Names that are not unique are kept, and so are others' column names
        warnings.filterwarnings("ignore", message=".*not unique", category=UserWarning)
        anndata.io.write_elem(out, "/", anndata.AnnData(obs=embedded.labels(), var=embedded.var))


def _copy_without_ours(source: h5py.File, out: h5py.File) -> None:
    out.attrs.update(source.attrs)
    for name in source:
        if name not in ("obsm", "uns"):
            source.copy(name, out)
    for name, ours in (("obsm", EMBEDDING_KEY), ("uns", RECORD_KEY)):
        group = out.create_group(name)
        group.attrs.update(
            source[name].attrs if name in source else {"encoding-type": "dict", "encoding-version": "0.1.0"}
        )
        for key in source.get(name, ()):
            if key != ours:
                source.copy(f"{name}/{key}", group)


def _fill(out: Any, vectors: Any, embedded: Embedded) -> None:
    vectors.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    for first, block in embedded.placed():
        vectors[first : first + len(block)] = block
    anndata.io.write_elem(out["uns"], RECORD_KEY, embedded.record())
