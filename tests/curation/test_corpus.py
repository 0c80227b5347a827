import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import zarr

from curation.axis import GeneAxis
from curation.build import Curation, curate_training
from curation.catalog import Study
from curation.corpus import assemble, compose
from curation.errors import InputError
from curation.recipe import Recipe
from curation.verify import verify_corpus

STUDIES = {"one": ["TP53", "ACTB", "QARS1"], "two": ["ACTB", "MARCHF1"]}


@pytest.fixture
def corpus(tmp_path: Path, axis: GeneAxis, make_study: Callable[..., Study], write_mtx: Callable[..., Any]) -> Path:
    """Two studies of four batches, assembled, with the variants `both` and `only_one`."""
    folder = tmp_path / "corpus"
    axis.write(folder / "genes.parquet")
    rng = np.random.default_rng(1)
    for name, genes in STUDIES.items():
        counts = rng.poisson(3, (20, len(genes)))
        counts[:, 0] += 1
        sources = tmp_path / name
        files = dict(write_mtx(sources, counts, genes, [f"b{i % 4}_{i}" for i in range(20)]))
        study = make_study(
            name=name, parts=[{"name": "p", "format": "mtx", "files": files}], obs={"batch": {"pattern": "^(b.)_"}}
        )
        task = Curation(
            study=study, recipe=Recipe(), recipe_name="r", genes=folder / "genes.parquet", sources=sources, seed=0
        )
        stores = {split: folder / "stores" / f"{name}.r.{split}.zarr" for split in ("train", "validation")}
        curate_training(task, **stores, report=tmp_path / f"{name}.json", validation_share=0.25)
    reports = [tmp_path / f"{name}.json" for name in STUDIES]
    assemble(folder, name="toy", axis_source="toy", reports=reports, studies={}, out=folder / "corpus.json")
    for variant, members in (("both", ["one", "two"]), ("only_one", ["one"])):
        compose(folder, variant=variant, members=dict.fromkeys(members, "r"), held_out=["held"], reports=reports)
    return folder


def variant_of(corpus: Path, name: str) -> dict[str, Any]:
    return json.loads((corpus / "variants" / f"{name}.json").read_text())


def test_a_sound_corpus_verifies(corpus) -> None:
    assert verify_corpus(corpus) == []


def test_a_variant_without_a_study_holds_none_of_its_rows_and_shares_the_other_stores(corpus) -> None:
    both, only_one = variant_of(corpus, "both"), variant_of(corpus, "only_one")
    assert {store["study"] for store in only_one["stores"]} == {"one"}
    assert [store for store in both["stores"] if store["study"] == "one"] == only_one["stores"]
    assert both["totals"]["train"]["n_samples"] == 30
    assert both["totals"]["validation"]["n_samples"] == 10
    assert len(list((corpus / "stores").iterdir())) == 4


def test_the_vocabulary_is_what_at_least_one_study_measured(corpus) -> None:
    assert variant_of(corpus, "both")["vocabulary"]["n_genes"] == 4
    assert variant_of(corpus, "only_one")["vocabulary"]["n_genes"] == 3


def test_links_of_a_variant_lead_to_its_train_rows_and_copy_nothing(corpus) -> None:
    folder = corpus / "variants" / "both.zarr"
    assert zarr.open_group(folder).attrs["encoding-type"] == "annbatch-preshuffled"
    members = [ad.read_zarr(folder / f"dataset_{i}") for i in range(2)]
    assert {str(study) for member in members for study in member.obs["study"]} == {"one", "two"}
    assert sum(member.n_obs for member in members) == 30
    assert sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) < 1_000


def test_a_held_out_study_in_a_variant_is_refused_and_nothing_is_written(corpus, tmp_path) -> None:
    with pytest.raises(InputError, match="one is held out"):
        compose(corpus, variant="leak", members={"one": "r"}, held_out=["one"], reports=[tmp_path / "one.json"])
    assert not list((corpus / "variants").glob("leak*"))


def test_a_batch_in_both_splits_is_refused(corpus, tmp_path) -> None:
    report = json.loads((tmp_path / "one.json").read_text())
    report["batches"]["train"] += report["batches"]["validation"]
    (tmp_path / "one.json").write_text(json.dumps(report))
    with pytest.raises(InputError, match="in training and in validation"):
        compose(corpus, variant="leak", members={"one": "r"}, held_out=[], reports=[tmp_path / "one.json"])


def test_composing_again_leaves_an_equal_manifest_and_the_digest(corpus, tmp_path) -> None:
    before = (corpus / "variants" / "only_one.json").read_bytes()
    compose(corpus, variant="only_one", members={"one": "r"}, held_out=["held"], reports=[tmp_path / "one.json"])
    assert (corpus / "variants" / "only_one.json").read_bytes() == before


def edit(corpus: Path, path: str, change: Callable[[np.ndarray], None]) -> None:
    array = zarr.open_array(corpus / "stores" / "one.r.train.zarr" / path, mode="r+")
    values = array[:]
    change(values)
    array[:] = values


@pytest.mark.parametrize(
    ("path", "index", "value", "words"),
    [
        ("X/data", 3, 1000, "digest"),
        ("X/data", 3, 1000, "obs/library_size: does not agree"),
        ("X/data", 3, -1, "not above 0"),
        ("X/indices", 0, 5, "did not measure"),
        ("X/indices", 0, 9, "outside the gene axis"),
        ("X/indptr", 1, 999, "indptr does not fit"),
        ("obs/n_genes", 0, 99, "obs/n_genes: does not agree"),
        ("var/measured", 4, True, "digest"),
        ("var/measured", 4, True, "its mask of one is not var/measured"),
        ("var/n_detected", 0, 99, "var/n_detected: does not agree with X at 1 genes"),
        ("obs/source_row", 0, 3, "a row of the source occurs twice"),
        ("obs/simulated", 0, True, "obs/simulated: a sample has another value"),
    ],
)
def test_verify_finds_a_changed_value(corpus, path: str, index: int, value: int, words: str) -> None:
    edit(corpus, path, lambda values: values.__setitem__(index, value))
    problems = verify_corpus(corpus)
    assert any(words in problem for problem in problems), problems
    assert all("stores/one.r.train.zarr" in problem for problem in problems), problems


def test_a_folder_that_is_no_corpus_is_refused_with_advice(tmp_path) -> None:
    with pytest.raises(InputError, match="no corpus here") as caught:
        verify_corpus(tmp_path)
    assert "results/demo/corpus" in str(caught.value)


def test_a_store_that_is_gone_stops_composing(corpus, tmp_path) -> None:
    (corpus / "stores" / "one.r.train.zarr").rename(tmp_path / "gone")
    with pytest.raises(InputError, match="store is not there"):
        compose(corpus, variant="both", members={"one": "r"}, held_out=[], reports=[tmp_path / "one.json"])
