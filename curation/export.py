"""One study of a corpus as a plain h5ad file: counts in blocks, tables column by column (`curation export`)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
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
from curation.checked_store import VERIFY, check_files, compare_digest, decoding
from curation.composition import SPLITS
from curation.digest import ArrayDigest
from curation.errors import InputError
from curation.file_sums import ROOT_METADATA
from curation.manifests import choose_study, open_selection, root_attributes
from curation.obs_digest import table_digest
from curation.obs_writer import OBS_COLUMNS
from curation.store import COUNT_DTYPE, VAR_COLUMNS

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

    corpus: Path
    entry: Mapping[str, Any]
    root: zarr.Group
    attributes: Mapping[str, Any]

    @property
    def path(self) -> str:
        return str(self.entry["path"])

    @property
    def split(self) -> str:
        return str(self.entry["split"])

    @property
    def n_samples(self) -> int:
        return int(self.entry["n_samples"])

    @property
    def nnz(self) -> int:
        return int(self.entry["nnz"])

    def decoding(self, file: str) -> AbstractContextManager[None]:
        """Name the store and the file in whatever is raised within."""
        return decoding(self.corpus, self.entry, file)

    def compare(self, part: str, digest: str) -> None:
        """Compare the digest of what was read with the store's."""
        compare_digest(self.corpus, self.entry, part, digest, self.attributes["digests"].get(part))


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
    """Open a store whose files all have their sums, and whose tables have their digests."""
    check_files(corpus, entry)
    with decoding(corpus, entry, ROOT_METADATA):
        attributes = root_attributes(corpus, entry)
        attributes["digests"] = dict(attributes["digests"])
        source = _Source(
            corpus=corpus, entry=entry, root=zarr.open_group(corpus / entry["path"], mode="r"), attributes=attributes
        )
    for name in ("obs", "var"):
        with source.decoding(name):
            digest = table_digest(zarr.open_group(corpus / entry["path"] / name, mode="r"))
        source.compare(name, digest)
    return source


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
    with sources[0].decoding("uns/curation"):
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
    tables = []
    for source in sources:
        with source.decoding("var"):
            tables.append(ad.io.read_elem(source.root["var"])[list(VAR_COLUMNS)])
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
            arrays = _arrays(source)
            indptr[row + 1 : row + 1 + source.n_samples] = _row_ends(source, arrays["indptr"]) + begin
            digests = {name: ArrayDigest(arrays[name].dtype) for name in ("indices", "data")}
            for start in range(0, source.nnz, BLOCK_ELEMENTS):
                stop = min(start + BLOCK_ELEMENTS, source.nnz)
                pieces = {}
                for name, digest in digests.items():
                    with source.decoding(f"X/{name}"):
                        pieces[name] = np.asarray(arrays[name][start:stop])
                    digest.update(pieces[name])
                if pieces["indices"].max(initial=0) >= len(lookup):
                    raise _damaged(source, "a count at a gene outside the axis")
                mapped = lookup[pieces["indices"]]
                if len(mapped) and mapped.min() < 0:
                    raise _damaged(source, "a count at a gene that the study did not measure")
                indices[begin + start : begin + stop] = mapped
                values[begin + start : begin + stop] = pieces["data"]
                progress.add(2 * pieces["data"].nbytes)
            for name, digest in digests.items():
                source.compare(f"X/{name}", digest.hexdigest())
            row, begin = row + source.n_samples, begin + source.nnz


def _arrays(source: _Source) -> dict[str, zarr.Array]:
    """Open the arrays of X, once they are as long as the manifest says."""
    lengths = {"indptr": source.n_samples + 1, "indices": source.nnz, "data": source.nnz}
    arrays = {}
    for name, length in lengths.items():
        with source.decoding(f"X/{name}"):
            arrays[name] = zarr.open_array(source.corpus / source.path / "X" / name, mode="r")
            if arrays[name].shape != (length,):
                raise _damaged(source, f"X/{name} of shape {arrays[name].shape}, not ({length},)")
    return arrays


def _row_ends(source: _Source, array: zarr.Array) -> np.ndarray:
    """Return where the rows of a store end, once they are what its digest says."""
    with source.decoding("X/indptr"):
        starts = np.asarray(array[:])
    digest = ArrayDigest(array.dtype)
    digest.update(starts)
    source.compare("X/indptr", digest.hexdigest())
    ends: np.ndarray = starts[1:]
    return ends


def _damaged(source: _Source, found: str) -> InputError:
    return InputError(
        "the store is damaged, and no file was written",
        where=f"store {source.path}, in {source.corpus}",
        found=found,
        todo=VERIFY,
    )


def _write_obs(file: h5py.File, sources: Sequence[_Source], *, with_split: bool) -> None:
    """Write obs column by column, as AnnData writes a data frame."""
    with sources[0].decoding("obs"):
        attributes = sources[0].root["obs"].attrs.asdict()
        index, columns = str(attributes["_index"]), [name for name in attributes["column-order"] if name in OBS_COLUMNS]  # type: ignore[union-attr]
    group = file.create_group("obs")
    for name in (index, *columns):
        parts = []
        for source in sources:
            with source.decoding(f"obs/{name}"):
                parts.append(ad.io.read_elem(source.root[f"obs/{name}"]))
        ad.io.write_elem(group, name, _joined(parts))
    if with_split:
        lengths = [source.n_samples for source in sources]
        codes = np.repeat([SPLITS.index(source.split) for source in sources], lengths)
        ad.io.write_elem(group, "split", pd.Categorical.from_codes(codes.tolist(), categories=pd.Index(SPLITS)))
        columns.append("split")
    group.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.2.0", "_index": index})
    group.attrs["column-order"] = np.array(columns, dtype=object)


def _joined(parts: list[Any]) -> Any:
    if isinstance(parts[0], pd.Categorical):
        return parts[0] if len(parts) == 1 else union_categoricals(parts, sort_categories=True)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
