import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import zarr

from curation import blocks, obs_writer, shards, spool, store
from curation.axis import GeneAxis
from curation.build import Curation, curate_evaluation, curate_training
from curation.catalog import Study
from curation.errors import InputError
from curation.recipe import Recipe

GENES = ["TP53", "P53", "ACTB", "RP11-1.1", "MARCH1", "QARS1"]  # P53 is TP53, RP11-1.1 is nobody
COUNTS = np.array(
    [
        [1, 2, 3, 9, 0, 1],
        [0, 0, 5, 0, 0, 0],
        [0, 0, 0, 4, 0, 0],
        [4, 0, 1, 0, 2, 0],
        [0, 6, 0, 0, 3, 0],
        [2, 1, 8, 0, 1, 0],
    ]
)
SAMPLES = [f"c{i}" for i in range(6)]
# columns: TP53 + P53, ACTB, MARCHF1 (which MARCH1 is now), QARS1
ON_AXIS = {0: COUNTS[:, 0] + COUNTS[:, 1], 1: COUNTS[:, 2], 2: COUNTS[:, 4], 6: COUNTS[:, 5]}


@pytest.fixture
def build(
    tmp_path: Path, axis: GeneAxis, make_study: Callable[..., Study], write_mtx: Callable[..., Any]
) -> Callable[..., Path]:
    """Curate a toy study into `tmp_path/<folder>`; return that folder."""

    def run(
        counts: np.ndarray = COUNTS,
        genes: list[str] = GENES,
        *,
        samples: list[str] = SAMPLES,
        recipe: Recipe | None = None,
        folder: str = "corpus",
        share: float = 0.3,
        **fields: Any,
    ) -> Path:
        corpus, name = tmp_path / folder, fields.get("name", "toy")
        sources = tmp_path / f"sources_{folder}_{name}"
        files = write_mtx(sources, counts, genes, samples)
        if "metadata" in fields:
            (sources / "meta.csv").write_text(fields.pop("metadata"))
            files = {**files, "metadata": "meta.csv"}
        axis.write(corpus / "genes.parquet")
        study = make_study(parts=[{"name": "p", "format": "mtx", "files": files}], **fields)
        curate(
            Curation(
                study=study,
                recipe=recipe or Recipe(),
                recipe_name="r",
                genes=corpus / "genes.parquet",
                sources=sources,
                seed=0,
            ),
            corpus,
            share,
        )
        return corpus

    return run


def curate(task: Curation, corpus: Path, share: float) -> None:
    name = task.study.name
    stores = {split: corpus / "stores" / f"{name}.r.{split}.zarr" for split in ("train", "validation")}
    curate_training(task, **stores, report=corpus / f"{name}.json", validation_share=share)


def report_of(corpus: Path, name: str = "toy") -> dict[str, Any]:
    return json.loads((corpus / f"{name}.json").read_text())


def open_store(corpus: Path, split: str = "train", name: str = "toy") -> ad.AnnData:
    return ad.read_zarr(corpus / "stores" / f"{name}.r.{split}.zarr")


def test_every_kept_row_equals_its_source_gene_by_gene_with_merged_genes_added(build) -> None:
    table = open_store(build())
    assert table.n_obs == 5  # c2 has counts on an unknown gene only
    for sample, row, counts in zip(table.obs_names, table.obs["source_row"], table.X.toarray(), strict=True):
        assert sample == f"toy:c{row}"
        expected = np.zeros(8, dtype=int)
        for position, column in ON_AXIS.items():
            expected[position] = column[row]
        np.testing.assert_array_equal(counts, expected)
        assert table.obs.loc[sample, "library_size"] == expected.sum()
        assert table.obs.loc[sample, "n_genes"] == np.count_nonzero(expected)


def test_measured_says_which_genes_the_table_had_not_which_have_counts(build) -> None:
    counts = COUNTS.copy()
    counts[:, 5] = 0
    table = open_store(build(counts))
    assert np.flatnonzero(table.var["measured"]).tolist() == [0, 1, 2, 6]
    assert table.var["n_detected"].tolist() == [4, 4, 3, 0, 0, 0, 0, 0]


def test_everything_that_is_dropped_is_counted_with_its_reason(build) -> None:
    recipe = Recipe(min_samples_per_gene=2, min_genes_per_sample=2)
    report = report_of(build(recipe=recipe))
    assert report["samples"] == {"read": 6, "kept": 4, "dropped": {"below_min_genes_per_sample": 2}}
    genes = report["genes"]
    assert (genes["in_table"], genes["mapped"], genes["merged"], genes["kept"]) == (6, 5, 1, 3)
    assert genes["dropped"] == {"unknown_symbol": 1, "below_min_samples_per_gene": 1}
    assert genes["examples"] == {"unknown_symbol": ["RP11-1.1"]}
    assert report["counts"]["mapped_share"] == pytest.approx(40 / 53)


def test_genes_are_filtered_before_samples_are_judged(build) -> None:
    # c0 has three genes like c3 and c5, but its QARS1 is seen in no other sample
    assert report_of(build(recipe=Recipe(min_genes_per_sample=3), folder="a"))["samples"]["kept"] == 3
    recipe = Recipe(min_samples_per_gene=2, min_genes_per_sample=3)
    assert report_of(build(recipe=recipe, folder="b"))["samples"]["kept"] == 2


def test_a_gene_below_the_threshold_is_unknown_not_zero(build) -> None:
    table = open_store(build(recipe=Recipe(min_samples_per_gene=2)))
    assert not table.var["measured"].iloc[6]
    assert table.X[:, 6].nnz == 0


def test_a_row_that_repeats_another_is_dropped_while_a_second_measurement_is_added(build) -> None:
    genes = ["ACTB", "ACTB", "TP53", "TP53"]
    counts = np.array([[50, 50, 1, 2], [0, 0, 3, 0], [70, 70, 0, 4]])
    corpus = build(counts, genes, samples=["a", "b", "c"])
    table = open_store(corpus)
    table = table[np.argsort(table.obs["source_row"])]
    assert table.X.toarray()[:, :2].tolist() == [[3, 50], [3, 0], [4, 70]]
    report = report_of(corpus)
    assert report["genes"]["dropped"] == {"copy_of_another_row": 1}
    assert report["genes"]["merged"] == 1
    assert report["counts"]["dropped"] == {"copy_of_another_row": 120}


def test_fractions_that_round_to_nothing_are_no_evidence_of_a_copy(build) -> None:
    counts = np.full((12, 2), 0.2)
    counts[0] = 3
    corpus = build(counts, ["TP53", "TP53"], samples=[f"c{i}" for i in range(12)], count_kind="expected")
    assert open_store(corpus).X.sum() == 6


def test_sparse_rows_that_agree_by_chance_are_added(build) -> None:
    corpus = build(np.array([[1, 1], [0, 0], [2, 2]]), ["TP53", "TP53"], samples=["a", "b", "c"])
    assert sorted(open_store(corpus).X.toarray()[:, 0].tolist()) == [2, 4]
    assert report_of(corpus)["genes"]["merged"] == 1


def test_every_count_is_kept_or_dropped_under_one_reason(build) -> None:
    counts = report_of(build(recipe=Recipe(min_samples_per_gene=2, min_genes_per_sample=2)))["counts"]
    assert counts["total"] == COUNTS.sum()
    assert counts["kept_samples_total"] + sum(counts["dropped"].values()) == counts["total"]
    assert counts["dropped"] == {"below_min_genes_per_sample": 5, "below_min_samples_per_gene": 1, "unknown_symbol": 13}


def test_coverage_sums_are_refused_although_they_are_integers(build) -> None:
    with pytest.raises(InputError, match="too large for counts"):
        build(COUNTS * 100_000_000)


def test_samples_without_metadata_or_batch_are_dropped_with_their_own_reasons(build) -> None:
    metadata = ",lane\nc0,A\nc3,B\nc4,\n"
    report = report_of(build(metadata=metadata, obs={"batch": {"column": "lane"}}))
    assert report["samples"]["dropped"] == {"no_batch": 1, "no_metadata": 3}


def test_removing_a_gene_from_one_study_changes_neither_rows_nor_targets_of_another(build) -> None:
    for folder, genes, columns in (("whole", GENES, slice(None)), ("without", GENES[1:], slice(1, None))):
        build(COUNTS[:, columns], genes, folder=folder, name="changed")
        build(COUNTS + 1, GENES, folder=folder, name="other")
    whole, without = (zarr.open_group(open_path(folder, build)).attrs["digest"] for folder in ("whole", "without"))
    assert whole == without


def open_path(folder: str, build: Callable[..., Path]) -> Path:
    return build(COUNTS, folder="probe").parent / folder / "stores" / "other.r.train.zarr"


def test_the_digest_does_not_depend_on_block_sizes(build, monkeypatch) -> None:
    digests = [
        [split["digest"] for split in report_of(build(folder="a", metadata=BATCHES, obs=BY_BATCH))["splits"].values()]
    ]
    monkeypatch.setattr(blocks, "BLOCK_NNZ", 3)
    monkeypatch.setattr("curation.readers.triplet_spool.BLOCK_NNZ", 3)
    monkeypatch.setattr(spool, "RUN_NNZ", 4)
    monkeypatch.setattr(spool, "BUFFER_BYTES", 100)
    monkeypatch.setattr(shards, "CHUNK_ELEMENTS", 2)
    monkeypatch.setattr(shards, "CHUNKS_PER_SHARD", 2)
    monkeypatch.setattr(obs_writer, "ROWS_PER_CHUNK", 2)
    digests.append(
        [split["digest"] for split in report_of(build(folder="b", metadata=BATCHES, obs=BY_BATCH))["splits"].values()]
    )
    assert digests[0] == digests[1]


def test_the_digest_changes_with_one_count(build) -> None:
    other = COUNTS.copy()
    other[0, 0] += 1
    one, two = (
        report_of(build(counts, folder=folder))["splits"]["train"]["digest"]
        for counts, folder in ((COUNTS, "a"), (other, "b"))
    )
    assert one != two


BATCHES = ",lane,line\n" + "".join(f"c{i},{'AABBBC'[i]},{'x' if i % 2 else 'y'}\n" for i in range(6))
BY_BATCH = {
    "batch": {"column": "lane"},
    "cell_line": {"column": "line"},
    "perturbation": {"column": "line"},
    "control_labels": ["y"],
}


def test_a_batch_is_in_one_split_and_labels_come_from_the_named_columns(build) -> None:
    corpus = build(metadata=BATCHES, obs=BY_BATCH)
    train, validation = open_store(corpus), open_store(corpus, "validation")
    assert not set(train.obs["batch"]) & set(validation.obs["batch"])
    assert train.n_obs + validation.n_obs == 5
    assert validation.n_obs > 0
    for table in (train, validation):
        assert [("x" if row % 2 else "y") for row in table.obs["source_row"]] == table.obs["cell_line"].tolist()
        assert (table.obs["perturbation"] == "y").tolist() == table.obs["is_control"].tolist()


def test_a_study_with_one_batch_gives_all_rows_to_training_and_says_so(build) -> None:
    corpus = build()
    assert open_store(corpus, "validation").n_obs == 0
    assert "one batch" in report_of(corpus)["batches"]["note"]


def test_controls_only_keeps_controls_and_counts_the_rest(build) -> None:
    report = report_of(build(metadata=BATCHES, obs=BY_BATCH, recipe=Recipe(perturbations="controls")))
    assert report["samples"]["dropped"]["not_a_control"] == 3


def test_phenoprints_keep_significant_perturbations_and_controls(build, tmp_path) -> None:
    table = tmp_path / "phenoprints.tsv"
    table.write_text("perturbation\tn_cells\tstatistic\tp_value\nx\t3\t0.1\t0.2\n")
    recipe = Recipe(perturbations="phenoprint", phenoprints=str(table))
    assert (
        report_of(build(metadata=BATCHES, obs=BY_BATCH, recipe=recipe))["samples"]["dropped"][
            "perturbation_without_phenoprint"
        ]
        == 3
    )
    table.write_text("perturbation\tn_cells\tstatistic\tp_value\nx\t3\t0.9\t0.01\n")
    assert (
        "perturbation_without_phenoprint"
        not in report_of(build(metadata=BATCHES, obs=BY_BATCH, recipe=recipe, folder="b"))["samples"]["dropped"]
    )


def test_a_filter_of_the_catalogue_has_its_own_reason(build) -> None:
    filters = [{"column": "line", "keep": ["x"], "drop": None, "reason": "not_x"}]
    assert report_of(build(metadata=BATCHES, obs=BY_BATCH, filters=filters))["samples"]["dropped"] == {"not_x": 3}


def test_parts_with_different_genes_share_only_what_both_measured(axis, make_study, write_mtx, tmp_path) -> None:
    files = {}
    for part, genes in (("p1", GENES), ("p2", GENES[2:])):
        found = write_mtx(tmp_path / part, COUNTS[:, -len(genes) :], genes, SAMPLES)
        files[part] = {role: f"{part}/{name}" for role, name in found.items()}
    study = make_study(
        parts=[{"name": part, "format": "mtx", "files": files[part]} for part in files], obs={"batch": {"part": True}}
    )
    axis.write(tmp_path / "genes.parquet")
    curate(
        Curation(
            study=study, recipe=Recipe(), recipe_name="r", genes=tmp_path / "genes.parquet", sources=tmp_path, seed=0
        ),
        tmp_path,
        0.1,
    )
    train = open_store(tmp_path)
    assert np.flatnonzero(train.var["measured"]).tolist() == [1, 2, 6]
    assert report_of(tmp_path)["genes"]["dropped"]["not_in_every_part_of_the_study"] == 1
    assert all(name.startswith("toy:p") and "/c" in name for name in train.obs_names)


def test_fractions_are_refused_unless_the_study_says_that_they_are_expected_counts(build) -> None:
    fractions = COUNTS + np.where(COUNTS > 0, 0.25, 0)
    with pytest.raises(InputError) as caught:
        build(fractions, folder="a")
    assert "count_kind: expected" in str(caught.value)
    corpus = build(fractions, folder="b", count_kind="expected")
    report = report_of(corpus)["counts"]
    assert (report["n_rounded"], report["max_rounding"]) == (16, 0.25)
    np.testing.assert_array_equal(open_store(corpus).X.sum(), sum(column.sum() for column in ON_AXIS.values()))


def test_float_noise_is_rounded_and_recorded(build) -> None:
    report = report_of(build(COUNTS + np.where(COUNTS > 0, 1e-11, 0)))["counts"]
    assert 0 < report["max_rounding"] < 1e-10
    assert report["n_rounded"] == 16


def test_log_values_are_recognised_in_the_message(build) -> None:
    with pytest.raises(InputError, match="not integers") as caught:
        build(np.log1p(COUNTS))
    assert "log(count + 1)" in str(caught.value)


@pytest.mark.parametrize(("value", "words"), [(-1, "negative"), (np.nan, "missing or infinite"), (3e9, "32 bits")])
def test_values_that_are_no_counts_are_refused_and_nothing_is_left_behind(
    build, tmp_path, value: float, words: str
) -> None:
    counts = COUNTS.astype(float)
    counts[0, 0] = value
    with pytest.raises(InputError, match=words):
        build(counts)
    assert sorted(path.name for path in (tmp_path / "corpus").rglob("*")) == [
        "gene_names.parquet",
        "genes.parquet",
        "stores",
    ]


def test_a_study_of_another_organism_is_refused_with_examples(build) -> None:
    with pytest.raises(InputError, match="too few of the study's counts") as caught:
        build(genes=["Xkr4", "Gm1992", "Rp1", "Sox17", "Mrpl15", "Lypla1"])
    assert "Xkr4" in str(caught.value)


def test_a_recipe_that_leaves_nothing_says_what_took_the_samples(build) -> None:
    with pytest.raises(InputError, match="no sample is left") as caught:
        build(recipe=Recipe(min_genes_per_sample=100))
    assert "6 below_min_genes_per_sample" in str(caught.value)


def test_a_held_out_study_goes_to_one_store_of_its_own(axis, make_study, write_mtx, tmp_path) -> None:
    files = write_mtx(tmp_path, COUNTS, GENES, SAMPLES)
    axis.write(tmp_path / "genes.parquet")
    study = make_study(role="evaluation", parts=[{"name": "p", "format": "mtx", "files": files}])
    task = Curation(
        study=study, recipe=Recipe(), recipe_name="r", genes=tmp_path / "genes.parquet", sources=tmp_path, seed=0
    )
    curate_evaluation(task, evaluation=tmp_path / "held.zarr", report=tmp_path / "held.json")
    assert ad.read_zarr(tmp_path / "held.zarr").n_obs == 5
    assert zarr.open_group(tmp_path / "held.zarr").attrs["split"] == "evaluation"
    assert list(report_of(tmp_path, "held")["splits"]) == ["evaluation"]


def test_a_wider_axis_takes_wider_indices(tmp_path, axis, make_study, write_mtx) -> None:
    assert store.index_dtype(65_535) == np.uint16
    assert store.index_dtype(65_536) == np.int32


def test_another_seed_gives_another_order_of_the_same_rows(axis, make_study, write_mtx, tmp_path) -> None:
    rng = np.random.default_rng(0)
    counts = rng.poisson(2, (64, len(GENES)))
    counts[:, 0] += 1
    samples = [f"c{i}" for i in range(64)]
    files = write_mtx(tmp_path, counts, GENES, samples)
    axis.write(tmp_path / "genes.parquet")
    study = make_study(parts=[{"name": "p", "format": "mtx", "files": files}])
    task = Curation(
        study=study, recipe=Recipe(), recipe_name="r", genes=tmp_path / "genes.parquet", sources=tmp_path, seed=0
    )
    orders = []
    for seed in (0, 1):
        curate(replace(task, seed=seed), tmp_path / str(seed), 0.1)
        orders.append(open_store(tmp_path / str(seed)).obs["source_row"].tolist())
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(64))
    assert orders[0] != sorted(orders[0])
