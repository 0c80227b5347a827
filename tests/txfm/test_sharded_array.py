"""The fast path of the reader: equal to Zarr's library wherever it is used, and it says what is damaged."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, ZstdCodec

from txfm.corpus.places import LocalPlace
from txfm.corpus.sharded_array import Layout, ShardedArray
from txfm.corpus.store_files import DamagedStoreError

DTYPES = (np.uint16, np.int32, np.int64)


@pytest.fixture
def written(write_sharded_array: Callable[..., None], tmp_path: Path) -> Callable[[np.ndarray], zarr.Group]:
    """Write `values` as the array `a` of a group."""

    def write(values: np.ndarray) -> zarr.Group:
        group = zarr.open_group(tmp_path, mode="w", zarr_format=3)
        write_sharded_array(group, "a", values)
        return group

    return write


def opened(folder: Path) -> ShardedArray:
    layout = Layout.parse(json.loads((folder / "a" / "zarr.json").read_text()))
    assert layout is not None
    return ShardedArray(LocalPlace(folder), "a", layout, files={})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [1, 63, 64, 65, 256, 257, 1000])
def test_every_range_equals_what_zarr_reads(
    tmp_path: Path, written: Callable[[np.ndarray], zarr.Group], dtype: type, length: int
) -> None:
    values = np.random.default_rng(length).integers(0, 60_000, length).astype(dtype)
    values[64:128] = 0  # Zarr leaves a chunk of zeros out of its shard
    group = written(values)
    array, rng = opened(tmp_path), np.random.default_rng(0)
    ranges = [(0, length), (length, length), (0, 0), *(sorted(rng.integers(0, length + 1, 2)) for _ in range(40))]
    for start, stop in ranges:
        found = array.read(int(start), int(stop))
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, values[start:stop])
        np.testing.assert_array_equal(found, group["a"][start:stop])  # type: ignore[index]


def test_an_array_without_checksums_of_its_chunks_is_read_as_well(tmp_path: Path) -> None:
    values = np.arange(500, dtype=np.int32)
    group = zarr.open_group(tmp_path, mode="w", zarr_format=3)
    group.create_array("a", data=values, chunks=(64,), shards=(256,), compressors=BloscCodec(cname="lz4"))
    assert not opened(tmp_path).layout.has_crc
    np.testing.assert_array_equal(opened(tmp_path).read(3, 400), values[3:400])


@pytest.mark.parametrize(
    "options",
    [
        {"chunks": (64,), "compressors": BloscCodec()},
        {"chunks": (64,), "shards": (256,), "compressors": ZstdCodec()},
        {"chunks": (64,), "shards": (256,), "compressors": [BloscCodec(), GzipCodec()]},
        {"chunks": (64,), "shards": (256,), "compressors": None},
        {"chunks": (64,), "shards": (256,), "compressors": BloscCodec(), "serializer": BytesCodec(endian="big")},
        {"chunks": (64,), "shards": (256,), "compressors": BloscCodec(), "fill_value": 7},
        {"chunks": (256,), "compressors": None, "serializer": ShardingCodec(chunk_shape=(64,), index_location="start")},
    ],
)
def test_any_other_layout_is_left_to_zarr(tmp_path: Path, options: dict[str, object]) -> None:
    group = zarr.open_group(tmp_path, mode="w", zarr_format=3)
    group.create_array("a", shape=(500,), dtype=np.int32, **options)  # type: ignore[arg-type]
    assert Layout.parse(json.loads((tmp_path / "a" / "zarr.json").read_text())) is None


def test_a_group_another_dtype_and_two_dimensions_are_left_to_zarr(
    tmp_path: Path, written: Callable[[np.ndarray], zarr.Group]
) -> None:
    group = written(np.zeros(10, np.int32))
    metadata = json.loads((tmp_path / "a" / "zarr.json").read_text())
    assert Layout.parse(metadata) is not None
    for change in ({"data_type": "float32"}, {"shape": [5, 2]}, {"node_type": "group"}, {"zarr_format": 2}):
        assert Layout.parse(metadata | change) is None
    assert Layout.parse({"node_type": "group", "zarr_format": 3, "attributes": dict(group.attrs)}) is None


def test_any_changed_byte_of_a_shard_is_noticed_when_it_is_read(
    tmp_path: Path, written: Callable[[np.ndarray], zarr.Group]
) -> None:
    values = np.random.default_rng(0).integers(0, 50_000, 256).astype(np.uint16)
    written(values)
    shard = tmp_path / "a" / "c" / "0"
    whole = shard.read_bytes()
    rng = np.random.default_rng(1)
    for position in [*range(0, len(whole), 7), len(whole) - 1]:
        changed = bytearray(whole)
        changed[position] ^= int(rng.integers(1, 256))
        shard.write_bytes(changed)
        with pytest.raises(DamagedStoreError, match=str(shard)):
            opened(tmp_path).read(0, 256)
    shard.write_bytes(whole)
    np.testing.assert_array_equal(opened(tmp_path).read(0, 256), values)


def test_a_changed_byte_is_told_with_its_chunk_and_stops_no_other_chunk(
    tmp_path: Path, written: Callable[[np.ndarray], zarr.Group]
) -> None:
    values = np.random.default_rng(0).integers(0, 50_000, 256).astype(np.uint16)
    written(values)
    shard = tmp_path / "a" / "c" / "0"
    content = bytearray(shard.read_bytes())
    content[40] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DamagedStoreError, match=r"chunk 0 \(bytes 0 to"):
        opened(tmp_path).read(0, 10)
    np.testing.assert_array_equal(opened(tmp_path).read(64, 256), values[64:])


@pytest.mark.parametrize("n_bytes", [0, 3, 40, 300])
def test_a_cut_shard_is_named(tmp_path: Path, written: Callable[[np.ndarray], zarr.Group], n_bytes: int) -> None:
    written(np.random.default_rng(0).integers(0, 50_000, 256).astype(np.uint16))
    shard = tmp_path / "a" / "c" / "0"
    shard.write_bytes(shard.read_bytes()[:n_bytes])
    with pytest.raises(DamagedStoreError, match=r"(?s)c/0.*index at its end"):
        opened(tmp_path).read(0, 1)


def test_a_missing_shard_is_named_and_no_zeros(tmp_path: Path, written: Callable[[np.ndarray], zarr.Group]) -> None:
    written(np.ones(600, np.int32))
    (tmp_path / "a" / "c" / "1").unlink()
    np.testing.assert_array_equal(opened(tmp_path).read(0, 256), np.ones(256))
    with pytest.raises(DamagedStoreError, match=r"(?s)c/1.*no such file"):
        opened(tmp_path).read(250, 260)


def test_a_shard_of_another_length_than_listed_is_told_before_it_is_read(
    tmp_path: Path, written: Callable[[np.ndarray], zarr.Group]
) -> None:
    written(np.ones(256, np.int32))
    listed = {"a/c/0": {"bytes": 7, "sha256": "x"}}
    layout = opened(tmp_path).layout
    with pytest.raises(DamagedStoreError, match="expected: 7 bytes"):
        ShardedArray(LocalPlace(tmp_path), "a", layout, files=listed).read(0, 1)


def test_crc_is_the_last_codec_that_the_layout_knows(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path, mode="w", zarr_format=3)
    codecs = [Crc32cCodec(), BloscCodec()]
    group.create_array("a", shape=(500,), dtype=np.int32, chunks=(64,), shards=(256,), compressors=codecs)
    assert Layout.parse(json.loads((tmp_path / "a" / "zarr.json").read_text())) is None
