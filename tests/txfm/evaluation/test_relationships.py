"""Recall of known relationships: equal to EFAAR's, at chance for noise, the top for what is perfect."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from txfm.errors import InputError
from txfm.evaluation import pair_cosines
from txfm.evaluation.pair_cosines import cosines_of, draw_pairs, order_statistics, unit_rows
from txfm.evaluation.relation_files import read_relations
from txfm.evaluation.relationships import critical_values, relationship_recall

ORACLE = Path(os.environ.get("DIVERSERNA_ORACLE", Path(__file__).parents[4] / "shared" / "oracle"))
needs_oracle = pytest.mark.skipif(
    not (ORACLE / "expected_efaar.json").is_file(), reason="the oracle is not here: set DIVERSERNA_ORACLE"
)
DATABASES = ["CORUM", "HuMAP", "Reactome", "SIGNOR", "StringDB"]
NAMES = [f"G{i:03d}" for i in range(80)]


def random_vectors(n: int = 80, d: int = 12, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d))


def all_pairs(names: list[str], step: int = 1) -> list[tuple[str, str]]:
    return [(first, second) for i, first in enumerate(names) for second in names[i + 1 :: step]]


def recall_by_ranks(vectors: np.ndarray, pairs: list[tuple[int, int]], low: float, high: float) -> float:
    """The definition, written out."""
    units = unit_rows(vectors)
    cosines = units @ units.T
    null = np.sort(cosines[np.triu_indices(len(vectors), k=1)])
    query = np.array([cosines[pair] for pair in pairs])
    left, right = (np.searchsorted(null, query, side) / len(null) for side in ("left", "right"))
    return float(((right <= low) | (left >= high)).mean())


# --- the authors' values


@needs_oracle
@pytest.mark.parametrize("treatment", ["raw", "centerscale_controls_batch", "tvn_batch", "tvn_nobatch"])
def test_recall_is_efaars(treatment):
    given, arrays = np.load(ORACLE / "inputs_pert.npz"), np.load(ORACLE / "expected_efaar.npz")
    cells = given["emb"] if treatment == "raw" else arrays[treatment]
    means = np.array([cells[given["pert"] == gene].mean(axis=0) for gene in given["genes"]])
    expected = json.loads((ORACLE / "expected_efaar.json").read_text())["relationship_recall"][treatment]
    for low, high in ((0.05, 0.95), (0.1, 0.9)):
        recall = relationship_recall(means, list(given["genes"]), read_relations(ORACLE / "relations"), (low, high))
        ours = recall.set_index("database")
        assert [row["source"] for row in expected] == DATABASES == list(ours.index[:5])
        for row in expected:
            found = ours.loc[row["source"]]
            assert_allclose(found["recall"], row[f"recall_{low}_{high}"], rtol=0, atol=1e-12)
            assert found["pairs"] == row["query_distribution_size"]
            assert found["null_size"] == row["null_distribution_size"]
        assert_allclose(ours.loc["mean", "recall"], np.mean([row[f"recall_{low}_{high}"] for row in expected]))


@needs_oracle
def test_self_pairs_and_repeats_are_left_out_as_by_efaar():
    relations = read_relations(ORACLE / "relations")
    names = sorted({name for frame in relations.values() for column in frame for name in frame[column]})
    recall = relationship_recall(random_vectors(len(names)), names, relations).set_index("database")
    counts = json.loads((ORACLE / "expected_efaar.json").read_text())["filter_relationships_counts"]
    assert {name: [recall.loc[name, "given"], recall.loc[name, "pairs"]] for name in DATABASES} == counts


@needs_oracle
def test_critical_values_give_the_recall_of_efaars_readme():
    expected = json.loads((ORACLE / "expected_efaar.json").read_text())["compute_recall_readme_case"]
    null, query = np.arange(1.0, 6.0), np.array([1.0, 5.0])
    assert (len(null), len(query)) == (expected["null_distribution_size"], expected["query_distribution_size"])
    for thresholds in ((0.1, 0.9), (0.2, 0.8)):
        low, high = critical_values(null, thresholds)
        assert ((query < low) | (query > high)).mean() == expected[f"recall_{thresholds[0]}_{thresholds[1]}"]


# --- the definition


@pytest.mark.parametrize("thresholds", [(0.05, 0.95), (0.1, 0.9), (0.3, 0.35), (0.0, 1.0), (0.0, 1e-9)])
@pytest.mark.parametrize("n", [2, 3, 21, 80])
def test_recall_is_the_share_within_the_ranks(n, thresholds):
    vectors = random_vectors(n, d=3)
    vectors[: n // 3] = 0  # ties: cosines with these are 0
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)][::2]
    listed = [(NAMES[i], NAMES[j]) for i, j in pairs]
    recall = relationship_recall(vectors, NAMES[:n], {"all": listed}, thresholds)
    assert recall["recall"][0] == recall_by_ranks(vectors, pairs, *thresholds)


@pytest.mark.parametrize("n_zero", [0, 40, 200])
def test_a_map_in_blocks_and_brackets_gives_the_same(monkeypatch, n_zero):
    vectors = random_vectors(300, d=5)
    vectors[:n_zero] = 0
    units, total = unit_rows(vectors), 300 * 299 // 2
    listed = np.array([(i, j) for i in range(300) for j in range(i + 1, 300)])
    at_once, cosines = order_statistics(units, (0, 2000, total - 1), listed)
    assert_allclose(at_once, np.sort(cosines)[[0, 2000, total - 1]], rtol=0, atol=0)
    for name, value in {"ALL_AT_ONCE": 0, "BLOCK_VALUES": 3000, "BRACKET_SAMPLE": 300}.items():
        monkeypatch.setattr(pair_cosines, name, value)
    in_blocks, same_cosines = order_statistics(units, (0, 2000, total - 1), listed)
    assert_allclose(in_blocks, at_once, rtol=0, atol=1e-15)
    assert_allclose(same_cosines, cosines, rtol=0, atol=1e-15)


def test_a_bracket_that_missed_is_widened(monkeypatch):
    units = unit_rows(random_vectors(60))
    everything = np.array([(i, j) for i in range(60) for j in range(i + 1, 60)])
    expected = np.sort(order_statistics(units, (0,), everything)[1])
    for name, value in {"ALL_AT_ONCE": 0, "BRACKET_SAMPLE": 50, "BRACKET_DEVIATIONS": 1e-6}.items():
        monkeypatch.setattr(pair_cosines, name, value)
    for rank in (3, 88, 885, 1700):
        assert_allclose(order_statistics(units, (rank,), everything)[0], expected[rank], rtol=0, atol=1e-15)


def test_drawn_pairs_are_different_pairs_and_all_alike():
    assert {tuple(pair) for pair in draw_pairs(9, 36, seed=0)} == {(i, j) for i in range(9) for j in range(i + 1, 9)}
    drawn = np.array([draw_pairs(9, 5, seed) for seed in range(2000)]).reshape(-1, 2)
    counts = np.bincount(drawn @ (9, 1), minlength=81)
    assert_allclose(counts[counts > 0], 10_000 / 36, rtol=0.25)
    far = draw_pairs(200_000, 1000, seed=1)
    assert (far[:, 0] < far[:, 1]).all()
    assert far.max() < 200_000


# --- chance, the top, and what says nothing


def test_vectors_of_noise_score_chance():
    recall = relationship_recall(random_vectors(600, d=40), [f"G{i}" for i in range(600)], {"half": _random_pairs(600)})
    assert_allclose(recall["recall"][0], 0.1, atol=0.012)  # 3 standard deviations of 6,000 pairs


def test_shuffled_names_score_chance():
    names = [f"G{i}" for i in range(600)]
    vectors, pairs = _modules(names)
    assert relationship_recall(vectors, names, {"modules": pairs})["recall"][0] == 1.0
    shuffled = list(np.random.default_rng(3).permutation(names))
    assert relationship_recall(vectors, shuffled, {"modules": pairs})["recall"][0] < 0.15


@pytest.mark.parametrize("n_null", [None, 2000])
def test_the_order_of_genes_and_of_pairs_says_nothing(n_null):
    vectors, listed = random_vectors(), all_pairs(NAMES, step=7)
    order = np.random.default_rng(1).permutation(80)
    turned = [pair[::-1] for pair in listed][::-1]
    before = relationship_recall(vectors, NAMES, {"a": listed}, n_null=n_null)
    after = relationship_recall(vectors[order], [NAMES[i] for i in order], {"a": turned}, n_null=n_null)
    pd.testing.assert_frame_equal(before, after)


def test_a_drawn_null_comes_close_to_that_of_all_pairs_and_depends_on_its_seed():
    names = [f"G{i}" for i in range(600)]
    vectors = random_vectors(600, d=8)
    exact, *drawn = (
        relationship_recall(vectors, names, {"a": _random_pairs(600)}, n_null=n_null, seed=seed)
        for n_null, seed in ((None, 0), (50_000, 0), (50_000, 1), (50_000, 0))
    )
    assert drawn[0]["null_size"][0] == 50_000
    assert_allclose([frame["recall"][0] for frame in drawn], exact["recall"][0], atol=0.006)
    assert drawn[0]["recall"][0] != drawn[1]["recall"][0]
    pd.testing.assert_frame_equal(drawn[0], drawn[2])


# --- what is counted


def test_every_row_of_a_database_is_accounted_for():
    first = [("G000", "G001"), ("G001", "G000"), ("G002", "G002"), ("G003", "TP53"), ("G003", "G004")]
    pairs = {"first": first, "second": [("G004", "G003")], "none": [("TP53", "EGFR")]}
    recall = relationship_recall(random_vectors(), NAMES, pairs).set_index("database")
    counts = recall[["given", "outside", "self_pairs", "repeats", "pairs"]]
    assert counts.loc["first"].tolist() == [5, 1, 1, 1, 2]
    assert counts.loc["none"].tolist() == [1, 1, 0, 0, 0]
    assert counts.loc["union"].tolist() == [7, 2, 1, 2, 2]
    assert counts.loc["mean"].isna().all()
    assert np.isnan(recall.loc["none", "recall"])  # not measured is not zero
    assert recall.loc["mean", "recall"] == recall.loc[["first", "second"], "recall"].mean()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"names": ["G000"] * 80}, "Names of vectors repeat"),
        ({"names": NAMES[:-1]}, "do not belong together"),
        ({"vectors": np.full((80, 3), np.nan)}, "not finite"),
        ({"thresholds": (0.95, 0.05)}, "Thresholds cannot be used"),
        ({"n_null": 0}, "size of the null"),
        ({"pairs": {"union": [("G000", "G001")]}}, "name of a row"),
        ({"pairs": {"a": pd.DataFrame({"entity1": ["G000"]})}}, "are not pairs"),
    ],
)
def test_what_cannot_be_used_is_refused(change, said):
    usable = {"vectors": random_vectors(), "names": NAMES, "pairs": {"a": [("G000", "G001")]}}
    with pytest.raises(InputError, match=said):
        relationship_recall(**(usable | change))


def test_a_folder_of_relations_is_read_and_its_licence_passed_over(tmp_path):
    (tmp_path / "B.txt").write_text("entity1,entity2,score\nNA,TP53,3\nTP53,EGFR,4\n")
    (tmp_path / "A.txt").write_text("entity1,entity2\nTP53,EGFR\n")
    (tmp_path / "LICENSE.txt").write_text("The data in B.txt, and A.txt, are free.\n")
    relations = read_relations(tmp_path)
    assert list(relations) == ["A", "B"]
    assert relations["B"].astype(str).to_numpy().tolist() == [["NA", "TP53"], ["TP53", "EGFR"]]
    assert list(read_relations(tmp_path, ["B"])) == ["B"]
    with pytest.raises(InputError, match=r"(?s)no such database.*of A, B.*Reactome"):
        read_relations(tmp_path, ["Reactome"])
    (tmp_path / "A.txt").write_text("entity1,entity2\nTP53\n")
    with pytest.raises(InputError, match=r"(?s)cannot be read.*A\.txt"):
        read_relations(tmp_path)


def test_a_folder_without_relations_is_refused(tmp_path):
    (tmp_path / "README.txt").write_text("nothing\n")
    with pytest.raises(InputError, match=r"(?s)No database.*README\.txt"):
        read_relations(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        read_relations(tmp_path / "absent")


def _random_pairs(n: int) -> list[tuple[str, str]]:
    return [(f"G{i}", f"G{j}") for i, j in draw_pairs(n, 6000, seed=5)]


def _modules(names: list[str]) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """60 modules of genes whose vectors are nearly the same, and the pairs within modules."""
    module_of = np.arange(len(names)) % 60
    vectors = random_vectors(60, d=40, seed=2)[module_of] + 0.01 * random_vectors(len(names), d=40, seed=4)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 60 :: 60]]
    return vectors, pairs


def test_cosines_of_no_pairs_are_none():
    assert len(cosines_of(np.ones((3, 2)), np.empty((0, 2), dtype=np.int64))) == 0
