"""Vectors as obsm["X_txfm"], or under another name, of an .h5ad file or a .zarr store."""

import warnings
from pathlib import Path
from typing import Any

import anndata
import h5py
import zarr

from txfm.embedding.outputs.embedded import RECORDS_KEY, Embedded
from txfm.errors import InputError

CHUNK_VALUES = 2**20  # of a .zarr: 4 MB
DICT = {"encoding-type": "dict", "encoding-version": "0.1.0"}


def write_h5ad(path: Path, embedded: Embedded) -> None:
    """Write an .h5ad: a copy of the input with the vectors added, or obs and var with the vectors.

    HDF5 copies groups as they are, chunk by chunk: X and everything else stays what it was, and is never in memory.
    """
    with h5py.File(path, "w") as out:
        if embedded.copy_of is None:
            _write_tables(out, embedded)
        else:
            with h5py.File(embedded.copy_of, "r") as source:
                _copy_all_but(source, out, embedded.key)
        vectors = out["obsm"].create_dataset(embedded.key, shape=(embedded.n_samples, embedded.width), dtype="float32")
        _fill(out, vectors, embedded)


def write_zarr(path: Path, embedded: Embedded) -> None:
    """Write a .zarr store (Zarr v3): obs and var with the vectors."""
    out: Any = zarr.open_group(path, mode="w", zarr_format=3)
    with anndata.settings.override(zarr_write_format=3, auto_shard_zarr_v3=True):
        _write_tables(out, embedded)
        shape = (embedded.n_samples, embedded.width)
        chunks = (max(1, min(embedded.n_samples, CHUNK_VALUES // embedded.width)), embedded.width)
        vectors = out["obsm"].create_array(embedded.key, shape=shape, chunks=chunks, dtype="float32")
        _fill(out, vectors, embedded)


def refuse_taken(path: Path, key: str) -> None:
    """Refuse to lose an embedding that an .h5ad, which is copied, has under this name.

    Raises
    ------
    InputError
        It has one; the message says which model made it, if the file does.
    """
    with h5py.File(path, "r") as file:
        if f"obsm/{key}" not in file:
            return
        made_by = file.get(f"uns/{RECORDS_KEY}/{key}/model")
        name = made_by.asstr()[()] if isinstance(made_by, h5py.Dataset) else None
    raise InputError(
        "The input has an embedding of this name already",
        where=f"{path}, obsm[{key!r}]",
        expected="a name that is free",
        found=f"vectors of {name}" if name else "vectors of an unknown source",
        todo="name the new one (--key X_NAME), or replace the old one in the copy (--force)",
    )


def can_be_copied(path: Path) -> bool:
    """Whether an .h5ad has the layout of anndata 0.7 or later, into which a group can be put."""
    with h5py.File(path, "r") as file:
        return all(isinstance(file.get(name), h5py.Group | None) for name in ("obs", "var", "obsm", "uns"))


def _write_tables(out: Any, embedded: Embedded) -> None:
    with warnings.catch_warnings():
        # Names that are not unique are kept, and so are others' column names
        warnings.filterwarnings("ignore", message=".*not unique", category=UserWarning)
        anndata.io.write_elem(out, "/", anndata.AnnData(obs=embedded.labels(), var=embedded.var))


def _copy_all_but(source: h5py.File, out: h5py.File, key: str) -> None:
    """Everything but an embedding and its record."""
    out.attrs.update(source.attrs)
    for name in source:
        if name not in ("obsm", "uns"):
            source.copy(name, out)
    for name in ("obsm", "uns"):
        group = out.create_group(name)
        group.attrs.update(source[name].attrs if name in source else DICT)
        for each in source.get(name, ()):
            if f"{name}/{each}" != f"obsm/{key}":
                source.copy(f"{name}/{each}", group)
    out.pop(f"uns/{RECORDS_KEY}/{key}", None)


def _fill(out: Any, vectors: Any, embedded: Embedded) -> None:
    vectors.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    for first, block in embedded.placed():
        vectors[first : first + len(block)] = block
    records = out["uns"].require_group(RECORDS_KEY)
    records.attrs.update(DICT)
    anndata.io.write_elem(records, embedded.key, embedded.record())
