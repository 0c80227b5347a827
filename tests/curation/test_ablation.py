"""Grids of ablations: from a config to cells, variants and models."""

from pathlib import Path
from typing import Any

import pytest

from curation.ablation import Ablation, Cell, read_ablation
from curation.config import complete, read_config
from curation.errors import InputError
from curation.plan import Plan, read_plan
from curation.variants import Variant

ROOT = Path(__file__).parents[2]
VARIANTS = {
    "all": Variant(name="all", studies={"blood": "cells", "screen": "plain", "tumour": "cells"}),
    "all_again": Variant(name="all_again", studies={"blood": "cells", "screen": "plain", "tumour": "cells"}),
    "minus_screen": Variant(name="minus_screen", studies={"blood": "cells", "tumour": "cells"}),
    "screen_alone": Variant(name="screen_alone", studies={"screen": "plain"}),
}
MODELS: dict[str, dict[str, Any]] = {
    "small": {"preset": "nano", "samples_seen": 1000},
    "by_epochs": {"preset": "nano", "epochs": 3},
    "small__loss_mse_taken": {"preset": "nano"},
}


def expand(**entry: object) -> Ablation:
    defaults = {"variant": "all", "model": "small", "seeds": [0], "factors": {}, "variants": []}
    return read_ablation("grid", defaults | {"leave_one_study_out": False} | entry, VARIANTS, MODELS)


def test_one_factor_at_a_time_is_changed_from_the_default() -> None:
    grid = expand(
        seeds=[3, 4],
        factors={"loss": {"mse": {"loss": "mse"}}, "size": {"wide": {"width": 128, "n_heads": 2}}},
        variants=["minus_screen"],
    )
    assert grid.cells == (
        Cell(factor="", alternative="", variant="all", model="small"),
        Cell(factor="loss", alternative="mse", variant="all", model="small__loss_mse"),
        Cell(factor="size", alternative="wide", variant="all", model="small__size_wide"),
        Cell(factor="data", alternative="minus_screen", variant="minus_screen", model="small"),
    )
    assert grid.models["small__size_wide"] == {"preset": "nano", "samples_seen": 1000, "width": 128, "n_heads": 2}
    assert len(grid.runs) == len(set(grid.runs)) == 8
    assert ("minus_screen", "small", 4) in grid.runs


def test_each_study_is_left_out_once_and_an_equal_variant_is_no_second_one() -> None:
    grid = expand(leave_one_study_out=True)
    without = {cell.alternative: grid.variants[cell.variant].studies for cell in grid.cells[1:]}
    assert without == {
        "blood": {"screen": "plain", "tumour": "cells"},
        "screen": {"blood": "cells", "tumour": "cells"},
        "tumour": {"blood": "cells", "screen": "plain"},
    }
    assert {cell.variant for cell in grid.cells[1:]} == {"all_minus_blood", "all_minus_screen", "all_minus_tumour"}


def test_a_budget_of_an_alternative_replaces_the_defaults() -> None:
    grid = expand(factors={"compute": {"steps": {"steps": 10}}})
    assert grid.models["small__compute_steps"] == {"preset": "nano", "steps": 10}


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"variant": "al"}, ["unknown variant 'al'", "ablations.grid.variant"]),
        ({"model": "smal"}, ["unknown model 'smal'", "ablations.grid.model", "small"]),
        ({"model": "by_epochs"}, ["depends on the size of the variant", "epochs: 3", "samples_seen"]),
        ({"factors": {"loss": {"same": {}}}}, ["changes nothing", "factors.loss.same"]),
        ({"factors": {"preset": {"same": {"preset": "nano"}}}}, ["preset is already so", "factors.preset.same"]),
        ({"factors": {"loss": {"mse_taken": {"loss": "mse"}}}}, ["has this name already", "small__loss_mse_taken"]),
        ({"factors": {"data": {"x": {"loss": "mse"}}}}, ["a factor is called 'data'"]),
        (
            {"variants": ["minus_scren"]},
            ["unknown variant 'minus_scren'", "ablations.grid.variants[0]", "minus_screen"],
        ),
        ({"variants": ["all"]}, ["the default is no alternative"]),
        (
            {"factors": {"mask": {"k_512": {"n_visible_genes": 512}}, "mask_k": {"512": {"mask_temperature": -1}}}},
            ["mask: k_512 has this name already", "factors.mask_k.512", "small__mask_k_512"],
        ),
        (
            {"factors": {"loss": {"mse": {"loss": "mse"}}, "error": {"squared": {"loss": "mse"}}}},
            ["error: squared is the same as loss: mse", "small__error_squared"],
        ),
        ({"variants": ["all_again"]}, ["data: all_again is the same as the default", "'all_again'"]),
        (
            {"variants": ["minus_screen"], "leave_one_study_out": True},
            ["without a study: screen is the same as data: minus_screen"],
        ),
        ({"variant": "screen_alone", "leave_one_study_out": True}, ["has one study"]),
    ],
)
def test_a_wrong_grid_is_refused(entry: dict[str, Any], says: list[str]) -> None:
    with pytest.raises(InputError) as error:
        expand(**entry)
    assert all(text in str(error.value) for text in says), str(error.value)


def test_a_variant_of_a_generated_name_with_other_studies_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VARIANTS, "all_minus_blood", Variant(name="all_minus_blood", studies={"screen": "plain"}))
    with pytest.raises(InputError, match=r"variants\.all_minus_blood"):
        expand(leave_one_study_out=True)


def shipped(overlay: str = "", **select: object) -> Plan:
    config = read_config([ROOT / "config.yaml", *([ROOT / overlay] if overlay else [])])
    config["select"] |= select
    return read_plan(config, ROOT)


def test_table_5_is_there_with_every_factor_of_the_paper() -> None:
    grid = shipped().grid()
    factors = {cell.factor for cell in grid.cells}
    wanted = "loss preprocessing visible_genes mask_temperature decoder activation backbone data".split()
    assert factors == {"", *wanted}
    # The budget of every cell is the default's: equal compute
    assert {model["samples_seen"] for model in grid.models.values()} == {286859800}


def test_other_grids_are_one_name_away() -> None:
    plan = shipped(ablation="leave_one_study_out")
    assert len(plan.grid().cells) == 1 + 9
    assert "diverserna_1_4m_minus_gtex" in plan.all_variants
    assert "gtex" not in plan.members_json("diverserna_1_4m_minus_gtex")
    assert len(shipped(ablation="k562_ladder").grid().cells) == 1 + 3


@pytest.mark.parametrize("name", ["table_5", "leave_one_study_out", "k562_ladder"])
def test_ready_made_grids_have_seeds_to_test_differences_between(name: str) -> None:
    grid = shipped(ablation=name).grid()
    assert grid.seeds == (0, 1, 2)
    assert grid.lack_of_seeds == ""
    assert len(grid.runs) == 3 * len(grid.cells)


def test_a_grid_that_names_no_seeds_has_three() -> None:
    config = read_config([ROOT / "config.yaml"])
    config["ablations"]["k562_ladder"].pop("seeds")
    assert complete(config)["ablations"]["k562_ladder"]["seeds"] == [0, 1, 2]


def test_the_grid_changes_nothing_of_what_other_targets_build() -> None:
    with_grid, without = shipped("config/mini.yaml"), shipped("config/mini.yaml", ablation=None)
    assert with_grid.ablation is not None
    assert with_grid.runs == without.runs
    assert with_grid.variants == without.variants
    assert with_grid.models == without.models
    assert with_grid.training_pairs == without.training_pairs


@pytest.mark.parametrize(
    ("select", "says"),
    [
        ({"ablation": None}, ["selects no grid", "select.ablation"]),
        ({"studies_for_evaluation": []}, ["nothing to be evaluated on", "select.studies_for_evaluation"]),
        ({"variants": ["mini_minus_bulk"]}, ["no selected variant has study", "select.variants", "mini_all"]),
    ],
)
def test_a_grid_that_cannot_be_built_is_refused_when_it_is_asked_for(select: dict[str, Any], says: list[str]) -> None:
    plan = shipped("config/mini.yaml", **select)
    with pytest.raises(InputError) as error:
        plan.grid()
    assert all(text in str(error.value) for text in says), str(error.value)


def test_an_unknown_grid_and_unknown_keys_are_refused() -> None:
    with pytest.raises(InputError, match="unknown grid 'table5'") as error:
        shipped(ablation="table5")
    assert "table_5" in str(error.value)
    config = read_config([ROOT / "config.yaml"])
    config["ablations"]["table_5"]["factors"]["loss"]["mse"] = {"los": "mse"}
    with pytest.raises(InputError, match="los"):
        complete(config)
