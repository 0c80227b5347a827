"""Single chunks of the arrays that curation.shards writes, with the shard named in which something is wrong."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numcodecs import Blosc

from curation.shards import NO_CHUNK

DECODER = Blosc()
CRC_BYTES = 4
# Of a chunk in the index of a shard: where it begins, and its bytes
INDEX_ENTRY = np.dtype([("offset", "<u8"), ("n_bytes", "<u8")])


class DamagedChunkError(Exception):
    """A chunk, or the index of its shard, is not what was written."""


@dataclass(frozen=True, kw_only=True)
class ShardGrid:
    """How an array is cut.

    Attributes
    ----------
    folder : Path
        Of the array; its shards are c/0, c/1, ...
    length, chunk_elements, chunks_per_shard : int
    dtype : numpy.dtype
    chunks_have_crc : bool
    """

    folder: Path
    length: int
    chunk_elements: int
    chunks_per_shard: int
    dtype: np.dtype
    chunks_have_crc: bool

    @classmethod
    def read(cls, folder: Path) -> ShardGrid:
        """Read an array's metadata.

        Raises
        ------
        ValueError, KeyError, TypeError
            It is not a sharded array with the codecs of docs/corpus-format.md.
        """
        metadata: dict[str, Any] = json.loads((folder / "zarr.json").read_text())
        (sharding,) = metadata["codecs"]
        inner = [(codec["name"], codec.get("configuration", {})) for codec in sharding["configuration"]["codecs"]]
        names = [name for name, _ in inner]
        if sharding["name"] != "sharding_indexed" or names not in (["bytes", "blosc", "crc32c"], ["bytes", "blosc"]):
            raise ValueError(f"the codecs are {sharding['name']} of {', '.join(names)}")
        if inner[0][1].get("endian") != "little" or sharding["configuration"].get("index_location", "end") != "end":
            raise ValueError("bytes are not little-endian, or the index is not at the end of a shard")
        (length,), (chunk,) = metadata["shape"], sharding["configuration"]["chunk_shape"]
        (shard,) = metadata["chunk_grid"]["configuration"]["chunk_shape"]
        if (
            any(type(number) is not int for number in (length, chunk, shard))
            or min(length, chunk - 1, shard - chunk) < 0
        ):
            raise ValueError(f"shape {length}, shards of {shard}, chunks of {chunk}")
        return cls(
            folder=folder,
            length=length,
            chunk_elements=chunk,
            chunks_per_shard=shard // chunk,
            dtype=np.dtype(metadata["data_type"]).newbyteorder("<"),
            chunks_have_crc="crc32c" in names,
        )

    @property
    def n_chunks(self) -> int:
        """Chunks that hold elements."""
        return -(-self.length // self.chunk_elements)

    @property
    def n_shards(self) -> int:
        """Files that hold chunks."""
        return -(-self.n_chunks // self.chunks_per_shard)

    def shard(self, number: int) -> Shard:
        """Return a shard by its number.

        Raises
        ------
        DamagedChunkError
            It is missing, or its index is damaged.
        """
        path = self.folder / "c" / str(number)
        try:
            size = path.stat().st_size
            with path.open("rb") as handle:
                handle.seek(max(0, size - self.chunks_per_shard * INDEX_ENTRY.itemsize - CRC_BYTES))
                tail = handle.read()
        except OSError as error:
            raise DamagedChunkError(f"cannot be read: {error.strerror}") from error
        entries, crc = tail[:-CRC_BYTES], tail[-CRC_BYTES:]
        if len(entries) != self.chunks_per_shard * INDEX_ENTRY.itemsize or not _fits(entries, crc):
            raise DamagedChunkError("the index at its end is damaged, or the file is cut")
        return Shard(grid=self, path=path, index=np.frombuffer(entries, dtype=INDEX_ENTRY))


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A shard whose index was found sound."""

    grid: ShardGrid
    path: Path
    index: np.ndarray

    def chunk(self, place: int) -> np.ndarray:
        """Return a chunk by its place in the shard.

        Raises
        ------
        DamagedChunkError
            It is missing or damaged.
        """
        grid = self.grid
        offset, n_bytes = self.index[place].tolist()
        if offset == NO_CHUNK:
            raise DamagedChunkError(f"chunk {place} is missing")
        with self.path.open("rb") as handle:
            handle.seek(offset)
            encoded = handle.read(n_bytes)
        if len(encoded) < n_bytes:
            raise DamagedChunkError(f"chunk {place} lies behind the end of the file")
        if grid.chunks_have_crc:
            encoded, crc = encoded[:-CRC_BYTES], encoded[-CRC_BYTES:]
            if not _fits(encoded, crc):
                raise DamagedChunkError(f"chunk {place} does not have the CRC-32C that is written behind it")
        try:
            values = np.frombuffer(DECODER.decode(encoded), dtype=grid.dtype)
        except (RuntimeError, ValueError) as error:
            raise DamagedChunkError(f"chunk {place} cannot be decoded: {error}") from error
        if len(values) != grid.chunk_elements:
            raise DamagedChunkError(f"chunk {place} has {len(values)} elements")
        return values


def _fits(content: bytes, crc: bytes) -> bool:
    return google_crc32c.value(content).to_bytes(CRC_BYTES, "little") == crc
