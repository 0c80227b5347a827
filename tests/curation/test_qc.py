"""Every rule on samples gives its reason, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from curation.catalog import Study
from curation.qc import (
    FEW_COUNTS,
    FEW_GENES,
    MANY_GENES,
    MITO,
    kind_reasons,
    kinds_of,
    mito_mask,
    sample_reasons,
)
from curation.recipe import Recipe

PARTS = [{"name": "p", "format": "h5ad", "files": {"matrix": "m.h5ad"}}]


def judge(recipe: Recipe, rows: list[tuple[int, int, float, str, str]]) -> list[str]:
    """Reasons of samples given as (n_genes, library_size, mito_share, technology, count_kind)."""
    n_genes, library_size, mito_share, technology, kinds = (np.array(column) for column in zip(*rows, strict=True))
    return sample_reasons(
        n_genes, library_size, mito_share, technology.astype(object), kinds.astype(object), recipe
    ).tolist()


def test_limits_themselves_stay() -> None:
    recipe = Recipe(min_genes_per_sample=10, min_counts_per_sample=20, max_genes_per_sample=30, max_mito_share=0.5)
    kept = [(10, 20, 0.5, "", "umi"), (30, 20, 0.0, "", "umi")]
    dropped = [(9, 20, 0.5, "", "umi"), (10, 19, 0.5, "", "umi"), (31, 40, 0.5, "", "umi"), (30, 40, 0.51, "", "umi")]
    assert judge(recipe, kept + dropped) == ["", "", FEW_GENES, FEW_COUNTS, MANY_GENES, MITO]


def test_a_sample_that_fails_several_rules_has_the_first_reason() -> None:
    recipe = Recipe(min_genes_per_sample=10, min_counts_per_sample=99, max_genes_per_sample=30, max_mito_share=0.1)
    rows = [(9, 1, 0.9, "", "umi"), (31, 1, 0.9, "", "umi"), (31, 99, 0.9, "", "umi"), (30, 99, 0.9, "", "umi")]
    assert judge(recipe, rows) == [FEW_GENES, FEW_COUNTS, MANY_GENES, MITO]


def test_without_thresholds_only_an_empty_sample_goes() -> None:
    assert judge(Recipe(), [(0, 0, np.nan, "", "umi"), (1, 1, 1.0, "", "umi")]) == [FEW_GENES, ""]


def test_an_unknown_mitochondrial_share_passes() -> None:
    assert judge(Recipe(max_mito_share=0.0), [(5, 5, np.nan, "", "umi"), (5, 5, 0.01, "", "umi")]) == ["", MITO]


def test_a_technology_has_its_own_thresholds() -> None:
    recipe = Recipe(
        min_genes_per_sample=2_000,
        max_mito_share=0.2,
        per_technology={"sci-RNA-seq": {"min_genes_per_sample": 200}, "Smart-seq2": {"max_mito_share": None}},
    )
    rows = [
        (500, 900, 0.1, "10x 3' v3", "umi"),
        (500, 900, 0.1, "sci-RNA-seq", "umi"),
        (500, 900, 0.3, "sci-RNA-seq", "umi"),
        (5_000, 9_000, 0.3, "Smart-seq2", "reads"),
        (5_000, 9_000, 0.3, "", "umi"),
    ]
    assert judge(recipe, rows) == [FEW_GENES, "", MITO, "", MITO]


@pytest.mark.parametrize(("kind", "reason"), [("umi", FEW_COUNTS), ("mixed", FEW_COUNTS), ("smartseq_tpm", "")])
def test_a_number_of_counts_is_asked_of_counts_only(kind: str, reason: str) -> None:
    assert judge(Recipe(min_counts_per_sample=10), [(5, 9, 0.0, "", kind)]) == [reason]


def test_no_sample_is_no_mistake() -> None:
    empty = np.empty(0)
    assert len(sample_reasons(empty, empty, empty, empty.astype(object), empty.astype(object), Recipe())) == 0


ATLAS: dict[str, Any] = {
    "parts": PARTS,
    "obs": {"technology": {"column": "assay"}},
    "count_kinds_by_technology": {"Smart-seq2": "smartseq_tpm"},
}


def test_samples_whose_kind_the_recipe_does_not_take_are_named_by_it(make_study: Callable[..., Study]) -> None:
    technology = np.array(["Smart-seq2", "10x 3' v3", ""], dtype=object)
    study = make_study(**ATLAS)
    assert kinds_of(technology, study).tolist() == ["smartseq_tpm", "umi", "umi"]
    assert kind_reasons(technology, study, Recipe()).tolist() == ["count_kind_smartseq_tpm", "", ""]
    wide = Recipe(count_kinds=("umi", "smartseq_tpm"))
    assert kind_reasons(technology, study, wide).tolist() == ["", "", ""]
    assert kind_reasons(technology, study, Recipe(count_kinds=("reads",))).tolist() == [
        "count_kind_smartseq_tpm",
        "count_kind_umi",
        "count_kind_umi",
    ]


@pytest.mark.parametrize("kind", ["umi", "reads", "expected", "mixed"])
def test_counts_pass_every_recipe_that_does_not_speak_of_kinds(make_study: Callable[..., Study], kind: str) -> None:
    study = make_study(parts=PARTS, count_kind=kind)
    assert kind_reasons(np.array(["", ""], dtype=object), study, Recipe()).tolist() == ["", ""]


def test_coverage_sums_are_left_out(make_study: Callable[..., Study]) -> None:
    study = make_study(parts=PARTS, count_kind="coverage")
    assert kind_reasons(np.array([""], dtype=object), study, Recipe()).tolist() == ["count_kind_coverage"]


def test_mitochondrial_genes_are_known_by_chromosome_else_by_symbol() -> None:
    genes = pl.DataFrame(
        [
            ("MT-ND1", "chrM", True),
            ("MT-ND1", "MT", True),
            ("", "M", True),
            ("MT-CO1", "", True),
            ("MT1A", "", False),
            ("MTRNR2L1", "chr17", False),
            ("MT-LIKE", "chr5", False),
            ("", "", False),
        ],
        schema=["symbol", "chromosome", "mitochondrial"],
        orient="row",
    )
    assert mito_mask(genes).tolist() == genes["mitochondrial"].to_list()
