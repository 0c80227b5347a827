"""Reading a one-dimensional sharded Zarr array without Zarr's library: one read a block, decoded where it is asked for.

Zarr v3 specification, codec `sharding_indexed`: a shard is its encoded chunks and an index of (offset, bytes) pairs.
Only the layout that docs/corpus-format.md describes is read here; `Layout.parse` answers None for any other, and
the caller leaves that to Zarr.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any, Protocol

import google_crc32c
import numpy as np
from numcodecs import blosc

from txfm.corpus.buffers import BUFFERS
from txfm.corpus.chunk_cache import ChunkCache
from txfm.corpus.places import Place
from txfm.corpus.store_files import DamagedStoreError

CRC_BYTES = 4
# Of a chunk that is not in its shard: all its elements are 0
NO_CHUNK = 2**64 - 1
BLOSC_HEADER = struct.Struct(
    "<4B3I"
)  # version, its format's version, flags, type size, bytes, block size, stored bytes
DTYPES = {"uint16": "<u2", "int32": "<i4", "int64": "<i8"}
LITTLE_ENDIAN = {"name": "bytes", "configuration": {"endian": "little"}}
CRC32C = {"name": "crc32c"}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How an array is cut and encoded. `has_crc`: each chunk ends in the CRC-32C of its bytes."""

    length: int
    dtype: np.dtype
    chunk_elements: int
    chunks_per_shard: int
    has_crc: bool

    @property
    def index_bytes(self) -> int:
        """Bytes of a shard's index and of the checksum behind it."""
        return 16 * self.chunks_per_shard + CRC_BYTES

    @classmethod
    def parse(cls, metadata: dict[str, Any]) -> Layout | None:
        """The layout that an array's zarr.json describes; None if it is another than this module reads."""
        try:
            (length,), (shard,) = metadata["shape"], metadata["chunk_grid"]["configuration"]["chunk_shape"]
            (codec,) = metadata["codecs"]
            sharding = codec["configuration"]
            (chunk,) = sharding["chunk_shape"]
            first, second, *rest = [_plain(item) for item in sharding["codecs"]]
            dtype = np.dtype(DTYPES[metadata["data_type"]])
            usual = (
                metadata["zarr_format"] == 3
                and metadata["node_type"] == "array"
                and metadata["chunk_grid"]["name"] == "regular"
                and metadata["chunk_key_encoding"] == {"name": "default", "configuration": {"separator": "/"}}
                and metadata["fill_value"] == 0
                and not metadata.get("storage_transformers")
                and codec["name"] == "sharding_indexed"
                and sharding.get("index_location", "end") == "end"
                and [_plain(item) for item in sharding["index_codecs"]] == [LITTLE_ENDIAN, CRC32C]
                and first == LITTLE_ENDIAN
                and second["name"] == "blosc"
                and rest in ([], [CRC32C])
                and shard % chunk == 0
            )
        except (KeyError, TypeError, ValueError):
            return None
        if not usual:
            return None
        return cls(
            length=length, dtype=dtype, chunk_elements=chunk, chunks_per_shard=shard // chunk, has_crc=bool(rest)
        )


def _plain(codec: dict[str, Any]) -> dict[str, Any]:
    """A codec without an empty configuration."""
    return codec if codec.get("configuration") else {"name": codec["name"]}


class Conversion(Protocol):
    """What becomes of elements on their way from a decoded chunk, still in the processor's cache, to the output."""

    @property
    def dtype(self) -> np.dtype:
        """Of the output."""

    def convert(self, source: np.ndarray, target: np.ndarray) -> None:
        """Write what `source` becomes to `target`, of the same length."""


@dataclass(frozen=True)
class _Chunk:
    """An encoded chunk: its place in its shard."""

    number: int
    offset: int
    length: int


class ShardedArray:
    """An opened array of a store.

    Parameters
    ----------
    place : Place
        The store.
    path : str
        The array's folder within it.
    layout : Layout
    files : mapping
        The store's list of files: path -> bytes and sha256; empty for a store of a format before 1.0.
    cache : ChunkCache, optional
        For chunks of a remote store.
    """

    def __init__(
        self,
        place: Place,
        path: str,
        layout: Layout,
        *,
        files: Mapping[str, Mapping[str, Any]],
        cache: ChunkCache | None = None,
    ) -> None:
        self.layout = layout
        self._place, self._path, self._files = place, path, files
        self._cache = cache if layout.has_crc else None  # without checksums nothing that was kept could be proven
        self._indices: dict[int, np.ndarray] = {}
        self._lock = Lock()

    def read(self, start: int, stop: int, conversion: Conversion | None = None) -> np.ndarray:
        """Elements [start, stop), as they are stored or converted.

        Raises
        ------
        DamagedStoreError
            A shard is missing, is cut, or holds other bytes than were written.
        """
        size, per_shard = self.layout.chunk_elements, self.layout.chunks_per_shard
        first, last = start // size, -(-stop // size)
        out = BUFFERS.empty(stop - start, self.layout.dtype if conversion is None else conversion.dtype)
        decoded = BUFFERS.empty(size, self.layout.dtype)  # one chunk at a time: it stays in the cache
        for shard in range(first // per_shard, -(-last // per_shard)):
            begin = shard * per_shard
            for chunk in self._decoded(shard, max(first, begin), min(last, begin + per_shard), decoded):
                left, right = max(start, chunk * size), min(stop, (chunk + 1) * size)
                source, target = decoded[left - chunk * size : right - chunk * size], out[left - start : right - start]
                if conversion is None:
                    target[:] = source
                else:
                    conversion.convert(source, target)
        return out

    def _decoded(self, shard: int, first: int, last: int, out: np.ndarray) -> Iterator[int]:
        """Decode the chunks [first, last) of the array, all of one shard, one by one to `out`; yield their numbers."""
        index = self._index(shard)
        base = shard * self.layout.chunks_per_shard
        wanted = []
        for chunk in range(first, last):
            offset, length = (int(number) for number in index[chunk - base])
            if offset == NO_CHUNK:
                out[:] = 0
                yield chunk
            else:
                wanted.append(_Chunk(chunk, offset, length))
        for run in _contiguous(wanted):
            begin = run[0].offset
            content = self._content(shard, run)
            for found in run:
                self._decode(shard, found, content[found.offset - begin : found.offset - begin + found.length], out)
                yield found.number

    def _content(self, shard: int, run: list[_Chunk]) -> np.ndarray:
        """The bytes of chunks that lie behind one another, with every checksum proven."""
        begin, length = run[0].offset, run[-1].offset + run[-1].length - run[0].offset
        key = self._key(shard)
        if self._cache is not None and key is not None:
            kept = self._cache.read(key, begin, length)
            if kept is not None and all(_crc_agrees(kept, chunk, begin) for chunk in run):
                return kept
        content = self._bytes(shard, begin, length)
        if len(content) < length:
            raise DamagedStoreError(
                self._name(shard), f"{begin + len(content):,} bytes", expected=f"at least {begin + length:,} bytes"
            )
        if self.layout.has_crc:
            for chunk in run:
                if not _crc_agrees(content, chunk, begin):
                    end = chunk.offset + chunk.length
                    raise DamagedStoreError(
                        self._name(shard),
                        f"other bytes in chunk {chunk.number} (bytes {chunk.offset:,} to {end:,})",
                        expected="bytes with the CRC-32C that the chunk ends in",
                    )
        if self._cache is not None and key is not None:
            self._cache.write(key, begin, content)
        return content

    def _decode(self, shard: int, chunk: _Chunk, content: np.ndarray, out: np.ndarray) -> None:
        encoded = content[: len(content) - CRC_BYTES] if self.layout.has_crc else content
        problem = _blosc_problem(encoded, out.nbytes)
        if problem is None:
            try:
                blosc.decompress(encoded, out)
            except (RuntimeError, ValueError) as error:
                problem = str(error)
        if problem is not None:
            raise DamagedStoreError(self._name(shard), f"chunk {chunk.number} cannot be decoded: {problem}")

    def _index(self, shard: int) -> np.ndarray:
        """(offset, bytes) of each chunk of a shard, uint64 (chunks_per_shard, 2)."""
        with self._lock:
            if shard not in self._indices:
                self._indices[shard] = self._read_index(shard)
            return self._indices[shard]

    def _read_index(self, shard: int) -> np.ndarray:
        length = self.layout.index_bytes
        size = self._size(shard)
        key = self._key(shard)
        content = self._cache.read(key, size - length, length) if self._cache is not None and key is not None else None
        if content is None or not _ends_in_crc(content):
            content = self._bytes(shard, max(0, size - length), length)
            if len(content) < length or not _ends_in_crc(content):
                raise DamagedStoreError(
                    self._name(shard), "another index at its end: the file is cut, or its bytes were changed"
                )
            if self._cache is not None and key is not None:
                self._cache.write(key, size - length, content)
        return content[:-CRC_BYTES].view("<u8").reshape(-1, 2)

    def _size(self, shard: int) -> int:
        listed = self._files.get(self._shard_path(shard))
        if listed is not None and self._place.remote:
            return int(listed["bytes"])
        try:
            size = self._place.size(self._shard_path(shard))
        except FileNotFoundError:
            raise DamagedStoreError(self._name(shard), "no such file", expected="a shard of this array") from None
        if listed is not None and size != listed["bytes"]:
            raise DamagedStoreError(self._name(shard), f"{size:,} bytes", expected=f"{listed['bytes']:,} bytes")
        return size

    def _bytes(self, shard: int, start: int, length: int) -> np.ndarray:
        try:
            return self._place.read_range(self._shard_path(shard), start, length)
        except FileNotFoundError:
            raise DamagedStoreError(self._name(shard), "no such file", expected="a shard of this array") from None

    def _shard_path(self, shard: int) -> str:
        return f"{self._path}/c/{shard}"

    def _name(self, shard: int) -> str:
        return self._place.name(self._shard_path(shard))

    def _key(self, shard: int) -> str | None:
        """A shard's name in the cache; None if nothing identifies it."""
        listed = self._files.get(self._shard_path(shard))
        return None if listed is None else str(listed["sha256"])


def _contiguous(chunks: list[_Chunk]) -> Iterator[list[_Chunk]]:
    """Chunks in runs that lie behind one another in their shard: one read each."""
    run: list[_Chunk] = []
    for chunk in sorted(chunks, key=lambda chunk: chunk.offset):
        if run and chunk.offset != run[-1].offset + run[-1].length:
            yield run
            run = []
        run.append(chunk)
    if run:
        yield run


def _crc_agrees(content: np.ndarray, chunk: _Chunk, begin: int) -> bool:
    return _ends_in_crc(content[chunk.offset - begin : chunk.offset - begin + chunk.length])


def _ends_in_crc(content: np.ndarray) -> bool:
    """Whether the last four bytes are the CRC-32C of those before."""
    if len(content) < CRC_BYTES:
        return False
    stated = int.from_bytes(content[-CRC_BYTES:].tobytes(), "little")
    return google_crc32c.value(content[:-CRC_BYTES]) == stated


def _blosc_problem(encoded: np.ndarray, n_bytes: int) -> str | None:
    """What is wrong with the sizes that a Blosc chunk states of itself."""
    if len(encoded) < BLOSC_HEADER.size:
        return f"{len(encoded)} bytes"
    *_, stated, _, stored = BLOSC_HEADER.unpack_from(encoded.data)
    if stated != n_bytes or stored != len(encoded):
        return f"it states {stated:,} bytes in {stored:,}, not {n_bytes:,} in {len(encoded):,}"
    return None
