"""One store as an AnnData object."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np

from txfm.corpus.places import place_of
from txfm.errors import InputError


def as_anndata(store: str | Path, *, lazy: bool = True) -> anndata.AnnData:
    """Open a store of a corpus as AnnData.

    Parameters
    ----------
    store : path or str
        ``<corpus>/stores/<study>.<recipe>.<split>.zarr``, local or remote.
    lazy : bool
        True: obs and var in memory, X on disk; ``adata[rows].to_memory()`` reads those rows. False: all in memory, with
        int32 column indices, which every function of SciPy and scanpy takes.

    Returns
    -------
    anndata.AnnData
        Raw counts; `var["measured"]` says which zeros are unknown.

    Raises
    ------
    InputError
        There is no such store.
    """
    place = place_of(store)
    try:
        place.read("zarr.json")
    except FileNotFoundError:
        raise InputError(
            "There is no such store", where=place.name(), expected="a folder NAME.zarr of a corpus"
        ) from None
    group = place.zarr_group()
    parts = {name: anndata.io.read_elem(group[name]) for name in ("obs", "var", "uns")}
    if lazy:
        return anndata.AnnData(X=anndata.io.sparse_dataset(group["X"]), **parts)
    counts = anndata.io.read_elem(group["X"])
    counts.indices = counts.indices.astype(np.int32, copy=False)
    return anndata.AnnData(X=counts, **parts)
