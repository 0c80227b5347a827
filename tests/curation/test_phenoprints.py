"""Phenoprints that a build computes: what the plan passes on, and every circle that it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from curation.config import read_config
from curation.errors import InputError
from curation.plan import read_plan

ROOT = Path(__file__).parents[2]


def study_entry(role: str, key: list[str], controls: list[str]) -> dict[str, Any]:
    return {
        "title": "toy",
        "citation": {"doi": None, "year": 2020, "text": "toy"},
        "licence": "CC0",
        "role": role,
        "publication_key": key,
        "assay": "sc",
        "count_kind": "umi",
        "gene_ids": "symbol",
        "obs": {"control_labels": controls},
        "parts": [{"name": "all", "format": "h5ad", "files": {"matrix": "toy.h5ad"}}],
        "files": {"toy.h5ad": {"addresses": ["https://example.org/toy.h5ad"]}},
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A sheet of two screens, the first of them under two names, and a study without controls."""
    sheet = {
        "studies": {
            "screen": study_entry("train", ["smith", "K562"], ["control"]),
            "copy": study_entry("train", ["smith", "K562"], ["control"]),
            "second": study_entry("train", ["jones", "A549"], ["control"]),
            "blood": study_entry("train", ["miller", "PBMC"], []),
        },
        "annotation": {
            "axis": {"format": "gene_table_csv", "licence": "x", "files": {"a": {"addresses": ["file:a"]}}},
        },
    }
    (tmp_path / "sheet.yaml").write_text(yaml.safe_dump(sheet))
    return tmp_path


@pytest.fixture
def config() -> dict[str, Any]:
    """Phenoprints of `screen` by a model of the variant without it."""
    return {
        "name": "toy",
        "catalogs": {"toy": "sheet.yaml"},
        "gene_axis": {"annotation": "axis"},
        "select": {"variants": ["all", "without"], "models": ["small"]},
        "recipes": {
            "full": {"min_genes_per_sample": 3},
            "prints": {"perturbations": "phenoprint", "phenoprints_from": "mine"},
            "controls": {"perturbations": "controls"},
        },
        "phenoprints": {
            "mine": {"study": "screen", "recipe": "full", "embedding": "txfm", "variant": "without", "model": "small"}
        },
        "variants": {
            "all": {"studies": {"screen": "prints", "blood": "full"}},
            "without": {"base": "all", "without": ["screen"]},
        },
        "models": {"small": {"preset": "nano"}, "large": {"preset": "B"}},
    }


def message(config: dict[str, Any], root: Path) -> str:
    with pytest.raises(InputError) as error:
        read_plan(config, root)
    return str(error.value)


def test_a_computed_table_lies_in_the_results_and_its_screen_is_curated(root: Path, config: dict[str, Any]) -> None:
    plan = read_plan(config, root)
    table = "results/toy/phenoprints/mine.tsv"
    assert json.loads(plan.recipe_json("prints"))["phenoprints"] == table
    assert plan.phenoprint_of("prints") == table
    assert plan.phenoprint_of("full") is None
    assert set(plan.phenoprints) == {"mine"}
    assert plan.training_pairs == (("blood", "full"), ("screen", "prints"))
    assert plan.screen_pairs == (("screen", "full"),)
    assert plan.curated_pairs == (("blood", "full"), ("screen", "full"), ("screen", "prints"))
    assert re.fullmatch(plan.constraints["phenoprint"], "mine")
    assert not [text for text in plan.obstacles() if "prints" in text]


def test_an_entry_that_no_selected_variant_needs_is_not_computed(root: Path, config: dict[str, Any]) -> None:
    config["select"]["variants"] = ["without"]
    plan = read_plan(config, root)
    assert plan.phenoprints == {}
    assert plan.studies == ("blood",)


def test_a_table_that_exists_needs_no_entry(root: Path, config: dict[str, Any]) -> None:
    config["recipes"]["prints"] |= {"phenoprints": "phenoprints.tsv", "phenoprints_from": None}
    plan = read_plan(config, root)
    assert plan.phenoprints == {}
    assert plan.phenoprint_of("prints") == "phenoprints.tsv"
    assert "recipe prints: phenoprints.tsv does not exist yet" in plan.obstacles()


def test_pca_needs_neither_variant_nor_model(root: Path, config: dict[str, Any]) -> None:
    config["phenoprints"]["mine"] = {"study": "screen", "recipe": "full", "null_distribution": "per_perturbation"}
    config["select"] |= {"variants": ["all"], "models": []}
    entry = read_plan(config, root).phenoprints["mine"]
    assert (entry.embedding, entry.variant, entry.model) == ("pca", None, None)
    assert entry.null_distribution == "per_perturbation"


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("recipes.prints.phenoprints_from", "mien", ["unknown entry of phenoprints 'mien'", "did you mean 'mine'?"]),
        ("recipes.prints.phenoprints", "table.tsv", ["two tables", "recipes.prints", "set one of them to null"]),
        ("recipes.prints.phenoprints_from", None, ["needs a table of p-values", "phenoprints_from: NAME"]),
        ("phenoprints.mine.study", "scren", ["unknown study 'scren'", "did you mean 'screen'?"]),
        ("phenoprints.mine.study", "blood", ["names no control of study 'blood'", "phenoprints.mine.study"]),
        ("phenoprints.mine.recipe", "ful", ["unknown recipe 'ful'", "phenoprints.mine.recipe"]),
        ("phenoprints.mine.recipe", "prints", ["already chooses perturbations", "phenoprints.mine.recipe"]),
        ("phenoprints.mine.recipe", "controls", ["already chooses perturbations", "perturbations: controls"]),
        ("phenoprints.mine.variant", "withoutt", ["unknown variant 'withoutt'", "did you mean 'without'?"]),
        (
            "phenoprints.mine.variant",
            "all",
            ["variant 'all' is trained on 'screen'", "screen: prints", "embedding: pca"],
        ),
        ("variants.without.with", {"screen": "controls"}, ["trained on 'screen'", "screen: controls"]),
        ("variants.without.with", {"copy": "full"}, ["trained on 'copy'", "phenoprints.mine.variant"]),
        (
            "variants.all.studies",
            {"second": "prints", "screen": "full"},
            ["phenoprints of 'screen' for study 'second'"],
        ),
        ("phenoprints.mine.seed", 1, ["does not train", "without.small.s1", "all.small.s0, without.small.s0"]),
        ("phenoprints.mine.model", "large", ["does not train", "without.large.s0"]),
        ("select.variants", ["all"], ["does not train", "all.small.s0"]),
        ("phenoprints.mine.model", None, ["do not go together", "phenoprints.mine"]),
        ("phenoprints.mine.embedding", "pca", ["do not go together", "phenoprints.mine"]),
        ("phenoprints.mine.embeddinng", "pca", ["did you mean 'embedding'?"]),
    ],
)
def test_a_mistake_gets_one_message_with_its_key(
    root: Path, config: dict[str, Any], path: str, value: Any, words: list[str]
) -> None:
    *parents, last = path.split(".")
    place = config
    for step in parents:
        place = place.setdefault(step, {})
    place[last] = value
    text = message(config, root)
    for word in words:
        assert word in text, text


def test_an_embedder_that_holds_a_held_out_study_is_refused(root: Path, config: dict[str, Any]) -> None:
    sheet = yaml.safe_load((root / "sheet.yaml").read_text())
    sheet["studies"]["second"]["role"] = "evaluation"
    (root / "sheet.yaml").write_text(yaml.safe_dump(sheet))
    config["variants"]["without"]["with"] = {"second": "full"}
    text = message(config, root)
    assert "study 'second' is held out" in text
    assert "variants.without" in text


def test_two_screens_whose_models_wait_for_each_other_are_refused(root: Path, config: dict[str, Any]) -> None:
    config["recipes"]["prints_b"] = {"perturbations": "phenoprint", "phenoprints_from": "theirs"}
    config["variants"] |= {"a": {"studies": {"screen": "prints"}}, "b": {"studies": {"second": "prints_b"}}}
    config["phenoprints"] = {
        "mine": {"study": "screen", "recipe": "full", "embedding": "txfm", "variant": "b", "model": "small"},
        "theirs": {"study": "second", "recipe": "full", "embedding": "txfm", "variant": "a", "model": "small"},
    }
    config["select"]["variants"] = ["a", "b"]
    assert "mine -> theirs -> mine" in message(config, root)
    config["phenoprints"]["theirs"] = {"study": "second", "recipe": "full"}
    assert set(read_plan(config, root).phenoprints) == {"mine", "theirs"}


def test_the_full_corpus_judges_the_whole_k562_screen_by_pca() -> None:
    plan = read_plan(read_config([ROOT / "config.yaml"]), ROOT)
    entry = plan.phenoprints["replogle_k562"]
    assert (entry.study, entry.recipe, entry.embedding) == ("replogle_k562", "full", "pca")
    assert plan.phenoprint_of("phenoprint") == "results/diverserna/phenoprints/replogle_k562.tsv"
    assert not [text for text in plan.obstacles() if "phenoprint" in text]


def test_the_paper_s_way_is_a_change_of_one_entry() -> None:
    config = read_config([ROOT / "config.yaml"])
    config["phenoprints"]["replogle_k562"] |= {"embedding": "txfm", "variant": "minus_k562", "model": "B"}
    assert read_plan(config, ROOT).phenoprints["replogle_k562"].variant == "minus_k562"
