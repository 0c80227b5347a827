"""Comparing models on a held-out study."""

import argparse
import csv
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import zarr
from sklearn.decomposition import PCA

from txfm.__main__ import main
from txfm.baselines import fit
from txfm.baselines.log_counts import log_normalise_sparse
from txfm.baselines.pca import EXTRA_DIRECTIONS, fit_pca
from txfm.baselines.training_samples import shared_genes
from txfm.corpus import open_corpus
from txfm.errors import InputError
from txfm.evaluation import held_out_cli as cli
from txfm.evaluation import probes
from txfm.evaluation.compare import untrained_twin
from txfm.evaluation.held_out import read_held_out
from txfm.evaluation.probes import clustering_nmi, few_shot, in_span, linear_probe, standardise
from txfm.evaluation.table import reading
from txfm.evaluation.thinning import thin_counts
from txfm.preprocess import log_normalise
from txfm.pretrained import load
from txfm.vocabulary import Vocabulary

N_AXIS_GENES = 60
LINES = ("H1975", "H2228", "HCC827")


def axis_ids() -> list[str]:
    return [f"ENSG{100 + position:011d}" for position in range(N_AXIS_GENES)]


def three_blobs(distance: float, n_samples: int = 90, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.array(LINES)[np.arange(n_samples) % 3]
    centres = distance * np.eye(3, 8)
    return centres[np.arange(n_samples) % 3] + rng.standard_normal((n_samples, 8)), labels


# --- probes


@pytest.mark.parametrize("measure", [linear_probe, few_shot, clustering_nmi])
def test_separable_classes_score_the_top(measure):
    embedding, labels = three_blobs(distance=30.0)
    assert measure(embedding, labels).mean == 1.0


@pytest.mark.parametrize(("measure", "chance"), [(linear_probe, 1 / 3), (few_shot, 1 / 3), (clustering_nmi, 0.0)])
def test_shuffled_labels_score_chance(measure, chance):
    embedding, labels = three_blobs(distance=30.0, n_samples=300)
    shuffled = np.random.default_rng(1).permutation(labels)
    assert measure(embedding, shuffled).mean == pytest.approx(chance, abs=0.06)


@pytest.mark.parametrize("measure", [linear_probe, few_shot, clustering_nmi])
def test_overlapping_classes_score_between_chance_and_the_top_and_vary(measure):
    score = measure(*three_blobs(distance=2.5))
    assert 0.1 < score.mean < 0.99
    assert score.sd == pytest.approx(np.std(score.values, ddof=1))


def test_every_repetition_is_kept():
    embedding, labels = three_blobs(distance=3.0)
    assert len(linear_probe(embedding, labels).values) == 15
    assert len(few_shot(embedding, labels).values) == 50
    assert len(clustering_nmi(embedding, labels).values) == 10


def test_few_shot_never_tests_on_the_samples_it_was_shown():
    embedding, labels = np.eye(12), np.repeat(["a", "b"], 6)  # every sample is its own direction: nothing to learn
    assert few_shot(embedding, labels).mean < 0.7


def test_standardising_gives_every_dimension_the_same_weight_and_leaves_constants_alone():
    embedding = np.random.default_rng(0).standard_normal((50, 3)) * [1.0, 1000.0, 0.0] + 5
    np.testing.assert_allclose(standardise(embedding).std(axis=0), [1.0, 1.0, 0.0])


@pytest.mark.parametrize(("measure", "effect"), [(linear_probe, 2), (clustering_nmi, 7)])
@pytest.mark.parametrize("n_genes", [300, 40])
def test_more_genes_than_samples_change_no_score(measure, effect, n_genes, monkeypatch):
    rng = np.random.default_rng(0)
    labels = np.repeat(LINES, 30)
    of_class = effect * n_genes**-0.5 * rng.standard_normal((3, n_genes))
    embedding = rng.poisson(2.0, (90, n_genes)) + np.repeat(of_class, 30, axis=0)
    embedding[:, 5] = 1.0
    score = measure(embedding, labels)
    monkeypatch.setattr(probes, "in_span", lambda rows, others: (rows, others))
    np.testing.assert_allclose(score.values, measure(embedding, labels).values, atol=1e-9)
    assert 0.1 < score.mean < 1.0  # neither chance nor the top: there is something to differ in


def test_vectors_in_the_span_of_the_rows_keep_their_products():
    rng = np.random.default_rng(0)
    rows, others = rng.standard_normal((6, 40)), rng.standard_normal((3, 40))
    few, of_others = in_span(rows, others)
    assert few.shape == (6, 6)
    np.testing.assert_allclose(few @ few.T, rows @ rows.T)
    np.testing.assert_allclose(of_others @ few.T, others @ rows.T)


# --- thinning


@pytest.fixture(scope="module")
def deep_counts() -> sp.csr_matrix:
    rng = np.random.default_rng(0)
    counts = rng.negative_binomial(2, 0.01, (200, 80)) * (rng.random((200, 80)) < 0.5)
    counts[0] = 0
    counts[1] = 0
    counts[1, 3] = 120
    return sp.csr_matrix(counts)


def test_thinning_never_exceeds_the_counts_and_reaches_the_target(deep_counts):
    thinned = thin_counts(deep_counts, 300, seed=0)
    assert (deep_counts - thinned).min() >= 0
    assert thinned.sum(axis=1)[2:].mean() == pytest.approx(300, rel=0.02)


def test_thinning_keeps_the_proportions_of_genes(deep_counts):
    mean = np.mean([thin_counts(deep_counts, 1000, seed=seed)[2:].toarray() for seed in range(50)], axis=0)
    totals = deep_counts[2:].toarray().sum(axis=1, keepdims=True)
    expected = deep_counts[2:].toarray() * (1000 / totals)
    standard_error = np.sqrt(expected / 50).clip(min=0.1)
    assert np.abs(mean - expected).max() < 6 * standard_error.max()
    assert mean.sum() == pytest.approx(expected.sum(), rel=0.005)


def test_a_sample_below_the_target_keeps_all_its_counts(deep_counts):
    thinned = thin_counts(deep_counts, 300, seed=0)
    assert thinned[0].nnz == 0
    assert thinned[1, 3] == 120


def test_thinning_is_seeded_and_leaves_its_input_alone(deep_counts):
    before = deep_counts.copy()
    first, again, other = (thin_counts(deep_counts, 300, seed=seed) for seed in (0, 0, 1))
    assert (first != again).nnz == 0
    assert (first != other).nnz > 0
    assert (deep_counts != before).nnz == 0


# --- PCA


def test_sparse_log_normalisation_is_the_model_s():
    counts = np.random.default_rng(0).poisson(0.7, (20, 30))
    counts[4] = 0
    sparse = log_normalise_sparse(sp.csr_matrix(counts), 1e5).toarray()
    np.testing.assert_allclose(sparse, log_normalise(counts, 1e5), rtol=1e-12)


def test_streamed_pca_is_sklearn_s():
    rng = np.random.default_rng(0)
    dense = rng.standard_normal((300, 12)) @ rng.standard_normal((12, 120)) + 0.3 * rng.standard_normal((300, 120)) + 2
    blocks = [sp.csr_matrix(block) for block in np.array_split(dense, 4)]
    ours = fit_pca(lambda: blocks, n_samples=300, n_genes=120, n_components=10)
    theirs = PCA(10, svd_solver="full").fit(dense)
    np.testing.assert_allclose(ours.variance, theirs.explained_variance_, rtol=1e-6)
    np.testing.assert_allclose(np.abs(np.sum(ours.components * theirs.components_, axis=1)), 1, atol=1e-6)
    scores = (dense - ours.mean) @ ours.components.T
    np.testing.assert_allclose(np.abs(scores), np.abs(theirs.transform(dense)), rtol=1e-4, atol=1e-4)
    assert ours.explained_variance_share == pytest.approx(theirs.explained_variance_ratio_.sum(), rel=1e-6)


def test_pca_has_no_more_components_than_the_data_and_computes_no_more(monkeypatch):
    widths, original = set(), np.linalg.qr
    monkeypatch.setattr(np.linalg, "qr", lambda matrix: widths.add(matrix.shape[1]) or original(matrix))
    blocks = [sp.csr_matrix(np.random.default_rng(0).poisson(2, (6, 9)).astype(float))]
    assert fit_pca(lambda: blocks, n_samples=6, n_genes=9, n_components=50).components.shape == (5, 9)
    wide = [sp.csr_matrix(np.random.default_rng(0).poisson(2, (6, 400)).astype(float))]
    assert fit_pca(lambda: wide, n_samples=6, n_genes=400, n_components=300).components.shape == (5, 400)
    assert widths == {9, 5 + EXTRA_DIRECTIONS}


# --- the whole comparison


@dataclass(frozen=True)
class Line:
    """A corpus, a model trained on it, and a held-out store."""

    corpus: Path
    model: Path
    store: Path

    def run(self, out: Path, **changes: object) -> dict:
        arguments = {
            "store": self.store,
            "label": "cell_line",
            "corpus": self.corpus,
            "models": [self.model],
            "out": out,
            "thin_to": 60,
            "max_samples": 1000,
            "threads": None,
            "device": "cpu",
        }
        cli.run(argparse.Namespace(**(arguments | changes)))
        return json.loads(out.read_text())


def write_held_out(path: Path, *, study: str = "omega", measured_from: int = 5, counts_outside: int = 0) -> Path:
    """Three lines told apart by genes 20 to 39, some doubtful cells, and a class of two."""
    rng = np.random.default_rng(3)
    labels = np.array([*np.repeat(LINES, 20), *[""] * 5, "rare", "rare"])
    means = np.full((len(labels), N_AXIS_GENES), 4.0)
    for index, line in enumerate(LINES):
        means[labels == line, 20 + 6 * index : 26 + 6 * index] = 30.0
    counts = rng.poisson(means).astype(np.int32)
    measured = np.arange(N_AXIS_GENES) >= measured_from
    counts[:, ~measured] = counts_outside
    matrix = sp.csr_matrix(counts)
    matrix.indices = matrix.indices.astype(np.uint16)  # as our stores of fewer than 65,536 genes have them
    obs = pd.DataFrame(index=pd.Index([f"{study}:{row}" for row in range(len(labels))], dtype=object))
    obs["study"] = pd.Categorical([study] * len(labels))
    obs["cell_line"] = pd.Categorical(labels)
    obs["cell_type"] = pd.Categorical([""] * len(labels))
    obs["simulated"] = True
    var = pd.DataFrame({"symbol": "", "measured": measured}, index=pd.Index(axis_ids(), dtype=object))
    group = zarr.open_group(path, mode="w", zarr_format=3)
    with ad.settings.override(zarr_write_format=3, auto_shard_zarr_v3=True):
        for name, element in {"X": matrix, "obs": obs, "var": var}.items():
            ad.io.write_elem(group, name, element)
    attributes = {"study": study, "recipe": "evaluation", "digest": f"digest-{study}"}
    group.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0", **attributes})
    return path


@pytest.fixture(scope="module")
def line(tiny_corpus, tmp_path_factory: pytest.TempPathFactory) -> Line:
    from txfm.config import config_from_mapping
    from txfm.hardware import choose_hardware
    from txfm.training.run import TrainingRun, train

    folder = tmp_path_factory.mktemp("evaluation")
    fields = {"width": 16, "n_heads": 1, "n_blocks": 1, "max_genes": 40, "n_visible_genes": 20, "samples_seen": 320}
    config = config_from_mapping(fields | {"batch_size_samples": 32, "layer_scale_init": None, "n_decoder_blocks": 1})
    run = TrainingRun(
        corpus=tiny_corpus.folder,
        variant=tiny_corpus.variant,
        config=config,
        seed=0,
        out=folder / "tiny.micro.s0",
        checkpoints=folder / "checkpoints",
    )
    train(run, choose_hardware("cpu", "float32"))
    return Line(tiny_corpus.folder, run.out, write_held_out(folder / "omega.zarr"))


@pytest.fixture(scope="module")
def table(line: Line, tmp_path_factory: pytest.TempPathFactory) -> dict:
    return line.run(tmp_path_factory.mktemp("table") / "table.json")


def rows_of(table: dict, **wanted: str) -> list[dict]:
    return [row for row in table["rows"] if all(row[name] == value for name, value in wanted.items())]


def test_the_table_has_every_embedder_at_both_depths(table):
    for depth in ("full", "thinned"):
        found = {(row["embedder"], row["genes"], row["scaling"]) for row in rows_of(table, depth=depth)}
        both = {
            (name, "vocabulary", scaling)
            for name in ("txfm", "untrained", "pca")
            for scaling in ("raw", "standardised")
        }
        both |= {("pca", "all", "raw"), ("pca", "all", "standardised"), ("shuffled_labels", "vocabulary", "raw")}
        assert found == both


def test_unlabelled_cells_and_tiny_classes_are_left_out_and_counted(table):
    assert table["n_samples"] == 60
    assert table["classes"] == dict.fromkeys(LINES, 20)
    assert table["left_out"] == {"no label": 5, "class of fewer than 5 samples": 2}


def test_pca_uses_the_genes_that_all_training_studies_and_the_held_out_study_measured(table):
    # alpha 0-39, beta 20-49, gamma 10-55, omega 5-59
    assert {row["n_genes"] for row in rows_of(table, embedder="pca", genes="all")} == {20}
    assert {row["n_genes"] for row in rows_of(table, embedder="txfm")} <= set(range(30, 41))


def test_pca_separates_what_differs_and_shuffled_labels_do_not(table):
    assert rows_of(table, embedder="pca", genes="all", depth="full", scaling="raw")[0]["linear_probe"]["mean"] > 0.95
    shuffled = rows_of(table, embedder="shuffled_labels", depth="full")[0]
    assert shuffled["linear_probe"]["mean"] < 0.6
    assert shuffled["nmi"]["mean"] < 0.2


def test_thinning_makes_the_labels_harder(table):
    full, thinned = (
        rows_of(table, embedder="pca", genes="all", scaling="raw", depth=d)[0] for d in ("full", "thinned")
    )
    assert table["median_counts"]["thinned"] == pytest.approx(60, abs=10)
    assert thinned["few_shot"]["mean"] < full["few_shot"]["mean"]


def test_the_tsv_and_the_markdown_hold_the_same_numbers(line, table, tmp_path):
    line.run(tmp_path / "table.json")
    with (tmp_path / "table.tsv").open() as handle:
        lines = list(csv.DictReader(handle, delimiter="\t"))
    assert len(lines) == 3 * len(table["rows"])
    assert float(lines[0]["mean"]) == table["rows"][0]["linear_probe"]["mean"]
    page = (tmp_path / "table.md").read_text()
    assert "omega (SIMULATED): cell_line" in page
    for row in table["rows"]:
        assert f"{row['few_shot']['mean']:.3f} ± {row['few_shot']['sd']:.3f}" in page


def test_the_same_command_gives_the_same_table(line, table, tmp_path):
    assert line.run(tmp_path / "table.json") == table


def test_counts_in_unmeasured_genes_change_nothing(line, table, tmp_path):
    store = write_held_out(tmp_path / "omega.zarr", counts_outside=500)
    with_garbage = line.run(tmp_path / "table.json", store=store, thin_to=10**9)
    clean = line.run(tmp_path / "clean.json", thin_to=10**9)
    assert [row["nmi"] for row in rows_of(with_garbage, embedder="pca")] == [
        row["nmi"] for row in rows_of(clean, embedder="pca")
    ]
    assert with_garbage["rows"] == clean["rows"]


def test_thinning_counts_only_measured_genes(line, tmp_path):
    store = write_held_out(tmp_path / "omega.zarr", counts_outside=500)
    assert line.run(tmp_path / "table.json", store=store)["median_counts"]["thinned"] == pytest.approx(60, abs=10)


def test_pca_refuses_a_gene_that_one_training_study_did_not_measure(tiny_corpus):
    ids = axis_ids()[20:45]  # alpha measures genes 0 to 39
    genes = Vocabulary(axis_positions=np.arange(20, 45), ensembl_ids=tuple(ids), symbols=tuple(ids))
    stream = open_corpus(tiny_corpus.folder, "tiny", "train", batch_size=64, seed=0, shuffle=False, vocabulary=genes)
    with pytest.raises(AssertionError, match="every training study measured"):
        fit.pca(stream)


def test_shared_genes_are_in_all_training_studies_and_in_the_held_out_study(tiny_corpus, tmp_path):
    study = read_held_out(write_held_out(tmp_path / "omega.zarr", measured_from=25), "cell_line", 1000)
    training = open_corpus(tiny_corpus.folder, "tiny", "train", batch_size=64, seed=0)
    assert shared_genes(training, set(study.measured_ids)).axis_positions.tolist() == list(range(25, 40))


def test_the_untrained_twin_has_the_shape_but_not_the_weights(line):
    model = load(line.model)
    twin = untrained_twin(model)
    study = read_held_out(line.store, "cell_line", 1000)
    trained, untrained = (each.embed(study.adata, verbose=False) for each in (model, twin))
    assert trained.shape == untrained.shape
    assert np.abs(trained - untrained).max() > 1e-3


def test_a_large_study_is_reduced_to_a_seeded_draw(line, tmp_path):
    study = read_held_out(line.store, "cell_line", 40)
    again = read_held_out(line.store, "cell_line", 40)
    assert study.adata.n_obs <= 40
    assert study.left_out["beyond a random 40"] == 22
    assert list(study.adata.obs_names) == list(again.adata.obs_names)


# --- baselines as artifacts


def test_an_evaluation_has_rows_of_each_baseline_and_refuses_leakage(line, tmp_path, capsys) -> None:
    for kind, *options in (("pca", "--components", "5"), ("hvg", "--top-genes", "7"), ("lognorm",)):
        where = ["--corpus", str(line.corpus), "--variant", "tiny", "--out", str(tmp_path / kind)]
        assert main(["baseline", kind, *where, *options]) == 0
    folders = [tmp_path / kind for kind in ("pca", "hvg", "lognorm")]
    rows = line.run(tmp_path / "table.json", models=folders)["rows"]
    assert capsys.readouterr().out.count("not compared with those of variant tiny") == 1  # no fingerprints
    assert {(row["model"], row["embedder"], row["scaling"], row["depth"]) for row in rows} == {
        (kind, kind, scaling, depth)
        for kind in ("pca", "hvg", "lognorm")
        for scaling in ("raw", "standardised")
        for depth in ("full", "thinned")
    }
    assert all(row["n_training_samples"] == row["samples_seen"] == 132 for row in rows)
    page = (tmp_path / "table.md").read_text()
    assert "| hvg | log counts of 7 variable genes |" in page
    assert "| pca | PCA-5 |" in page
    for folder in folders:
        with pytest.raises(InputError, match="trained on alpha"):
            line.run(
                tmp_path / "leak.json", store=write_held_out(tmp_path / "alpha.zarr", study="alpha"), models=[folder]
            )
    assert not (tmp_path / "leak.json").exists()


def test_a_pca_that_was_fitted_before_scores_what_the_one_of_the_table_scores(line, tmp_path):
    """Every gene of the artifact is measured by the held-out study here, so the two see the same."""
    where = ["--corpus", str(line.corpus), "--variant", "tiny", "--out", str(tmp_path / "pca")]
    assert main(["baseline", "pca", *where]) == 0
    table = line.run(tmp_path / "table.json", models=[line.model, tmp_path / "pca"])
    for depth in ("full", "thinned"):
        for scaling in ("raw", "standardised"):
            fitted_here, before = rows_of(table, embedder="pca", depth=depth, scaling=scaling, n_genes=20)
            for metric in ("linear_probe", "few_shot", "nmi"):
                assert fitted_here[metric] == before[metric]


# --- refusals


def test_a_study_of_the_training_set_is_refused(line, tmp_path):
    store = write_held_out(tmp_path / "alpha.zarr", study="alpha")
    with pytest.raises(InputError, match="trained on alpha"):
        line.run(tmp_path / "table.json", store=store)
    assert list(tmp_path.glob("table*")) == []


def test_a_study_that_only_the_model_s_card_names_is_refused(line, tmp_path):
    model = shutil.copytree(line.model, tmp_path / "tiny.micro.s0")
    card = json.loads((model / "model.json").read_text())
    card["training_studies"]["omega"] = {"recipe": "plain", "n_samples": 3, "simulated": True}
    (model / "model.json").write_text(json.dumps(card))
    with pytest.raises(InputError, match="trained on omega"):
        line.run(tmp_path / "table.json", models=[model])


def test_a_corpus_that_is_not_the_model_s_is_refused(line, tmp_path):
    corpus = shutil.copytree(line.corpus, tmp_path / "corpus")
    path = corpus / "variants" / "tiny.json"
    path.write_text(path.read_text().replace("digest-variant-tiny", "digest-variant-other"))
    with pytest.raises(InputError, match="is not what the model was trained on"):
        line.run(tmp_path / "table.json", corpus=corpus)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": "cell_lines"}, "expected: cell_line"),
        ({"label": "cell_type"}, "Fewer than two classes"),
        ({"store": Path("nowhere.zarr")}, "no such store"),
        ({"thin_to": 0}, "start at 1"),
    ],
)
def test_a_wrong_argument_is_told_apart(line, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        line.run(tmp_path / "table.json", **changes)


def test_missing_labels_are_no_class(tmp_path):
    store = write_held_out(tmp_path / "omega.zarr")
    group = zarr.open_group(store, mode="a")
    obs = ad.io.read_elem(group["obs"])
    obs.loc[obs.index[:8], "cell_line"] = np.nan
    with ad.settings.override(zarr_write_format=3, auto_shard_zarr_v3=True):
        ad.io.write_elem(group, "obs", obs)
    study = read_held_out(store, "cell_line", 1000)
    assert set(study.labels) == set(LINES)
    assert study.left_out["no label"] == 5 + 8


@pytest.mark.filterwarnings("ignore:Consolidated metadata", "ignore:Writing zarr v2")
@pytest.mark.parametrize(
    ("version", "found"), [(2, "zarr format 2"), (3, "no obs['study'], obs['simulated'], var['measured']")]
)
def test_a_zarr_of_anndata_is_no_store_of_a_study(tmp_path, version, found):
    cells = ad.AnnData(
        np.ones((4, 2), dtype=np.float32), obs=pd.DataFrame({"cell_line": list("aabb")}, index=list("wxyz"))
    )
    with ad.settings.override(zarr_write_format=version, auto_shard_zarr_v3=version == 3):
        cells.write_zarr(tmp_path / "cells.zarr")
    with pytest.raises(InputError, match=r"(?s)no store of a held-out study.*" + re.escape(found)):
        read_held_out(tmp_path / "cells.zarr", "cell_line", 100)


def test_the_output_must_be_json(line, tmp_path):
    with pytest.raises(InputError, match="not a \\.json file"):
        line.run(tmp_path / "table.csv")


# --- what it says


def scored(embedder: str, mean: float, sd: float) -> dict:
    score = {"mean": mean, "sd": sd, "values": []}
    metrics = {"linear_probe": score, "few_shot": score, "nmi": score}
    return {"model": "m", "embedder": embedder, "genes": "all", "scaling": "raw", "depth": "full", **metrics}


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [((0.5, 0.1), (0.9, 0.1), "below"), ((0.9, 0.1), (0.5, 0.1), "above"), ((0.5, 0.1), (0.55, 0.02), "level with")],
)
def test_the_sentence_follows_from_the_numbers(ours, theirs, verdict):
    sentences = reading({"rows": [scored("txfm", *ours), scored("pca", *theirs)]})
    assert len(sentences) == 3
    assert all(f"is {verdict} PCA" in sentence for sentence in sentences)
