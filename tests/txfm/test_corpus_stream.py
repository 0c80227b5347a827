"""Streams of a corpus: ranks, shares, threads, tensors, AnnData, and damage that is found while reading."""

import json
import pickle
import shutil
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import zarr
from torch.utils.data import DataLoader

import txfm.corpus.stream
from txfm.corpus import Batch, as_anndata, open_corpus
from txfm.corpus.sharded_array import ShardedArray
from txfm.corpus.store import StoreReader
from txfm.corpus.store_files import DamagedStoreError
from txfm.corpus.torch_dataset import CorpusDataset
from txfm.errors import InputError


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few rows, so that the tiny corpus has many of them."""
    monkeypatch.setattr(txfm.corpus.stream, "BLOCK_NONZEROS", 300)


def open_tiny(corpus: Any, split: str = "train", **options: Any) -> txfm.corpus.Corpus:
    return open_corpus(corpus.folder, "tiny", split, **({"batch_size": 16, "seed": 0} | options))


def batch_ids(corpus: txfm.corpus.Corpus) -> list[list[str]]:
    return [batch.sample_ids for batch in corpus]


def same(a: Batch, b: Batch) -> bool:
    fields = ("indptr", "positions", "counts", "study_index")
    return a.sample_ids == b.sample_ids and all(np.array_equal(getattr(a, f), getattr(b, f)) for f in fields)


def test_the_tiny_corpus_is_read_by_the_fast_path(tiny_corpus: Any) -> None:
    reader = open_tiny(tiny_corpus)._readers[0]
    assert all(isinstance(reader._array(f"X/{name}"), ShardedArray) for name in ("indptr", "indices", "data"))
    plain = open_tiny(tiny_corpus, plain=True)._readers[0]
    assert not any(isinstance(plain._array(f"X/{name}"), ShardedArray) for name in ("indptr", "indices", "data"))


@pytest.mark.parametrize("options", [{}, {"max_genes": 20}, {"shuffle": False}])
def test_zarrs_library_and_the_fast_path_give_the_same_batches(tiny_corpus: Any, options: dict[str, Any]) -> None:
    fast, plain = open_tiny(tiny_corpus, **options), open_tiny(tiny_corpus, plain=True, **options)
    for a, b in zip(fast, plain, strict=True):
        assert same(a, b)


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_batches_do_not_depend_on_threads_or_cache(tiny_corpus: Any, threads: int) -> None:
    expected = list(open_tiny(tiny_corpus, threads=3))
    for a, b in zip(expected, open_tiny(tiny_corpus, threads=threads, memory_bytes=0), strict=True):
        assert same(a, b)


def test_the_second_epoch_from_the_cache_has_the_counts_of_the_stores(tiny_corpus: Any) -> None:
    cached, fresh = open_tiny(tiny_corpus, max_genes=20), open_tiny(tiny_corpus, max_genes=20, memory_bytes=0)
    for _ in range(3):
        for a, b in zip(cached, fresh, strict=True):
            assert same(a, b)


@pytest.mark.parametrize("plain", [False, True])
def test_counts_of_more_than_two_bytes_are_read_as_they_are(tmp_path: Path, write_corpus: Any, plain: bool) -> None:
    corpus = write_corpus(tmp_path)
    group = zarr.open_group(corpus.folder / "stores" / "beta.plain.train.zarr")
    data = group["X/data"]
    assert isinstance(data, zarr.Array)
    expected = data[:]
    expected[[0, len(expected) // 2, -1]] = 65_535, 65_536, 2**31 - 1
    data[:] = expected
    opened = open_tiny(corpus, shuffle=False, plain=plain)
    beta = opened.studies.index("beta")
    for _ in range(2):  # from the store, then from the cache
        found = [batch.counts[np.repeat(batch.study_index == beta, np.diff(batch.indptr))] for batch in opened]
        np.testing.assert_array_equal(np.concatenate(found), expected)


@pytest.mark.parametrize("world", [2, 3, 4])
def test_ranks_share_the_batches_of_one_process_with_the_larger_batch(tiny_corpus: Any, world: int) -> None:
    alone = batch_ids(open_tiny(tiny_corpus, batch_size=6 * world, drop_last=True))
    ranks = [
        batch_ids(open_tiny(tiny_corpus, batch_size=6, world=world, rank=rank, drop_last=True)) for rank in range(world)
    ]
    for number, whole in enumerate(alone):
        parts = [rank[number] for rank in ranks]
        assert [len(part) for part in parts] == [6] * world
        assert parts == [whole[rank::world] for rank in range(world)]


@pytest.mark.parametrize("world", [1, 2, 5, 7])
def test_ranks_see_every_sample_once_in_as_many_batches(tiny_corpus: Any, world: int) -> None:
    ranks = [batch_ids(open_tiny(tiny_corpus, batch_size=5, world=world, rank=rank)) for rank in range(world)]
    assert len({len(rank) for rank in ranks}) == 1
    assert all(batch for rank in ranks for batch in rank)
    seen = [sample for rank in ranks for batch in rank for sample in batch]
    assert len(seen) == len(set(seen)) == 132


def test_a_state_goes_on_with_another_number_of_ranks(tiny_corpus: Any) -> None:
    whole = batch_ids(open_tiny(tiny_corpus, batch_size=18))  # 132 samples: the last two batches are short
    first = open_tiny(tiny_corpus, batch_size=9, world=2, rank=1)
    stream = iter(first)
    for _ in range(4):
        next(stream)
    state = json.loads(json.dumps(first.state_dict()))
    for world in (1, 3):
        ranks = [open_tiny(tiny_corpus, batch_size=18 // world, world=world, rank=rank) for rank in range(world)]
        rest = []
        for corpus in ranks:
            corpus.load_state_dict(state)
            rest.append(batch_ids(corpus))
        together = [sorted(chain.from_iterable(parts)) for parts in zip(*rest, strict=True)]
        assert together == [sorted(batch) for batch in whole[4:]]
    with pytest.raises(InputError, match="another stream"):
        open_tiny(tiny_corpus, batch_size=9, world=1).load_state_dict(state)


@pytest.mark.parametrize("other", [{"max_genes": 20}, {"split": "validation"}, {"seed": 4}, {"drop_last": True}])
def test_a_state_of_another_vocabulary_split_or_order_is_refused(tiny_corpus: Any, other: dict[str, Any]) -> None:
    state = open_tiny(tiny_corpus).state_dict()
    with pytest.raises(InputError, match="another stream"):
        open_tiny(tiny_corpus, **other).load_state_dict(state)


@pytest.mark.parametrize("change", [{"next_batch": 9}, {"next_batch": -1}, {"epoch": -1}, {"epoch": None}])
def test_a_state_that_names_no_batch_is_refused(tiny_corpus: Any, change: dict[str, Any]) -> None:
    corpus = open_tiny(tiny_corpus)
    with pytest.raises(InputError, match="names no batch"):
        corpus.load_state_dict(corpus.state_dict() | change)


def test_two_iterators_of_one_corpus_do_not_move_each_other(tiny_corpus: Any) -> None:
    corpus, expected = open_tiny(tiny_corpus), batch_ids(open_tiny(tiny_corpus))
    first = iter(corpus)
    begun = [next(first).sample_ids for _ in range(3)]
    assert batch_ids(corpus) == expected[3:]
    assert begun + [batch.sample_ids for batch in first] == expected
    assert len(batch_ids(corpus)) == len(expected), "the next epoch is whole"


def test_shares_by_study_and_by_assay_are_met(tiny_corpus: Any) -> None:
    options: dict[str, Any] = {"samples_per_epoch": 4000, "batch_size": 100}
    drawn = open_tiny(tiny_corpus, shares={"alpha": 1, "beta": 0, "gamma": 3}, **options)
    studies = np.concatenate([batch.study_index for batch in drawn])
    assert len(studies) == 4000
    counts = np.bincount(studies, minlength=3)
    assert counts[1] == 0
    assert counts[2] / 4000 == pytest.approx(0.75, abs=0.03)
    by_assay = open_tiny(tiny_corpus, shares={"sc": 1, "bulk": 1}, **options)
    counts = np.bincount(np.concatenate([batch.study_index for batch in by_assay]), minlength=3)
    assert counts / 4000 == pytest.approx([0.5 * 70 / 120, 0.5 * 50 / 120, 0.5], abs=0.03)


def test_with_shares_no_sample_of_a_study_comes_twice_before_all_have_come(tiny_corpus: Any) -> None:
    drawn = open_tiny(tiny_corpus, shares={"alpha": 1, "beta": 1, "gamma": 1}, samples_per_epoch=600)
    by_study: dict[str, list[str]] = {}
    for batch in drawn:
        for sample in batch.sample_ids:
            by_study.setdefault(sample.split(":")[0], []).append(sample)
    for study, n in (("alpha", 70), ("beta", 50), ("gamma", 12)):
        samples = by_study[study]
        for start in range(0, len(samples) - n, n):
            assert len(set(samples[start : start + n])) == n


@pytest.mark.parametrize(
    "options",
    [
        {"shares": {"alpha": 1}},
        {"shares": {"alpha": 1, "beta": 1, "delta": 1}},
        {"shares": {"sc": 1, "gamma": 1}},
        {"shares": {"sc": -1, "bulk": 2}},
        {"shares": {"sc": 0, "bulk": 0}},
        {"shares": {}},
        {"samples_per_epoch": 10},
        {"shares": {"sc": 1, "bulk": 1}, "samples_per_epoch": 0},
        {"rank": 2, "world": 2},
        {"rank": -1},
        {"world": 0},
        {"seed": -1},
        {"max_genes": 0},
        {"split": "validation", "shares": {"omega": 1}},
    ],
)
def test_options_that_do_not_fit_are_refused(tiny_corpus: Any, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected"):
        open_tiny(tiny_corpus, **options)


def test_leaving_out_the_last_batch_of_a_split_smaller_than_one_is_refused(tiny_corpus: Any) -> None:
    with pytest.raises(InputError, match="132 samples"):
        open_tiny(tiny_corpus, batch_size=133, drop_last=True)


def test_tensors_share_the_memory_of_the_arrays(tiny_corpus: Any) -> None:
    batch = next(iter(open_tiny(tiny_corpus)))
    tensors = batch.torch()
    assert len(tensors) == len(batch) == 16
    for name in ("indptr", "positions", "counts", "study_index"):
        assert getattr(tensors, name).data_ptr() == getattr(batch, name).ctypes.data
    assert tensors.positions.dtype == tensors.counts.dtype == torch.int32
    assert tensors.to("cpu").counts.equal(tensors.counts)


def test_a_batch_stays_what_it_was_while_the_stream_goes_on(tiny_corpus: Any) -> None:
    kept = list(open_tiny(tiny_corpus))
    copies = [batch.counts.copy() for batch in kept]
    for _ in range(3):
        list(open_tiny(tiny_corpus, seed=5))
    assert all(np.array_equal(batch.counts, copy) for batch, copy in zip(kept, copies, strict=True))


def test_memory_is_used_again_only_after_the_last_view_is_gone() -> None:
    from txfm.corpus.buffers import BufferPool

    def addresses(n: int) -> set[int]:
        """Where the next arrays lie."""
        return {array.ctypes.data for array in [pool.empty(100_000, np.dtype(np.int32)) for _ in range(n)]}

    pool = BufferPool()
    first = pool.empty(100_000, np.dtype(np.int32))
    first[:] = 7
    view, address = first[10:20], first.ctypes.data
    tensor = torch.from_numpy(first)[5:]
    del first
    assert address not in addresses(2)
    del tensor
    assert address not in addresses(3)
    assert (view == 7).all()
    del view
    assert address in addresses(4)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_loader_gives_the_batches_of_the_stream(
    tiny_corpus: Any, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # worker processes would not know the small blocks
    dataset = CorpusDataset(str(tiny_corpus.folder), "tiny", "train", batch_size=16, seed=0, threads=1)
    dataset.set_epoch(2)
    corpus = open_tiny(tiny_corpus)
    corpus.set_epoch(2)
    loader = DataLoader(
        dataset, batch_size=None, num_workers=workers, multiprocessing_context="spawn" if workers else None
    )
    expected = list(corpus)
    found = list(loader)
    assert len(dataset) == len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.counts.numpy().tolist() == b.counts.tolist()
        assert a.positions.numpy().tolist() == b.positions.tolist()
    assert pickle.loads(pickle.dumps(dataset)).vocabulary.ensembl_ids == corpus.vocabulary.ensembl_ids


def test_the_table_of_samples_is_a_polars_frame_and_reads_no_count(
    tiny_corpus: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = open_tiny(tiny_corpus)
    monkeypatch.setattr(StoreReader, "read_rows", None)
    monkeypatch.setattr(ShardedArray, "read", None)
    frame = corpus.obs()
    assert isinstance(frame, pl.DataFrame)
    assert frame.height == 132
    assert {"sample_id", "study", "batch", "library_size", "split"} <= set(frame.columns)
    sizes = tiny_corpus.counts["beta", "train"].sum(axis=1)
    assert frame.filter(pl.col("study") == "beta")["library_size"].to_list() == sizes.tolist()
    assert corpus.obs(["batch", "sample_id"]).columns == ["batch", "sample_id"]
    with pytest.raises(InputError, match="no column 'bach'"):
        corpus.obs(["bach"])


@pytest.mark.parametrize("lazy", [True, False])
def test_a_store_opens_as_anndata(tiny_corpus: Any, lazy: bool) -> None:
    adata = as_anndata(tiny_corpus.folder / "stores" / "beta.plain.train.zarr", lazy=lazy)
    counts = tiny_corpus.counts["beta", "train"]
    assert adata.shape == counts.shape
    rows = adata[[3, 40, 7]].to_memory() if lazy else adata[[3, 40, 7]]
    np.testing.assert_array_equal(rows.X.toarray(), counts[[3, 40, 7]])
    assert adata.var["measured"].sum() == 30
    if not lazy:
        assert (adata.X + adata.X).sum() == 2 * counts.sum(), "SciPy computes with it without a warning"
        adata.X.eliminate_zeros()  # in place: indices and indptr of two types would be refused
    with pytest.raises(InputError, match="no such store"):
        as_anndata(tiny_corpus.folder / "stores" / "delta.zarr")


def test_an_empty_split_has_a_table_without_rows_and_with_the_columns(write_corpus: Any, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path, validation=False)
    held_out = open_tiny(corpus, "validation")
    assert (held_out.n_samples, list(held_out)) == (0, [])
    assert held_out.obs().schema == open_tiny(corpus).obs().schema


def test_a_column_that_one_store_lacks_is_null_there(write_corpus: Any, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path)
    path = tmp_path / "stores" / "alpha.plain.train.zarr" / "obs" / "zarr.json"
    path.write_text(path.read_text().replace('"donor",', "").replace('"donor"', '"removed"'))
    frame = open_tiny(corpus).obs(["donor", "study"])
    assert frame.height == 132
    assert frame.filter(pl.col("donor").is_null())["study"].unique().to_list() == ["alpha"]


def test_a_forked_process_reads_even_if_a_thread_of_its_parent_held_the_memorys_lock(tiny_corpus: Any) -> None:
    import multiprocessing

    from txfm.corpus.buffers import BUFFERS

    with BUFFERS._lock:
        child = multiprocessing.get_context("fork").Process(target=batch_ids, args=(open_tiny(tiny_corpus),))
        child.start()
    child.join(60)
    assert child.exitcode == 0


def test_free_memory_stays_below_its_limit() -> None:
    from txfm.corpus.buffers import BufferPool

    pool = BufferPool(most_free_bytes=4_000_000)
    held = [pool.empty(1_000_000, np.dtype(np.uint8)) for _ in range(10)]
    del held
    assert 0 < pool.free_bytes <= 4_000_000
    assert sum(map(len, pool._free)) == pool.free_bytes


def damaged(write_corpus: Any, folder: Path, file: str, change: Any) -> Any:
    corpus = write_corpus(folder)
    path = folder / "stores" / "alpha.plain.train.zarr" / file
    change(path)
    return corpus


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[20] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("array", ["indices", "data", "indptr"])
@pytest.mark.parametrize("change", [flip, Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-9])])
def test_reading_stops_at_a_damaged_shard_and_names_store_and_shard(
    write_corpus: Any, tmp_path: Path, array: str, change: Any
) -> None:
    corpus = damaged(write_corpus, tmp_path, f"X/{array}/c/0", change)
    with pytest.raises(DamagedStoreError, match=rf"(?s)alpha\.plain\.train\.zarr/X/{array}/c/0.*curation verify"):
        batch_ids(open_tiny(corpus))


def test_columns_outside_the_axis_are_damage(write_corpus: Any, write_sharded_array: Any, tmp_path: Path) -> None:
    import zarr

    corpus = write_corpus(tmp_path)
    group = zarr.open_group(tmp_path / "stores" / "alpha.plain.train.zarr" / "X")
    columns = group["indices"][:]  # type: ignore[index]
    columns[5] = 60
    del group["indices"]
    write_sharded_array(group, "indices", columns)
    with pytest.raises(
        DamagedStoreError, match=r"(?s)alpha\.plain\.train\.zarr/X/indices.*column 60 of an axis of 60 genes"
    ):
        batch_ids(open_tiny(corpus))


def test_threads_end_with_the_iterator(tiny_corpus: Any) -> None:
    import threading

    stream = iter(open_tiny(tiny_corpus))
    next(stream)
    assert any(thread.name.startswith("txfm-corpus") for thread in threading.enumerate())
    stream.close()  # type: ignore[attr-defined]
    assert not any(thread.name.startswith("txfm-corpus") for thread in threading.enumerate())


def test_a_corpus_that_was_moved_is_read_where_it_is(write_corpus: Any, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "a")
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert corpus.folder == tmp_path / "a"
    moved = open_corpus(f"file://{tmp_path / 'b'}", "tiny", "train", batch_size=16)
    assert sum(map(len, moved)) == 132
