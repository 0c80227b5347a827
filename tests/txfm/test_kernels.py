"""The compiled loops of the reader beside NumPy, for every combination of types that stores and vocabularies bring."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from txfm.corpus import kernels
from txfm.corpus.gene_map import GeneMap, Narrowing, Renaming
from txfm.corpus.rows import CsrRows, Piece, gather

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("columns", "n_vocabulary"), [(np.uint16, 300), (np.int32, 300), (np.int32, 2**16 + 10)])
def test_columns_become_positions(columns: type, n_vocabulary: int) -> None:
    axis = np.sort(RNG.choice(2 * n_vocabulary, n_vocabulary, replace=False))
    genes = GeneMap(axis, 2 * n_vocabulary)
    source = RNG.integers(0, 2 * n_vocabulary, 5_000).astype(columns)
    renaming = Renaming(genes)
    target = np.empty(len(source), renaming.dtype)
    renaming.convert(source[:0], target[:0])
    renaming.convert(source, target)
    expected = np.where(np.isin(source, axis), np.searchsorted(axis, source), n_vocabulary)
    np.testing.assert_array_equal(target, expected)
    assert renaming.largest == expected.max()


@pytest.mark.parametrize("bad", [np.array([3, 10], np.uint16), np.array([3, -1], np.int32)])
def test_a_column_outside_the_axis_is_refused(bad: np.ndarray) -> None:
    renaming = Renaming(GeneMap(np.arange(5), 10))
    with pytest.raises(IndexError, match="of an axis of 10 genes"):
        renaming.convert(bad, np.empty(2, renaming.dtype))


@pytest.mark.parametrize(
    ("values", "fits"), [([0, 65_535], True), ([], True), ([1, 65_536], False), ([-1, 2], False), ([2**31 - 1], False)]
)
def test_counts_take_two_bytes_where_all_of_them_fit(values: list[int], fits: bool) -> None:
    narrowing = Narrowing()
    target = np.empty(len(values), np.uint16)
    narrowing.convert(np.array(values, np.int32), target)
    assert narrowing.fits is fits
    if fits:
        assert target.tolist() == values
        narrowing.convert(np.array([70_000], np.int32), np.empty(1, np.uint16))
        assert not narrowing.fits


def rows(matrix: sp.csr_matrix, positions: type, counts: type) -> CsrRows:
    return CsrRows(matrix.indptr.astype(np.int64), matrix.indices.astype(positions), matrix.data.astype(counts))


@pytest.mark.parametrize("positions", [np.uint16, np.int32])
@pytest.mark.parametrize("counts", [np.uint16, np.int32])
def test_rows_are_gathered_and_entries_dropped(positions: type, counts: type) -> None:
    matrices = [
        sp.random(40, 90, density, "csr", random_state=7, data_rvs=lambda n: RNG.integers(1, 900, n))
        for density in (0.3, 0.05)
    ]
    order = RNG.permutation(80)[:64]
    pieces = []
    for number, matrix in enumerate(matrices):
        places = np.flatnonzero(order // 40 == number)
        pieces.append((rows(matrix, positions, counts), Piece(rows=order[places] % 40, places=places)))
    lengths = sp.vstack(matrices).tocsr().getnnz(axis=1)[order]
    found = gather(pieces, lengths)
    assert found.positions.dtype == found.counts.dtype == np.int32
    dense = sp.csr_matrix((found.counts, found.positions, found.indptr), shape=(64, 90)).toarray()
    np.testing.assert_array_equal(dense, sp.vstack(matrices).toarray()[order])

    genes = GeneMap(np.arange(89), 100)  # position 89 is that of genes outside the vocabulary
    kept = genes.without_absent(rows(matrices[0], positions, counts))
    without = sp.csr_matrix((kept.counts, kept.positions, kept.indptr), shape=(40, 90)).toarray()
    np.testing.assert_array_equal(without[:, :89], matrices[0].toarray()[:, :89])
    assert not without[:, 89].any()
    assert len(kept.counts) == kept.indptr[-1] < matrices[0].nnz


def test_the_kernels_work_where_no_machine_code_can_be_kept(tmp_path: Path) -> None:
    """As in a container whose file system is read only."""
    calls = "; assert narrow(np.array([7], np.int32), np.empty(1, np.uint16))"
    code = f"exec(open({kernels.__file__!r}).read()){calls}"  # code without a file has no place of its own for a cache
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
