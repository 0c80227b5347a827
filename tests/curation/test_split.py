from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curation.catalog import read_catalog
from curation.labels import label_samples
from curation.split import validation_batches

SHEET = Path(__file__).parents[2] / "curation" / "catalog" / "diverserna.yaml"


def test_whole_batches_come_as_close_to_the_share_as_they_can() -> None:
    sizes = {f"b{i}": 10 for i in range(100)}
    assert len(validation_batches(sizes, study="s", share=0.1, seed=0)) == 10


@pytest.mark.parametrize("study", [f"s{i}" for i in range(40)])
def test_a_batch_that_is_too_large_is_passed_over_for_one_that_fits(study: str) -> None:
    sizes = {"a": 130, "b": 70, "d": 20} | {f"large{i}": 130 for i in range(6)}
    held = validation_batches(sizes, study=study, share=0.07, seed=0)
    assert 0.04 <= sum(sizes[batch] for batch in held) / sum(sizes.values()) <= 0.1


def test_most_batches_stay_where_they_are_when_a_filter_takes_a_fifth_of_some() -> None:
    changed = 0
    for draw in range(200):
        rng = np.random.default_rng(draw)
        sizes = {f"b{i}": 100 for i in range(40)}
        before = validation_batches(sizes, study="s", share=0.05, seed=draw)
        after = validation_batches(
            {batch: int(size * rng.uniform(0.8, 1)) for batch, size in sizes.items()}, study="s", share=0.05, seed=draw
        )
        changed += len(before ^ after)
    assert changed / (200 * 40) < 0.02


def test_one_batch_is_all_for_training() -> None:
    assert validation_batches({"b": 5}, study="s", share=0.1, seed=0) == frozenset()


def test_two_batches_give_the_smaller_one_where_none_fits() -> None:
    assert validation_batches({"big": 60, "small": 40}, study="s", share=0.05, seed=0) == {"small"}


def test_never_all_batches_are_held_out() -> None:
    assert len(validation_batches({"a": 1, "b": 1}, study="s", share=0.99, seed=0)) == 1


def test_an_empty_batch_does_not_count() -> None:
    assert validation_batches({"a": 3, "b": 0}, study="s", share=0.1, seed=0) == frozenset()


def test_a_batch_keeps_its_turn_when_the_sizes_of_others_change() -> None:
    sizes = {f"b{i}": 10 for i in range(50)}
    before = validation_batches(sizes, study="s", share=0.1, seed=0)
    loser = next(batch for batch in sizes if batch not in before)
    after = validation_batches(sizes | {loser: 9}, study="s", share=0.1, seed=0)
    assert len(before & after) >= 4


def test_study_and_seed_change_the_draw() -> None:
    sizes = {f"b{i}": 10 for i in range(50)}
    draws = {validation_batches(sizes, study=study, share=0.1, seed=seed) for study in "ab" for seed in (0, 1)}
    assert len(draws) == 4


@pytest.mark.parametrize(
    ("study", "column", "samples", "batches"),
    [
        (
            "tcga",
            "primary_site",
            ["TCGA-06-0125-01A-01R-1849-01", "TCGA-06-0125-02A-11R-2005-01", "TCGA-06-0126-01A-01R-1849-01"],
            ["TCGA-06-0125", "TCGA-06-0125", "TCGA-06-0126"],
        ),
        (
            "gtex",
            "SMTSD",
            ["GTEX-1117F-0226-SM-5GZZ7", "GTEX-1117F-0426-SM-5EGHI", "GTEX-111CU-0126-SM-5GZWZ"],
            ["GTEX-1117F", "GTEX-1117F", "GTEX-111CU"],
        ),
    ],
)
def test_a_patient_of_tcga_and_a_donor_of_gtex_is_one_batch(
    study: str, column: str, samples: list[str], batches: list[str]
) -> None:
    entry = read_catalog([SHEET]).studies[study]
    obs = pd.DataFrame({column: "Brain"}, index=samples)
    labels = label_samples(obs, entry, entry.parts[0].name, where="a file")
    assert labels["batch"].tolist() == labels["donor"].tolist() == batches
    assert len(batches[0]) == {"tcga": 12, "gtex": 10}[study]
