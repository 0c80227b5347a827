"""anndata's Zarr stores, of Zarr 2 and 3, as a folder or a zip of one."""

from __future__ import annotations

import zipfile
from contextlib import ExitStack
from pathlib import Path

import zarr
from zarr.errors import NodeNotFoundError
from zarr.storage import ZipStore

from curation.catalog import Part
from curation.errors import InputError
from curation.readers.anndata_file import read_anndata
from curation.readers.matrix_reader import MatrixReader, damage_told

GROUP_FILES = (".zgroup", "zarr.json")


def open_zarr(part: Part, sources: Path, scratch: Path, columns: frozenset[str] | None) -> MatrixReader:
    """Open `matrix`: a folder, or a zip of one, that anndata wrote; its metadata are its obs."""
    path = sources / part.files["matrix"]
    with ExitStack() as stack, damage_told(str(path)):
        try:
            if path.is_dir():
                root = zarr.open_group(path, mode="r")
            else:
                inside = _place(path)
                store = ZipStore(path, mode="r")
                stack.callback(store.close)
                root = zarr.open_group(store, mode="r", path=inside)
        except (NodeNotFoundError, zipfile.BadZipFile) as error:
            raise InputError(
                "this is not a Zarr store",
                where=str(path),
                expected="a folder with .zgroup or zarr.json, or a zip of one",
                found=str(error).splitlines()[0],
                todo="check the format in the catalogue; if the file is damaged, delete it and fetch it again",
            ) from error
        return read_anndata(root, part, path, scratch, columns, stack)


def _place(path: Path) -> str:
    """Return the folder within a zip that holds the store: its root, or the only one, as file managers pack them."""
    with zipfile.ZipFile(path) as opened:
        names = opened.namelist()
    folders = {name.rpartition("/")[0] for name in names if name.rpartition("/")[2] in GROUP_FILES}
    return min(folders, key=lambda folder: (folder.count("/") + bool(folder), folder), default="")
