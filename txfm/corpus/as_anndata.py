"""One store as an AnnData object."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import scipy.sparse as sp

from txfm.corpus.places import place_of
from txfm.corpus.store_files import StoreFiles, root_attributes
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
        There is no such store, or a file of it is not the one that was written. Of X on disk only the sizes are
        compared here; its chunks have checksums of their own, which Zarr's library proves when it reads them.
    """
    place = place_of(store)
    try:
        root = place.read("zarr.json")
    except FileNotFoundError:
        raise InputError(
            "There is no such store", where=place.name(), expected="a folder NAME.zarr of a corpus"
        ) from None
    files = StoreFiles(place, root_attributes(place, root).get("files", {}))
    for element in ("obs", "var", "uns", *(() if lazy else ("X",))):
        files.prove(element)
    files.prove_sizes("X")
    group = place.zarr_group()
    parts = {name: anndata.io.read_elem(group[name]) for name in ("obs", "var")}
    parts["uns"] = {"curation": anndata.io.read_elem(group["uns/curation"])}  # by name: web servers list nothing
    if lazy:
        return anndata.AnnData(X=anndata.io.sparse_dataset(group["X"]), **parts)
    counts = anndata.io.read_elem(group["X"])
    # The constructor gives indices and indptr one type, which SciPy asks for: int32, or int64 from 2^31 non-zeros on
    wide = sp.csr_matrix((counts.data, counts.indices.astype(np.int32), counts.indptr), shape=counts.shape)
    return anndata.AnnData(X=wide, **parts)
