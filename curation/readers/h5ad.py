"""h5ad files, read in place."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import h5py

from curation.catalog import Part
from curation.errors import InputError
from curation.readers.anndata_file import read_anndata
from curation.readers.matrix_reader import MatrixReader, damage_told


def open_h5ad(part: Part, sources: Path, scratch: Path, columns: frozenset[str] | None) -> MatrixReader:
    """Open `matrix`: one h5ad file of any version of anndata; its metadata are its obs."""
    path = sources / part.files["matrix"]
    with ExitStack() as stack, damage_told(str(path)):
        return read_anndata(stack.enter_context(open_hdf5(path)), part, path, scratch, columns, stack)


def open_hdf5(path: Path) -> h5py.File:
    """Open an HDF5 file.

    Raises
    ------
    InputError
        It is another file, or cut.
    """
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise InputError(
            "this is not a readable HDF5 file",
            where=str(path),
            expected="a whole HDF5 file",
            found=str(error).splitlines()[0],
            todo="delete it and fetch it again",
        ) from error
