"""A user's own h5ad in a build: one line of the config scores it and its obsm beside models and baselines."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import yaml

ROOT = Path(__file__).parent.parent
MINI = ROOT / "config" / "mini.yaml"
GOLDEN = ROOT / "tests" / "golden" / "models" / "1.0"
LINE = (
    "my_screen: {path: my.h5ad, benchmark: perturbation, perturbation: guide, batch: lane, "
    "control: [ctl], obsm: [X_other]}"
)
SCORES = "results/mini/evaluation/my_screen.perturbation/scores.json"


def _screen(path: Path) -> None:
    """Nine perturbations in four batches, over the genes of the golden models."""
    guide = np.repeat(["ctl", *"ABCDEFGH"], 16)
    rng = np.random.default_rng(0)
    counts = sp.csr_matrix(rng.poisson(4.0, (len(guide), 24)).astype(np.float32))
    obs = pd.DataFrame({"guide": guide, "lane": [f"L{row % 4}" for row in range(len(guide))]})
    obs.index = obs.index.map("c{}".format)
    var = pd.DataFrame(index=[f"ENSG{i:011d}" for i in range(1, 48, 2)])
    ad.AnnData(counts, obs=obs, var=var, obsm={"X_other": rng.normal(size=(len(guide), 5))}).write_h5ad(path)


def _build(workflow: Callable[..., Any], folder: Path, line: str = LINE) -> Any:
    """The miniature with one variant, one model, one baseline and a file of the user's own."""
    fields = {
        "select": {"variants": ["mini_all"], "baselines": ["pca"]},
        "variants": {"mini_all": {"models": ["nano"]}},
    }
    config = folder / "files.yaml"
    config.write_text(yaml.safe_dump(fields) + f"evaluation:\n  files:\n    {line}\n")
    run = workflow(MINI, config)
    _screen(run.folder / "my.h5ad")
    return run


def test_one_line_of_the_config_puts_a_file_and_its_embedding_into_a_table_beside_models_and_baselines(
    workflow: Callable[..., Any], tmp_path: Path
) -> None:
    run = _build(workflow, tmp_path)
    assert run.plan("all")["benchmark_file"] == 1
    for folder, golden in (("models/mini_all.nano.s0", "txfm"), ("baselines/mini_all.pca", "pca")):
        shutil.copytree(GOLDEN / golden, run.folder / "results" / "mini" / folder)
    code, output = run.run(SCORES, "--cores", "1", "--allowed-rules", "benchmark_file")
    assert code == 0, output
    record = json.loads((run.folder / SCORES).read_text())
    assert record["dataset"] == "my_screen"
    kinds = {each["embedder"]: each["kind"] for each in record["embedders"]}
    assert kinds == {"mini_all.nano.s0": "txfm", "mini_all.pca": "pca", "X_other": "obsm", "random": "random"}
    table = (run.folder / SCORES).with_name("scores.md").read_text()
    assert all(f"| {embedder} |" in table for embedder in kinds)


@pytest.mark.parametrize(
    ("old", "new", "messages"),
    [
        ("batch: lane", "batch: lan", ["no column 'lan'", "my_screen.batch", "guide, lane", "did you mean lane?"]),
        ("perturbation: guide", "perturbation: gene", ["no column 'gene'", "my_screen.perturbation", "guide, lane"]),
        ("control: [ctl], ", "", ["no column 'is_control'", "my_screen.control", "guide, lane"]),
        ("[ctl]", "[ctrl]", ["No cell is labelled ctrl", "one of A, B, C", "did you mean ctl?"]),
        ("[X_other]", "[X_othr]", ["no 'X_othr' in obsm", "my_screen.obsm", "did you mean X_other?"]),
        ("my.h5ad", "mine.h5ad", ["There is no such file", "mine.h5ad"]),
        ("batch: lane", "label: lane", ["benchmark perturbation has no key label", "perturbation, batch, control"]),
        ("obsm", "obms", ["unknown key 'obms'", "did you mean 'obsm'?"]),
        ("my_screen", "mixology_3cl", ["'mixology_3cl' is a study of the catalogue"]),
    ],
    ids=[
        "batch",
        "perturbation",
        "controls",
        "label of controls",
        "obsm key",
        "file",
        "key of the other benchmark",
        "unknown key",
        "name",
    ],
)
def test_a_wrong_name_ends_the_run_before_anything_with_those_that_exist(
    old: str, new: str, messages: list[str], workflow: Callable[..., Any], tmp_path: Path
) -> None:
    assert old in LINE
    run = _build(workflow, tmp_path, LINE.replace(old, new))
    code, output = run.run("--cores", "1", "all")
    assert code != 0
    assert all(output.count(message) == 1 for message in messages), output
    assert "Traceback" not in output
    assert {path.name for path in run.folder.iterdir()} <= {".snakemake", "my.h5ad"}


def test_a_file_that_the_build_fetches_need_not_be_there_yet(workflow: Callable[..., Any], tmp_path: Path) -> None:
    path = "sources/pbmc_citeseq/pbmc_10k_protein_v3.h5ad"
    run = _build(workflow, tmp_path, f"cells: {{path: {path}, benchmark: cells, label: louvain, obsm: [X_other]}}")
    code, output = run.run("-n", "-p", "results/mini/evaluation/cells.cells/scores.json")
    assert code == 0, output
    assert f"evaluate cells {path} --name cells --label=louvain --counts=X --obsm X_other --models" in output
    assert "--corpus" not in output.split("evaluate cells")[1].splitlines()[0]  # it has no fingerprints
    assert f"output: {path}\n" in output
