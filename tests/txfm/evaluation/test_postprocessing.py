"""Post-processing by controls: equal to the authors' programs, and sound where these answer NaN."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from txfm.consistency.align import standardise_by_batch
from txfm.consistency.cells import ArrayEmbeddings
from txfm.errors import InputError
from txfm.evaluation import center_on_controls, standardise_on_controls, tvn
from txfm.evaluation.components import leading_components
from txfm.evaluation.postprocessing import METHODS, FewControlsWarning


def cosines(rows: np.ndarray) -> np.ndarray:
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return units @ units.T


def screen(n: int = 240, d: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells whose batches differ in mean and scale; every third is a control."""
    rng = np.random.default_rng(seed)
    batch = np.array(["a", "b", "c"])[rng.integers(0, 3, n)]
    place = np.searchsorted(["a", "b", "c"], batch)
    values = (rng.standard_normal((n, d)) + 3) * rng.uniform(0.5, 2, (3, d))[place] + rng.normal(0, 5, (3, d))[place]
    return values, np.arange(n) % 3 == 0, batch


# --- the authors' values


def test_centering_is_tx_evaluations(oracle):
    ours = center_on_controls(oracle.embedding, oracle.is_control, oracle.batch)
    assert_allclose(ours, oracle.arrays("expected_txeval")["center_batch"], atol=1e-12)


@pytest.mark.parametrize("file", ["expected_efaar", "expected_txeval"])
def test_standardising_is_the_authors(oracle, file):
    name = "centerscale_controls_batch" if file == "expected_efaar" else "centerscale_batch"
    ours = standardise_on_controls(oracle.embedding, oracle.is_control, oracle.batch)
    assert_allclose(ours, oracle.arrays(file)[name], atol=1e-10)


def test_standardising_without_batches_is_efaars(oracle):
    ours = standardise_on_controls(oracle.embedding, oracle.is_control, None)
    assert_allclose(ours, oracle.arrays("expected_efaar")["centerscale_controls_global"], atol=1e-10)


@pytest.mark.parametrize(
    ("file", "name", "by_batch"),
    [
        ("expected_efaar", "tvn_batch", True),
        ("expected_efaar", "tvn_nobatch", False),
        ("expected_txeval", "tvn_batch", True),
    ],
)
def test_tvn_has_the_authors_cosines(oracle, file, name, by_batch):
    ours = tvn(oracle.embedding, oracle.is_control, oracle.batch if by_batch else None)
    assert_allclose(cosines(ours), cosines(oracle.arrays(file)[name]), atol=1e-8)


def test_means_of_perturbations_after_tvn_have_efaars_cosines(oracle):
    treated = tvn(oracle.embedding, oracle.is_control, oracle.batch)
    means = np.array([treated[oracle.perturbation == gene].mean(axis=0) for gene in oracle.cells["genes"]])
    assert_allclose(cosines(means), oracle.arrays("expected_efaar")["cosine_tvn_batch"], atol=1e-8)


def test_scaling_batches_on_all_cells_and_its_components_are_efaars(oracle):
    codes = np.unique(oracle.batch, return_inverse=True)[1]
    d = oracle.embedding.shape[1]
    by_batch = standardise_by_batch(ArrayEmbeddings(oracle.embedding), codes, np.zeros(d), np.eye(d))
    ours = np.concatenate([block for _, block in by_batch.blocks()])
    expected = oracle.arrays("expected_efaar")
    assert_allclose(ours, expected["centerscale_by_batch"], atol=1e-10)
    components = leading_components(ours, expected["pca16_batch"].shape[1]).transform(ours)
    assert_allclose(cosines(components), cosines(expected["pca16_batch"]), atol=1e-8)


# --- what they are for


def test_controls_of_every_batch_are_centred_and_scaled():
    values, is_control, batch = screen()
    for method, has_unit_scale in ((center_on_controls, False), (standardise_on_controls, True)):
        treated = method(values, is_control, batch)
        for name in "abc":
            controls = treated[is_control & (batch == name)]
            assert_allclose(controls.mean(axis=0), 0, atol=1e-12)
            if has_unit_scale:
                assert_allclose(controls.std(axis=0), 1, atol=1e-12)


def test_tvn_whitens_the_controls():
    values, is_control, _ = screen()
    controls = tvn(values, is_control, None)[is_control]
    assert_allclose(np.cov(controls, rowvar=False, ddof=0), np.eye(6), atol=1e-10)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_the_order_of_rows_changes_nothing_and_the_input_stays(method):
    values, is_control, batch = screen()
    before = values.copy()
    order = np.random.default_rng(1).permutation(len(values))
    expected = method(values, is_control, batch)
    found = method(values[order], is_control[order], batch[order])
    assert_allclose(cosines(found), cosines(expected[order]), atol=1e-9)
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_float32_stays_float32(method):
    values, is_control, batch = screen()
    treated = method(values.astype(np.float32), is_control, batch)
    assert treated.dtype == np.float32
    assert_allclose(cosines(treated), cosines(method(values, is_control, batch)), atol=1e-3)


# --- what the originals answer NaN to


@pytest.mark.parametrize(
    ("method", "few", "words"),
    [
        (center_on_controls, 0, "1 of 3 batches.*no control"),
        (standardise_on_controls, 1, "1 of 3 batches.*fewer than 2 controls"),
        (tvn, 1, "1 of 3 batches.*fewer than 2 controls"),
    ],
)
def test_controls_of_all_batches_stand_in_for_those_of_one_without(method, few, words):
    values, is_control, batch = screen()
    of_b = np.flatnonzero(is_control & (batch == "b"))
    is_control[of_b[few:]] = False
    with pytest.warns(FewControlsWarning, match=words):
        treated = method(values, is_control, batch)
    assert np.isfinite(treated).all()
    if method is not tvn:
        alone = method(values, is_control, None)
        assert_allclose(treated[batch == "b"], alone[batch == "b"])


def test_tvn_drops_directions_in_which_the_controls_do_not_vary():
    values, is_control, batch = screen()
    wider = np.column_stack([values, values[:, 0] + values[:, 1], np.full(len(values), 7.0)])
    treated = tvn(wider, is_control, batch)
    assert treated.shape[1] == 6
    assert np.abs(treated).max() < 100


def test_tvn_has_no_more_components_than_the_controls_have():
    values, is_control, _ = screen(n=12, d=9)
    assert tvn(values, is_control, None).shape == (12, 3)  # four controls


def test_a_constant_dimension_is_only_centred():
    values, is_control, batch = screen()
    values[:, 2] = 4.0
    assert (standardise_on_controls(values, is_control, batch)[:, 2] == 0).all()


@pytest.mark.parametrize("method", [center_on_controls, standardise_on_controls, tvn])
def test_what_cannot_be_aligned_is_refused(method):
    values, is_control, batch = screen()
    with pytest.raises(InputError, match="No cell is a control"):
        method(values, np.zeros_like(is_control), batch)
    with pytest.raises(InputError, match="do not fit"):
        method(values, is_control[1:], batch)


def test_tvn_refuses_controls_that_are_all_alike():
    values, is_control, batch = screen()
    values[is_control] = 1.0
    with pytest.raises(InputError, match="same embedding"):
        tvn(values, is_control, batch)
    is_control[:] = np.arange(len(values)) == 5
    with pytest.raises(InputError, match="two controls"):
        tvn(values, is_control, batch)


def test_controls_in_words_are_no_controls_of_all_cells():
    values, is_control, batch = screen()
    expected = center_on_controls(values, is_control, batch)
    assert_allclose(center_on_controls(values, is_control.astype(str), batch), expected)
