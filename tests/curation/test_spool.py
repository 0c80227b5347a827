from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from curation import repeats
from curation.fingerprint import Fingerprints, fingerprints_of, weights_of
from curation.repeats import RepeatFinder
from curation.slots import relabel, sort_columns
from curation.spool import ROW, RUN_NNZ, SampleSpool, shuffle_keys


def spooled(folder: Path, counts: sparse.csr_matrix, *, step: int, expected_nnz: float) -> tuple[list[str], np.ndarray]:
    """Return names and counts in the order of the keys."""
    folder.mkdir()
    spool = SampleSpool(folder, n_columns=counts.shape[1], expected_nnz=expected_nnz)
    for start in range(0, counts.shape[0], step):
        block = counts[start : start + step]
        numbers = np.arange(start, start + block.shape[0])
        rows = np.zeros(len(numbers), dtype=ROW)
        rows["key"], rows["source_row"] = shuffle_keys("seed", numbers), numbers
        spool.append(rows, [f"é{number}".encode() for number in numbers], block)
    names, found = [], []
    for run in spool.runs():
        order = np.argsort(run.rows["key"])
        of_run = spool.names(run.number)
        names += [of_run[place] for place in order]
        found.append(run.counts[order].toarray())
    spool.close()
    assert not list(folder.iterdir())
    return names, np.concatenate(found)


def test_the_order_depends_neither_on_blocks_nor_on_the_number_of_runs(tmp_path: Path) -> None:
    counts = sparse.random(200, 50, 0.2, format="csr", random_state=0)
    counts.data = np.ceil(counts.data * 9)
    counts = counts.astype(np.int32)
    names, found = spooled(tmp_path / "a", counts, step=13, expected_nnz=1)
    again, same = spooled(tmp_path / "b", counts, step=200, expected_nnz=9 * RUN_NNZ)
    assert names == again
    assert names != [f"é{number}" for number in range(200)]
    np.testing.assert_array_equal(found, same)
    np.testing.assert_array_equal(found, counts.toarray()[[int(name[1:]) for name in names]])


def test_rows_that_repeat_an_earlier_value_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "BUFFER_ENTRIES", 3)
    finder = RepeatFinder(tmp_path)
    values = np.array([7, 64 + 7, 7, 9, 7, 64 + 7], dtype=np.uint64)
    for place in range(len(values)):
        finder.append(values[place : place + 1], np.array([place + 10]))
    assert finder.repeats().tolist() == [12, 14, 15]


def test_relabelled_columns_lose_zeros_and_dropped_columns_only() -> None:
    counts = sparse.csr_matrix(
        (np.array([5, 0, 7, 9], np.int32), np.array([2, 0, 1, 2], np.int32), np.array([0, 2, 2, 4])), shape=(3, 3)
    )
    moved = sort_columns(relabel(counts, np.array([3, -1, 0]), 5))
    assert moved.toarray().tolist() == [[5, 0, 0, 0, 0], [0] * 5, [9, 0, 0, 0, 0]]
    assert moved.nnz == 2


@pytest.mark.parametrize("largest", [9, 2**15 - 1, 2**15, 2**31 - 1])
def test_sorting_columns_keeps_every_count_with_its_column(largest: int) -> None:
    rng = np.random.default_rng(0)
    counts = sparse.random(50, 300, 0.2, format="csr", random_state=0)
    counts.data = rng.integers(1, largest, counts.nnz, endpoint=True)
    counts.data[7] = largest
    shuffled = sparse.csr_matrix(counts[:, rng.permutation(300)].astype(np.int32))
    shuffled.has_sorted_indices = False
    ordered = sort_columns(shuffled)
    assert ordered.has_sorted_indices
    np.testing.assert_array_equal(ordered.toarray(), shuffled.toarray())


def test_a_fingerprint_is_of_genes_and_counts_not_of_their_order() -> None:
    weights = weights_of(["ENSG1", "ENSG2", "ENSG3"])
    counts = sparse.csr_matrix(np.array([[0, 0, 0], [4, 1, 2], [4, 2, 1]], np.int32))
    found = fingerprints_of(counts, weights)
    turned = fingerprints_of(sparse.csr_matrix(counts[:, ::-1]), weights[::-1].copy())
    assert found.tolist() == turned.tolist()
    assert found[0] == 0
    assert found[1] != found[2]
    assert int(found[1]) == sum(int(w) * n for w, n in zip(weights, (4, 1, 2), strict=True)) % 2**64
    assert Fingerprints(found[1:2]).hold(found).tolist() == [False, True, False]
    assert Fingerprints(found[:0]).hold(found).tolist() == [False] * 3
