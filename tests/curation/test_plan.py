"""The configs that ship, and every mistake that a config can hold."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from curation.catalog import Study
from curation.config import merge, read_config
from curation.errors import InputError
from curation.plan import Plan, read_plan
from curation.recipe import Recipe
from curation.sizes import human_size

ROOT = Path(__file__).parents[2]


def study_entry(role: str, key: list[str], controls: list[str]) -> dict[str, Any]:
    """One study of a sheet."""
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
    """A project with a sheet of three training studies and one held-out study."""
    sheet = {
        "studies": {
            "screen": study_entry("train", ["smith", "K562"], ["control"]),
            "blood": study_entry("train", ["jones", "PBMC"], []),
            "tumour": study_entry("train", ["miller", "tumour"], []),
            "retina": study_entry("evaluation", ["smith", "RPE1"], ["control"]),
        },
        "annotation": {
            "axis": {
                "format": "gene_table_csv",
                "licence": "x",
                "hgnc": "names",
                "files": {"a": {"addresses": ["file:a"]}},
            },
            "names": {"format": "hgnc_tsv", "licence": "x", "files": {"h": {"addresses": ["file:h"]}}},
        },
    }
    (tmp_path / "sheet.yaml").write_text(yaml.safe_dump(sheet))
    return tmp_path


@pytest.fixture
def config() -> dict[str, Any]:
    """A small valid config over that sheet."""
    return {
        "name": "toy",
        "catalogs": {"toy": "sheet.yaml"},
        "gene_axis": {"annotation": "axis"},
        "select": {"variants": ["all", "minus_screen"], "models": ["small"], "studies_for_evaluation": ["retina"]},
        "recipes": {"cells": {"min_genes_per_sample": 200}, "controls": {"perturbations": "controls"}, "plain": {}},
        "variants": {
            "all": {"studies": {"screen": "plain", "blood": "cells", "tumour": "cells"}},
            "minus_screen": {"base": "all", "without": ["screen"]},
            "controls_only": {"base": "all", "with": {"screen": "controls"}},
        },
        "evaluation": {"studies": {"retina": "plain"}, "labels": {"retina": "perturbation"}},
        "models": {"small": {"preset": "nano"}},
    }


def shipped(*overlays: str) -> Plan:
    """The plan of config.yaml with some configs merged over it."""
    return read_plan(read_config([ROOT / "config.yaml", *(ROOT / name for name in overlays)]), ROOT)


def message(config: dict[str, Any], root: Path) -> str:
    with pytest.raises(InputError) as error:
        read_plan(config, root)
    return str(error.value)


def test_config_yaml_is_diverserna_with_all_curation_variants() -> None:
    plan = shipped()
    nine = set(plan.variants["diverserna_1_4m"].studies)
    assert len(nine) == 9
    assert plan.variants["diverserna_1_4m"].studies["replogle_k562"] == "phenoprint"
    assert set(plan.variants["minus_k562"].studies) == nine - {"replogle_k562"}
    assert plan.variants["k562_controls"].studies["replogle_k562"] == "controls"
    assert plan.variants["full_k562"].studies["replogle_k562"] == "full"
    assert plan.variants["full_k562_2x"].studies == plan.variants["full_k562"].studies
    assert set(plan.variants["minus_bulk"].studies) == nine - {"tcga", "gtex"}
    assert set(plan.evaluation) == {"rpe1", "hepg2", "jurkat"}
    cell_types = {"immune_pan_immune", "pancreas_scib", "pbmc_12k", "pbmc_68k", "tabula_sapiens"}
    assert set(plan.held_out) == set(plan.evaluation) | cell_types


def test_compute_is_equal_between_variants_and_doubled_where_the_name_says_so() -> None:
    plan = shipped()
    seen = {variant: plan.models[model]["samples_seen"] for variant, model, _ in plan.runs}
    doubled = seen.pop("full_k562_2x")
    assert set(seen.values()) == {1_434_299 * 200}
    assert doubled == 2 * 1_434_299 * 200


def test_the_demo_selects_only_its_own_studies() -> None:
    plan = shipped("demo/config.yaml")
    assert plan.name == "demo"
    assert {name: set(variant.studies) for name, variant in plan.variants.items()} == {
        "all": {"celltypist_sample", "gtex_lung", "simulated_screen"},
        "minus_bulk": {"celltypist_sample", "simulated_screen"},
        "minus_screen": {"celltypist_sample", "gtex_lung"},
    }
    assert plan.simulated == ("simulated_screen",)
    assert set(plan.sources) == {"celltypist_sample", "gtex_lung", "simulated_screen", "gencode_v44_names"}
    assert plan.evaluation_pairs == ()


def test_the_miniature_trains_on_seven_studies_and_holds_one_out() -> None:
    plan = shipped("config/mini.yaml")
    assert len(plan.variants["mini_all"].studies) == 7
    pbmc = {"kang_pbmc", "pbmc_soupx", "pbmc_citeseq"}
    assert set(plan.variants["mini_minus_pbmc"].studies) == set(plan.variants["mini_all"].studies) - pbmc
    assert plan.evaluation_pairs == (("mixology_3cl", "evaluation"),)
    assert plan.evaluation_labels == {"mixology_3cl": "cell_line"}
    assert plan.split == {"validation_share": 0.1, "seed": 0}
    assert plan.baselines == ("pca", "hvg")


def test_a_plan_offers_what_the_workflow_passes_on(root: Path, config: dict[str, Any]) -> None:
    plan = read_plan(config, root)
    assert plan.training_pairs == (("blood", "cells"), ("screen", "plain"), ("tumour", "cells"))
    assert plan.runs == (("all", "small", 0), ("minus_screen", "small", 0))
    assert plan.files("screen") == ("toy.h5ad",)
    assert Study.from_json(plan.study_json("screen")).parts == plan.catalog.studies["screen"].parts
    assert Recipe.from_json(plan.recipe_json("cells")) == Recipe(min_genes_per_sample=200)
    assert json.loads(plan.members_json("minus_screen")) == {"blood": "cells", "tumour": "cells"}
    assert json.loads(plan.held_out_json()) == ["retina"]
    assert json.loads(plan.split_json()) == {"validation_share": 0.05, "seed": 0}
    assert json.loads(plan.model_json("small")) == {"preset": "nano"}
    assert json.loads(plan.file_json("names", "h"))["addresses"] == ["file:h"]
    assert set(json.loads(plan.studies_json())) == {"blood", "screen", "tumour"}


def test_constraints_match_exactly_the_names_of_the_plan(root: Path, config: dict[str, Any]) -> None:
    constraints = read_plan(config, root).constraints
    assert re.fullmatch(constraints["study"], "retina")
    assert re.fullmatch(constraints["source"], "axis")
    assert not re.fullmatch(constraints["study"], "axis")
    assert not re.fullmatch(constraints["variant"], "controls_only")
    assert not re.fullmatch(constraints["study"], "blood.cells")


def test_a_constraint_without_names_matches_nothing(root: Path, config: dict[str, Any]) -> None:
    config["select"]["models"] = []
    pattern = read_plan(config, root).constraints["model"]
    assert not re.fullmatch(pattern, "")
    assert not re.fullmatch(pattern, "small")


def test_a_variant_can_bring_its_own_models(root: Path, config: dict[str, Any]) -> None:
    config["models"]["large"] = {"preset": "L"}
    config["variants"]["minus_screen"]["models"] = ["large"]
    config["select"]["seeds"] = [0, 1]
    plan = read_plan(config, root)
    assert plan.runs == (
        ("all", "small", 0),
        ("all", "small", 1),
        ("minus_screen", "large", 0),
        ("minus_screen", "large", 1),
    )


def test_mappings_merge_and_lists_replace() -> None:
    below = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    above = {"a": {"c": [3]}, "d": {"e": 2}}
    assert merge(below, above) == {"a": {"b": 1, "c": [3]}, "d": {"e": 2}}
    assert below == {"a": {"b": 1, "c": [1, 2]}, "d": 1}


def test_reading_a_plan_leaves_the_config_as_it_was(root: Path, config: dict[str, Any]) -> None:
    before = copy.deepcopy(config)
    read_plan(config, root)
    assert config == before


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("selectt", {}, ["unknown key 'selectt'", "did you mean 'select'?"]),
        ("recipes.cells.min_gene_per_sample", 1, ["recipes.cells.min_gene_per_sample", "'min_genes_per_sample'"]),
        ("models.small.wiidth", 64, ["models.small.wiidth", "did you mean 'width'?"]),
        ("models.small.preset", "nanno", ["models.small.preset", "did you mean 'nano'?"]),
        ("select.seeds", ["one"], ["select.seeds[0]"]),
        ("split.validation_share", 1.5, ["split.validation_share"]),
        ("select.variants", ["al"], ["unknown variant 'al'", "select.variants[0]", "did you mean 'all'?"]),
        ("select.models", ["smalll"], ["unknown model 'smalll'", "select.models[0]", "did you mean 'small'?"]),
        ("select.studies_for_evaluation", ["retna"], ["unknown evaluation study 'retna'", "did you mean 'retina'?"]),
        ("gene_axis.annotation", "axes", ["unknown annotation entry 'axes'", "did you mean 'axis'?"]),
        ("gene_axis.annotation", "names", ["other names of genes, not an axis", "gene_axis.annotation"]),
        ("variants.all.studies.scrreen", "plain", ["unknown study 'scrreen'", "did you mean 'screen'?"]),
        ("variants.all.studies.blood", "cels", ["unknown recipe 'cels'", "study blood", "did you mean 'cells'?"]),
        ("variants.minus_screen.base", "everything", ["unknown variant 'everything'", "variants.minus_screen.base"]),
        ("variants.minus_screen.without", ["scrreen"], ["not a study of variant 'all'", "did you mean 'screen'?"]),
        ("variants.minus_screen.without", ["screen", "blood", "tumour"], ["a variant has no study", "minus_screen"]),
        ("variants.minus_screen.models", ["smalll"], ["unknown model", "variants.minus_screen.models[0]"]),
        (
            "variants.minus_screen.studies",
            {"blood": "cells"},
            ["do not go together", "variants.minus_screen", "Either"],
        ),
        ("variants.all.studies.blood", "controls", ["names no control of study 'blood'"]),
        ("variants.all.studies.retina", "plain", ["study 'retina' is held out", "variants.all", "evaluation.studies"]),
        ("variants.controls_only.with.retina", "plain", ["study 'retina' is held out", "variants.controls_only"]),
        ("evaluation.studies.blood", "cels", ["unknown recipe 'cels'", "evaluation.studies.blood"]),
        ("evaluation.studies.blod", "cells", ["unknown study 'blod'", "did you mean 'blood'?"]),
        ("evaluation.labels.blood", "donor", ["unknown evaluation study 'blood'", "evaluation.labels.blood"]),
        (
            "recipes.cells.perturbations",
            "phenoprint",
            ["needs a table of p-values", "recipes.cells", "phenoprints: PATH"],
        ),
        ("recipes.cells.max_genes_per_sample", 100, ["no sample can pass", "recipes.cells", "200 and 100"]),
        ("catalogs.toy", "sheets.yaml", ["a file is missing", "sheets.yaml"]),
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


def test_variants_in_a_circle_are_refused(root: Path, config: dict[str, Any]) -> None:
    config["variants"] |= {"a": {"base": "b"}, "b": {"base": "a"}}
    assert "a -> b -> a" in message(config, root)


def test_a_variant_based_on_itself_is_refused(root: Path, config: dict[str, Any]) -> None:
    config["variants"]["a"] = {"base": "a", "without": ["screen"]}
    assert "a -> a" in message(config, root)


def test_a_training_study_cannot_be_evaluated_by_the_same_run(root: Path, config: dict[str, Any]) -> None:
    config["evaluation"]["studies"]["blood"] = "cells"
    config["select"]["studies_for_evaluation"] = ["blood"]
    assert "study 'blood' is both trained on and evaluated" in message(config, root)


def test_a_training_study_can_be_evaluated_where_no_selected_variant_trains_on_it(
    root: Path, config: dict[str, Any]
) -> None:
    config["evaluation"]["studies"]["screen"] = "plain"
    config["evaluation"].setdefault("labels", {})["screen"] = "perturbation"
    config["select"] |= {"variants": ["minus_screen"], "studies_for_evaluation": ["screen"]}
    plan = read_plan(config, root)
    assert plan.evaluation == {"screen": "plain"}
    assert plan.held_out == ("retina", "screen")


def test_an_evaluation_study_without_a_label_would_give_no_table(root: Path, config: dict[str, Any]) -> None:
    config["evaluation"]["studies"]["screen"] = "plain"
    config["select"] |= {"variants": ["minus_screen"], "studies_for_evaluation": ["screen"]}
    assert "evaluation study 'screen' has no label" in message(config, root)


def test_the_hold_out_key_refuses_the_same_cells_under_another_name(root: Path, config: dict[str, Any]) -> None:
    sheet = yaml.safe_load((root / "sheet.yaml").read_text())
    sheet["studies"]["tumour"]["publication_key"] = ["smith", "RPE1"]
    (root / "sheet.yaml").write_text(yaml.safe_dump(sheet))
    config["select"]["studies_for_evaluation"] = []
    text = message(config, root)
    assert "training study 'tumour' and held-out study 'retina' are the same cells" in text
    assert "(smith, RPE1)" in text


def test_one_publication_can_train_and_be_held_out_in_different_contexts(root: Path, config: dict[str, Any]) -> None:
    plan = read_plan(config, root)
    keys = {plan.catalog.studies[name].publication_key for name in ("screen", "retina")}
    assert {publication for publication, _ in keys} == {"smith"}


def test_sizes_keep_three_digits() -> None:
    assert [human_size(n) for n in (999, 1000, 999_949, 65_830_941_948)] == ["999 B", "1 kB", "1 MB", "65.8 GB"]


def test_the_axis_of_the_full_corpus_reads_the_history_of_gene_ids() -> None:
    plan = read_plan(read_config([ROOT / "config.yaml"]), ROOT)
    history = [f"ensembl_history/{name}.txt.gz" for name in ("stable_id_event", "mapping_session")]
    assert list(plan.axis_files)[2:] == history
    assert list(plan.files("ensembl_history")) == [name.split("/")[1] for name in history]
    with_reference = read_config([ROOT / "config.yaml"])
    with_reference["select"]["references"] = ["ensembl_history"]
    named = read_plan(with_reference, ROOT)
    assert len(named.files("ensembl_history")) == 4
    assert named.axis_files == plan.axis_files


def test_a_file_of_the_user_s_own_needs_no_more_than_its_path_and_benchmark(config: dict[str, Any], root: Path) -> None:
    config["evaluation"]["files"] = {
        "mine": {"path": "mine.h5ad", "benchmark": "perturbation"},
        "cells": {"path": "$DIVERSERNA_DATA/cells.h5ad", "benchmark": "cells", "obsm": ["X_a", "X_b"], "study": ["x"]},
    }
    files = read_plan(config, root).evaluation_files
    assert files["mine"].columns == {"perturbation": "perturbation", "batch": "batch", "control": "is_control"}
    assert files["mine"].options == ["--perturbation=perturbation", "--batch=batch", "--counts=X"]
    assert files["cells"].columns == {"label": "cell_type"}
    assert files["cells"].options == ["--label=cell_type", "--counts=X", "--obsm", "X_a", "X_b", "--study", "x"]
    assert "$" not in files["cells"].path


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"mine": {"path": "a", "benchmark": "cells", "perturbation": "gene"}}, "cells has no key perturbation"),
        ({"mine": {"path": "a", "benchmark": "cells", "control": ["ctl"]}}, "cells has no key control"),
        ({"mine": {"path": "a", "benchmark": "perturbation", "label": "type"}}, "perturbation has no key label"),
        ({"mine": {"path": "a", "benchmark": "cell"}}, "did you mean 'cells'"),
        ({"mine": {"benchmark": "cells"}}, "key 'path' is missing"),
        ({"blood": {"path": "a", "benchmark": "cells"}}, "'blood' is a study of the catalogue"),
    ],
)
def test_keys_of_a_file_that_do_not_go_together_are_refused(
    entry: dict[str, Any], told: str, config: dict[str, Any], root: Path
) -> None:
    config["evaluation"]["files"] = entry
    assert told in message(config, root)


def test_a_trained_model_goes_on_with_a_file_or_with_a_variant(config: dict[str, Any], root: Path) -> None:
    config["finetuning"] = {
        "plates": {
            "model": "minus_screen.small.s0",
            "data": "$DIVERSERNA_DATA/a.h5ad",
            "batch_column": "plate",
            "set": {"epochs": 3},
        },
        "screen": {"model": "minus_screen.small.s0", "data": "all", "seed": 2},
    }
    plates, screen = read_plan(config, root).finetuning.values()
    assert (plates.parent, plates.variant, plates.model) == ("minus_screen.small.s0", "minus_screen", "small")
    assert plates.is_file
    assert "$" not in plates.data
    assert plates.options == [
        "--batch-column=plate",
        "--validation-share=0.1",
        "--counts=X",
        "--seed=0",
        '--set={"epochs": 3}',
    ]
    assert not screen.is_file
    assert screen.options == ["--seed=2", "--set={}"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model": "minus_scren.small.s0"}, "did you mean 'minus_screen.small.s0'"),
        ({"model": "controls_only.small.s0"}, "unknown trained model"),
        ({"model": "minus_screen.small.s1"}, "key finetuning.mine.model"),
        ({"batch_column": None}, "`batch_column: NAME`"),
        ({"data": "mine.csv"}, "a path that ends with .h5ad or .zarr"),
        ({"data": "al", "batch_column": None}, "did you mean 'all'"),
        ({"data": "controls_only", "batch_column": None}, "unknown selected variant"),
        ({"data": "all"}, "a variant has no batch_column"),
        ({"data": "all", "batch_column": None, "study": "x"}, "a variant has no study"),
        ({"batch_colum": "plate"}, "did you mean 'batch_column'"),
        ({"set": {"epoch": 3}}, "did you mean 'epochs'"),
        ({"validation_share": 1}, "finetuning.mine.validation_share"),
    ],
)
def test_what_cannot_be_fine_tuned_is_refused_with_the_nearest_name(
    changes: dict[str, Any], told: str, config: dict[str, Any], root: Path
) -> None:
    entry = {"model": "minus_screen.small.s0", "data": "mine.h5ad", "batch_column": "plate"}
    config["finetuning"] = {"mine": entry | changes}
    assert told in message(config, root)


def test_a_variant_with_other_held_out_batches_of_what_the_model_saw_is_refused(
    config: dict[str, Any], root: Path
) -> None:
    config["select"]["variants"].append("controls_only")
    config["finetuning"] = {"mine": {"model": "all.small.s0", "data": "controls_only"}}
    assert "trained on screen under another recipe" in message(config, root)
    config["finetuning"]["mine"]["model"] = "minus_screen.small.s0"
    assert read_plan(config, root).finetuning["mine"].data == "controls_only"
