"""Perturbation consistency: against an independent reading of the paper, against plain loops, and on known effects."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

import txfm.consistency.cells
import txfm.consistency.statistic
from txfm.consistency.align import align
from txfm.consistency.cells import ArrayEmbeddings, Cells, Embeddings, NpyEmbeddings
from txfm.consistency.statistic import Consistency, measure_consistency
from txfm.errors import InputError

ORACLE = Path(os.environ.get("DIVERSERNA_ORACLE", Path(__file__).parents[3] / "shared" / "oracle"))
needs_oracle = pytest.mark.skipif(
    not (ORACLE / "reference_pcst.json").is_file(), reason="the oracle is not here: set DIVERSERNA_ORACLE"
)


def simulated(
    n_cells: int = 900, n_perturbations: int = 30, width: int = 12, effect: float = 3.0, seed: int = 0
) -> tuple[np.ndarray, Cells, np.ndarray]:
    """Gaussian vectors in four batches, labels, truth; the first half of the perturbations shifts its cells."""
    rng = np.random.default_rng(seed)
    code = rng.integers(0, n_perturbations + 6, n_cells)  # codes above: controls
    batch = rng.integers(0, 4, n_cells)
    shift = rng.standard_normal((n_perturbations + 6, width))
    shift *= effect / np.linalg.norm(shift, axis=1, keepdims=True)
    shift[n_perturbations // 2 :] = 0
    values = rng.standard_normal((n_cells, width)) + shift[code] + 2 * rng.standard_normal((4, width))[batch]
    is_control = code >= n_perturbations
    labels = np.where(is_control, "non-targeting", np.char.add("gene", np.char.zfill(code.astype(str), 3)))
    cells = Cells.from_labels(labels, is_control, batch.astype(str))
    return values, cells, np.arange(n_perturbations) < n_perturbations // 2


def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(txfm.consistency.cells, "BLOCK_BYTES", 8 * 12 * 37)
    monkeypatch.setattr(txfm.consistency.statistic, "MEANS_AT_A_TIME", 7)


def by_loops(values: np.ndarray, cells: Cells, null_cells: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Statistic and both p-values of metrics' definition, cell by cell."""

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))

    statistics, nulls = [], []
    for p in range(len(cells.perturbations)):
        own = np.flatnonzero(cells.perturbation == p)
        others = [values[own[own != i]].mean(axis=0) for i in own]
        statistics.append(np.mean([cosine(values[i], other) for i, other in zip(own, others, strict=True)]))
        mean = values[own].mean(axis=0)
        nulls.append(np.array([cosine(values[i], mean) for i in null_cells if cells.perturbation[i] != p]))
    pool = np.concatenate(nulls)
    pooled = [(1 + (pool >= s).sum()) / (1 + len(pool)) for s in statistics]
    each = [(1 + (null >= s).sum()) / (1 + len(null)) for s, null in zip(statistics, nulls, strict=True)]
    return np.array(statistics), np.array(pooled), np.array(each)


def assert_same(found: Consistency, expected: Consistency, atol: float = 1e-12) -> None:
    np.testing.assert_allclose(found.statistic, expected.statistic, atol=atol)
    np.testing.assert_array_equal(found.p_pooled, expected.p_pooled)
    np.testing.assert_array_equal(found.p_per_perturbation, expected.p_per_perturbation)


@needs_oracle
@pytest.mark.parametrize("aligned", ["aligned", "raw"])
def test_both_null_readings_equal_the_reference_to_the_last_perturbation(aligned: str) -> None:
    arrays = np.load(ORACLE / "inputs_pert.npz")
    reference = json.loads((ORACLE / "reference_pcst.json").read_text())
    cells = Cells.from_labels(arrays["pert"], arrays["pert"] == arrays["control"], arrays["batch"])
    embeddings: Embeddings = ArrayEmbeddings(arrays["emb"])
    found = measure_consistency(align(embeddings, cells) if aligned == "aligned" else embeddings, cells)
    for reading, p_value in (("pooled", found.p_pooled), ("perpert", found.p_per_perturbation)):
        expected = reference[f"{aligned}_{reading}"]
        assert list(cells.perturbations) == sorted(expected["p"])
        statistic = [expected["stat"][name] for name in cells.perturbations]
        np.testing.assert_allclose(found.statistic, statistic, atol=1e-10)
        np.testing.assert_allclose(p_value, [expected["p"][name] for name in cells.perturbations], rtol=1e-12)
        assert (p_value < 0.01).mean() == pytest.approx(expected["score"])


def test_blocks_give_what_loops_over_cells_give(monkeypatch: pytest.MonkeyPatch) -> None:
    values, cells, _ = simulated(n_cells=250, n_perturbations=12)
    small_blocks(monkeypatch)
    found = measure_consistency(ArrayEmbeddings(values), cells, n_null_cells=90, seed=4)
    null_cells = np.random.default_rng(4).choice(250, 90, replace=False)
    statistic, pooled, each = by_loops(values, cells, null_cells)
    np.testing.assert_allclose(found.statistic, statistic, atol=1e-12)
    np.testing.assert_allclose(found.p_pooled, pooled, rtol=1e-12)
    np.testing.assert_allclose(found.p_per_perturbation, each, rtol=1e-12)
    assert found.n_null_cells == 90


@pytest.mark.parametrize("width", [12, 300])  # more dimensions than the 150 controls: as log counts of all genes have
def test_alignment_is_pca_of_controls_and_then_each_batch_standardised(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sklearn.decomposition import PCA

    values, cells, _ = simulated(width=width)
    n_components = min(width, int(cells.is_control.sum()) - 1)
    scores = PCA(n_components).fit(values[cells.is_control]).transform(values)
    for batch in range(4):
        own = cells.batch == batch
        scores[own] = (scores[own] - scores[own].mean(axis=0)) / scores[own].std(axis=0)
    small_blocks(monkeypatch)
    found = np.concatenate([block for _, block in align(ArrayEmbeddings(values), cells).blocks()])
    assert found.shape[1] == n_components
    np.testing.assert_allclose(found @ found.T, scores @ scores.T, atol=1e-9)  # signs of components are free


def test_the_size_of_blocks_and_the_file_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values, cells, _ = simulated()
    values = values.astype(np.float32)
    expected = measure_consistency(align(ArrayEmbeddings(values), cells), cells, n_null_cells=500)
    np.save(tmp_path / "e.npy", values)
    small_blocks(monkeypatch)
    opened = NpyEmbeddings(tmp_path / "e.npy")
    assert sum(1 for _ in opened.blocks()) > 20
    assert_same(measure_consistency(align(opened, cells), cells, n_null_cells=500), expected)


def test_effects_are_consistent_and_perturbations_without_one_are_not() -> None:
    for seed in range(4):
        values, cells, has_effect = simulated(n_cells=2_000, width=20, effect=5.0, seed=seed)
        found = measure_consistency(align(ArrayEmbeddings(values), cells), cells)
        for p_value in (found.p_pooled, found.p_per_perturbation):
            assert (p_value[has_effect] < 0.1).all()
            assert (p_value[~has_effect] < 0.1).mean() <= 0.12


def test_shuffled_labels_are_not_consistent() -> None:
    values, cells, _ = simulated(n_cells=2_000, effect=5.0)
    order = np.random.default_rng(1).permutation(len(cells))
    shuffled = Cells(
        perturbations=cells.perturbations,
        perturbation=cells.perturbation[order],
        is_control=cells.is_control,
        batch=cells.batch,
    )
    found = measure_consistency(align(ArrayEmbeddings(values), cells), shuffled)
    assert (found.p_pooled < 0.01).mean() <= 1 / 30


def test_the_seed_decides_the_random_cells_and_only_those() -> None:
    values, cells, _ = simulated()
    first, again, other = (
        measure_consistency(ArrayEmbeddings(values), cells, n_null_cells=100, seed=seed) for seed in (0, 0, 1)
    )
    assert_same(again, first)
    np.testing.assert_array_equal(other.statistic, first.statistic)
    assert not np.array_equal(other.p_pooled, first.p_pooled)


def test_a_perturbation_of_one_cell_has_neither_statistic_nor_p_value_and_is_in_no_null() -> None:
    values, cells, _ = simulated()
    labels = np.array([*cells.perturbations, "non-targeting"])[cells.perturbation]
    labels[np.flatnonzero(cells.is_control)[0]] = "lonely"
    labels[np.flatnonzero(cells.is_control)[1]] = ""
    found_cells = Cells.from_labels(labels, labels == "non-targeting", cells.batch.astype(str))
    found = measure_consistency(ArrayEmbeddings(values), found_cells)
    lonely = found_cells.perturbations.index("lonely")
    assert "" not in found_cells.perturbations
    assert found.n_cells[lonely] == 1
    assert np.isnan([found.statistic[lonely], found.p_pooled[lonely], found.p_per_perturbation[lonely]]).all()
    scored = found.n_cells >= 2
    assert not np.isnan(found.p_pooled[scored]).any()
    assert found.n_null == (len(values) - found.n_cells[scored]).sum()


def test_cells_alone_in_their_batch_have_no_direction_and_are_counted() -> None:
    values, cells, _ = simulated()
    batch = cells.batch.astype(str)
    batch[:3] = ["x", "y", "z"]
    alone = Cells.from_codes(cells.perturbation, list(cells.perturbations), cells.is_control, batch)
    found = measure_consistency(align(ArrayEmbeddings(values), alone), alone)
    assert found.n_zero == 3
    assert np.isfinite(found.p_pooled).all()


def test_dimensions_that_the_controls_do_not_fill_are_left_out() -> None:
    values, cells, _ = simulated()
    twice = np.hstack([values, values[:, :3]])
    assert align(ArrayEmbeddings(twice), cells).shape == (900, 12)
    few = Cells.from_labels(
        np.repeat(["a", "ctl", "b"], [400, 5, 495]), np.repeat([False, True, False], [400, 5, 495]), cells.batch
    )
    assert align(ArrayEmbeddings(values), few).shape == (900, 4)


def test_screens_that_cannot_be_measured_are_refused() -> None:
    values, cells, _ = simulated()
    nothing = np.zeros(len(cells), dtype=bool)
    names = np.array([*cells.perturbations, "x"])[cells.perturbation]
    with pytest.raises(InputError, match="too few controls"):
        align(ArrayEmbeddings(values), Cells.from_labels(names, nothing, names))
    with pytest.raises(InputError, match="All controls have the same embedding"):
        align(ArrayEmbeddings(np.ones((900, 3))), cells)
    with pytest.raises(InputError, match="No perturbation has two cells"):
        measure_consistency(ArrayEmbeddings(values), Cells.from_labels(names, ~nothing, names))
    values[700, 3] = np.nan
    with pytest.raises(InputError, match=r"(?s)NaN or infinity.*row 700"):
        align(ArrayEmbeddings(values), cells)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 3), dtype=int), "floating-point"),
        (np.zeros(4), "a cell a row"),
        (np.asfortranarray(np.zeros((4, 3))), "Fortran"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, array: np.ndarray, words: str) -> None:
    np.save(tmp_path / "e.npy", array)
    with pytest.raises(InputError, match=words):
        NpyEmbeddings(tmp_path / "e.npy")


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "e.npy", np.zeros((4, 3)))
    whole = (tmp_path / "e.npy").read_bytes()
    (tmp_path / "short.npy").write_bytes(whole[:-8])
    (tmp_path / "text.npy").write_text("perturbation\tp_value\n")
    for name, words in (
        ("short.npy", "damaged"),
        ("text.npy", "cannot be read"),
        ("none.npy", "There are no embeddings"),
    ):
        with pytest.raises(InputError, match=words):
            NpyEmbeddings(tmp_path / name)
