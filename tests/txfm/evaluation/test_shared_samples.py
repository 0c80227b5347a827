"""Samples that a model was trained on are found in another store, whatever their study is called there."""

import shutil
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import zarr

from txfm.__main__ import main
from txfm.corpus.places import place_of
from txfm.corpus.variant import read_variant
from txfm.errors import InputError
from txfm.evaluation.shared_samples import fingerprints, refuse_other_variant, refuse_shared_samples


def test_a_store_of_other_samples_passes_and_a_copy_is_refused_under_any_name(small_corpus: Path, tmp_path: Path):
    bulk = small_corpus / "stores" / "gtex.plain.train.zarr"
    shutil.copytree(bulk, tmp_path / "elsewhere.zarr")
    corpus = place_of(small_corpus)
    assert refuse_shared_samples(tmp_path / "elsewhere.zarr", small_corpus, read_variant(corpus, "minus_bulk"))
    n = len(fingerprints(bulk))
    with pytest.raises(InputError, match=rf"were trained on(.|\n)*variant all(.|\n)*{n} samples of gtex"):
        refuse_shared_samples(tmp_path / "elsewhere.zarr", small_corpus, read_variant(corpus, "all"))


def test_samples_with_few_counts_are_no_copies(small_corpus: Path, tmp_path: Path):
    store = tmp_path / "elsewhere.zarr"
    shutil.copytree(small_corpus / "stores" / "gtex.plain.train.zarr", store)
    sizes = zarr.open_array(store / "obs" / "library_size", mode="r+")
    sizes[:] = np.minimum(sizes[:], 99)
    assert len(fingerprints(store)) == 0
    assert refuse_shared_samples(store, small_corpus, read_variant(place_of(small_corpus), "all"))


def test_a_store_without_fingerprints_is_told_from_one_that_was_compared(tiny_corpus, small_corpus: Path):
    (store, *_) = sorted((tiny_corpus.folder / "stores").iterdir())
    assert fingerprints(store) is None
    assert not refuse_shared_samples(store, small_corpus, read_variant(place_of(small_corpus), "all"))


def test_a_benchmark_compares_a_store_with_the_corpus_of_its_models(small_corpus: Path, tmp_path: Path, capsys):
    baseline = ["baseline", "pca", "--corpus", str(small_corpus), "--variant", "all", "--components", "4"]
    assert main([*baseline, "--out", str(tmp_path / "pca")]) == 0
    store = tmp_path / "elsewhere.zarr"
    shutil.copytree(small_corpus / "stores" / "gtex.plain.train.zarr", store)
    obs = ad.io.read_elem(zarr.open_group(store / "obs", mode="r"))
    obs["study"] = "elsewhere"
    with ad.settings.override(zarr_write_format=3, auto_shard_zarr_v3=True):
        ad.io.write_elem(zarr.open_group(store, mode="r+"), "obs", obs)
    options = ["--label", "batch", "--models", str(tmp_path / "pca"), "--out", str(tmp_path / "out")]
    assert main(["evaluate", "cells", str(store), "--corpus", str(small_corpus), *options]) == 2
    assert "samples of gtex" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_corpus_of_other_samples_is_refused(small_corpus: Path):
    variant = read_variant(place_of(small_corpus), "all")
    with pytest.raises(InputError, match="is not what the model was trained on"):
        refuse_other_variant("model", {"variant": {"digest": "another"}}, variant)
