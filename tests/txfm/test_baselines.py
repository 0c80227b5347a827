"""Baselines: fitted on the same stores, right by other programs, used like a TxFM, and fair to unmeasured genes."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
import zarr
from sklearn.decomposition import PCA

import txfm
from txfm.__main__ import main
from txfm.baselines.moments import Moments, training_moments
from txfm.baselines.scvi import ScviSettings, features_of, scvi
from txfm.baselines.training_samples import open_training, shared_genes
from txfm.baselines.variable_genes import most_variable, normalised_dispersion
from txfm.embedder import Embedder
from txfm.errors import InputError
from txfm.hardware import Hardware
from txfm.preprocess import log_normalise

GOLDEN = Path(__file__).parents[1] / "golden" / "models"
# alpha measures genes 0 to 39 of the axis, beta 20 to 49, gamma 10 to 55
SHARED = np.arange(20, 40)


def store(corpus: Any, study: str) -> ad.AnnData:
    """Return a training store, with indices that SciPy can reorder (docs/corpus-format.md)."""
    cells = ad.read_zarr(corpus.folder / "stores" / f"{study}.plain.train.zarr")
    cells.X = sp.csr_matrix((cells.X.data, cells.X.indices.astype("int32"), cells.X.indptr), cells.X.shape)
    return cells


def training_counts(corpus: Any) -> np.ndarray:
    """Return the counts of all training samples, in the reader's order: studies by name, rows as they lie."""
    return np.concatenate([store(corpus, study).X.toarray() for study in ("alpha", "beta", "gamma")]).astype(float)


def fitted(corpus: Any, out: Path, kind: str, *options: str) -> Embedder:
    command = ["baseline", kind, "--corpus", str(corpus.folder), "--variant", "tiny", "--out", str(out), *options]
    assert main(command) == 0
    return txfm.load(out)


@pytest.fixture(scope="module")
def models(tiny_corpus: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("baselines")
    commands = {
        "pca": ("pca", "--components", "5"),
        "standardised": ("pca", "--components", "5", "--standardised"),
        "lognorm": ("lognorm",),
        "hvg": ("hvg", "--top-genes", "7"),
    }
    return {name: fitted(tiny_corpus, folder / name, *command) for name, command in commands.items()}


# --- what is fitted


def test_pca_is_that_of_all_training_samples_over_the_genes_that_every_study_measured(
    tiny_corpus: Any, models: dict[str, Any]
) -> None:
    model = models["pca"]
    assert model.vocabulary.axis_positions.tolist() == SHARED.tolist()
    expression = log_normalise(training_counts(tiny_corpus)[:, SHARED])
    theirs = PCA(5, svd_solver="full").fit(expression)
    cells = store(tiny_corpus, "alpha")
    expected = np.abs(theirs.transform(log_normalise(cells.X.toarray()[:, SHARED].astype(float))))
    np.testing.assert_allclose(np.abs(model.embed(cells, verbose=False)), expected, rtol=1e-3, atol=1e-3)
    share = model.card["final_metrics"]["fit"]["explained_variance_share"]
    assert share == pytest.approx(theirs.explained_variance_ratio_.sum(), rel=1e-6)


def test_the_standardised_variant_has_unit_variance_over_the_training_samples(
    tiny_corpus: Any, models: dict[str, Any]
) -> None:
    stores = [store(tiny_corpus, study) for study in ("alpha", "beta", "gamma")]
    scores = [models["standardised"].embed(samples, verbose=False) for samples in stores]
    np.testing.assert_allclose(np.concatenate(scores).std(axis=0, ddof=1), 1.0, rtol=1e-4)
    raw, scaled = (models[name].embed(store(tiny_corpus, "beta"), verbose=False) for name in ("pca", "standardised"))
    ratio = raw / scaled
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[0], ratio.shape), rtol=1e-4)


def test_log_counts_are_those_of_the_vocabulary_and_an_unmeasured_gene_takes_its_mean_over_those_who_measured_it(
    tiny_corpus: Any, models: dict[str, Any]
) -> None:
    model = models["lognorm"]
    assert len(model.vocabulary) == model.n_dimensions == 56
    cells = store(tiny_corpus, "beta")
    found = model.embed(cells, verbose=False)
    measured = cells.var["measured"].to_numpy()[model.vocabulary.axis_positions]
    np.testing.assert_allclose(found[:, measured], log_normalise(cells.X.toarray()[:, 20:50].astype(float)), rtol=1e-6)
    # Genes 10 to 19 were measured by alpha and gamma alone
    others = [log_normalise(store(tiny_corpus, study).X.toarray().astype(float)) for study in ("alpha", "gamma")]
    expected = np.concatenate(others)[:, 10:20].mean(axis=0)
    np.testing.assert_allclose(found[:, 10:20], np.broadcast_to(expected, (len(found), 10)), rtol=1e-6)


def test_variable_genes_are_a_choice_of_the_log_counts(tiny_corpus: Any, models: dict[str, Any]) -> None:
    model = models["hvg"]
    chosen = model.features.chosen
    cells = store(tiny_corpus, "alpha")
    everything = models["lognorm"].embed(cells, verbose=False)
    np.testing.assert_array_equal(model.embed(cells, verbose=False), everything[:, chosen])
    assert model.card["config"]["n_top_genes"] == len(chosen) == 7


def test_moments_are_those_of_each_study(tiny_corpus: Any) -> None:
    moments = training_moments(open_training(tiny_corpus.folder, "tiny"), 1e5)
    mean, variance = moments.mean_and_variance()
    for index, study in enumerate(("alpha", "beta", "gamma")):
        normalised = np.expm1(log_normalise(store(tiny_corpus, study).X.toarray()[:, :56].astype(float)))
        np.testing.assert_allclose(mean[index], normalised.mean(axis=0), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(variance[index], normalised.var(axis=0, ddof=1), rtol=1e-7, atol=1e-6)
    assert moments.n_samples.tolist() == [70, 50, 12]


# --- variable genes beside scanpy


def two_batches(n_genes: int = 300) -> tuple[ad.AnnData, Moments]:
    """Log-normalised counts of two batches of equal genes, and their moments."""
    rng = np.random.default_rng(0)
    level = rng.gamma(0.7, 2.0, n_genes) + 0.05
    parts = [rng.negative_binomial(size, size / (size + level), (n, n_genes)) for size, n in ((0.5, 80), (2.0, 60))]
    expression = log_normalise(np.concatenate(parts).astype(float), 1e4)
    batch = np.repeat([0, 1], [80, 60])
    normalised = np.expm1(expression)
    moments = Moments(
        measured=np.ones((2, n_genes), dtype=bool),
        n_samples=np.array([80, 60]),
        log_sum=np.stack([expression[batch == b].sum(axis=0) for b in (0, 1)]),
        sum=np.stack([normalised[batch == b].sum(axis=0) for b in (0, 1)]),
        square_sum=np.stack([(normalised[batch == b] ** 2).sum(axis=0) for b in (0, 1)]),
    )
    obs = pd.DataFrame({"batch": pd.Categorical(batch.astype(str))}, index=np.arange(140).astype(str))
    return ad.AnnData(expression, obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(n_genes)])), moments


def test_normalised_dispersions_are_scanpy_s() -> None:
    import scanpy as sc

    cells, moments = two_batches()
    one = cells[:80].copy()
    sc.pp.highly_variable_genes(one, flavor="seurat", n_top_genes=40)
    mean, variance = moments.mean_and_variance()
    np.testing.assert_allclose(normalised_dispersion(mean[0], variance[0]), one.var["dispersions_norm"], rtol=1e-4)


def test_the_most_variable_genes_of_two_studies_are_scanpy_s_of_two_batches() -> None:
    import scanpy as sc

    cells, moments = two_batches()
    sc.pp.highly_variable_genes(cells, flavor="seurat", n_top_genes=40, batch_key="batch")
    assert most_variable(moments, 40).tolist() == np.flatnonzero(cells.var["highly_variable"]).tolist()


def test_a_difference_between_studies_makes_no_gene_variable() -> None:
    _, moments = two_batches()
    shifted = moments.sum.copy(), moments.square_sum.copy()
    for sums, power in zip(shifted, (1, 2), strict=True):  # one study has a hundredfold of a gene that varies little
        sums[1, 7] = 60 * 100.0**power
        sums[0, 7] = 80 * 1.0
    apart = replace(moments, sum=shifted[0], square_sum=shifted[1])
    assert 7 not in most_variable(apart, 100)


def test_genes_that_nobody_measured_or_detected_are_never_chosen() -> None:
    _, moments = two_batches()
    for sums in (moments.sum, moments.square_sum):
        sums[:, 3] = 0
    moments.measured[:, 5] = False
    chosen = most_variable(moments, 10_000)
    assert {3, 5}.isdisjoint(chosen)
    assert len(chosen) == 298


# --- used like a TxFM


@pytest.mark.parametrize("name", ["pca", "standardised", "lognorm", "hvg"])
def test_order_and_number_of_the_rows_do_not_change_vectors(
    name: str, models: dict[str, Any], tiny_corpus: Any
) -> None:
    model, cells = models[name], store(tiny_corpus, "alpha")
    vectors = model.embed(cells, verbose=False)
    assert vectors.shape == (70, model.n_dimensions)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(model.embed(cells[::-1].copy(), verbose=False)[::-1], vectors, rtol=0, atol=1e-5)
    np.testing.assert_allclose(model.embed(cells[3:4].copy(), verbose=False)[0], vectors[3], rtol=0, atol=1e-5)


def test_what_an_unmeasured_gene_holds_changes_nothing(models: dict[str, Any], tiny_corpus: Any) -> None:
    for model in models.values():
        cells = store(tiny_corpus, "alpha")
        vectors = model.embed(cells, verbose=False)
        counts = cells.X.toarray()
        counts[:, ~cells.var["measured"].to_numpy()] = 1000
        cells.X = sp.csr_matrix(counts)
        np.testing.assert_array_equal(model.embed(cells, verbose=False), vectors)


def test_fewer_components_than_were_asked_for_are_said_before_the_fit(
    tiny_corpus: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fitted(tiny_corpus, tmp_path / "pca", "pca", "--components", "5000").n_dimensions == 20
    first, *_ = capsys.readouterr().out.splitlines()
    assert first == "20 components instead of 5,000: 132 samples and 20 shared genes have no more"


def test_the_mean_of_the_training_samples_is_the_origin_of_pca(models: dict[str, Any]) -> None:
    model = models["pca"]
    nothing_seen = model.features.vectors(np.zeros((1, 20)), np.zeros(20, dtype=bool))
    np.testing.assert_allclose(nothing_seen, 0.0, atol=1e-9)


def test_the_embed_command_takes_a_baseline(models: dict[str, Any], tiny_corpus: Any, tmp_path: Path) -> None:
    fitted(tiny_corpus, tmp_path / "pca", "pca", "--components", "5")
    cells = store(tiny_corpus, "alpha")
    cells.write_h5ad(tmp_path / "in.h5ad")
    assert main(["embed", str(tmp_path / "pca"), str(tmp_path / "in.h5ad"), "--out", str(tmp_path / "out.h5ad")]) == 0
    written = ad.read_h5ad(tmp_path / "out.h5ad")
    np.testing.assert_array_equal(written.obsm["X_txfm"], models["pca"].embed(cells, verbose=False))


def test_a_baseline_is_said_to_compute_on_the_cpu_whatever_there_is(
    models: dict[str, Any],
    tiny_corpus: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cells = store(tiny_corpus, "beta")[:3].copy()
    cells.write_h5ad(tmp_path / "in.h5ad")
    models["pca"].save(tmp_path / "pca")
    cuda = Hardware(device=torch.device("cuda:0"), precision="float32", threads=1)
    monkeypatch.setattr("txfm.hardware.choose_hardware", lambda *_: cuda)  # of a machine with a GPU
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a GPU")
    assert main(["embed", str(tmp_path / "pca"), str(tmp_path / "in.h5ad"), "--out", str(tmp_path / "out.h5ad")]) == 0
    assert capsys.readouterr().out.startswith("device cpu, 1 CPU threads, precision float32\n")


def test_gene_embeddings_of_pca_are_its_loadings_and_log_counts_have_none(models: dict[str, Any]) -> None:
    frame = models["pca"].gene_embeddings("decoder")
    assert frame.columns.tolist() == ["symbol", "e0", "e1", "e2", "e3", "e4"]
    np.testing.assert_array_equal(frame.iloc[:, 1:].to_numpy(dtype=float), models["pca"].features.components.T)
    with pytest.raises(InputError, match=r"kind hvg[\s\S]*this one has none"):
        models["hvg"].gene_embeddings()


# --- the command


def test_the_artifact_says_what_it_was_fitted_on(tiny_corpus: Any, tmp_path: Path, capsys: Any) -> None:
    model = fitted(tiny_corpus, tmp_path / "hvg", "hvg", "--top-genes", "7", "--max-genes", "30")
    assert "hvg of 132 samples, 30 genes, 7 dimensions" in capsys.readouterr().out
    card = model.card
    assert card["kind"] == "hvg"
    assert card["variant"] == {"name": "tiny", "digest": "digest-variant-tiny"}
    assert {study: entry["n_samples"] for study, entry in card["training_studies"].items()} == {
        "alpha": 70,
        "beta": 50,
        "gamma": 12,
    }
    assert card["held_out"] == ["omega"]
    assert card["samples_seen"] == 132
    page = (tmp_path / "hvg" / "README.md").read_text()
    assert "a baseline for TxFM" in page
    assert "Simulated data" in page


def test_the_same_fit_gives_the_same_bytes(tiny_corpus: Any, tmp_path: Path) -> None:
    for name in ("first", "second"):
        fitted(tiny_corpus, tmp_path / name, "pca", "--components", "5", "--seed", "3")
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("first", "second"))
    assert first == second


def test_a_fitted_baseline_is_never_overwritten_and_small_numbers_are_refused(
    tiny_corpus: Any, tmp_path: Path, capsys: Any
) -> None:
    fitted(tiny_corpus, tmp_path / "hvg", "hvg", "--top-genes", "7")
    before = (tmp_path / "hvg" / "model.json").read_bytes()
    command = [
        "baseline",
        "hvg",
        "--corpus",
        str(tiny_corpus.folder),
        "--variant",
        "tiny",
        "--out",
        str(tmp_path / "hvg"),
    ]
    assert main(command) == 2
    assert "never overwritten" in capsys.readouterr().err
    assert (tmp_path / "hvg" / "model.json").read_bytes() == before
    assert main([*command[:-1], str(tmp_path / "new"), "--top-genes", "0"]) == 2
    assert "--top-genes" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["hvg"]


def test_studies_without_a_gene_in_common_have_no_pca_and_are_told_what_they_have(
    tmp_path: Path, capsys: Any, write_corpus: Any
) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    for study, measured in {"alpha": slice(0, 20), "beta": slice(40, 50), "gamma": slice(10, 56)}.items():
        path = corpus.folder / "stores" / f"{study}.plain.train.zarr"
        column = zarr.open_group(path, mode="r+")["var/measured"]
        keep = np.zeros(60, dtype=bool)
        keep[measured] = True
        column[:] = keep
    command = ["baseline", "pca", "--corpus", str(corpus.folder), "--variant", "tiny", "--out", str(tmp_path / "pca")]
    assert main(command) == 2
    assert "hardly a gene in common" in (error := capsys.readouterr().err)
    assert "alpha: 20, beta: 10, gamma: 46" in error


# --- scVI


def test_fitting_scvi_without_its_package_says_what_to_install(
    tiny_corpus: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "scvi", None)  # as if it were not installed
    training = open_training(tiny_corpus.folder, "tiny")
    with pytest.raises(InputError, match=r"pip install 'diverserna\[scvi\]'"):
        scvi(open_training(tiny_corpus.folder, "tiny", vocabulary=shared_genes(training)), ScviSettings())


def test_an_scvi_artifact_embeds_without_scvi_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scvi", None)
    model = txfm.load(GOLDEN / "1.0" / "scvi")
    cells = ad.AnnData(np.ones((3, 24), dtype=np.float32), var=pd.DataFrame(index=list(model.vocabulary.ensembl_ids)))
    assert model.embed(cells, verbose=False).shape == (3, 8)
    assert model.gene_embeddings("encoder").shape == (24, 1 + 6)


@pytest.mark.filterwarnings("ignore")  # of scvi-tools and lightning
def test_the_encoder_that_is_kept_gives_the_latent_means_of_scvi_tools(tiny_corpus: Any, tmp_path: Path) -> None:
    pytest.importorskip("scvi", reason="scvi-tools is not installed (extra `scvi`)")
    import scvi as package

    settings = {"--dimensions": 4, "--hidden": 16, "--layers": 2, "--epochs": 3}
    options = [str(part) for pair in settings.items() for part in pair]
    fitted_again = [fitted(tiny_corpus, tmp_path / name, "scvi", *options) for name in ("first", "second")]
    cells = store(tiny_corpus, "alpha")
    vectors = [model.embed(cells, verbose=False) for model in fitted_again]
    np.testing.assert_array_equal(*vectors)
    assert fitted_again[0].card["samples_seen"] == 3 * 132
    counts = sp.csr_matrix(training_counts(tiny_corpus)[:, SHARED].astype(np.float32))
    samples = ad.AnnData(counts, obs=pd.DataFrame({"study": ["a", "b"] * 66}, index=np.arange(132).astype(str)))
    package.model.SCVI.setup_anndata(samples, batch_key="study")
    theirs = package.model.SCVI(samples, n_latent=4, n_hidden=16, n_layers=2)
    theirs.train(max_epochs=3, enable_progress_bar=False, accelerator="cpu")
    ours = features_of(theirs, counts).vectors(counts.toarray().astype(float), np.ones(20, dtype=bool))
    np.testing.assert_allclose(ours, theirs.get_latent_representation(), rtol=0, atol=1e-5)
