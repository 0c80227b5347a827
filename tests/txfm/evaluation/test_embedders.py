"""Embedders of a comparison: models, baselines, embeddings of the file itself; and what is refused."""

from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import txfm
from txfm.__main__ import main
from txfm.artifact.provenance import unknown_among
from txfm.embedder import Embedder
from txfm.errors import InputError
from txfm.evaluation.embedders import check_embedders, embeddings_of, unchecked
from txfm.evaluation.sample_file import check_names
from txfm.evaluation.samples import read_samples

N_CELLS = 12


def write_cells(path: Path, studies: str = "omega", **obsm: np.ndarray) -> Path:
    obs = pd.DataFrame({"guide": ["a", "b", None] * 4, "study": studies}, index=[f"c{i}" for i in range(N_CELLS)])
    var = pd.DataFrame(index=[f"ENSG{100 + position:011d}" for position in range(60)])
    counts = sp.csr_matrix(np.random.default_rng(0).poisson(3.0, (N_CELLS, 60)).astype(np.float32))
    adata = ad.AnnData(counts, obs=obs, var=var, obsm=obsm)
    with ad.settings.override(zarr_write_format=3, auto_shard_zarr_v3=True):
        (adata.write_zarr if path.suffix == ".zarr" else adata.write_h5ad)(path)
    return path


@pytest.fixture(scope="module")
def pca(tiny_corpus, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny.pca"
    command = f"baseline pca --corpus {tiny_corpus.folder} --variant tiny --components 4 --out {folder}"
    assert main(command.split()) == 0
    return folder


@pytest.mark.filterwarnings("ignore:Consolidated metadata")  # anndata writes it
@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_models_keys_and_the_floor_come_as_labelled_embeddings(pca, tmp_path, suffix):
    other = np.arange(24, dtype=np.float64).reshape(N_CELLS, 2)
    path = write_cells(tmp_path / f"cells{suffix}", X_other=other)
    model, key, floor = embeddings_of(read_samples(path), [pca], ["X_other"])
    assert [each.columns["embedder"] for each in (model, key, floor)] == ["tiny.pca", "X_other", "random"]
    assert [each.kind for each in (model, key, floor)] == ["pca", "obsm", "random"]
    np.testing.assert_array_equal(model.values, txfm.load(pca).embed(path, verbose=False))
    assert (model.variant, model.model, model.model_seed) == ("tiny", "tiny.pca", 0)
    assert len(model.identity["weights_sha256"]) == 64
    assert model.identity["studies_seen"] == ["alpha", "beta", "gamma"]
    np.testing.assert_array_equal(key.values, other.astype(np.float32))
    assert floor.values.shape == (N_CELLS, 32)


@pytest.mark.filterwarnings("ignore:Consolidated metadata")  # anndata writes it
@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_rows_alone_are_embedded_where_they_are_named(pca, tmp_path, monkeypatch, suffix):
    path = write_cells(tmp_path / f"cells{suffix}", X_other=np.random.default_rng(1).standard_normal((N_CELLS, 2)))
    samples, rows = read_samples(path), np.array([1, 4, 9, 10])
    whole = list(embeddings_of(samples, [pca], ["X_other"]))
    embed, embedded = Embedder.embed, []

    def counted(self, source, **options):
        vectors = embed(self, source, **options)
        embedded.append(len(vectors))
        return vectors

    monkeypatch.setattr(Embedder, "embed", counted)
    part = list(embeddings_of(samples, [pca], ["X_other"], rows=rows))
    assert embedded == [4]
    for all_rows, some in zip(whole, part, strict=True):
        assert some.values.shape == (4, all_rows.values.shape[1])
        np.testing.assert_allclose(some.of_rows(rows[1:]), all_rows.of_rows(rows[1:]), rtol=1e-6)


def test_labels_are_text_and_missing_ones_are_empty(tmp_path):
    samples = read_samples(write_cells(tmp_path / "cells.h5ad"))
    assert samples.labels("guide").tolist() == ["a", "b", ""] * 4
    assert samples.studies == ("omega",)
    assert samples.identity["n_samples"] == N_CELLS
    assert len(samples.identity["sha256"]) == 64


def test_a_wrong_column_or_key_gets_the_list_of_those_that_exist(tmp_path):
    samples = read_samples(write_cells(tmp_path / "cells.h5ad", X_other=np.ones((N_CELLS, 2))))
    with pytest.raises(InputError, match=r"no column 'guides'(.|\n)*guide, study(.|\n)*did you mean guide\?"):
        samples.labels("guides")
    with pytest.raises(InputError, match=r"no 'X_othr' in obsm(.|\n)*X_other(.|\n)*did you mean X_other\?"):
        check_embedders(samples, [], ["X_othr"])


@pytest.mark.filterwarnings("ignore:Consolidated metadata")  # anndata writes it
@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_names_of_a_file_are_checked_without_reading_it(tmp_path, suffix):
    path = write_cells(tmp_path / f"cells{suffix}", X_other=np.ones((N_CELLS, 2)))
    check_names(path, {"batch": "guide"}, ["X_other"], "config")
    with pytest.raises(InputError, match=r"no column 'lane'(.|\n)*config.batch(.|\n)*guide, study"):
        check_names(path, {"batch": "lane"}, [], "config")
    with pytest.raises(InputError, match=r"no 'X_othr' in obsm(.|\n)*config.obsm(.|\n)*X_other"):
        check_names(path, {}, ["X_othr"], "config")
    check_names(path, {}, [], "config", {"guide": ["a"]})
    with pytest.raises(InputError, match=r"labelled c, d(.|\n)*one of a, b\n"):
        check_names(path, {}, [], "config", {"guide": ["a", "c", "d"]})


def test_names_of_a_file_of_old_anndata_are_checked(tmp_path):
    with h5py.File(tmp_path / "old.h5ad", "w") as file:
        file["obs"] = np.zeros(3, dtype=[("index", "S2"), ("lane", "i4")])
        file["obsm"] = np.ones(3, dtype=[("X_pca", "f4", (2,))])
    check_names(tmp_path / "old.h5ad", {"batch": "lane"}, ["X_pca"], "config")
    with pytest.raises(InputError, match="one of lane\n"):
        check_names(tmp_path / "old.h5ad", {"batch": "index"}, [], "config")
    np.testing.assert_array_equal(read_samples(tmp_path / "old.h5ad").obsm("X_pca"), np.ones((3, 2)))


def test_a_model_that_saw_the_study_is_refused(pca, tmp_path):
    seen = read_samples(write_cells(tmp_path / "seen.h5ad", studies="beta"))
    with pytest.raises(InputError, match="The model was trained on beta"):
        next(embeddings_of(seen, [pca]))
    unnamed = read_samples(write_cells(tmp_path / "unseen.h5ad"))
    with pytest.raises(InputError, match="The model was trained on alpha"):
        next(embeddings_of(unnamed, [pca], studies=["alpha"]))


@pytest.mark.parametrize("name", ["Beta", "BETA ", "-beta"])
def test_a_study_is_known_under_another_spelling(pca, tmp_path, name):
    seen = read_samples(write_cells(tmp_path / "seen.h5ad", studies=name))
    with pytest.raises(InputError, match=f"The model was trained on {name}"):
        next(embeddings_of(seen, [pca]))


def test_a_study_that_a_model_does_not_know_is_told(pca, tmp_path):
    samples = read_samples(write_cells(tmp_path / "cells.h5ad", studies="my_screen"))
    (warning,) = unchecked(samples, [pca], [])
    assert "my_screen is neither a training study nor a held-out one of tiny.pca" in warning
    held_out = read_samples(write_cells(tmp_path / "held_out.h5ad", studies="omega"))
    assert unchecked(held_out, [pca], []) == []
    assert unchecked(samples, [], []) == []
    (warning,) = unchecked(held_out, [pca], ["nowhere"])
    assert "nowhere" in warning
    of_format_0_1 = {"training_studies": {"beta": {}}, "parent": None, "held_out": None}
    assert unknown_among(["Beta", "omega"], of_format_0_1) == ["omega"]


def test_nothing_to_compare_and_two_of_one_name_are_refused(pca, tmp_path):
    samples = read_samples(write_cells(tmp_path / "cells.h5ad", X_other=np.ones((N_CELLS, 2))))
    with pytest.raises(InputError, match=r"nothing to compare(.|\n)*X_other"):
        check_embedders(samples, [], [])
    with pytest.raises(InputError, match=r"one name(.|\n)*tiny\.pca"):
        check_embedders(samples, [pca, pca], [])


@pytest.mark.parametrize(
    ("values", "message"),
    [(np.full((N_CELLS, 1, 2), 1.0), "no embedding"), (np.full((N_CELLS, 2), True), "no embedding")],
)
def test_a_key_that_holds_no_embedding_is_refused(tmp_path, values, message):
    samples = read_samples(write_cells(tmp_path / "cells.h5ad", X_bad=values))
    with pytest.raises(InputError, match=message):
        samples.obsm("X_bad")


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e39])  # the last is beyond float32
def test_only_the_rows_that_are_scored_have_to_be_finite(tmp_path, bad):
    values = np.random.default_rng(0).standard_normal((N_CELLS, 2))
    values[3, 1] = bad
    samples = read_samples(write_cells(tmp_path / "cells.h5ad", X_holed=values))
    (embedding,) = embeddings_of(samples, [], ["X_holed"], random=False)
    others = np.delete(np.arange(N_CELLS), 3)
    np.testing.assert_array_equal(embedding.of_rows(others), values[others].astype(np.float32))
    with pytest.raises(InputError, match=r"(?s)1 such rows of 12, the first is row 3.*do: leave these samples out"):
        embedding.of_rows(np.arange(N_CELLS))
    with pytest.raises(InputError, match="1 such rows of 2, the first is row 3"):  # by the file's count
        embedding.of_rows(np.array([5, 3]))


def test_what_is_no_file_of_samples_is_refused(tmp_path):
    with pytest.raises(InputError, match="There is no such file"):
        read_samples(tmp_path / "none.h5ad")
    (tmp_path / "text.h5ad").write_text("counts")
    with pytest.raises(InputError, match="cannot be evaluated on"):
        read_samples(tmp_path / "text.h5ad")
