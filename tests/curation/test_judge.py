"""Samples judged beside others: repeats, other studies, small batches, mitochondrial share, technologies."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import polars as pl
import pytest

from curation.axis import GeneAxis
from curation.build import Curation, curate_evaluation, curate_training
from curation.catalog import Study
from curation.corpus import assemble, compose
from curation.errors import InputError
from curation.recipe import Recipe
from curation.tally import CountTally

N_GENES = 60
IDS = [f"ENSG{number:011d}" for number in range(1, N_GENES + 1)]


@pytest.fixture
def axis() -> GeneAxis:
    """Sixty genes, the last two on the mitochondrial chromosome."""
    genes = pl.DataFrame({"ensembl_id": IDS, "symbol": "", "biotype": "", "chromosome": ["chr1"] * 58 + ["chrM"] * 2})
    return GeneAxis(genes=genes, names=pl.DataFrame(schema=dict.fromkeys(("name", "ensembl_id", "kind"), pl.String)))


@pytest.fixture
def build(
    tmp_path: Path, axis: GeneAxis, make_study: Callable[..., Study], write_mtx: Callable[..., Any]
) -> Callable[..., dict[str, Any]]:
    """Curate counts (samples x sixty genes) into tmp_path/corpus; return the QC report."""

    def run(
        counts: np.ndarray,
        *,
        name: str = "toy",
        metadata: str = "",
        recipe: Recipe | None = None,
        genes: list[str] = IDS,
        evaluation: bool = False,
        other_stores: tuple[Path, ...] = (),
        **fields: Any,
    ) -> dict[str, Any]:
        corpus, sources = tmp_path / "corpus", tmp_path / f"sources_{name}"
        files = dict(write_mtx(sources, counts, genes, [f"c{i}" for i in range(len(counts))]))
        if metadata:
            (sources / "meta.csv").write_text(metadata)
            files["metadata"] = "meta.csv"
        axis.write(corpus / "genes.parquet")
        part = {"name": "p", "format": "mtx", "files": files}
        study = make_study(name=name, parts=[part], gene_ids="ensembl", **fields)
        task = Curation(
            study=study,
            recipe=recipe or Recipe(),
            recipe_name="r",
            genes=corpus / "genes.parquet",
            sources=sources,
            seed=0,
            other_stores=other_stores,
        )
        report = corpus / f"{name}.json"
        if evaluation:
            curate_evaluation(task, evaluation=tmp_path / f"{name}.zarr", report=report)
        else:
            stores = {split: corpus / "stores" / f"{name}.r.{split}.zarr" for split in ("train", "validation")}
            curate_training(task, **stores, report=report, validation_share=0.0)
        return json.loads(report.read_text())

    return run


def cells(n: int, seed: int = 0) -> np.ndarray:
    """Return counts with all genes seen and no two samples alike."""
    return np.random.default_rng(seed).integers(1, 9, (n, N_GENES))


def table(name: str, values: list[str]) -> str:
    return f",{name}\n" + "".join(f"c{i},{value}\n" for i, value in enumerate(values))


def store(tmp_path: Path, name: str = "toy") -> ad.AnnData:
    return ad.read_zarr(tmp_path / "corpus" / "stores" / f"{name}.r.train.zarr")


def test_of_samples_with_the_same_counts_the_first_stays(build, tmp_path) -> None:
    counts = cells(5)
    counts[3] = counts[4] = counts[1]
    report = build(counts)
    assert report["samples"] == {"read": 5, "kept": 3, "dropped": {"duplicate_of_another_sample": 2}}
    assert sorted(store(tmp_path).obs["source_row"]) == [0, 1, 2]
    assert report["counts"]["dropped"] == {"duplicate_of_another_sample": 2 * counts[1].sum()}


def test_counts_that_do_not_add_up_end_the_study(build, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(CountTally, "by_reason", lambda *_: {"unknown": 1})
    with pytest.raises(RuntimeError, match="every count is kept or dropped under one reason"):
        build(cells(3))
    assert not (tmp_path / "corpus" / "toy.json").exists()


def test_a_sample_without_metadata_has_that_reason_before_a_filters(build) -> None:
    """The order that docs/qc.md and docs/simulation.md state."""
    rule = {"column": "quality", "keep": ["good"], "reason": "poor"}
    report = build(cells(4), metadata=",quality\nc0,good\nc1,good\nc2,bad\n", filters=[rule])
    assert report["samples"]["dropped"] == {"no_metadata": 1, "poor": 1}
    page = (Path(__file__).parents[2] / "docs" / "qc.md").read_text()
    order = page.split("## Order")[1]
    assert order.index("`no_metadata`") < order.index("`reason` of a filter")


def test_a_recipe_may_keep_them(build) -> None:
    counts = cells(3)
    counts[2] = counts[0]
    assert build(counts, recipe=Recipe(drop_duplicates=False))["samples"]["kept"] == 3


def test_samples_with_few_counts_may_agree_by_chance(build) -> None:
    counts = np.zeros((4, N_GENES), dtype=int)
    counts[:, :5] = 1
    assert build(counts)["samples"]["kept"] == 4


def test_a_duplicate_is_judged_on_all_mapped_genes_not_on_the_kept_ones(build) -> None:
    counts = cells(4)
    counts[3] = counts[0]
    counts[:, 8] = 0
    counts[0, 8] = 1  # the only sample with this gene, which is therefore dropped
    report = build(counts, recipe=Recipe(min_samples_per_gene=2))
    assert report["samples"]["kept"] == 4


def test_batches_that_are_left_with_too_few_samples_are_dropped_whole(build, tmp_path) -> None:
    counts = cells(6)
    counts[5] = counts[4]
    metadata = table("lane", ["a", "a", "a", "b", "b", "b"])
    report = build(counts, metadata=metadata, obs={"batch": {"column": "lane"}}, recipe=Recipe(min_samples_per_batch=3))
    dropped = {"below_min_samples_per_batch": 2, "duplicate_of_another_sample": 1}
    assert report["samples"] == {"read": 6, "kept": 3, "dropped": dropped}
    assert report["counts"]["dropped"]["below_min_samples_per_batch"] == counts[3:5].sum()
    assert report["batches"]["train"] == ["a"]
    assert set(store(tmp_path).obs["batch"]) == {"a"}


def test_the_mitochondrial_share_is_judged_before_genes_are_dropped(build) -> None:
    counts = cells(4)
    counts[0, 58:] = 300
    counts[1:, 58:] = 0  # seen in one sample only, so the genes themselves are dropped
    report = build(counts, recipe=Recipe(max_mito_share=0.3, min_samples_per_gene=2))
    assert report["samples"]["dropped"] == {"above_max_mito_share": 1}


def test_without_mitochondrial_genes_in_the_table_nobody_is_judged(build) -> None:
    report = build(cells(3)[:, :58], genes=IDS[:58], recipe=Recipe(max_mito_share=0.0))
    assert report["samples"]["kept"] == 3


def test_thresholds_and_count_kinds_may_differ_by_technology(build, tmp_path) -> None:
    counts = cells(6)
    counts[1:3, 10:] = 0
    metadata = table("assay", ["10x", "10x", "drop", "drop", "Smart-seq2", "10x"])
    report = build(
        counts,
        metadata=metadata,
        obs={"technology": {"column": "assay"}},
        count_kinds_by_technology={"Smart-seq2": "smartseq_tpm"},
        recipe=Recipe(min_genes_per_sample=30, per_technology={"drop": {"min_genes_per_sample": 5}}),
    )
    assert report["samples"]["dropped"] == {"below_min_genes_per_sample": 1, "count_kind_smartseq_tpm": 1}
    assert dict(zip(*np.unique(store(tmp_path).obs["technology"].astype(str), return_counts=True), strict=True)) == {
        "10x": 2,
        "drop": 2,
    }


def test_a_fingerprint_does_not_depend_on_the_recipe(build, tmp_path) -> None:
    counts = cells(4)
    counts[1:, 3] = 0
    build(counts)
    one = store(tmp_path).obs.set_index("source_row")["fingerprint"]
    build(counts, recipe=Recipe(min_samples_per_gene=2))
    other = store(tmp_path).obs.set_index("source_row")["fingerprint"]
    assert one.sort_index().tolist() == other.sort_index().tolist()


def composed(tmp_path: Path, names: list[str], evaluation: dict[str, Path] | None = None) -> None:
    corpus = tmp_path / "corpus"
    reports = [corpus / f"{name}.json" for name in names]
    assemble(corpus, name="t", axis_source="", reports=reports, studies={}, out=corpus / "corpus.json")
    members = dict.fromkeys(names, "r")
    compose(
        corpus, variant="v", members=members, held_out=evaluation or [], reports=reports, evaluation_stores=evaluation
    )


def test_a_variant_with_a_sample_in_two_studies_is_refused_until_a_recipe_says_who_gives_way(build, tmp_path) -> None:
    counts = cells(5)
    build(counts, name="first")
    build(np.concatenate([cells(4, seed=1), counts[:2]]), name="second")
    with pytest.raises(InputError, match="2 samples are both in 'first' and in 'second'") as caught:
        composed(tmp_path, ["first", "second"])
    assert "drop_samples_of: [first]" in caught.value.todo
    stores = tuple(tmp_path / "corpus" / "stores" / f"first.r.{split}.zarr" for split in ("train", "validation"))
    report = build(
        np.concatenate([cells(4, seed=1), counts[:2]]),
        name="second",
        recipe=Recipe(drop_samples_of=("first",)),
        other_stores=stores,
    )
    assert report["samples"]["dropped"] == {"duplicate_of_another_study": 2}
    composed(tmp_path, ["first", "second"])
    assert (tmp_path / "corpus" / "variants" / "v.json").exists()


def test_a_training_sample_that_is_also_held_out_is_refused(build, tmp_path) -> None:
    counts = cells(5)
    build(counts, name="first")
    build(counts[3:], name="held", role="evaluation", evaluation=True)
    with pytest.raises(InputError, match="2 samples of training study 'first' are also in 'held'"):
        composed(tmp_path, ["first"], {"held": tmp_path / "held.zarr"})


def test_repeated_sample_ids_are_refused_with_examples(build, tmp_path, make_study, write_mtx, axis) -> None:
    sources = tmp_path / "sources"
    files = write_mtx(sources, cells(3), IDS, ["a", "b", "a"])
    axis.write(tmp_path / "genes.parquet")
    study = make_study(parts=[{"name": "p", "format": "mtx", "files": files}], gene_ids="ensembl")
    task = Curation(
        study=study, recipe=Recipe(), recipe_name="r", genes=tmp_path / "genes.parquet", sources=sources, seed=0
    )
    with pytest.raises(InputError, match="1 sample ids occur more than once") as caught:
        curate_evaluation(task, evaluation=tmp_path / "e.zarr", report=tmp_path / "e.json")
    assert caught.value.found == "a"
    assert not (tmp_path / "e.zarr").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_features_that_are_no_genes_are_counted_in_the_report(tmp_path, make_study, write_mtx, axis) -> None:
    sources = tmp_path / "sources"
    files = write_mtx(sources, cells(3), IDS, ["a", "b", "c"])
    kinds = ["Gene Expression"] * 57 + ["Antibody Capture"] * 2 + ["CRISPR Guide Capture"]
    lines = [f"{gene}\t{gene}\t{kind}\n" for gene, kind in zip(IDS, kinds, strict=True)]
    (sources / "features.tsv.gz").write_bytes(gzip.compress("".join(lines).encode()))
    axis.write(tmp_path / "genes.parquet")
    study = make_study(parts=[{"name": "p", "format": "mtx", "files": files}], gene_ids="ensembl")
    task = Curation(
        study=study, recipe=Recipe(), recipe_name="r", genes=tmp_path / "genes.parquet", sources=sources, seed=0
    )
    curate_evaluation(task, evaluation=tmp_path / "e.zarr", report=tmp_path / "e.json")
    genes = json.loads((tmp_path / "e.json").read_text())["genes"]
    assert genes["no_genes"] == {"Antibody Capture": 2, "CRISPR Guide Capture": 1}
    assert (genes["in_table"], genes["kept"]) == (57, 57)
