"""A model's folder: written whole or not at all, read only if it is what it says, and described for people."""

import ast
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import txfm
from txfm.__main__ import main
from txfm.artifact import Provenance, parent_of, provenance, read_artifact, write_artifact
from txfm.artifact.format import FIELDS, FORMAT_VERSION
from txfm.artifact.provenance import git_commit, software, studies_seen
from txfm.artifact.readme import readme
from txfm.artifact.sums import sums_of
from txfm.corpus.places import place_of
from txfm.corpus.variant import read_variant
from txfm.errors import InputError
from txfm.evaluation.held_out import refuse_leakage
from txfm.pretrained import load as load_txfm

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "models"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the committed TxFM of today's format."""
    return shutil.copytree(GOLDEN / FORMAT_VERSION / "txfm", tmp_path / "mine")


def change(folder: Path, **fields: object) -> Path:
    """Set fields of model.json; returns the folder."""
    card = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(card | fields))
    return folder


def card_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "model.json").read_text())


# --- pickles


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "MODEL.PTH", "weights.pkl", "epoch.ckpt"])
def test_a_folder_that_holds_a_pickle_is_refused_and_the_pickle_is_not_opened(folder: Path, name: str) -> None:
    # What a hostile file does when it is opened; torch.save would write the same opcodes
    (folder / name).write_bytes(b"cposix\nsystem\n(S'touch " + str(folder).encode() + b"/opened'\ntR.")
    with pytest.raises(InputError, match=f"pickle[\\s\\S]*found: {re.escape(name)}"):
        txfm.load(folder)
    assert not (folder / "opened").exists()


def test_a_folder_of_pickles_alone_is_told_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(InputError, match="pickle"):
        txfm.load(tmp_path)


def test_weights_that_are_a_pickle_under_another_name_are_refused(folder: Path) -> None:
    torch.save({"cls": torch.zeros(8)}, folder / "model.safetensors")
    files = {**card_of(folder)["files"], "model.safetensors": sums_of(folder / "model.safetensors")}
    with pytest.raises(InputError, match="damaged"):
        txfm.load(change(folder, files=files))


PICKLERS = {"cloudpickle", "dill", "joblib", "pickle", "shelve"}


def opens_pickles(source: str) -> list[int]:
    """Return lines that import a pickler, call torch.load or read_pickle, or allow numpy to unpickle."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
        call = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        allows = isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False"
        imports = PICKLERS & {name.split(".")[0] for name in modules}
        if imports or allows or call == "torch.load" or call.endswith((".read_pickle", ".load_from_checkpoint")):
            found.add(node.lineno)
    return sorted(found)


@pytest.mark.parametrize(
    "source", ["import pickle", "from joblib import load", "torch.load(f)", "np.load(f, allow_pickle=True)"]
)
def test_a_line_that_opens_pickles_is_found(source: str) -> None:
    assert opens_pickles(source) == [1]


def test_no_module_of_txfm_can_open_a_pickle() -> None:
    files = sorted((ROOT / "txfm").rglob("*.py"))
    assert len(files) > 50
    found = {str(path.relative_to(ROOT)): opens_pickles(path.read_text()) for path in files}
    assert not {path: lines for path, lines in found.items() if lines}


# --- reading


def test_a_committed_model_opens_and_says_what_it_is(folder: Path) -> None:
    model = txfm.load(folder)
    assert model.card["kind"] == "txfm"
    assert model.n_dimensions == 8
    assert "vocabulary" not in model.card
    assert len(model.vocabulary) == 24


def test_the_sums_are_compared_unless_that_is_switched_off(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["cls"] += 1
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(InputError, match=r"not the one that model\.json names[\s\S]*sha256"):
        txfm.load(folder)
    assert txfm.load(folder, verify=False).n_dimensions == 8


def test_a_file_that_lacks_an_end_is_damaged_whether_compared_or_not(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-100])
    for verify in (True, False):
        with pytest.raises(InputError, match=r"model\.safetensors"):
            txfm.load(folder, verify=verify)


def test_the_log_of_the_training_may_be_left_behind(folder: Path) -> None:
    (folder / "metrics.jsonl").unlink()
    assert txfm.load(folder).n_dimensions == 8
    (folder / "metrics.jsonl").write_text("something else\n")
    with pytest.raises(InputError, match=r"metrics\.jsonl"):
        txfm.load(folder)


@pytest.mark.parametrize(
    ("version", "is_read"), [(FORMAT_VERSION, True), ("1.99", True), ("2.0", False), ("0.2", False), ("", False)]
)
def test_a_later_minor_version_is_read_and_a_later_major_is_refused(folder: Path, version: str, is_read: bool) -> None:
    config = card_of(folder)["config"] | {"field_of_tomorrow": 3}
    change(folder, format_version=version, config=config, news={"a": 1})
    if is_read:
        assert txfm.load(folder).card["news"] == {"a": 1}
    else:
        with pytest.raises(InputError, match=rf"expected: .*1\.x or 0\.1[\s\S]*version {version}[\s\S]*install"):
            txfm.load(folder)


def test_a_kind_that_is_not_known_is_refused_with_advice(folder: Path) -> None:
    with pytest.raises(InputError, match=r"expected: txfm, pca[\s\S]*found: diffusion[\s\S]*a later one"):
        txfm.load(change(folder, kind="diffusion"))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("", "Expecting value"),
        ('{"format": "txfm-model"', "Expecting"),
        ("[1]", "a list"),
        ('{"format": "txfm-model", "format_version": "1.0"}', "no field 'kind'"),
    ],
)
def test_a_damaged_description_is_told_apart(folder: Path, content: str, found: str) -> None:
    (folder / "model.json").write_text(content)
    with pytest.raises(InputError, match=f"damaged[\\s\\S]*found: .*{found}"):
        txfm.load(folder)


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_that_is_missing_or_of_another_type_is_named(folder: Path, field: str) -> None:
    card = card_of(folder)
    for wrong in ({key: value for key, value in card.items() if key != field}, card | {field: 1.5}):
        (folder / "model.json").write_text(json.dumps(wrong))
        with pytest.raises(InputError, match=f"cannot be read|{field}"):
            txfm.load(folder)


@pytest.mark.parametrize(
    "vocabulary",
    [
        {},
        {"axis_positions": [], "ensembl_ids": [], "symbols": []},
        {"axis_positions": [1, 2], "ensembl_ids": ["a", "a"], "symbols": ["", ""]},
        {"axis_positions": [1], "ensembl_ids": ["a", "b"], "symbols": ["", ""]},
    ],
)
def test_a_vocabulary_that_contradicts_itself_is_damaged(folder: Path, vocabulary: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="vocabulary"):
        txfm.load(change(folder, vocabulary=vocabulary))


@pytest.mark.parametrize(
    "fields",
    [
        {"variant": {"name": "x"}},
        {"training_studies": {"cells": 3}},
        {"training_studies": {"cells": {}}},
        {"parent": {}},
    ],
)
def test_a_part_of_a_field_that_is_missing_is_named(folder: Path, fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"a part of field '{next(iter(fields))}'"):
        txfm.load(change(folder, **fields))


def test_a_description_that_names_files_elsewhere_is_damaged(folder: Path) -> None:
    files = card_of(folder)["files"] | {"../secret": {"bytes": 1, "sha256": "0"}}
    with pytest.raises(InputError, match="a file elsewhere"):
        txfm.load(change(folder, files=files))


def test_weights_of_another_shape_do_not_fit_whatever_the_kind(folder: Path, tmp_path: Path) -> None:
    config = card_of(folder)["config"]
    for wrong in (config | {"n_blocks": 3}, config | {"width": 16}, {"width": 8}):
        with pytest.raises(InputError, match="do not fit"):
            txfm.load(change(folder, config=wrong))
    for kind in ("pca", "lognorm", "hvg", "scvi"):
        baseline = shutil.copytree(GOLDEN / FORMAT_VERSION / kind, tmp_path / kind)
        with pytest.raises(InputError, match="do not fit"):
            txfm.load(change(baseline, n_dimensions=9))


@pytest.mark.parametrize("value", [None, "100000", {}])
def test_a_setting_of_another_type_does_not_fit_a_baseline(value: object, tmp_path: Path) -> None:
    baseline = shutil.copytree(GOLDEN / FORMAT_VERSION / "pca", tmp_path / "pca")
    config = card_of(baseline)["config"] | {"library_size_counts": value}
    with pytest.raises(InputError, match="do not fit"):
        txfm.load(change(baseline, config=config))


def test_a_baseline_cannot_be_opened_where_a_network_is_needed() -> None:
    with pytest.raises(InputError, match=r"no TxFM[\s\S]*found: pca"):
        load_txfm(GOLDEN / FORMAT_VERSION / "pca")


# --- writing


def test_a_model_that_is_read_and_written_again_is_the_same(folder: Path, tmp_path: Path) -> None:
    artifact = read_artifact(folder)
    write_artifact(tmp_path / "again", artifact.tensors(), artifact.vocabulary, artifact.card, folder / "metrics.jsonl")
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == sorted(
        path.name for path in folder.iterdir()
    )
    assert card_of(tmp_path / "again") == card_of(folder)
    modes = {path.stat().st_mode for path in (tmp_path / "again").iterdir()}
    assert len(modes) == 1, "safetensors writes for the owner only"


def test_a_writer_that_forgets_a_field_leaves_nothing_behind(folder: Path, tmp_path: Path) -> None:
    artifact = read_artifact(folder)
    del artifact.card["seed"]
    with pytest.raises(InputError, match="seed"):
        write_artifact(tmp_path / "out" / "again", artifact.tensors(), artifact.vocabulary, artifact.card)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_writer_that_is_killed_leaves_no_model(folder: Path, tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nimport txfm.artifact.write as write\n"
        "from txfm.artifact import read_artifact\n"
        "def killed(path, content):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "write.write_json = killed\n"  # after weights and page, before the file that marks a model as finished
        "old = read_artifact(Path(sys.argv[1]))\n"
        "write.write_artifact(Path(sys.argv[2]), old.tensors(), old.vocabulary, old.card)\n"
    )
    command = [sys.executable, "-c", program, str(folder), str(tmp_path / "new")]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert not (tmp_path / "new").exists()
    artifact = read_artifact(folder)
    write_artifact(tmp_path / "new", artifact.tensors(), artifact.vocabulary, artifact.card)
    assert txfm.load(tmp_path / "new").n_dimensions == 8


# --- provenance


def test_the_record_of_a_variant_has_studies_with_recipe_licence_and_the_held_out_ones(small_corpus: Path) -> None:
    of_strict = Provenance.of(read_variant(place_of(small_corpus), "strict"))
    assert {study: entry["recipe"] for study, entry in of_strict.studies.items()} == {
        "breast_cancer": "plain",
        "gtex": "plain",
        "mine": "strict",
    }
    assert of_strict.studies["gtex"] | {"n_samples": 0} == {
        "recipe": "plain",
        "assay": "bulk",
        "n_samples": 0,
        "simulated": False,
        "title": "gtex",
        "licence": "CC0",
    }
    assert of_strict.held_out == ("elsewhere",)
    assert of_strict.n_samples == sum(entry["n_samples"] for entry in of_strict.studies.values()) > 0
    corpus = json.loads((small_corpus / "corpus.json").read_text())
    assert of_strict.as_mapping()["corpus_digest"] == corpus["digest"]


def test_a_fine_tuned_model_carries_every_study_that_its_weights_ever_saw(folder: Path, small_corpus: Path) -> None:
    parent = txfm.load(folder).card
    assert parent_of("mine", parent)["weights_sha256"] == sums_of(folder / "model.safetensors")["sha256"]
    variant = read_variant(place_of(small_corpus), "all")
    child = Provenance.of(variant).as_mapping(parent_of("mine", parent))
    grandchild = Provenance.of(variant).as_mapping(parent_of("child", parent | child))
    assert child["simulated_data"] is True, "the parent's cells were"
    for card in (child, grandchild):
        assert studies_seen(card) == {"cells", "tissue", *variant.studies}
        with pytest.raises(InputError, match="trained on cells"):
            refuse_leakage("cells", folder, card, variant)
    refuse_leakage("elsewhere", folder, child, variant)


def test_a_parent_of_the_first_format_has_no_sum() -> None:
    assert parent_of("old", txfm.load(GOLDEN / "0.1" / "txfm").card)["weights_sha256"] is None


def test_the_software_names_versions_and_the_commit_of_a_checkout_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stated = software(precision="bf16")
    assert stated["torch"] == torch.__version__
    assert stated["precision"] == "bf16"
    assert stated["git_commit"] == git_commit()
    # Installed inside somebody's own checkout: its commit says nothing about txfm
    quiet = {"cwd": tmp_path, "check": True, "capture_output": True}
    author = ["-c", "user.name=n", "-c", "user.email=e@x"]
    for command in (["init", "-q"], [*author, "commit", "-q", "--allow-empty", "-m", "m"]):
        subprocess.run(["git", *command], **quiet)
    monkeypatch.setattr(provenance, "__file__", shutil.copy(provenance.__file__, tmp_path))
    assert git_commit() is None
    for command in (["add", "."], [*author, "commit", "-q", "-m", "m"]):
        subprocess.run(["git", *command], **quiet)
    assert re.fullmatch("[0-9a-f]{40}", str(git_commit()))
    (tmp_path / "provenance.py").write_text("changed")
    assert re.fullmatch("[0-9a-f]{40}-dirty", str(git_commit()))


# --- the page


def front_matter(page: str) -> dict[str, Any]:
    return yaml.safe_load(page.split("---\n")[1])


def test_the_page_begins_with_what_hugging_face_reads(folder: Path) -> None:
    front = front_matter((folder / "README.md").read_text())
    assert front["license"] == "apache-2.0"
    assert front["library_name"] == "txfm"
    assert front["datasets"] == ["cells", "tissue"]
    assert {"txfm", "single-cell", "masked-autoencoder"} <= set(front["tags"])


def test_the_page_says_what_the_description_says(folder: Path) -> None:
    page = (folder / "README.md").read_text()
    assert page == readme(card_of(GOLDEN / FORMAT_VERSION / "txfm"), "txfm")
    for wanted in (
        "Simulated data",
        "| cells (SIMULATED) | Toy cells | plain | sc | 24 | CC0 | 0.250 |",
        "| tissue | not stated | plain | bulk | 6 | not stated | no held-out batch |",
        "never trained on: elsewhere",
        "| explained deviance; 0: no better than the mean of the sample's study | 0.250 |",
        "| rank of the embedding (participation ratio); 1: collapsed | 3.5 |",
        "| dead genes: share that the model never predicts to be there | 0.0% |",
        "arXiv:2605.31562",
        "24 genes",
        "python -m txfm embed txfm mine.h5ad",
    ):
        assert wanted in page


def test_a_model_of_measured_data_has_no_warning_and_a_fine_tuned_one_names_its_parent(folder: Path) -> None:
    card = card_of(folder)
    studies = {name: entry | {"simulated": False, "title": "a | b"} for name, entry in card["training_studies"].items()}
    parent = parent_of("grown", txfm.load(folder).card)
    page = readme(card | {"simulated_data": False, "training_studies": studies, "parent": parent}, "mine")
    assert "SIMULATED" not in page.upper()
    assert "| a \\| b |" in page
    assert "Fine-tuned from `grown`" in page
    assert "cells, tissue" in page


def test_a_model_without_validation_and_without_a_hold_out_says_so(folder: Path) -> None:
    page = readme(card_of(folder) | {"final_metrics": {"train": None, "validation": None}, "held_out": []}, "mine")
    assert "Nothing was measured" in page
    assert "No study was held out" in page


def test_the_code_of_the_page_runs(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import anndata as ad
    import pandas as pd

    model = txfm.load(folder)
    counts = np.random.default_rng(0).poisson(3.0, (4, 24)).astype(np.float32)
    ad.AnnData(counts, var=pd.DataFrame(index=list(model.vocabulary.ensembl_ids))).write_h5ad(tmp_path / "mine.h5ad")
    monkeypatch.chdir(tmp_path)
    page = readme(card_of(folder), folder.name)
    names: dict[str, Any] = {}
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], names)
    assert names["vectors"].shape == (4, 8)
    command = re.search(r"`python -m (txfm embed [^`]*)`", page)[1].split()
    assert main(command[1:]) == 0
    assert ad.read_h5ad(tmp_path / "embedded.h5ad").n_obs == 4
