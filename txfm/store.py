"""Reading one store: contiguous blocks of rows, never the whole matrix."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import anndata
import numpy as np
import pandas as pd
import zarr

from txfm.errors import InputError
from txfm.variant import StoreEntry


@dataclass(frozen=True, eq=False)
class CsrRows:
    """Raw counts of some samples.

    Attributes
    ----------
    indptr : numpy.ndarray (n + 1,), int64
    positions : numpy.ndarray (nnz,)
        Vocabulary positions.
    counts : numpy.ndarray (nnz,), int32
    """

    indptr: np.ndarray
    positions: np.ndarray
    counts: np.ndarray

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def nbytes(self) -> int:
        """Bytes held in memory."""
        return self.indptr.nbytes + self.positions.nbytes + self.counts.nbytes

    def take(self, rows: np.ndarray) -> "CsrRows":
        """The given rows, in the given order."""
        starts = self.indptr[rows]
        lengths = self.indptr[rows + 1] - starts
        indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        flat = np.repeat(starts - indptr[:-1], lengths) + np.arange(indptr[-1])
        return CsrRows(indptr, self.positions[flat], self.counts[flat])

    @staticmethod
    def concatenate(parts: "list[CsrRows]") -> "CsrRows":
        """The rows of all parts, one after another."""
        if len(parts) == 1:
            return parts[0]
        offsets = np.cumsum([0] + [part.indptr[-1] for part in parts])
        indptr = [part.indptr[1:] + offset for part, offset in zip(parts, offsets, strict=False)]
        return CsrRows(
            np.concatenate([np.zeros(1, np.int64), *indptr]),
            np.concatenate([part.positions for part in parts]),
            np.concatenate([part.counts for part in parts]),
        )


class StoreReader:
    """An opened store whose identity was checked against the variant's manifest.

    Raises
    ------
    InputError
        The store is missing, or its digest, study or split is not what the manifest says.
    """

    def __init__(self, entry: StoreEntry) -> None:
        self.entry = entry
        if not entry.path.is_dir():
            raise InputError("A store of the variant is missing", where=str(entry.path), todo="build the corpus again")
        self._group = zarr.open_group(entry.path, mode="r")
        for name in ("digest", "study", "split"):
            found, expected = self._group.attrs.get(name), getattr(entry, name)
            if found != expected:
                raise InputError(
                    f"The {name} of store {entry.path.name} is not the one in the variant's manifest",
                    where=str(entry.path),
                    expected=str(expected),
                    found=str(found),
                    todo="the store was changed after the variant was composed: build the variant again",
                )

    @cached_property
    def indptr(self) -> np.ndarray:
        """Row pointers, int64 (n_samples + 1,)."""
        return np.asarray(self._array("X/indptr")[:], dtype=np.int64)

    @cached_property
    def var(self) -> pd.DataFrame:
        """The gene axis with `symbol`, `measured` and `n_detected`."""
        return anndata.io.read_elem(self._group["var"])

    def obs(self) -> pd.DataFrame:
        """The samples, in row order."""
        return anndata.io.read_elem(self._group["obs"])

    def obs_columns(self, *names: str) -> dict[str, Any]:
        """Some columns of the samples, without the others and without the sample ids."""
        return {name: anndata.io.read_elem(self._group[f"obs/{name}"]) for name in names}

    @cached_property
    def sample_ids(self) -> np.ndarray:
        """Sample ids in row order; a compact string array."""
        index_name = self._group["obs"].attrs["_index"]
        return np.asarray(self._array(f"obs/{index_name}")[:])

    def read_rows(self, start: int, stop: int, vocabulary_positions: np.ndarray) -> CsrRows:
        """Read a contiguous block of rows.

        Parameters
        ----------
        start, stop : int
            Half-open range of rows.
        vocabulary_positions : numpy.ndarray (n_axis,), int32
            Vocabulary position of every axis column, -1 outside the vocabulary: such entries are dropped.

        Returns
        -------
        CsrRows
        """
        first, last = int(self.indptr[start]), int(self.indptr[stop])
        columns = np.asarray(self._array("X/indices")[first:last])
        counts = np.asarray(self._array("X/data")[first:last])
        positions = vocabulary_positions[columns]
        known = positions >= 0
        lengths_before = np.concatenate([np.zeros(1, np.int64), np.cumsum(known)])
        indptr = lengths_before[self.indptr[start : stop + 1] - first]
        dtype = np.uint16 if len(vocabulary_positions) <= 65_536 else np.int32
        return CsrRows(indptr, positions[known].astype(dtype), counts[known].astype(np.int32, copy=False))

    def _array(self, path: str) -> zarr.Array:
        array = self._group[path]
        assert isinstance(array, zarr.Array)
        return array
