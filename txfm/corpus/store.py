"""Reading one store: contiguous blocks of rows, never the whole matrix."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any, Protocol

import anndata
import numpy as np
import pandas as pd
import zarr

from txfm.corpus.chunk_cache import ChunkCache
from txfm.corpus.gene_map import GeneMap, Narrowing, Renaming
from txfm.corpus.places import Place
from txfm.corpus.rows import CsrRows
from txfm.corpus.sharded_array import Conversion, Layout, ShardedArray
from txfm.corpus.store_files import DamagedStoreError, StoreFiles, root_attributes
from txfm.corpus.variant import StoreEntry
from txfm.errors import InputError

# What a store and its entry in the manifest both say
IDENTITY = ("digest", "study", "recipe", "split", "assay", "n_samples", "nnz")


class Store(Protocol):
    """What a `Corpus` asks of a store: `StoreReader`, or `InMemoryStore`."""

    entry: StoreEntry

    @property
    def indptr(self) -> np.ndarray:
        """Row pointers, int64 (n_samples + 1,)."""

    @property
    def var(self) -> pd.DataFrame:
        """The gene axis, with `n_detected`."""

    @property
    def sample_ids(self) -> np.ndarray:
        """Sample ids in row order."""

    @property
    def obs_names(self) -> list[str]:
        """Names of the samples' columns."""

    def obs_columns(self, *names: str) -> dict[str, Any]:
        """Some columns of the samples."""

    def read_rows(self, start: int, stop: int, genes: GeneMap, *, drops: bool = True) -> CsrRows:
        """A contiguous block of rows over the vocabulary."""


class StoreReader:
    """An opened store whose identity was checked against the variant's manifest.

    Parameters
    ----------
    place : Place
        Of the corpus.
    entry : StoreEntry
    cache : ChunkCache, optional
        For chunks of a remote store.
    plain : bool
        Read X through Zarr's library, also where the layout is known.

    Raises
    ------
    InputError
        The store is missing, or its digest, size or names are not what the manifest says.
    """

    def __init__(
        self, place: Place, entry: StoreEntry, *, cache: ChunkCache | None = None, plain: bool = False
    ) -> None:
        self.entry = entry
        self.place = place.below(entry.path)
        self._cache, self._plain = cache, plain
        self._has_large_counts = False
        try:
            root = self.place.read("zarr.json")
        except FileNotFoundError:
            raise InputError(
                "A store of the variant is missing", where=self.place.name(), todo="build the corpus again"
            ) from None
        self.attributes = root_attributes(self.place, root)
        for name in IDENTITY:
            found, expected = self.attributes.get(name), getattr(entry, name)
            if found != expected:
                raise InputError(
                    f"The {name} of store {entry.name} is not the one in the variant's manifest",
                    where=self.place.name(),
                    expected=str(expected),
                    found=str(found),
                    todo="the store was changed after the variant was composed: build the variant again",
                )
        self.files = StoreFiles(self.place, self.attributes.get("files", {}))
        if entry.zarr_json_sha256 is not None:
            self.files.compare("zarr.json", root, entry.zarr_json_sha256)

    @cached_property
    def indptr(self) -> np.ndarray:
        """Row pointers, int64 (n_samples + 1,), checked to be such."""
        try:
            found = self._elements("X/indptr", 0, self.entry.n_samples + 1).astype(np.int64, copy=False)
        except IndexError as error:
            raise DamagedStoreError(self.place.name("X/indptr"), str(error)) from error
        if found[0] != 0 or found[-1] != self.entry.nnz or (np.diff(found) < 0).any():
            raise DamagedStoreError(
                self.place.name("X/indptr"),
                f"row pointers from {found[0]} to {found[-1]}",
                expected=f"rising from 0 to {self.entry.nnz}",
            )
        return found

    @cached_property
    def var(self) -> pd.DataFrame:
        """The gene axis with `symbol`, `measured` and `n_detected`."""
        return self._element("var")

    def obs_columns(self, *names: str) -> dict[str, Any]:
        """Some columns of the samples, without the others and without the sample ids."""
        return {name: self._element(f"obs/{name}") for name in names}

    @property
    def obs_names(self) -> list[str]:
        """Names of the samples' columns."""
        return list(self._obs_attributes["column-order"])

    @cached_property
    def sample_ids(self) -> np.ndarray:
        """Sample ids in row order; a compact string array."""
        return np.asarray(self._plain_array(f"obs/{self._obs_attributes['_index']}")[:])

    @cached_property
    def _obs_attributes(self) -> dict[str, Any]:
        return json.loads(self.files.read("obs/zarr.json"))["attributes"]

    @cached_property
    def measured(self) -> np.ndarray:
        """Which genes of the axis the study measured, bool (n_axis,), from the store itself."""
        return np.asarray(self._plain_array("var/measured")[:], dtype=bool)

    def read_rows(self, start: int, stop: int, genes: GeneMap, *, drops: bool = True) -> CsrRows:
        """Read a contiguous block of rows.

        Parameters
        ----------
        start, stop : int
            Half-open range of rows.
        genes : GeneMap
            Renames columns of the axis into positions of a vocabulary and drops the others.
        drops : bool
            False: the vocabulary has every gene that the study measured.

        Raises
        ------
        DamagedStoreError
            A shard is missing, cut or changed, or columns are not on the axis.
        """
        first, last = int(self.indptr[start]), int(self.indptr[stop])
        renaming = Renaming(genes)
        try:
            positions = self._elements("X/indices", first, last, renaming)
            if not drops and renaming.largest >= genes.absent:
                raise IndexError("an entry at a gene that the study did not measure")
            rows = CsrRows(self.indptr[start : stop + 1] - first, positions, self._counts(first, last))
        except IndexError as error:
            raise DamagedStoreError(self.place.name("X/indices"), str(error)) from error
        return genes.without_absent(rows) if drops else rows

    def _counts(self, first: int, last: int) -> np.ndarray:
        """In two bytes, unless a block of this store had a count that is too large."""
        if not self._has_large_counts:
            narrowing = Narrowing()
            counts = self._elements("X/data", first, last, narrowing)
            if narrowing.fits:
                return counts
            self._has_large_counts = True
        return self._elements("X/data", first, last)

    def _elements(self, path: str, start: int, stop: int, conversion: Conversion | None = None) -> np.ndarray:
        array = self._array(path)
        if isinstance(array, ShardedArray):
            if stop > array.layout.length:
                raise IndexError(f"{array.layout.length:,} elements, not {stop:,}")
            return array.read(start, stop, conversion)
        try:
            found = np.asarray(array[start:stop])
        except (ValueError, RuntimeError) as error:
            raise DamagedStoreError(self.place.name(path), str(error)) from error
        if len(found) != stop - start:
            raise IndexError(f"{start + len(found):,} elements, not {stop:,}")
        if conversion is None:
            return found
        converted = np.empty(len(found), conversion.dtype)
        conversion.convert(found, converted)
        return converted

    def _array(self, path: str) -> ShardedArray | zarr.Array:
        if path not in self._arrays:
            self._arrays[path] = self._fast_array(path) or self._plain_array(path)
        return self._arrays[path]

    def _fast_array(self, path: str) -> ShardedArray | None:
        """An array of X without Zarr's library; None if that was asked for, or its layout is another one."""
        if self._plain:
            return None
        try:
            layout = Layout.parse(json.loads(self.files.read(f"{path}/zarr.json")))
        except json.JSONDecodeError as error:
            raise DamagedStoreError(self.place.name(f"{path}/zarr.json"), str(error)) from error
        if layout is None:
            return None
        return ShardedArray(self.place, path, layout, files=self.files.listed, cache=self._cache)

    @cached_property
    def _arrays(self) -> dict[str, ShardedArray | zarr.Array]:
        return {}

    @cached_property
    def _group(self) -> zarr.Group:
        return self.place.zarr_group()

    def _plain_array(self, path: str) -> zarr.Array:
        """An array as Zarr's library opens it, proven first: it takes a file that is missing for zeros."""
        self.files.prove(path)
        array = self._group[path]
        assert isinstance(array, zarr.Array)
        return array

    def _element(self, path: str) -> Any:
        self.files.prove(path)
        return anndata.io.read_elem(self._group[path])
