"""Real runs of the demo workflow with models of a few steps: products, no-ops, reruns after a change, kills."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import yaml

from curation.axis import GeneAxis
from curation.genes import GeneNames

ROOT = Path(__file__).parent.parent
NOT_COPIED = (".git", ".venv", ".snakemake", "results", "sources", "__pycache__", ".*_cache", "*.egg-info", "tests")
STEPS_SEEN = {"models": {"nano": {"samples_seen": 640, "n_validation_samples": 64}}}
NOTHING = "Nothing to be done"

pytestmark = [pytest.mark.slow, pytest.mark.network]


@pytest.fixture(scope="module", autouse=True)
def _package_index() -> None:
    """The demo's studies come out of wheels of the package index that pip is configured for."""
    command = [sys.executable, "-m", "pip", "index", "versions", "rnanorm"]
    if subprocess.run(command, capture_output=True, check=False, timeout=120).returncode != 0:
        pytest.skip("no package index answers, so the demo's studies cannot be fetched")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project, so that a test may edit it."""
    copy = tmp_path_factory.mktemp("checkout") / "project"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*NOT_COPIED))
    return copy


@pytest.fixture(scope="module")
def demo(workflow: Callable[..., Any], checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The finished demo build."""
    run = workflow(checkout / "demo" / "config.yaml", _config(tmp_path_factory, STEPS_SEEN), project=checkout)
    code, output = run.run("--cores", "2", "demo")
    assert code == 0, output
    return run


def _config(folders: pytest.TempPathFactory, fields: dict[str, Any]) -> Path:
    path = folders.mktemp("config") / "config.yaml"
    path.write_text(yaml.safe_dump(fields))
    return path


@contextmanager
def _edited(path: Path, old: str, new: str) -> Iterator[None]:
    before = path.read_text()
    assert old in before
    path.write_text(before.replace(old, new, 1))
    try:
        yield
    finally:
        path.write_text(before)


def _corpus(run: Any) -> dict[str, Any]:
    return json.loads((run.folder / "results" / "demo" / "corpus" / "corpus.json").read_text())


def _variant(run: Any, name: str) -> dict[str, Any]:
    return json.loads((run.folder / "results" / "demo" / "corpus" / "variants" / f"{name}.json").read_text())


def test_the_demo_makes_its_page_its_pictures_and_three_models(demo: Any) -> None:
    results = demo.folder / "results" / "demo"
    assert (results / "report.html").stat().st_size > 10_000
    assert list((results / "figures").glob("*.png"))
    for variant in ("all", "minus_bulk", "minus_screen"):
        model = results / "models" / f"{variant}.nano.s0"
        assert {path.name for path in model.iterdir()} == {
            "model.safetensors",
            "model.json",
            "metrics.jsonl",
            "README.md",
        }
    assert (results / "audit.txt").read_text().endswith("as promised\n")


def test_every_store_opens_with_plain_anndata_and_splits_share_no_batch(demo: Any) -> None:
    corpus = _corpus(demo)
    batches: dict[tuple[str, str], set[str]] = {}
    for entry in corpus["stores"]:
        adata = ad.read_zarr(demo.folder / "results" / "demo" / "corpus" / entry["path"])
        assert adata.shape == (entry["n_samples"], corpus["gene_axis"]["n_genes"])
        assert (adata.obs["study"] == entry["study"]).all()
        batches[entry["study"], entry["split"]] = set(adata.obs["batch"])
    for study in {study for study, _ in batches}:
        assert not batches[study, "train"] & batches[study, "validation"]
    assert batches["gtex_lung", "validation"]
    assert batches["simulated_screen", "validation"]


def test_fifty_random_rows_of_each_store_equal_the_source_gene_by_gene(demo: Any) -> None:
    sources, corpus = demo.folder / "sources", demo.folder / "results" / "demo" / "corpus"
    tables = {
        "celltypist_sample": pd.read_csv(sources / "celltypist_sample" / "sample_cell_by_gene.csv", index_col=0),
        "gtex_lung": pd.read_csv(sources / "gtex_lung" / "gtex_lung.first30.chr21.csv.gz", index_col=0),
        "simulated_screen": ad.read_h5ad(sources / "simulated_screen" / "screen.h5ad").to_df(),
    }
    names = GeneNames(GeneAxis.read(corpus / "genes.parquet"))
    rng = np.random.default_rng(0)
    for entry in _corpus(demo)["stores"]:
        table, store = tables[entry["study"]], ad.read_zarr(corpus / entry["path"])
        positions = names.map(table.columns, "symbol" if entry["study"] == "celltypist_sample" else "ensembl").positions
        kept = (positions >= 0) & store.var["measured"].to_numpy()[positions]
        for row in rng.choice(store.n_obs, min(50, store.n_obs), replace=False):
            wanted = np.zeros(store.n_vars, dtype=np.int64)
            values = np.rint(table.loc[store.obs_names[row].split(":", 1)[1]].to_numpy(dtype=float)).astype(np.int64)
            np.add.at(wanted, positions[kept], values[kept])
            np.testing.assert_array_equal(store.X[row].toarray().ravel(), wanted)


def test_ablations_leave_their_study_out_and_share_the_other_store_files(demo: Any) -> None:
    members = {name: {store["path"] for store in _variant(demo, name)["stores"]} for name in ("all", "minus_bulk")}
    members["minus_screen"] = {store["path"] for store in _variant(demo, "minus_screen")["stores"]}
    assert not [path for path in members["minus_bulk"] if "gtex_lung" in path]
    assert not [path for path in members["minus_screen"] if "simulated_screen" in path]
    assert members["minus_bulk"] | members["minus_screen"] == members["all"]
    assert {entry["path"] for entry in _corpus(demo)["stores"]} == members["all"]


def test_the_corpus_folder_holds_what_corpus_json_lists_and_the_whole_screen_lies_outside(demo: Any) -> None:
    results = demo.folder / "results" / "demo"
    listed = {Path(entry["path"]).name for entry in _corpus(demo)["stores"]}
    assert {path.name for path in (results / "corpus" / "stores").iterdir()} == listed
    screens = {f"simulated_screen.demo_screen.{split}.zarr" for split in ("train", "validation")}
    assert {path.name for path in (results / "screens").iterdir()} == screens
    assert not screens & listed


def test_a_second_run_finds_nothing_to_do(demo: Any) -> None:
    code, output = demo.run("--cores", "2", "demo")
    assert code == 0
    assert NOTHING in output


def test_snakemakes_own_report_of_the_run_can_be_written(demo: Any) -> None:
    page = demo.folder.parent / "snakemake.html"
    code, output = demo.run("demo", "--report", str(page))
    assert code == 0, output
    assert "celltypist_sample" in page.read_text()


def test_a_new_variant_of_the_same_studies_builds_no_store_and_trains_one_model(
    demo: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    fields = {
        "select": {"variants": ["all", "minus_bulk", "minus_screen", "cells"]},
        "variants": {"cells": {"base": "minus_bulk", "without": ["simulated_screen"]}},
    }
    planned = demo.plan("demo", _config(tmp_path_factory, fields))
    assert planned == {"compose": 1, "train": 1, "embed_corpus": 1, "verify": 1, "report": 1}


def test_without_a_variant_no_store_is_built_and_no_model_trained(
    demo: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    planned = demo.plan("demo", _config(tmp_path_factory, {"select": {"variants": ["all", "minus_bulk"]}}))
    assert planned == {"verify": 1, "report": 1}


def test_another_threshold_for_one_study_curates_that_study_and_trains_the_variants_that_hold_it(
    demo: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    planned = demo.plan("demo", _config(tmp_path_factory, {"recipes": {"demo_bulk": {"min_genes_per_sample": 1}}}))
    expected = {"curate": 1, "assemble": 1, "compose": 2, "train": 2, "embed_corpus": 2, "verify": 1, "report": 1}
    assert planned == expected


def test_a_changed_curation_module_curates_again_but_a_new_time_stamp_does_not(demo: Any) -> None:
    module = demo.project / "curation" / "qc.py"
    os.utime(module)
    assert demo.plan("demo") == {}
    first_line = module.read_text().splitlines()[0]
    with _edited(module, first_line, f"{first_line}\n# a comment"):
        planned = demo.plan("demo")
        assert (planned["curate"], planned["curate_screen"]) == (3, 1)


def test_stores_made_again_with_the_same_content_train_no_model(demo: Any, workflow: Callable[..., Any]) -> None:
    run = workflow(*demo.configs, project=demo.project)
    shutil.copytree(demo.folder, run.folder, symlinks=True, dirs_exist_ok=True)
    module = demo.project / "curation" / "qc.py"
    first_line = module.read_text().splitlines()[0]
    with _edited(module, first_line, f"{first_line}\n# a comment"):
        code, output = run.run("--cores", "2", "corpora", "--until", "compose", "assemble")
        assert code == 0, output
        assert (output.count("rule curate:"), output.count("rule curate_screen:")) == (3, 1)
        assert "train" not in run.plan("demo")


def test_a_changed_txfm_module_costs_no_training(demo: Any) -> None:
    module = demo.project / "txfm" / "model.py"
    with _edited(module, "import torch\n", "import torch  # a comment\n"):
        assert demo.plan("demo") == {}


def test_a_better_note_in_the_catalogue_runs_nothing_and_another_checksum_fetches_again(demo: Any) -> None:
    sheet = demo.project / "demo" / "catalog.yaml"
    with _edited(sheet, "Versioned Ensembl ids of GENCODE v26.", "Versioned ids."):
        assert demo.plan("demo") == {}
    with _edited(sheet, "sha256: verified}", "sha256: secondary}"):
        assert "fetch" not in demo.plan("demo")
    with _edited(sheet, "24d03c97", "00000000"):
        assert demo.plan("demo")["fetch"] == 1


def test_a_missing_source_file_is_told_once_and_leaves_nothing_under_its_name(
    workflow: Callable[..., Any], checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    sheet = checkout / "demo" / "catalog.yaml"
    run = workflow(checkout / "demo" / "config.yaml", project=checkout)
    address = "pypi:rnanorm==2.2.0#rnanorm/files/gtex_lung.first30.chr21.csv.gz"
    with _edited(sheet, address, "file:nowhere/gtex.csv.gz"):
        code, output = run.run("--cores", "1", "sources/gtex_lung/gtex_lung.first30.chr21.csv.gz")
    assert code != 0
    assert output.count("error: could not get gtex_lung.first30.chr21.csv.gz") == 1, output
    assert "Traceback" not in output
    assert not list((run.folder / "sources" / "gtex_lung").glob("*"))


# Where a job of each rule shows that it has begun: its log file.
LOGS = {
    "fetch": "sources/.logs/celltypist_sample/*.log",
    "gene_axis": "results/demo/logs/gene_axis.log",
    "simulate_screen": "sources/.logs/simulated_screen/*.log",
    "curate": "results/demo/logs/curate/celltypist_sample.*.log",
    "compose": "results/demo/logs/compose/*.log",
    "verify": "results/demo/logs/verify.log",
    "train": "results/demo/logs/train/*.log",
    "embed_corpus": "results/demo/logs/embed/*.log",
    "report": "results/demo/logs/report.log",
}


def _wait_for_job(run: Any, process: subprocess.Popen[str], rule: str, since: float) -> None:
    deadline = time.monotonic() + 300
    while not any(path.stat().st_mtime >= since for path in run.folder.glob(LOGS[rule])):
        assert process.poll() is None, f"the run ended before {rule} began:\n{run.log.read_text()}"
        assert time.monotonic() < deadline, f"{rule} did not begin"
        time.sleep(0.02)


def test_two_runs_cannot_work_in_one_folder_and_a_killed_one_does_not_lock_it(
    demo: Any, workflow: Callable[..., Any]
) -> None:
    run = workflow(*demo.configs, project=demo.project)
    first = run.start("--cores", "1", "demo")
    _wait_for_job(run, first, "fetch", since=0)
    # it asks for what the first cannot have made yet: a run with nothing to do has no reason to wait
    code, output = replace(run, name="second").run("--cores", "1", "demo")
    assert code != 0
    assert output.count("another run works in") == 1
    run.kill_all()
    code, output = run.run("--cores", "1", "sources")
    assert code == 0, output


def test_kill_9_in_the_middle_of_every_rule_then_the_same_command_gives_the_same_corpus(
    demo: Any, workflow: Callable[..., Any]
) -> None:
    run = workflow(*demo.configs, project=demo.project)
    moments = random.Random(0)
    killed = []
    for rule in LOGS:
        if rule not in run.plan("demo"):
            continue  # it was done before an earlier kill
        since = time.time()
        _wait_for_job(run, run.start("--cores", "2", "demo"), rule, since)
        time.sleep(moments.uniform(0, 1.5))
        run.kill_all()
        killed.append(rule)
    assert {"fetch", "curate", "train", "report"} <= set(killed)
    code, output = run.run("--cores", "2", "demo")
    assert code == 0, output
    assert _corpus(run)["digest"] == _corpus(demo)["digest"]
    for name in ("all", "minus_bulk", "minus_screen"):
        assert _variant(run, name) == _variant(demo, name)
    stores = run.folder / "results" / "demo" / "corpus" / "stores"
    assert {path.name for path in stores.iterdir()} == {Path(entry["path"]).name for entry in _corpus(run)["stores"]}
    code, output = run.run("--cores", "2", "demo")
    assert NOTHING in output
