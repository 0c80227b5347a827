"""The order of samples: every row once, as mixed as a full shuffle, the same for any number of ranks."""

import numpy as np
import pytest

from txfm.corpus.order import StoreOrder, batch_bounds, cut_into_blocks, label_sequence, weighted_sequence
from txfm.errors import InputError


def order_of(n_rows: int, rows_per_block: int = 7, epoch: int = 0, *, shuffle: bool = True) -> StoreOrder:
    bounds = np.append(np.arange(0, n_rows, rows_per_block), n_rows)
    return StoreOrder(bounds, blocks_per_window=3, seed=1, epoch=epoch, store=2, shuffle=shuffle)


def rows_of(order: StoreOrder, first: int, n: int) -> list[int]:
    """The rows that come at places first ... first + n - 1."""
    found: list[int] = []
    for window in order.windows(first):
        assert window.start <= first + len(found) < window.stop
        rows = window.blocks[window.block_of, 0] + window.row_of
        assert (rows < window.blocks[window.block_of, 1]).all()
        found += rows[first + len(found) - window.start :].tolist()
        if len(found) >= n:
            return found[:n]
    raise AssertionError("windows go on without end")


def test_a_pass_has_every_row_once_and_the_next_pass_another_order() -> None:
    order = order_of(100)
    first, second = rows_of(order, 0, 100), rows_of(order, 100, 100)
    assert sorted(first) == sorted(second) == list(range(100))
    assert first != second
    assert rows_of(order, 0, 200) == first + second


@pytest.mark.parametrize("first", [0, 1, 20, 21, 22, 99, 100, 150])
def test_the_order_can_be_entered_anywhere(first: int) -> None:
    assert rows_of(order_of(100), first, 30) == rows_of(order_of(100), 0, first + 30)[first:]


def test_epochs_differ_and_rows_of_a_block_meet_others_in_each() -> None:
    first, second = rows_of(order_of(1000), 0, 1000), rows_of(order_of(1000, epoch=1), 0, 1000)
    assert first != second
    together = [set(first[i : i + 21]) & set(second[j : j + 21]) for i in range(0, 980, 21) for j in range(0, 980, 21)]
    assert max(map(len, together)) < 21, "a window of three blocks is made of other blocks in the next epoch"


def test_without_shuffling_rows_come_as_they_lie() -> None:
    assert rows_of(order_of(50, shuffle=False), 0, 50) == list(range(50))


def test_labels_hold_every_row_of_every_store_once() -> None:
    sizes = np.array([5, 0, 300, 17])
    labels = label_sequence(sizes, seed=0, epoch=0, shuffle=True)
    assert np.bincount(labels, minlength=4).tolist() == sizes.tolist()
    assert labels.tolist() != label_sequence(sizes, seed=0, epoch=1, shuffle=True).tolist()
    assert label_sequence(sizes, seed=0, epoch=0, shuffle=False).tolist() == sorted(labels.tolist())


def test_shares_are_met_and_a_share_of_zero_is_never_drawn() -> None:
    labels = weighted_sequence(np.array([0.0, 3.0, 1.0, 0.0]), 40_000, seed=0, epoch=0)
    share = np.bincount(labels, minlength=4) / len(labels)
    assert share[[0, 3]].tolist() == [0, 0]
    assert share[1] == pytest.approx(0.75, abs=4 * np.sqrt(0.75 * 0.25 / 40_000))


@pytest.mark.parametrize("per_rank", [2, 3, 4])
@pytest.mark.parametrize("world", [1, 2, 3, 8])
@pytest.mark.parametrize("n_samples", [24, 25, 31, 48, 47, 49, 1000])
def test_every_rank_has_as_many_batches_and_a_sample_of_each(n_samples: int, world: int, per_rank: int) -> None:
    bounds = batch_bounds(n_samples, per_rank * world, world, drop_last=False)
    assert (bounds[0], bounds[-1]) == (0, n_samples)
    sizes = np.diff(bounds)
    assert (sizes[:-2] == per_rank * world).all()
    assert sizes.max() <= per_rank * world
    assert min(len(range(rank, size, world)) for rank in range(world) for size in sizes) >= 1


@pytest.mark.parametrize("n_samples", [132, 560, 561, 565, 1000])
def test_batches_of_all_ranks_do_not_depend_on_their_number(n_samples: int) -> None:
    alone = batch_bounds(n_samples, 24, 1, drop_last=False).tolist()
    for world in (2, 3, 4, 6, 8, 12):
        assert batch_bounds(n_samples, 24, world, drop_last=False).tolist() == alone


def test_what_would_leave_a_rank_without_a_sample_is_refused_and_a_short_batch_can_be_left_out() -> None:
    with pytest.raises(InputError, match="fewer samples than ranks"):
        batch_bounds(3, 16, 4, drop_last=False)
    with pytest.raises(InputError, match="a multiple of 4 samples"):
        batch_bounds(33, 4, 4, drop_last=False)
    assert np.diff(batch_bounds(32, 4, 4, drop_last=False)).tolist() == [4] * 8
    assert batch_bounds(33, 4, 4, drop_last=True).tolist() == list(range(0, 33, 4))
    assert batch_bounds(33, 16, 4, drop_last=True).tolist() == [0, 16, 32]
    assert batch_bounds(0, 16, 4, drop_last=False).tolist() == [0]


def test_blocks_begin_with_the_first_row_behind_each_multiple() -> None:
    indptr = np.array([0, 3, 3, 9, 12, 31, 33])
    assert cut_into_blocks(indptr, 10).tolist() == [0, 4, 5, 6]
    assert cut_into_blocks(indptr, 100).tolist() == [0, 6]
    assert cut_into_blocks(np.zeros(4, np.int64), 10).tolist() == [0, 3]
