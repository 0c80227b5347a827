from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import zarr
from scipy import sparse

from curation import obs_writer, shards
from curation.digest import ArrayDigest, frame_digest
from curation.labels import LABELS
from curation.obs_writer import SAMPLE
from curation.store import StoreIdentity, StoreRecord, StoreWriter

N_GENES = 500
VALUES = np.array(["", "b", "a", "unused"], dtype=object)


def counts_of(n_samples: int) -> sparse.csr_matrix:
    counts = sparse.random(n_samples, N_GENES, 0.1, format="csr", random_state=0)
    counts.data = np.ceil(counts.data * 9)
    counts.sort_indices()
    return counts.astype(np.int32)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., tuple[Path, StoreRecord]]:
    def run(counts: sparse.csr_matrix, step: int) -> tuple[Path, StoreRecord]:
        path = tmp_path / f"by_{step}" / "toy.r.train.zarr"
        index = pd.Index([f"ENSG{i:011d}" for i in range(N_GENES)], name="ensembl_id", dtype=object)
        identity = StoreIdentity(
            path=path,
            study="toy",
            recipe="r",
            split="train",
            assay="sc",
            simulated=False,
            var=pd.DataFrame({"symbol": "", "measured": True}, index=index),
            n_samples=counts.shape[0],
            nnz=counts.nnz,
            attributes={"count_kind": "umi"},
        )
        with ThreadPoolExecutor(2) as pool, ThreadPoolExecutor(1) as hasher:
            writer = StoreWriter(identity, scratch=tmp_path / f"scratch_{step}", pool=pool, hasher=hasher)
            for start in range(0, counts.shape[0], step):
                block = counts[start : start + step]
                numbers = np.arange(start, start + block.shape[0])
                samples = np.zeros(len(numbers), dtype=SAMPLE)
                samples["batch"], samples["source_row"] = numbers % 3, numbers
                samples["fingerprint"] = np.uint64(2**63) + numbers.astype(np.uint64)
                writer.append(block, samples, [f"toy:é{number}" for number in numbers])
            return path, writer.finish(dict.fromkeys(LABELS, VALUES), {"read": 1})

    return run


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "CHUNK_ELEMENTS", 1_000)
    monkeypatch.setattr(shards, "CHUNKS_PER_SHARD", 4)
    monkeypatch.setattr(obs_writer, "ROWS_PER_CHUNK", 64)


@pytest.mark.usefixtures("small_chunks")
def test_anndata_and_zarr_read_what_was_written_in_several_shards(write) -> None:
    counts = counts_of(300)
    path, record = write(counts, 70)
    table = ad.read_zarr(path)
    assert np.array_equal(counts.toarray(), table.X.toarray())
    assert len(list((path / "X" / "data" / "c").iterdir())) == 4  # 15 chunks of 1,000, four a shard
    assert table.obs_names[:2].tolist() == ["toy:é0", "toy:é1"]
    assert table.obs["batch"].astype(str).tolist() == ["", "b", "a"] * 100
    assert table.obs["batch"].cat.categories.tolist() == ["", "a", "b"]
    assert table.obs["fingerprint"].iloc[7] == 2**63 + 7
    assert table.var["n_detected"].tolist() == counts.astype(bool).sum(axis=0).A1.tolist()
    assert record.n_samples == 300


@pytest.mark.usefixtures("small_chunks")
def test_the_digests_are_those_of_the_content_as_it_is_read_back(write) -> None:
    path, _ = write(counts_of(300), 70)
    root, table = zarr.open_group(path, mode="r"), ad.read_zarr(path)
    assert root.attrs["digests"]["obs"] == frame_digest(table.obs)
    assert root.attrs["digests"]["var"] == frame_digest(table.var)
    for name in ("indices", "data", "indptr"):
        array = root[f"X/{name}"]
        digest = ArrayDigest(array.dtype)
        digest.update(array[:])
        assert root.attrs["digests"][f"X/{name}"] == digest.hexdigest()


def test_pieces_in_which_samples_come_change_nothing(write) -> None:
    counts = counts_of(300)
    assert write(counts, 7)[1] == write(counts, 300)[1]


def test_a_store_without_samples_can_be_read(write) -> None:
    path, record = write(counts_of(300)[:0], 10)
    table = ad.read_zarr(path)
    assert table.shape == (0, N_GENES)
    assert record.nnz == 0
    assert table.obs["study"].cat.categories.tolist() == []


def test_fewer_elements_than_announced_are_an_error_of_the_program(write, tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "group", mode="w", zarr_format=3)
    with ThreadPoolExecutor(1) as pool:
        folder, dtype = tmp_path / "group", np.dtype("int32")
        array = shards.ShardedArray(group, folder, "x", length=5, dtype=dtype, pool=pool, hasher=pool)
        array.append(np.arange(4))
        with pytest.raises(AssertionError):
            array.close()
