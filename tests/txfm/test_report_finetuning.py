"""The page shows a fine-tuned model beside the pretrained one and the same training from scratch."""

import json
import re
import shutil
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

import txfm
from txfm.__main__ import main
from txfm.report.build_page import build_page
from txfm.report.finetuning_charts import TRAININGS

MODEL = {"preset": "nano", "width": 16, "n_visible_genes": 12, "steps": 2, "batch_size_samples": 16}
QUICK = ["--device", "cpu", "--precision", "float32", "--threads", "1"]
STAGES = {"pretrained": "pretrained", "finetuned": "fine-tuned", "from_scratch": "from scratch"}


@pytest.fixture(scope="module")
def results(small_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build with a model and two fine-tunings of it, of which one was compared with its training samples."""
    results = tmp_path_factory.mktemp("results") / "small"
    shutil.copytree(small_corpus, results / "corpus")
    model = results / "models" / "all.nano.s0"
    data = ["--corpus", str(results / "corpus"), "--variant", "all", "--model", json.dumps(MODEL)]
    assert main(["train", *data, "--out", str(model), "--checkpoints", str(results / "checkpoints"), *QUICK]) == 0
    rng = np.random.default_rng(0)
    genes = list(txfm.load(model).vocabulary.ensembl_ids)
    cells = anndata.AnnData(
        rng.poisson(rng.gamma(0.6, 9.0, len(genes)), (60, len(genes))).astype(np.float32), var=pd.DataFrame(index=genes)
    )
    cells.obs["plate"] = np.repeat(["p1", "<p2>", "p3"], 20)
    cells.write_h5ad(results.with_name("cells.h5ad"))
    changes = ["--set", json.dumps({"steps": 4, "validate_every_steps": 2})]
    file = ["--data", str(results.with_name("cells.h5ad")), "--batch-column", "plate"]
    for name, options in {"checked": ["--corpus", str(results / "corpus")], "unchecked": ["--no-from-scratch"]}.items():
        out = ["--out", str(results / "finetuned" / name)]
        assert main(["finetune", str(model), *file, *out, *changes, *options, *QUICK]) == 0
    return results


@pytest.fixture(scope="module")
def page(results: Path) -> str:
    build_page(results, results / "report.html")
    text = (results / "report.html").read_text()
    return text[text.index('id="finetuning"') : text.index('id="maps"')]


def test_the_scores_of_the_page_are_those_of_finetune_json(results: Path, page: str) -> None:
    table = pd.read_parquet(results / "figures" / "tables" / "finetuning.parquet").set_index(["finetuning", "stage"])
    for name, stages in {"checked": list(STAGES), "unchecked": ["pretrained", "finetuned"]}.items():
        scores = json.loads((results / "finetuned" / name / "finetune.json").read_text())["scores"]
        assert table.loc[name].index.tolist() == [STAGES[stage] for stage in stages]
        for stage in stages:
            for measure in ("loss", "explained_deviance", "pearson_masked", "cls_rank", "samples_seen"):
                assert table.loc[(name, STAGES[stage]), measure] == scores[stage][measure]
            assert f"{STAGES[stage]} {scores[stage]['explained_deviance']:.3f}" in page
            assert f"{scores[stage]['loss']:.1f}" in page


def test_the_curves_are_a_plot_with_its_data_and_files(results: Path, page: str) -> None:
    report = json.loads((results / "finetuned" / "checked" / "finetune.json").read_text())
    drawn = pd.read_parquet(results / "figures" / "finetuning.parquet")
    assert drawn.equals(pd.read_parquet(results / "figures" / "tables" / "finetuning_curves.parquet"))
    shown = drawn[(drawn["finetuning"] == "checked") & (drawn["measure"] == "loss")]
    for training, lines in report["curves"].items():
        of_training = shown[shown["training"] == TRAININGS[training]]
        assert of_training["value"].tolist() == [line["loss"] for line in lines]
        assert of_training["step"].tolist() == [0, 2, 4]
    assert all((results / "figures" / f"finetuning.{suffix}").stat().st_size for suffix in ("svg", "png"))
    assert "vega-lite" in page


def test_data_and_held_out_batches_are_named_and_what_was_not_compared_is_a_warning(results: Path, page: str) -> None:
    assert "all.nano.s0" in page
    assert "cells.h5ad" in page
    held_out = json.loads((results / "finetuned" / "checked" / "finetune.json").read_text())["data"]["held_out_batches"]
    assert f"plate: {held_out[0].replace('<', '&lt;').replace('>', '&gt;')}" in page
    assert "variant all" in page
    assert re.search(
        r"unchecked: its held-out samples were not compared with the training samples of variant all", page
    )
    assert "checked: its" not in page.replace("unchecked: its", "")
    for link in re.findall(r'href="(finetuned/[^"]+)"', page):
        assert (results / link).is_file()
    assert "finetuned/checked/finetune.json" in page


def test_a_build_without_fine_tuned_models_has_no_such_section(small_corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(small_corpus, tmp_path / "corpus")
    build_page(tmp_path, tmp_path / "report.html")
    assert "finetuning" not in (tmp_path / "report.html").read_text().lower()
    assert not list((tmp_path / "figures").rglob("finetuning*"))
