"""One study of a corpus as a plain h5ad file: counts in blocks, tables column by column (`curation export`)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import zarr
from pandas.api.types import union_categoricals

from curation.acquire.disk import require_free
from curation.acquire.progress import Progress
from curation.composition import SPLITS
from curation.digest import ArrayDigest
from curation.errors import InputError
from curation.manifests import choose_study, open_selection, root_attributes
from curation.store import COUNT_DTYPE

# Elements read and written at a time: 32 chunks of a store
BLOCK_ELEMENTS = 4 * 2**20
# Elements a chunk of the file: 1 MB of counts, as HDF5's cache of a chunk
H5_CHUNK_ELEMENTS = 2**18
# Above so many entries scipy needs 64 bits in indptr, and the same in indices
INT32_MAX = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Export:
    """What goes into the file.

    Attributes
    ----------
    corpus : Path
    study : str
    recipe : str or None
        None for the only one.
    split : str
        train, validation, or both: training samples first, and a column `split` in obs.
    all_genes : bool
        The whole axis, or only the genes that the study measured.
    compress : bool
        gzip, level 1, with byte shuffle.
    """

    corpus: Path
    study: str
    recipe: str | None
    split: str
    all_genes: bool
    compress: bool


@dataclass(frozen=True, kw_only=True)
class _Source:
    """A store that is exported."""

    path: str
    split: str
    root: zarr.Group
    attributes: Mapping[str, Any]
    n_samples: int
    nnz: int


def export_study(task: Export, out: Path, *, overwrite: bool) -> tuple[int, int, int]:
    """Write the file, whole or not at all; return samples, genes and non-zeros.

    Raises
    ------
    InputError
        There is no such study, the file is there already, or the stores do not hold what their digests say.
    """
    if out.suffix != ".h5ad":
        raise InputError("the file needs the ending of AnnData files", where=f"--out {out}", expected="NAME.h5ad")
    if out.is_dir() or (out.exists() and not overwrite):
        raise InputError(
            "there is a folder of this name" if out.is_dir() else "there is a file of this name already",
            where=f"--out {out}",
            todo="name another file" if out.is_dir() else "name another file, or add --overwrite",
        )
    selection = open_selection(task.corpus)
    study, recipe = choose_study(selection.stores, task.study, task.recipe, where=str(task.corpus))
    splits = SPLITS if task.split == "both" else (task.split,)
    entries = [
        entry
        for split in splits
        for entry in selection.stores
        if (entry["study"], entry["recipe"], entry["split"]) == (study, recipe, split)
    ]
    if not entries:
        raise InputError(f"{study}.{recipe} has no store of split {task.split}", where=str(task.corpus))
    sources = [_open(task.corpus, entry) for entry in entries]
    out.parent.mkdir(parents=True, exist_ok=True)
    for leftover in out.parent.glob(f".{out.name}.*.part"):
        leftover.unlink(missing_ok=True)
    partial = out.with_name(f".{out.name}.{uuid.uuid4().hex}.part")
    # at most: what does not compress; gzip halves counts and indices at least
    n_bytes = sum(2 * source.nnz * COUNT_DTYPE.itemsize for source in sources)
    require_free(out.parent, n_bytes // 2 if task.compress else n_bytes, str(out))
    try:
        with h5py.File(partial, "w") as file:
            shape = _write(file, task, sources, selection.manifest)
        partial.replace(out)
    except (RuntimeError, OSError) as error:  # HDF5 raises either, with the reason of the system in its words
        raise InputError(
            "the file could not be written",
            where=f"--out {out}",
            found=" ".join(str(error).split())[:300],
            todo="make room on the disk, or name another place; then run the same command again",
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return shape


def _open(corpus: Path, entry: Mapping[str, Any]) -> _Source:
    attributes = root_attributes(corpus, entry)
    return _Source(
        path=str(entry["path"]),
        split=str(entry["split"]),
        root=zarr.open_group(corpus / entry["path"], mode="r"),
        attributes=attributes,
        n_samples=int(entry["n_samples"]),
        nnz=int(entry["nnz"]),
    )


def _write(
    file: h5py.File, task: Export, sources: Sequence[_Source], manifest: Mapping[str, Any]
) -> tuple[int, int, int]:
    file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    var = _var(sources)
    chosen = np.ones(len(var), dtype=bool) if task.all_genes else var["measured"].to_numpy()
    var = var[chosen]
    places = np.where(chosen, np.cumsum(chosen) - 1, -1)
    _write_counts(file, sources, places, len(var), compress=task.compress)
    _write_obs(file, sources, with_split=task.split == "both")
    ad.io.write_elem(file, "var", var)
    curation = ad.io.read_elem(sources[0].root["uns"])["curation"]
    ad.io.write_elem(file, "uns", {"curation": str(curation), "corpus": _provenance(sources, manifest)})
    for name in ("layers", "obsm", "obsp", "varm", "varp"):
        ad.io.write_elem(file, name, {})
    return sum(source.n_samples for source in sources), len(var), sum(source.nnz for source in sources)


def _provenance(sources: Sequence[_Source], manifest: Mapping[str, Any]) -> str:
    """Return where the counts come from, as JSON."""
    stores = {source.path: source.attributes["digest"] for source in sources}
    return json.dumps({"name": manifest["name"], "digest": manifest["digest"], "stores": stores}, sort_keys=True)


def _var(sources: Sequence[_Source]) -> pd.DataFrame:
    """Return the genes; `n_detected` over all samples of the file."""
    tables = [ad.io.read_elem(source.root["var"]) for source in sources]
    var = tables[0].copy()
    var["n_detected"] = np.sum([table["n_detected"].to_numpy() for table in tables], axis=0)
    return var


def _write_counts(
    file: h5py.File, sources: Sequence[_Source], places: np.ndarray, n_genes: int, *, compress: bool
) -> None:
    """Write X block by block, and compare what was read with the stores' digests."""
    nnz, n_samples = sum(source.nnz for source in sources), sum(source.n_samples for source in sources)
    index_dtype = np.dtype("int32" if nnz <= INT32_MAX else "int64")
    group = file.create_group("X")
    group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [n_samples, n_genes]})

    def dataset(name: str, length: int, dtype: np.dtype) -> h5py.Dataset:
        chunks = (min(H5_CHUNK_ELEMENTS, length),) if length else None
        packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if compress and length else {}
        return group.create_dataset(name, shape=(length,), dtype=dtype, chunks=chunks, **packed)

    values, indices = dataset("data", nnz, COUNT_DTYPE), dataset("indices", nnz, index_dtype)
    indptr = dataset("indptr", n_samples + 1, index_dtype)
    indptr[:1] = 0
    row = begin = 0
    lookup = places.astype(index_dtype)
    with Progress(f"export {file.filename}", 2 * nnz * COUNT_DTYPE.itemsize) as progress:
        for source in sources:
            matrix = source.root["X"]
            assert isinstance(matrix, zarr.Group)
            starts = np.asarray(matrix["indptr"][:])  # type: ignore[index]
            indptr[row + 1 : row + 1 + source.n_samples] = starts[1:] + begin
            digests = {name: ArrayDigest(matrix[name].dtype) for name in ("indices", "data")}  # type: ignore[union-attr]
            for start in range(0, source.nnz, BLOCK_ELEMENTS):
                stop = min(start + BLOCK_ELEMENTS, source.nnz)
                columns = np.asarray(matrix["indices"][start:stop])  # type: ignore[index]
                counts = np.asarray(matrix["data"][start:stop])  # type: ignore[index]
                digests["indices"].update(columns)
                digests["data"].update(counts)
                mapped = lookup[columns]
                if len(mapped) and mapped.min() < 0:
                    raise _damaged(source, "a count at a gene that the study did not measure")
                indices[begin + start : begin + stop] = mapped
                values[begin + start : begin + stop] = counts
                progress.add(2 * counts.nbytes)
            for name, digest in digests.items():
                if digest.hexdigest() != source.attributes["digests"][f"X/{name}"]:
                    raise _damaged(source, f"X/{name} with another digest than the store names")
            row, begin = row + source.n_samples, begin + source.nnz


def _damaged(source: _Source, found: str) -> InputError:
    return InputError(
        "the store is damaged, and no file was written",
        where=source.path,
        found=found,
        todo="run `python -m curation verify` on the corpus; remove what it names and run the workflow again",
    )


def _write_obs(file: h5py.File, sources: Sequence[_Source], *, with_split: bool) -> None:
    """Write obs column by column, as AnnData writes a data frame."""
    tables: list[Any] = [source.root["obs"] for source in sources]
    attributes = tables[0].attrs.asdict()
    columns = [str(name) for name in attributes["column-order"]]
    group = file.create_group("obs")
    for name in (attributes["_index"], *columns):
        parts = [ad.io.read_elem(table[name]) for table in tables]
        ad.io.write_elem(group, name, _joined(parts))
    if with_split:
        lengths = [source.n_samples for source in sources]
        codes = np.repeat([SPLITS.index(source.split) for source in sources], lengths)
        ad.io.write_elem(group, "split", pd.Categorical.from_codes(codes.tolist(), categories=pd.Index(SPLITS)))
        columns.append("split")
    group.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.2.0", "_index": attributes["_index"]})
    group.attrs["column-order"] = np.array(columns, dtype=object)


def _joined(parts: list[Any]) -> Any:
    if isinstance(parts[0], pd.Categorical):
        return parts[0] if len(parts) == 1 else union_categoricals(parts, sort_categories=True)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
