"""The counts of a store, chunk by chunk in threads: sums, order, range, and what obs and var say of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from curation.digest import ArrayDigest
from curation.in_order import in_order
from curation.shard_reader import DamagedChunkError, Shard, ShardGrid
from curation.store import COUNT_DTYPE, INDPTR_DTYPE, index_dtype

# Chunks that are decoded before they are asked for: 6 bytes an element, 13 MB
CHUNKS_AHEAD = 16


@dataclass(frozen=True, kw_only=True)
class MatrixFindings:
    """What was found in X.

    Attributes
    ----------
    problems : list of str
    digests : dict of str to str
        Of the arrays that could be read whole.
    n_samples : int
        -1 if X cannot be read at all.
    row_sums, row_lengths : ndarray of int64, shape (n_samples,)
    known_rows : ndarray of bool, shape (n_samples,)
        Rows whose counts could be read.
    n_detected : ndarray of int64 or None, shape (n_genes,)
        None if some counts could not be read.
    """

    problems: list[str]
    digests: dict[str, str] = field(default_factory=dict)
    n_samples: int = -1
    row_sums: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    row_lengths: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    known_rows: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    n_detected: np.ndarray | None = None


def check_matrix(folder: Path, measured: np.ndarray, pool: Executor) -> MatrixFindings:
    """Read X once and check it.

    Parameters
    ----------
    folder : Path
        Of X.
    measured : ndarray of bool, shape (n_genes,)
    pool : Executor
        Threads that decode.
    """
    grids: dict[str, ShardGrid] = {}
    problems = []
    wanted = {"indptr": INDPTR_DTYPE, "indices": index_dtype(len(measured)), "data": COUNT_DTYPE}
    for name, dtype in wanted.items():
        try:
            grids[name] = ShardGrid.read(folder / name)
        except Exception as error:  # whatever a damaged file leads to is a finding
            problems.append(f"X/{name}: the metadata cannot be read: {error}")
            continue
        if grids[name].dtype != dtype:
            problems.append(f"X/{name}: holds {grids[name].dtype}, not {dtype}")
        if not grids[name].chunks_have_crc:
            problems.append(f"X/{name}: its chunks have no CRC-32C")
    if problems:
        return MatrixFindings(problems=problems)
    indices, values = grids["indices"], grids["data"]
    if (indices.length, indices.chunk_elements, indices.chunks_per_shard) != (
        values.length,
        values.chunk_elements,
        values.chunks_per_shard,
    ):
        return MatrixFindings(problems=["X/indices and X/data are not cut in the same way"])
    indptr, damages = _read_whole(grids["indptr"], pool)
    if damages:
        return MatrixFindings(problems=damages)
    if not len(indptr) or indptr[0] != 0 or (np.diff(indptr) < 0).any() or indptr[-1] != values.length:
        return MatrixFindings(problems=["X/indptr does not fit X/data"])
    return _Matrix(indices=indices, values=values, indptr=indptr, measured=measured).check(pool)


@dataclass(frozen=True, kw_only=True)
class _Chunk:
    """What is known of one chunk of both arrays."""

    indices: np.ndarray | None
    values: np.ndarray | None
    damages: dict[str, str]  # shard -> what is wrong with it
    problems: tuple[str, ...] = ()
    sums: np.ndarray | None = None
    detected: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class _Matrix:
    indices: ShardGrid
    values: ShardGrid
    indptr: np.ndarray
    measured: np.ndarray

    def check(self, pool: Executor) -> MatrixFindings:
        n_samples, step = len(self.indptr) - 1, self.values.chunk_elements
        row_sums, known = np.zeros(n_samples, np.int64), np.ones(n_samples, bool)
        detected, last_index = np.zeros(len(self.measured), np.int64), -1
        damages: dict[str, list[str]] = defaultdict(list)
        problems: set[str] = set()
        digests = {"X/indices": ArrayDigest(self.indices.dtype), "X/data": ArrayDigest(self.values.dtype)}
        whole = dict.fromkeys(digests, True)
        with ThreadPoolExecutor(1) as hasher:
            hashed = hasher.submit(lambda: None)
            for (number, _), chunk in in_order(pool, self._look, self._chunks(), ahead=CHUNKS_AHEAD):
                start = number * step
                first, stop = self._rows(start, min(start + step, self.values.length))
                for shard, damage in chunk.damages.items():
                    damages[shard].append(damage)
                problems.update(chunk.problems)
                hashed.result()
                hashed = hasher.submit(_digest, digests, whole, {"X/indices": chunk.indices, "X/data": chunk.values})
                if chunk.sums is None or chunk.detected is None:
                    known[first:stop] = False
                else:
                    row_sums[first:stop] += chunk.sums
                    detected += chunk.detected
                if chunk.indices is None:
                    last_index = -1
                    continue
                if self.indptr[first] < start and chunk.indices[0] <= last_index:
                    problems.add(UNSORTED)
                last_index = int(chunk.indices[-1])
            hashed.result()
        found = {name: digest.hexdigest() for name, digest in digests.items() if whole[name]}
        rows = ArrayDigest(INDPTR_DTYPE)
        rows.update(self.indptr)
        return MatrixFindings(
            problems=[_summary(shard, n) for shard, n in sorted(damages.items())] + sorted(problems),
            digests=found | {"X/indptr": rows.hexdigest()},
            n_samples=n_samples,
            row_sums=row_sums,
            row_lengths=np.diff(self.indptr),
            known_rows=known,
            n_detected=detected if known.all() else None,
        )

    def _chunks(self) -> Iterator[tuple[int, dict[str, Shard | str]]]:
        """Yield the number of each chunk, and for both arrays its shard or what is wrong with that."""
        shards: dict[str, Shard | str] = {}
        for number in range(self.values.n_chunks):
            shard, place = divmod(number, self.values.chunks_per_shard)
            if not place:
                shards = {
                    f"X/{grid.folder.name}/c/{shard}": _opened(grid, shard) for grid in (self.indices, self.values)
                }
            yield number, shards

    def _rows(self, start: int, stop: int) -> tuple[int, int]:
        """Return the rows, half open, that have elements in a range."""
        first = int(np.searchsorted(self.indptr, start, side="right")) - 1
        return first, int(np.searchsorted(self.indptr, stop, side="left"))

    def _look(self, item: tuple[int, dict[str, Shard | str]]) -> _Chunk:
        number, shards = item
        start = number * self.values.chunk_elements
        stop = min(start + self.values.chunk_elements, self.values.length)
        found: list[np.ndarray | None] = []
        damages = {}
        for name, shard in shards.items():
            try:
                if isinstance(shard, str):
                    raise DamagedChunkError(shard)
                found.append(shard.chunk(number % self.values.chunks_per_shard)[: stop - start])
            except DamagedChunkError as error:
                damages[name] = str(error)
                found.append(None)
        indices, values = found
        problems = [] if indices is None else self._index_problems(indices, start)
        if values is not None and values.min() <= 0:
            problems.append("X/data: a stored count is not above 0")
        if indices is None or values is None or OUTSIDE in problems:
            return _Chunk(indices=indices, values=values, damages=damages, problems=tuple(problems))
        first, last = self._rows(start, stop)
        ends = np.clip(self.indptr[first : last + 1], start, stop) - start
        before = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
        return _Chunk(
            indices=indices,
            values=values,
            damages=damages,
            problems=tuple(problems),
            sums=np.diff(before[ends]),
            detected=np.bincount(indices, minlength=len(self.measured)),
        )

    def _index_problems(self, indices: np.ndarray, start: int) -> list[str]:
        if indices.max() >= len(self.measured) or indices.min() < 0:
            return [OUTSIDE]
        falls = np.flatnonzero(indices[1:] <= indices[:-1]) + 1 + start
        starts = self.indptr[np.minimum(np.searchsorted(self.indptr, falls), len(self.indptr) - 1)]
        problems = [] if np.array_equal(starts, falls) else [UNSORTED]
        return problems if self.measured[indices].all() else [*problems, UNMEASURED]


OUTSIDE = "X/indices: an index lies outside the gene axis"
UNSORTED = "X/indices: indices are not ascending within a row"
UNMEASURED = "X/indices: a gene that the study did not measure has counts"


def _opened(grid: ShardGrid, number: int) -> Shard | str:
    try:
        return grid.shard(number)
    except DamagedChunkError as error:
        return str(error)


def _summary(shard: str, damages: list[str]) -> str:
    others = f" (and {len(damages) - 1} more chunks of it)" if len(damages) > 1 else ""
    return f"{shard}: {damages[0]}{others}"


def _digest(digests: dict[str, ArrayDigest], whole: dict[str, bool], pieces: dict[str, np.ndarray | None]) -> None:
    for name, piece in pieces.items():
        if piece is None:
            whole[name] = False
        else:
            digests[name].update(piece)


def _read_whole(grid: ShardGrid, pool: Executor) -> tuple[np.ndarray, list[str]]:
    """Return all elements of an array, and what is wrong with its shards."""
    values = np.zeros(grid.n_chunks * grid.chunk_elements, dtype=grid.dtype)
    problems = []
    for number in range(grid.n_shards):
        name = f"X/{grid.folder.name}/c/{number}"
        try:
            shard = grid.shard(number)
            places = range(min(grid.chunks_per_shard, grid.n_chunks - number * grid.chunks_per_shard))
            for place, chunk in zip(places, pool.map(shard.chunk, places), strict=True):
                start = (number * grid.chunks_per_shard + place) * grid.chunk_elements
                values[start : start + grid.chunk_elements] = chunk
        except DamagedChunkError as error:
            problems.append(f"{name}: {error}")
    return values[: grid.length], problems
