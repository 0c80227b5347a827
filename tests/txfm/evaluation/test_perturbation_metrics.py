"""Metrics of the perturbation benchmark: the authors' values, chance, the top, and the order of rows."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge

from txfm.errors import InputError
from txfm.evaluation import (
    efaar_consistency,
    ilisi,
    knn_probe,
    linear_probe,
    perturbation_consistency,
    spearman_by_gene,
    split_screen,
    structural_integrity,
)
from txfm.evaluation.perturbation import decoders
from txfm.evaluation.perturbation.accuracy import count_hits
from txfm.evaluation.perturbation.decoders import PENALTIES, NetworkSettings, fit_network, fit_ridge
from txfm.evaluation.perturbation.knn_probe import odd_neighbours
from txfm.evaluation.perturbation.linear_probe import ProbeSettings
from txfm.evaluation.perturbation.lisi import ilisi_of, neighbourhoods
from txfm.evaluation.perturbation.reconstruction import StructureSums
from txfm.evaluation.postprocessing import FewControlsWarning


@dataclass(frozen=True)
class Cells:
    """20 perturbations and controls in 6 batches; the perturbation's direction is `strength` times a cell's noise."""

    embedding: np.ndarray
    perturbation: np.ndarray
    batch: np.ndarray

    @property
    def is_control(self) -> np.ndarray:
        return self.perturbation == "ctl"

    def permuted(self, order: np.ndarray) -> "Cells":
        return Cells(self.embedding[order], self.perturbation[order], self.batch[order])


def cells(strength: float, n_each: int = 36, d: int = 24, seed: int = 0) -> Cells:
    rng = np.random.default_rng(seed)
    names = [*(f"P{i:02d}" for i in range(20)), "ctl"]
    code = np.repeat(np.arange(21), [n_each] * 20 + [5 * n_each])
    batch = np.array([f"b{i}" for i in range(6)])[np.arange(len(code)) % 6]
    directions = np.vstack([np.linalg.qr(rng.standard_normal((d, d)))[0][:20], np.zeros(d)])
    values = rng.standard_normal((len(code), d)) + strength * np.sqrt(d) * directions[code]
    return Cells(values, np.array(names)[code], batch)


PERFECT, NOISE = cells(strength=10.0), cells(strength=0.0)


# --- splits


def test_the_split_is_tx_evaluations(oracle):
    treated = ~oracle.is_control
    split = split_screen(
        oracle.perturbation,
        oracle.batch,
        oracle.is_control,
        batches=list(pd.unique(oracle.batch[treated])),
        perturbations=list(pd.unique(oracle.perturbation[treated])),
    )
    expected = oracle.arrays("expected_txeval")
    for part in ("train", "test1", "test2"):
        assert_array_equal(getattr(split, part), np.sort(expected[f"split_{part}_rows"]))
    assert [len(split.train), len(split.test1), len(split.test2)] == oracle.values("expected_txeval")["split_sizes"]


def test_a_split_by_name_does_not_depend_on_the_order_of_rows():
    order = np.random.default_rng(3).permutation(len(NOISE.batch))
    first = split_screen(NOISE.perturbation, NOISE.batch, NOISE.is_control)
    again = split_screen(NOISE.perturbation[order], NOISE.batch[order], NOISE.is_control[order])
    for part in ("train", "test1", "test2"):
        assert_array_equal(np.sort(order[getattr(again, part)]), getattr(first, part))


def test_the_parts_of_a_split_are_apart():
    split = split_screen(NOISE.perturbation, NOISE.batch, NOISE.is_control, seed=7)
    train, test1, test2 = ({*rows.tolist()} for rows in (split.train, split.test1, split.test2))
    assert not train & (test1 | test2)
    shared = sorted(test1 & test2)
    assert NOISE.is_control[shared].all()
    treated = ~NOISE.is_control
    of = {name: set(NOISE.perturbation[rows[treated[rows]]]) for name, rows in vars(split).items()}
    assert of["train"] == of["test1"]
    assert not of["train"] & of["test2"]
    assert not set(NOISE.batch[split.train]) & set(NOISE.batch[split.test2])
    assert_array_equal(np.unique(NOISE.batch[split.test1]), np.unique(NOISE.batch[split.test2]))


def test_a_screen_of_one_batch_or_one_perturbation_cannot_be_split():
    with pytest.raises(InputError, match=r"cannot be split(.|\n)*1 batches, 20 perturbations"):
        split_screen(NOISE.perturbation, np.full(len(NOISE.batch), "b0"), NOISE.is_control)
    with pytest.raises(InputError, match="cannot be split"):
        split_screen(np.where(NOISE.is_control, "ctl", "P"), NOISE.batch, NOISE.is_control)


# --- iLISI


@pytest.mark.parametrize("perplexity", [10, 30])
@pytest.mark.parametrize("treatment", ["raw", "centerscale_batch"])
@pytest.mark.parametrize("with_pca", [False, True])
def test_lisi_is_tx_evaluations(oracle, perplexity, treatment, with_pca):
    values = oracle.embedding if treatment == "raw" else oracle.arrays("expected_txeval")[treatment]
    if with_pca:
        shares = PCA().fit(values).explained_variance_ratio_.cumsum()
        values = PCA(max(32, int(np.argmax(shares >= 0.9)) + 1)).fit_transform(values)
    lisi = neighbourhoods(values, 3 * perplexity, perplexity).lisi(oracle.batch)
    expected = oracle.values("expected_txeval")["ilisi"][f"{treatment}_perp{perplexity}_pca{int(with_pca)}"]
    assert lisi.mean() == pytest.approx(expected, abs=1e-4)


def test_lisi_of_every_cell_is_tx_evaluations(oracle):
    lisi = neighbourhoods(oracle.embedding).lisi(oracle.batch)
    assert_allclose(lisi, oracle.arrays("expected_txeval")["lisi_cells_raw_perp30"], atol=1e-4)


def test_lisi_is_that_of_scib_metrics(oracle):
    given, expected = oracle.arrays("inputs_celltype"), oracle.values("expected_scib")["scib_metrics"]
    lisi = neighbourhoods(given["emb"]).lisi(given["batch"])
    n_batches = len(np.unique(given["batch"]))
    assert lisi.mean() == pytest.approx(expected["lisi_mean_90"], abs=1e-4)
    assert (np.median(lisi) - 1) / (n_batches - 1) == pytest.approx(expected["ilisi_knn_90"], abs=1e-4)
    types = neighbourhoods(given["emb"]).lisi(given["cell_type"])
    n_types = len(np.unique(given["cell_type"]))
    assert (n_types - np.median(types)) / (n_types - 1) == pytest.approx(expected["clisi_knn_90"], abs=1e-4)


def test_batches_that_lie_apart_score_zero_and_permuted_ones_what_a_random_embedding_scores():
    apart = NOISE.embedding + 1000.0 * np.unique(NOISE.batch, return_inverse=True)[1][:, None]
    assert ilisi(apart, NOISE.batch) == pytest.approx(0.0, abs=1e-12)
    permuted = np.random.default_rng(0).permutation(NOISE.batch)
    chance = ilisi(apart, permuted)
    assert chance == pytest.approx(ilisi(NOISE.embedding, NOISE.batch), abs=0.06)
    assert 0.7 < chance < 1.0


def test_every_batch_weighs_alike():
    lisi, batch = np.array([1.0, 1.0, 1.0, 2.0]), np.array(["a", "a", "a", "b"])
    assert ilisi_of(lisi, batch) == pytest.approx(0.5)


def test_cells_at_one_place_and_very_few_cells_have_an_ilisi():
    values = np.zeros((50, 3))
    with pytest.raises(InputError, match="constant"):
        ilisi(values, np.arange(50) % 2)
    values[0] = 1
    assert np.isfinite(ilisi(values, np.arange(50) % 2))
    assert 0 <= ilisi(np.random.default_rng(0).standard_normal((5, 2)), np.array([0, 0, 1, 1, 1])) <= 1
    with pytest.raises(InputError, match="cannot be measured"):
        ilisi(NOISE.embedding, np.zeros(len(NOISE.batch)))


# --- probes


def oracle_split(oracle) -> tuple[np.ndarray, np.ndarray]:
    masks = oracle.arrays("expected_txeval")
    return np.flatnonzero(masks["train_mask"]), np.flatnonzero(masks["test_mask"])


@pytest.mark.parametrize("treatment", ["raw", "centerscale_batch"])
def test_knn_is_tx_evaluations(oracle, treatment):
    values = oracle.embedding if treatment == "raw" else oracle.arrays("expected_txeval")[treatment]
    train, test = oracle_split(oracle)
    found = {}
    expected = {k: v for k, v in oracle.values("expected_txeval")["knn"].items() if k.startswith(treatment)}
    for setting in expected:
        k, metric, pca = setting.removeprefix(f"{treatment}_").split("_")
        n_components = 32 if pca == "pca1" else None
        accuracy = knn_probe(
            values, oracle.perturbation, train, test, int(k[1:]), metric=metric, n_components=n_components
        )
        found[setting] = [100 * accuracy.top1, 100 * accuracy.top5]
    assert len(expected) == 8
    for setting, accuracies in expected.items():
        assert_allclose(found[setting], accuracies, atol=1e-9)  # up to ties, of which there are none


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_linear_probe_is_within_three_points_of_tx_evaluations(oracle, seed):
    train, test = oracle_split(oracle)
    values = oracle.arrays("expected_txeval")["centerscale_batch"]
    expected = oracle.values("expected_txeval_linear")[str(seed)]
    settings = ProbeSettings(standardise=False)  # as the original
    accuracy = linear_probe(values, oracle.perturbation, train, test, seed, settings=settings)
    assert 100 * accuracy.top1 == pytest.approx(expected["test_acc1"], abs=3)
    assert 100 * accuracy.top5 == pytest.approx(expected["test_acc5"], abs=3)


def test_hits_are_tx_evaluations(oracle):
    arrays = oracle.arrays("expected_txeval")
    hits = count_hits(arrays["acc_logits"], arrays["acc_targets"])
    assert [100 * n / len(arrays["acc_targets"]) for n in hits] == oracle.values("expected_txeval")["accuracy_at_k"]


PROBES = {
    "linear": lambda c, labels, train, test: linear_probe(c.embedding, labels, train, test),
    "knn": lambda c, labels, train, test: knn_probe(c.embedding, labels, train, test, 21),
}


@pytest.mark.parametrize("probe", PROBES.values(), ids=PROBES.keys())
def test_probes_score_the_top_and_chance(probe):
    split = split_screen(PERFECT.perturbation, PERFECT.batch, PERFECT.is_control)
    train, test = (rows[~PERFECT.is_control[rows]] for rows in (split.train, split.test1))
    assert probe(PERFECT, PERFECT.perturbation, train, test).score == 1.0
    shuffled = np.random.default_rng(0).permutation(PERFECT.perturbation[np.sort(np.append(train, test))])
    labels = PERFECT.perturbation.copy()
    labels[np.sort(np.append(train, test))] = shuffled
    for of_cells, given in ((PERFECT, labels), (NOISE, NOISE.perturbation)):
        accuracy = probe(of_cells, given, train, test)
        assert accuracy.n_classes == 14
        assert accuracy.top1 == pytest.approx(1 / 14, abs=0.06)
        assert accuracy.top5 == pytest.approx(5 / 14, abs=0.1)


@pytest.mark.parametrize("probe", PROBES.values(), ids=PROBES.keys())
def test_probes_do_not_depend_on_the_order_of_rows(probe):
    weak = cells(strength=0.3)
    order = np.random.default_rng(5).permutation(len(weak.batch))
    place = np.argsort(order)
    split = split_screen(weak.perturbation, weak.batch, weak.is_control)
    first = probe(weak, weak.perturbation, split.train, split.test1)
    other = weak.permuted(order)
    again = probe(other, other.perturbation, np.sort(place[split.train]), np.sort(place[split.test1]))
    assert 0.1 < first.top1 < 0.9
    assert again == first


def test_dimensions_without_variation_among_training_cells_change_no_linear_probe():
    weak = cells(strength=0.3)
    split = split_screen(weak.perturbation, weak.batch, weak.is_control)
    constant = np.full((len(weak.batch), 300), 2.5, dtype=np.float32)
    constant[split.test1] += 1  # what no training cell has, nothing was learnt of
    wide = np.concatenate([weak.embedding, constant], axis=1)
    expected = linear_probe(weak.embedding, weak.perturbation, split.train, split.test1)
    assert linear_probe(wide, weak.perturbation, split.train, split.test1) == expected


def test_a_test_cell_of_an_unknown_class_is_left_out():
    train, test = np.arange(0, 600), np.arange(600, 720)
    known = np.isin(NOISE.perturbation[test], NOISE.perturbation[train])
    assert 0 < known.sum() < len(test)
    for probe in PROBES.values():
        assert probe(NOISE, NOISE.perturbation, train, test).n_cells == known.sum()
    with pytest.raises(InputError, match="nothing to tell apart"):
        linear_probe(NOISE.embedding, NOISE.perturbation, np.arange(36), np.arange(36, 72))


def test_a_class_without_a_vote_is_no_hit():
    embedding = np.concatenate([np.zeros((9, 1)), np.full((3, 1), 50.0), np.zeros((1, 1))])
    labels = np.array(["a"] * 9 + ["b"] * 3 + ["b"])
    accuracy = knn_probe(embedding, labels, np.arange(12), np.array([12]), 5)
    assert (accuracy.top1_hits, accuracy.top5_hits) == (0, 0)


@pytest.mark.parametrize(("wanted", "n", "k"), [(251, 10_000, 251), (250, 10_000, 249), (251, 100, 49), (251, 2, 1)])
def test_neighbours_are_odd_and_at_most_half_of_the_cells(wanted, n, k):
    assert odd_neighbours(wanted, n) == k


def test_more_training_cells_than_a_batch_are_shuffled_by_the_seed():
    split = split_screen(PERFECT.perturbation, PERFECT.batch, PERFECT.is_control)
    settings = ProbeSettings(batch_size_cells=100, epochs=40)
    given = PERFECT.embedding, PERFECT.perturbation, split.train, split.test1
    assert linear_probe(*given, 1, settings=settings) == linear_probe(*given, 1, settings=settings)
    assert linear_probe(*given, 1, settings=settings).top1 > 0.95


# --- consistency


@pytest.mark.parametrize("reading", ["pooled", "per_perturbation"])
@pytest.mark.parametrize("aligned", [True, False])
def test_consistency_is_the_reference_in_both_readings(oracle, reading, aligned):
    frame = perturbation_consistency(
        oracle.embedding, oracle.perturbation, oracle.batch, oracle.control, null=reading, aligned=not aligned
    ).set_index("perturbation")
    name = f"{'aligned' if aligned else 'raw'}_{'pooled' if reading == 'pooled' else 'perpert'}"
    expected = oracle.values("reference_pcst")[name]
    assert len(frame) == expected["n"]
    assert_allclose(frame["statistic"], pd.Series(expected["stat"])[frame.index], atol=1e-8)
    assert_allclose(frame["p_value"], pd.Series(expected["p"])[frame.index], atol=1e-12)
    assert (frame["p_value"] < 0.01).mean() == pytest.approx(expected["score"], abs=1e-12)


def test_efaars_consistency_is_efaars(oracle):
    expected = oracle.values("expected_efaar")["efaar_consistency"]
    treated = oracle.arrays("expected_efaar")["tvn_batch"]
    labels = np.where(oracle.is_control, "", oracle.perturbation)
    frame = efaar_consistency(treated, labels, expected["neg_ctrl_perts"]).set_index("perturbation")
    assert set(frame.index) == set(expected["pert"])
    assert_allclose(frame.loc[expected["pert"], "statistic"], expected["avgcossim"], atol=1e-8)
    assert_allclose(frame.loc[expected["pert"], "p_value"], expected["pval"], atol=1e-12)


def test_consistent_perturbations_are_all_found_and_shuffled_labels_give_almost_none():
    perfect = perturbation_consistency(PERFECT.embedding, PERFECT.perturbation, PERFECT.batch, "ctl")
    assert (perfect["p_per_perturbation"] < 0.01).all()
    assert (perfect["p_pooled"] < 0.01).all()
    shuffled = np.random.default_rng(0).permutation(PERFECT.perturbation)
    for embedding, labels in ((PERFECT.embedding, shuffled), (NOISE.embedding, NOISE.perturbation)):
        frame = perturbation_consistency(embedding, labels, NOISE.batch, ["ctl"])
        assert (frame["p_value"] < 0.01).sum() == 0
    null = [f"P{i:02d}" for i in range(10)]
    several = [
        efaar_consistency(noise.embedding, np.where(noise.is_control, "", noise.perturbation), null)["p_value"]
        for noise in (cells(0.0, seed=seed) for seed in range(8))
    ]
    assert (pd.concat(several) <= 0.05).mean() < 0.2
    assert pd.concat(several).mean() == pytest.approx(0.5, abs=0.15)


def test_consistency_does_not_depend_on_the_order_of_rows():
    weak = cells(strength=0.3)
    other = weak.permuted(np.random.default_rng(5).permutation(len(weak.batch)))
    frames = [perturbation_consistency(c.embedding, c.perturbation, c.batch, "ctl") for c in (weak, other)]
    assert_array_equal(frames[0]["perturbation"], frames[1]["perturbation"])
    for column in ("statistic", "p_pooled", "p_per_perturbation"):
        assert_allclose(frames[0][column], frames[1][column], atol=1e-9)
    shares = [(frame["p_per_perturbation"] < 0.01).mean() for frame in frames]
    assert shares[0] == shares[1]


def test_a_perturbation_of_one_cell_has_no_p_value():
    labels = NOISE.perturbation.astype(object)
    labels[0] = "alone"
    frame = perturbation_consistency(NOISE.embedding, labels, NOISE.batch, "ctl").set_index("perturbation")
    assert frame.loc["alone", ["statistic", "p_value"]].isna().all()
    assert frame.loc["alone", "n_cells"] == 1
    alone = efaar_consistency(NOISE.embedding, labels, ["ctl"]).set_index("perturbation").loc["alone"]
    assert alone[["statistic", "p_value"]].isna().all()


def test_what_has_no_null_is_refused():
    with pytest.raises(InputError, match="no such null"):
        perturbation_consistency(NOISE.embedding, NOISE.perturbation, NOISE.batch, "ctl", null="both")
    with pytest.raises(InputError, match="too few controls"):
        perturbation_consistency(NOISE.embedding, NOISE.perturbation, NOISE.batch, "none")
    with pytest.raises(InputError, match="no null distribution"):
        efaar_consistency(NOISE.embedding, NOISE.perturbation, ["none"])


# --- reconstruction


def test_structural_integrity_and_spearman_are_tx_evaluations(oracle):
    given, expected = oracle.arrays("inputs_invert"), oracle.values("expected_txeval")
    of_cells = given["batch"], given["is_control"]
    assert structural_integrity(given["pred"], given["target"], *of_cells) == pytest.approx(
        expected["structural_integrity"], abs=1e-6
    )
    perfect = structural_integrity(given["target"], given["target"], *of_cells)
    assert perfect == expected["structural_integrity_perfect"] == 1.0
    zero = structural_integrity(np.zeros_like(given["target"]), given["target"], *of_cells)
    assert zero == expected["structural_integrity_zero_pred"] == 0.5
    spearman = spearman_by_gene(given["pred"], given["target"])
    assert spearman.mean() == pytest.approx(expected["reconstruction"]["Average Spearman Correlation"], abs=1e-6)


def test_structure_adds_up_over_blocks_of_genes_and_any_order_of_rows(oracle):
    given = oracle.arrays("inputs_invert")
    order = np.random.default_rng(0).permutation(len(given["batch"]))
    sums = StructureSums.of(given["batch"][order], given["is_control"][order])
    for genes in (slice(0, 20), slice(20, None)):
        sums.add(given["pred"][order][:, genes], given["target"][order][:, genes])
    whole = structural_integrity(given["pred"], given["target"], given["batch"], given["is_control"])
    assert sums.integrity == pytest.approx(whole, abs=1e-12)
    with pytest.raises(InputError, match="do not fit"):
        sums.add(given["pred"][1:], given["target"][1:])


def test_a_batch_without_controls_is_not_centred_and_told():
    target = np.random.default_rng(0).standard_normal((20, 3))
    with pytest.warns(FewControlsWarning, match="1 of 2 batches have no control"):
        integrity = structural_integrity(target, target, np.arange(20) % 2, np.arange(20) == 0)
    assert integrity == 1.0


def test_spearman_of_each_gene_is_scipys_and_tells_what_is_not_defined():
    rng = np.random.default_rng(0)
    target = rng.poisson(1.0, (60, 5)).astype(float)
    prediction = target + rng.standard_normal((60, 5))
    target[:, 3], prediction[:, 4] = 2.0, 0.0
    found = spearman_by_gene(prediction, target)
    assert_allclose(found[:3], [spearmanr(prediction[:, g], target[:, g]).statistic for g in range(3)], atol=1e-12)
    assert np.isnan(found[3])
    assert found[4] == 0


@pytest.mark.parametrize(("n", "d"), [(200, 10), (30, 60)])
def test_the_ridge_decoder_is_scikit_learns(n, d):
    rng = np.random.default_rng(0)
    z = rng.standard_normal((n, d)) * 3 + 1
    y = np.maximum(0, z @ rng.standard_normal((d, 7)) + rng.standard_normal((n, 7)))
    ours = fit_ridge(z, sp.csr_matrix(y))
    assert ours.penalty in PENALTIES
    scaled = (z - z.mean(axis=0)) / z.std(axis=0)
    theirs = Ridge(alpha=ours.penalty).fit(scaled, y).predict(scaled)
    assert_allclose(ours.predict(z, slice(None)), theirs, atol=1e-8)
    assert_allclose(ours.predict(z, slice(2, 4)), theirs[:, 2:4], atol=1e-8)


def test_a_matrix_too_large_to_decompose_is_refused(monkeypatch):
    monkeypatch.setattr(decoders, "WIDEST", 5)
    with pytest.raises(InputError, match=r"too wide(.|\n)*6 dimensions, 7 training cells"):
        fit_ridge(np.ones((7, 6)), sp.csr_matrix((7, 3)))
    fit_ridge(np.eye(7, 5), sp.csr_matrix((7, 3)))


def test_the_penalty_is_high_for_noise_and_low_for_a_clean_signal():
    rng = np.random.default_rng(0)
    z = rng.standard_normal((150, 40))
    noise = sp.csr_matrix(rng.standard_normal((150, 30)))
    signal = sp.csr_matrix(z @ rng.standard_normal((40, 30)) + 0.01 * noise.toarray())
    assert fit_ridge(z, noise).penalty > 100 > 1 > fit_ridge(z, signal).penalty


def test_the_network_learns_and_its_seed_decides():
    rng = np.random.default_rng(0)
    z = rng.standard_normal((400, 6))
    y = np.abs(z[:, :1]) * np.arange(1, 5)  # not linear
    settings = NetworkSettings(batch_size_cells=32, learning_rate=5e-3)
    first, again, other = (fit_network(z, sp.csr_matrix(y), seed, settings=settings).predict(z) for seed in (0, 0, 1))
    assert_array_equal(first, again)
    assert (first != other).any()
    assert spearman_by_gene(first, y).mean() > 0.9
