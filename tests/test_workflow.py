"""The workflow's plan, without running it: every config is planned offline, and a wrong name ends the run at once."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import yaml

from curation.acquire.host_limits import LIMITS
from curation.acquire.source_files import HOSTS

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "demo" / "config.yaml"
MINI = ROOT / "config" / "mini.yaml"
SCREEN = ROOT / "config" / "screen.yaml"
FULL_VARIANTS = yaml.safe_load((ROOT / "config.yaml").read_text())["select"]["variants"]


def _config(path: Path, **fields: Any) -> Path:
    path.write_text(yaml.safe_dump(fields))
    return path


def test_snakemake_lint_has_nothing_to_say() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "snakemake", "--lint"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_demo_plans_three_studies_three_variants_and_three_models(workflow: Callable[..., Any]) -> None:
    expected = {
        "fetch": 3,
        "gene_axis": 1,
        "simulate_screen": 1,
        "curate": 3,
        "curate_screen": 1,
        "phenoprints": 1,
        "assemble": 1,
        "compose": 3,
        "train": 3,
    }
    expected |= {"embed_corpus": 3, "report": 1, "verify": 1, "notice": 1}
    assert workflow(DEMO).plan("demo") == expected


def test_the_miniature_plans_seven_training_studies_and_one_held_out_study(workflow: Callable[..., Any]) -> None:
    jobs = workflow(MINI).plan("mini")
    assert (jobs["curate"], jobs["curate_evaluation"], jobs["compose"], jobs["evaluate"]) == (7, 1, 3, 1)
    assert jobs["train"] == jobs["embed_corpus"] >= 3
    assert jobs["baseline"] == 2 * 3
    assert (jobs["benchmark_study"], jobs["benchmark_layers"], jobs["benchmark_genes"]) == (1, 1, 1)


def test_the_config_chooses_among_the_benchmarks_for_the_build_and_its_grid(
    workflow: Callable[..., Any], tmp_path: Path
) -> None:
    rules = {"benchmark_study", "benchmark_layers", "benchmark_genes"}
    layers = _config(tmp_path / "layers.yaml", select={"benchmarks": ["layers"]})
    assert rules & set(workflow(MINI, layers).plan("all")) == {"benchmark_layers"}
    grid = workflow(MINI, layers).plan("ablation")
    assert {"benchmark_grid", "benchmark_grid_genes"}.isdisjoint(grid)


@pytest.mark.parametrize(
    "product", ["evaluation/mixology_3cl.cells", "evaluation/mixology_3cl.layers", "ablation/mixology_3cl.cells"]
)
def test_benchmarks_of_cells_know_batches_and_refuse_samples_of_the_corpus(
    product: str, workflow: Callable[..., Any]
) -> None:
    output = workflow(MINI).run("-n", "-p", f"results/mini/{product}/scores.json")[1]
    assert "--label cell_line --batch batch" in output
    assert f"--corpus results/mini/corpus --out results/mini/{product} " in output


def test_a_trained_model_is_fine_tuned_and_the_report_waits_for_it(
    workflow: Callable[..., Any], tmp_path: Path
) -> None:
    assert "finetune" not in workflow(MINI).plan("all")
    adata = ad.AnnData(np.ones((4, 2), dtype=np.float32), obs=pd.DataFrame({"plate": list("aabb")}, index=list("wxyz")))
    adata.write_h5ad(tmp_path / "my cells.h5ad")
    entry = {"model": "mini_all.nano.s0", "data": str(tmp_path / "my cells.h5ad"), "batch_column": "plate"}
    others = {"data": "mini_all", "model": "mini_minus_pbmc.nano.s0"}
    config = _config(tmp_path / "config.yaml", finetuning={"cells": entry, "rest": others})
    assert workflow(MINI, config).plan("all")["finetune"] == 2
    output = workflow(MINI, config).run("-n", "-p", "results/mini/finetuned/cells/finetune.json")[1]
    assert f"--data '{tmp_path}/my cells.h5ad' --corpus results/mini/corpus --batch-column=plate" in output
    assert "txfm finetune results/mini/models/mini_all.nano.s0 " in output
    output = workflow(MINI, config).run("-n", "-p", "results/mini/finetuned/rest/finetune.json")[1]
    assert "--data results/mini/corpus/variants/mini_all.json --corpus results/mini/corpus --seed=0" in output
    output = workflow(MINI, config).run("-n", "results/mini/report.html")[1]
    assert "results/mini/finetuned/cells/finetune.json" in output


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"batch_column": "plat"}, ["finetuning.mine.batch_column", "plate"]),
        ({"data": "nowhere.h5ad"}, ["There is no such file", "nowhere.h5ad"]),
        ({"set": {"width": 8}}, ["finetuning.mine.set", "The model's width cannot change"]),
        ({"model": "mini_all.nanno.s0"}, ["finetuning.mine.model", "did you mean 'mini_all.nano.s0'"]),
    ],
)
def test_a_fine_tuning_that_cannot_start_ends_the_run_before_any_training(
    changes: dict[str, Any], told: list[str], workflow: Callable[..., Any], tmp_path: Path
) -> None:
    obs = pd.DataFrame({"plate": list("aabb")}, index=list("wxyz"))
    ad.AnnData(np.ones((4, 2), dtype=np.float32), obs=obs).write_h5ad(tmp_path / "cells.h5ad")
    entry = {"model": "mini_all.nano.s0", "data": str(tmp_path / "cells.h5ad"), "batch_column": "plate"}
    run = workflow(MINI, _config(tmp_path / "config.yaml", finetuning={"mine": entry | changes}))
    code, output = run.run("-n")
    assert code != 0
    assert all(text in output for text in told), output
    assert "Traceback" not in output


def test_genes_are_scored_again_where_relations_come_to_a_machine(workflow: Callable[..., Any], tmp_path: Path) -> None:
    def inputs(folder: Path) -> str:
        config = _config(tmp_path / "relations.yaml", evaluation={"relations": str(folder)})
        output = workflow(MINI, config).run("-n", "-p", "results/mini/evaluation/genes/scores.json")[1]
        return output[output.index("rule benchmark_genes:") :]

    folder = tmp_path / "relations"
    assert f"--relations {folder} --without-relations" in inputs(folder)
    assert "CORUM.txt" not in inputs(folder)
    folder.mkdir()
    (folder / "CORUM.txt").write_text("entity1,entity2\nA,B\n")
    assert str(folder / "CORUM.txt") in inputs(folder)


def test_modules_of_a_simulated_screen_are_sought_in_the_models_vectors(
    workflow: Callable[..., Any], tmp_path: Path
) -> None:
    jobs = workflow(SCREEN).plan("all")
    assert (jobs["simulate_screen"], jobs["train"], jobs["benchmark_study"]) == (2, 6, 1)
    output = workflow(SCREEN).run("-n", "-p", "results/screen/evaluation/genes/scores.json")[1]
    assert "--modules --truth sources/simulated_screen/screen.h5ad" in output
    assert "--gene-types" not in output  # its annotation states no types
    assert "--gene-types" in workflow(MINI).run("-n", "-p", "results/mini/evaluation/genes/scores.json")[1]
    config = _config(tmp_path / "real.yaml", evaluation={"true_modules": "gtex_lung"})
    code, output = workflow(SCREEN, config).run("-n")
    assert code != 0
    assert "evaluation.true_modules" in output
    assert "simulated_screen" in output


def test_a_grid_is_trained_by_its_own_target_alone_and_shares_what_others_train(workflow: Callable[..., Any]) -> None:
    jobs = workflow(MINI).plan("ablation")
    assert (jobs["train"], jobs["evaluate_grid"], jobs["ablation_table"]) == (7 * 3, 1, 1)
    assert (jobs["benchmark_grid"], jobs["benchmark_grid_genes"]) == (1, 1)
    assert jobs["compose"] == 3
    assert {"report", "embed_corpus", "baseline"}.isdisjoint(jobs)
    assert "ablation_table" not in workflow(MINI).plan("all")


def test_an_alternative_that_spells_out_the_presets_value_is_refused_before_any_training(
    workflow: Callable[..., Any], tmp_path: Path
) -> None:
    grid = {"variant": "mini_all", "model": "nano_grid", "factors": {"loss": {"counts": {"loss": "poisson"}}}}
    config = _config(tmp_path / "grid.yaml", ablations={"mine": grid}, select={"ablation": "mine"})
    code, output = workflow(MINI, config).run("-n", "ablation")
    assert code != 0
    assert "loss: counts is the same as the default" in output, output
    assert "ablations.mine" in output


def test_a_grid_of_one_seed_is_told_once_before_any_training(workflow: Callable[..., Any], tmp_path: Path) -> None:
    grid = {"variant": "mini_all", "model": "nano_grid", "seeds": [4], "factors": {"loss": {"mse": {"loss": "mse"}}}}
    config = _config(tmp_path / "grid.yaml", ablations={"mine": grid}, select={"ablation": "mine"})
    code, output = workflow(MINI, config).run("-n", "ablation")
    assert code == 0, output
    assert output.count("grid mine has one training seed") == 1, output
    assert "training seed" not in workflow(MINI).run("-n", "ablation")[1]


def test_table_5_is_planned_without_a_network(workflow: Callable[..., Any]) -> None:
    jobs = workflow().plan("ablation")
    assert (jobs["train"], jobs["evaluate_grid"], jobs["ablation_table"]) == (24 * 3, 3, 1)
    assert (jobs["benchmark_grid"], jobs["benchmark_grid_genes"]) == (3, 1)


def test_a_run_without_a_grid_says_which_key_is_missing(workflow: Callable[..., Any]) -> None:
    code, output = workflow(DEMO).run("-n", "ablation")
    assert code != 0
    assert output.count("select.ablation") == 1, output


def test_the_full_corpus_is_planned_without_a_network(workflow: Callable[..., Any]) -> None:
    jobs = workflow().plan("all")
    # Nine studies; the K562 screen under three recipes, and its phenoprints out of the whole of it.
    assert jobs["phenoprints"] == 1
    assert (jobs["curate"], jobs["curate_evaluation"], jobs["compose"], jobs["train"]) == (11, 3, 6, 6)
    assert (jobs["evaluate"], jobs["benchmark_study"]) == (3, 3)
    assert (jobs["benchmark_layers"], jobs["benchmark_genes"]) == (3, 1)


def test_the_plan_says_what_this_release_cannot_build(workflow: Callable[..., Any], tmp_path: Path) -> None:
    missing = {"recipes": {"phenoprint": {"phenoprints": "nowhere.tsv", "phenoprints_from": None}}}
    _, output = workflow(_config(tmp_path / "missing.yaml", **missing)).run("-n")
    assert output.count("recipe phenoprint: nowhere.tsv does not exist yet") == 1
    assert "cannot build" not in workflow().run("-n")[1]
    assert "cannot build" not in workflow(DEMO).run("-n", "demo")[1]


@pytest.mark.parametrize("variant", FULL_VARIANTS)
def test_each_variant_of_the_full_corpus_can_be_planned_alone(
    variant: str, workflow: Callable[..., Any], tmp_path: Path
) -> None:
    alone = _config(tmp_path / "alone.yaml", select={"variants": [variant]})
    assert workflow(alone).plan("corpora")["compose"] == 1


def test_an_empty_list_of_models_plans_corpora_only(workflow: Callable[..., Any], tmp_path: Path) -> None:
    fields = {"select": {"models": []}, "variants": {"mini_all": {"models": []}}}
    no_models = _config(tmp_path / "no_models.yaml", **fields)
    no_jobs = {"train", "embed_corpus", "baseline", "evaluate", "benchmark_layers", "benchmark_genes"}
    assert no_jobs.isdisjoint(workflow(MINI, no_models).plan("all"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"slect": {"variants": ["all"]}}, "did you mean 'select'"),
        ({"select": {"variants": ["minus_blk"]}}, "did you mean 'minus_bulk'"),
        ({"variants": {"mine": {"base": "all", "with": {"gtex_lun": "demo_bulk"}}}}, "did you mean 'gtex_lung'"),
        ({"variants": {"mine": {"base": "all", "with": {"gtex_lung": "demo_blk"}}}}, "did you mean 'demo_bulk'"),
        ({"variants": {"mine": {"studies": {"rpe1": "evaluation"}}}}, "study 'rpe1' is held out"),
        ({"select": {"models": ["nanno"]}}, "did you mean 'nano'"),
        ({"select": {"baselines": ["pcca"]}}, "did you mean 'pca'"),
        ({"models": {"nano": {"n_heads": 3}}}, "a divisor of width 64"),
    ],
    ids=["key", "variant", "study", "recipe", "held-out study", "model", "baseline", "model's field"],
)
def test_a_wrong_name_is_told_once_and_nothing_is_written(
    fields: dict[str, Any], message: str, workflow: Callable[..., Any], tmp_path: Path
) -> None:
    run = workflow(DEMO, _config(tmp_path / "wrong.yaml", **fields))
    code, output = run.run("--cores", "1")
    assert code != 0
    assert output.count(message) == 1, output
    assert "Traceback" not in output
    assert {path.name for path in run.folder.iterdir()} <= {".snakemake"}


def test_a_held_out_study_of_the_miniature_is_refused_in_a_training_variant(
    workflow: Callable[..., Any], tmp_path: Path
) -> None:
    fields = {"variants": {"mini_all": {"studies": {"mixology_3cl": "mini_cells"}}}}
    code, output = workflow(MINI, _config(tmp_path / "wrong.yaml", **fields)).run("-n")
    assert code != 0
    assert output.count("study 'mixology_3cl'") == 1, output


def test_a_product_that_the_config_does_not_define_has_no_rule(workflow: Callable[..., Any]) -> None:
    code, output = workflow(DEMO).run("-n", "results/demo/corpus/variants/minus_gtex.json")
    assert code != 0
    assert "MissingRuleException" in output


def _packed_study(folder: Path) -> Path:
    """Write a zip, a sheet of a study whose matrix is in it, and the config that adds the study to the demo.

    Its second file has the name of a file of another source, which another rule writes.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("in/counts.csv", "gene,a,b\nTP53,1,2\n")
        archive.writestr("in/cells.csv", "cell,batch\na,1\nb,2\n")
    (folder / "packed.zip").write_bytes(packed.getvalue())
    member = {"archive": "packed.zip", "member": "in/cells.csv"}
    study = {
        "title": "packed",
        "citation": {"year": 2026, "text": "Toy et al."},
        "licence": "CC0",
        "role": "train",
        "publication_key": ["packed", "packed"],
        "assay": "sc",
        "count_kind": "umi",
        "gene_ids": "symbol",
        "obs": {},
        "parts": [
            {
                "name": "p",
                "format": "dense_text",
                "orientation": "genes_by_samples",
                "files": {"matrix": "counts.csv", "metadata": "sample_cell_by_gene.csv"},
            }
        ],
        "files": {
            "counts.csv": {"archive": "packed.zip", "member": "in/counts.csv"},
            "sample_cell_by_gene.csv": member,
            "packed.zip": {
                "addresses": [f"file:{folder / 'packed.zip'}"],
                "sha256": hashlib.sha256(packed.getvalue()).hexdigest(),
            },
        },
    }
    sheet = folder / "packed.yaml"
    sheet.write_text(yaml.safe_dump({"studies": {"packed": study}}))
    fields = {"catalogs": {"packed": str(sheet)}, "variants": {"all": {"studies": {"packed": "demo_cells"}}}}
    return _config(folder / "packed_config.yaml", **fields)


def test_every_file_of_the_full_corpus_has_one_rule_that_gets_it(workflow: Callable[..., Any]) -> None:
    jobs = workflow().plan("sources")
    assert set(jobs) <= {"fetch", "extract"}
    assert jobs["fetch"] >= 15


def test_the_members_of_an_archive_are_extracted_from_the_one_archive(
    workflow: Callable[..., Any], tmp_path: Path
) -> None:
    assert workflow(DEMO, _packed_study(tmp_path)).plan("sources") == {"fetch": 4, "extract": 2}


def test_the_workflow_fetches_an_archive_pins_it_and_extracts_its_member(
    workflow: Callable[..., Any], tmp_path: Path
) -> None:
    run = workflow(DEMO, _packed_study(tmp_path))
    code, output = run.run("--cores", "1", "sources/packed/counts.csv")
    assert code == 0, output
    assert (run.folder / "sources/packed/counts.csv").read_text() == "gene,a,b\nTP53,1,2\n"
    assert run.plan("sources/packed/counts.csv") == {}


def test_the_limits_of_public_hosts_are_the_same_in_the_profiles_as_in_the_download_loop() -> None:
    expected = {word: LIMITS[domain].parallel for word, domain in HOSTS.items()}
    for profile in ("default", "slurm"):
        resources = yaml.safe_load((ROOT / "profiles" / profile / "config.yaml").read_text())["resources"]
        assert {word: resources.get(word) for word in HOSTS} == expected, f"profiles/{profile}/config.yaml"
