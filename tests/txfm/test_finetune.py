"""Fine-tuning on a file and on a corpus: what is held out, what is refused, what is written."""

import json
import shutil
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import txfm
from txfm.__main__ import main
from txfm.artifact.provenance import studies_seen
from txfm.config import PRESETS, config_from_mapping
from txfm.errors import InputError
from txfm.evaluation.held_out import refuse_leakage
from txfm.finetuning.changes import finetuning_config
from txfm.finetuning.held_out_batches import held_out_batches
from txfm.hardware import Hardware
from txfm.training.run import TrainingRun, train
from txfm.training.step import TrainingStep

MODEL = {
    "preset": "nano",
    "width": 16,
    "n_visible_genes": 12,
    "steps": 60,
    "batch_size_samples": 16,
    "log_every_steps": 4,
    "validate_every_steps": 20,
}
QUICK = ["--device", "cpu", "--precision", "float32", "--threads", "1"]


@pytest.fixture(scope="module")
def model(write_corpus: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that was trained on the studies alpha and gamma."""
    folder = tmp_path_factory.mktemp("pretrained")
    corpus = write_corpus(folder / "corpus", studies=("alpha", "gamma"))
    run = TrainingRun(
        corpus=corpus.folder,
        variant="tiny",
        config=config_from_mapping(MODEL),
        seed=3,
        out=folder / "model",
        checkpoints=folder / "saved",
    )
    train(run, Hardware(device=torch.device("cpu"), precision="float32", threads=1))
    return folder / "model"


@pytest.fixture(scope="module")
def cells(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """90 samples of a new study in four batches: 30 genes of the model, five others, and a sample without counts."""
    genes = [*txfm.load(model).vocabulary.ensembl_ids[5:35], *(f"ENSG9999900000{i}" for i in range(5))]
    rng = np.random.default_rng(1)
    rates = np.r_[rng.gamma(1.0, 8.0, 30), np.ones(5)] * np.where(rng.random((90, 35)) < 0.3, 3.0, 1.0)
    counts = rng.poisson(rates).astype(np.float32)
    counts[7] = 0
    obs = pd.DataFrame({"plate": np.repeat(["p1", "p2", "p3", "p4"], [40, 30, 12, 8])})
    obs.index = [f"cell{i}" for i in range(90)]
    path = tmp_path_factory.mktemp("cells") / "plates.h5ad"
    anndata.AnnData(counts, obs=obs, var=pd.DataFrame(index=genes)).write_h5ad(path)
    return path


def finetune(model: Path, data: Path, out: Path, *options: str, steps: int = 24) -> int:
    changes = json.dumps({"steps": steps, "validate_every_steps": 8, "log_every_steps": 1})
    return main(["finetune", str(model), "--data", str(data), "--out", str(out), "--set", changes, *QUICK, *options])


@pytest.fixture(scope="module")
def tuned(model: Path, cells: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tuned") / "model"
    assert finetune(model, cells, out, "--batch-column", "plate") == 0
    return out


def test_the_new_model_keeps_the_vocabulary_and_says_where_it_comes_from(tuned: Path, model: Path) -> None:
    new, old = txfm.load(tuned), txfm.load(model)
    assert new.vocabulary.ensembl_ids == old.vocabulary.ensembl_ids
    card = new.card
    assert list(card["training_studies"]) == ["plates"]
    assert card["training_studies"]["plates"]["n_samples"] == 77  # 90 without p3 and the empty sample
    assert card["parent"]["training_studies"] == ["alpha", "gamma"]
    assert card["parent"]["weights_sha256"] == old.card["files"]["model.safetensors"]["sha256"]
    assert (card["steps"], card["seed"]) == (24, 0)
    page = (tuned / "README.md").read_text()
    assert "Fine-tuned from" in page
    assert "before fine-tuning" in page
    assert "after the same training from scratch" in page
    assert not tuned.with_name("model.checkpoints").exists()
    assert set(card["files"]) == {"model.safetensors", "metrics.jsonl", "finetune.json"}


def test_a_report_that_was_changed_is_noticed(tuned: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tuned, tmp_path / "copy")
    report = (copy / "finetune.json").read_text()
    (copy / "finetune.json").write_text(report.replace("pretrained", "finetuned"))
    with pytest.raises(InputError, match=r"finetune\.json"):
        txfm.load(copy)
    (copy / "finetune.json").unlink()
    assert txfm.load(copy).n_dimensions == MODEL["width"]


def test_genes_that_the_data_lack_keep_their_weights_whatever_the_weight_decay(
    model: Path, cells: Path, tmp_path: Path
) -> None:
    changes = json.dumps({"steps": 24, "validate_every_steps": 24, "weight_decay_scale": 1})
    options = ("--validation", "none", "--no-from-scratch", "--set", changes)
    assert finetune(model, cells, tmp_path / "out", *options) == 0
    old, new = (load_file(folder / "model.safetensors") for folder in (model, tmp_path / "out"))
    measured = np.zeros(len(old["decoder_out.bias"]), dtype=bool)
    measured[5:35] = True
    for name in ("gene_table.weight", "decoder_out.weight", "decoder_out.bias"):
        changed = (old[name] != new[name]).reshape(len(measured), -1).any(dim=1).numpy()
        assert changed[measured].all()
        assert not changed[~measured].any()


def test_the_report_compares_with_the_start_and_with_a_training_from_scratch(tuned: Path, model: Path) -> None:
    report = json.loads((tuned / "finetune.json").read_text())
    scores, curves = report["scores"], report["curves"]
    assert set(scores) == {"pretrained", "finetuned", "from_scratch"}
    assert (
        [line["step"] for line in curves["finetuned"]]
        == [line["step"] for line in curves["from_scratch"]]
        == [0, 8, 16, 24]
    )
    assert curves["finetuned"][0]["loss"] == scores["pretrained"]["loss"] != curves["from_scratch"][0]["loss"]
    assert {line["n_samples"] for line in (*curves["finetuned"], *curves["from_scratch"])} == {12}
    assert report["data"]["held_out_batches"] == ["p3"]
    assert report["data"]["n_genes_not_in_model"] == {"plates": 5}
    assert report["data"]["n_samples_without_counts"] == 1
    assert report["parent"]["name"] == str(model)
    assert scores["finetuned"]["loss"] < scores["pretrained"]["loss"]


def test_evaluation_knows_what_the_new_model_and_its_parent_have_seen(tuned: Path) -> None:
    card = txfm.load(tuned).card
    assert studies_seen(card) == {"alpha", "gamma", "plates"}
    variant = type("Manifest", (), {"name": "plates", "studies": (), "digest": card["variant"]["digest"]})()
    for study in ("plates", "alpha"):
        with pytest.raises(InputError, match=f"trained on {study}"):
            refuse_leakage(study, tuned, card, variant)


def test_fine_tuning_that_would_mask_nothing_is_refused(
    model: Path, cells: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    n_genes = len(txfm.load(model).vocabulary)
    changes = json.dumps({"steps": 1, "n_visible_genes": n_genes})
    options = ["--data", str(cells), "--batch-column", "plate", "--out", str(tmp_path / "model"), "--set", changes]
    assert main(["finetune", str(model), *options, *QUICK]) == 2
    assert f"fewer than the vocabulary's {n_genes} genes" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_table_is_printed_and_a_killed_run_goes_on_without_training_from_scratch_again(
    model: Path, cells: Path, tmp_path: Path, tuned: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    n_steps, original = 0, TrainingStep.__call__

    def counted(self: TrainingStep, *arguments: Any) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal n_steps
        n_steps += 1
        if n_steps == 24 + 11:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(TrainingStep, "__call__", counted)
    options = ("--batch-column", "plate", "--checkpoint-every-steps", "5")
    with pytest.raises(KeyboardInterrupt):
        finetune(model, cells, tmp_path / "model", *options)
    assert finetune(model, cells, tmp_path / "model", *options) == 0
    assert n_steps == 24 + 11 + 14
    output = capsys.readouterr().out
    assert "the training from scratch has ended before" in output
    assert "resuming at step 10" in output
    assert "explained deviance" in output[output.index("held-out batches") :]
    reports = [json.loads((folder / "finetune.json").read_text()) for folder in (tuned, tmp_path / "model")]
    assert reports[0]["curves"] == reports[1]["curves"]


def test_a_training_from_scratch_is_used_again_only_for_the_same_data_batches_and_parent(
    model: Path, cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    more = anndata.read_h5ad(cells)
    more.X[0] += 1
    more.write_h5ad(tmp_path / cells.name)
    cousin = tmp_path / "cousin"
    assert finetune(model, cells, cousin, "--validation", "none", "--study", "other", steps=1) == 0
    taken, original = [], TrainingStep.__call__

    def killed_after_scratch(self: TrainingStep, *arguments: Any) -> tuple[torch.Tensor, torch.Tensor]:
        if len(taken) == n_before:
            raise KeyboardInterrupt
        taken.append(1)
        return original(self, *arguments)

    monkeypatch.setattr(TrainingStep, "__call__", killed_after_scratch)
    share = ("--validation-share", "0.4")
    for parent, data, options, is_new in (
        (model, cells, (), True),
        (model, cells, (), False),
        (model, tmp_path / cells.name, (), True),
        (model, cells, share, True),
        (cousin, cells, share, True),
        (cousin, cells, share, False),
    ):
        taken.clear()
        n_before = 2 if is_new else 0
        capsys.readouterr()
        with pytest.raises(KeyboardInterrupt):
            finetune(parent, data, tmp_path / "out", "--batch-column", "plate", *options, steps=2)
        output = capsys.readouterr().out
        assert ("training from scratch, to compare with" in output, "has ended before" in output) == (
            is_new,
            not is_new,
        )
        assert len(taken) == n_before


def test_a_variant_of_a_corpus_is_a_target_too(
    model: Path, write_corpus: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = write_corpus(tmp_path / "other", studies=("beta",))
    options = ("--variant", "tiny", "--no-from-scratch")
    assert finetune(model, corpus.folder, tmp_path / "out", *options, steps=8) == 0
    report = json.loads((tmp_path / "out" / "finetune.json").read_text())
    assert set(report["scores"]) == {"pretrained", "finetuned"}
    assert report["curves"]["from_scratch"] is None
    assert report["data"]["variant"] == "tiny"
    assert txfm.load(tmp_path / "out").card["training_studies"]["beta"]["n_samples"] == 50
    seen = write_corpus(tmp_path / "seen", studies=("alpha", "beta"))
    (seen.folder / "corpus.json").write_text(
        json.dumps({"format": "diverserna-corpus", "format_version": "0.1", "name": "x", "digest": "another build"})
    )
    assert finetune(model, seen.folder, tmp_path / "no", *options) == 2
    assert "trained on study alpha" in capsys.readouterr().err


def test_a_grandchild_is_not_validated_on_what_its_grandparent_may_have_seen(
    model: Path, write_corpus: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_corpus(tmp_path / "other", studies=("alpha", "beta")).folder
    overview = json.loads((other / "corpus.json").read_text()) | {"digest": "another build"}
    (other / "corpus.json").write_text(json.dumps(overview))
    options = ("--variant", "tiny", "--no-from-scratch")
    assert finetune(model, other, tmp_path / "child", *options, "--validation", "none", steps=2) == 0
    # The child was trained on this very corpus, but its parent on another build's alpha: who knows on which samples
    assert finetune(tmp_path / "child", other, tmp_path / "grandchild", *options, steps=2) == 2
    assert "trained on study alpha:" in capsys.readouterr().err
    assert not (tmp_path / "grandchild").exists()
    # The corpus of the only training has the same held-out batches
    assert finetune(model, model.parent / "corpus", tmp_path / "same", *options, steps=2) == 0
    assert txfm.load(tmp_path / "same").card["final_metrics"]["validation"]["n_samples"] == 20


def test_what_cannot_be_fine_tuned_on_is_refused_with_advice(
    model: Path, cells: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refusals = {
        (): "--batch-column with one of plate",
        ("--batch-column", "plates"): "no column 'plates'",
        ("--batch-column", "plate", "--study", "alpha"): "The model was trained on study alpha",
        ("--batch-column", "plate", "--validation-share", "2"): "between 0 and 1",
        ("--batch-column", "plate", "--set", '{"width": 8}'): "cannot change",
        ("--batch-column", "plate", "--set", "{"): "not valid JSON",
    }
    for options, message in refusals.items():
        assert finetune(model, cells, tmp_path / "out", *options) == 2
        assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_is_used_of_a_file_is_printed_and_what_is_left_out_with_its_reason(
    model: Path, cells: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--batch-column", "plate", "--no-from-scratch")
    assert finetune(model, cells, tmp_path / "out", *options, steps=1) == 0
    lines = capsys.readouterr().out.splitlines()
    counts = anndata.read_h5ad(cells).X
    share, n_genes = counts[:, :30].sum() / counts.sum(), len(txfm.load(model).vocabulary)
    assert lines[0].startswith(f"genes: 30 of the model's {n_genes} found")
    assert "30 of 35 input genes used" in lines[0]
    assert lines[1].startswith(f"counts: {share:.1%} of {counts.sum():,.0f} are on the model's genes")
    assert lines[2] == "left out: 1 of 90 samples, without a count on the model's genes"
    assert lines[3] == "held out for validation: 12 of 89 samples, plate p3"
    assert json.loads((tmp_path / "out" / "finetune.json").read_text())["data"]["share_of_counts"] == pytest.approx(
        share
    )


def with_studies(cells: Path, studies: Any, path: Path) -> Path:
    """The same cells with a column `study`."""
    adata = anndata.read_h5ad(cells)
    adata.obs["study"] = pd.Categorical(studies)
    adata.write_h5ad(path)
    return path


@pytest.mark.parametrize(
    ("studies", "options", "message"),
    [
        (["new"] * 89 + ["alpha"], (), "trained on study alpha:"),
        (["gamma"] * 40 + ["alpha"] * 50, (), "trained on study alpha, gamma:"),
        ([None] * 5 + ["new"] * 85, ("--study", "gamma"), "trained on study gamma:"),
        (["alpha"] * 90, ("--study", "other"), "cannot give another name"),
        (["alpha"] * 90, ("--study", "other", "--validation", "none"), "cannot give another name"),
    ],
)
def test_no_study_that_was_seen_passes_under_another_name(
    studies: list[str | None],
    options: tuple[str, ...],
    message: str,
    model: Path,
    cells: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mixed = with_studies(cells, studies, tmp_path / "mixed.h5ad")
    assert finetune(model, mixed, tmp_path / "out", "--batch-column", "plate", *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_every_study_of_a_file_is_recorded_and_scored(model: Path, cells: Path, tmp_path: Path) -> None:
    studies = np.resize(["delta", "epsilon", ""], 90)
    mixed = with_studies(cells, studies, tmp_path / "mixed.h5ad")
    options = ("--batch-column", "plate", "--study", "zeta", "--no-from-scratch")
    assert finetune(model, mixed, tmp_path / "out", *options, steps=4) == 0
    card = txfm.load(tmp_path / "out").card
    assert card["variant"]["name"] == "mixed"
    numbers = {study: entry["n_samples"] for study, entry in card["training_studies"].items()}
    assert numbers == {"delta": 26, "epsilon": 25, "zeta": 26}  # 30 each without p3; the empty sample is an epsilon
    assert set(card["final_metrics"]["validation"]["explained_deviance_by_study"]) == set(numbers)
    measured = json.loads((tmp_path / "out" / "finetune.json").read_text())["data"]["n_genes_of_model_measured"]
    assert measured == dict.fromkeys(numbers, 30)
    # Its child may be validated on none of them
    for study in numbers:
        child = with_studies(cells, [study] * 90, tmp_path / f"again_{study}.h5ad")
        assert finetune(tmp_path / "out", child, tmp_path / "child", "--batch-column", "plate") == 2


def test_without_validation_every_sample_is_trained_on_once(
    model: Path, cells: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert finetune(model, cells, tmp_path / "out", "--validation", "none", "--study", "alpha", steps=4) == 0
    card = txfm.load(tmp_path / "out").card
    assert card["training_studies"]["alpha"]["n_samples"] == 89
    assert card["final_metrics"]["validation"] is None
    report = json.loads((tmp_path / "out" / "finetune.json").read_text())
    assert report["scores"] == {}
    assert report["curves"]["from_scratch"] is None
    output = capsys.readouterr().out
    assert output.count("training from scratch") == output.count("no training from scratch:") == 1


@pytest.mark.parametrize("seed", range(5))
def test_whole_batches_near_the_wanted_share_are_held_out(seed: int) -> None:
    batches = np.random.default_rng(seed).integers(0, 40, 2000)
    held = held_out_batches(pd.DataFrame({"batch": batches}), "batch", 0.1, seed)
    assert set(batches[held]).isdisjoint(batches[~held])
    assert 0.1 <= held.mean() <= 0.15
    two = held_out_batches(pd.DataFrame({"batch": ["a"] * 70 + ["b"] * 30}), "batch", 0.1, seed)
    assert two.tolist() == [False] * 70 + [True] * 30
    with pytest.raises(InputError, match="one batch"):
        held_out_batches(pd.DataFrame({"batch": ["a"] * 7}), "batch", 0.1, seed)
    with pytest.raises(InputError, match="2 of 7"):
        held_out_batches(pd.DataFrame({"batch": ["a", None] * 2 + ["b"] * 3}), "batch", 0.1, seed)


@pytest.mark.parametrize(
    ("column", "fault"),
    [
        ("n_counts", "100 values for 100 samples, less than 5 in the median batch"),
        ("percent_mito", "numbers with fractions, such as 0.0"),
        ("coarse_mito", "numbers with fractions, such as 0.5"),
        ("barcode", "100 values for 100 samples"),
        ("pairs", "50 values for 100 samples"),
    ],
)
def test_what_is_measured_of_each_cell_is_no_batch_and_is_not_offered(column: str, fault: str) -> None:
    n = np.arange(100)
    obs = pd.DataFrame(
        {
            "plate": n // 34 + 1,
            "lane": (n % 4).astype(float),
            "donor": pd.Categorical(n % 5, categories=range(500)),
            "only": "one",
            "gaps": ["a", None] * 50,
            "n_counts": (1000 + n).astype(float),
            "percent_mito": (n + 1) / 1000,
            "coarse_mito": np.repeat([0.5, 1.0], 50),
            "barcode": [f"ACGT{i}" for i in n],
            "pairs": n // 2,
        }
    )
    for named, what in (
        (column, f"(?s)names no experimental batches.*{fault}"),
        (None, "Nothing says"),
        ("x", "no column"),
    ):
        with pytest.raises(InputError, match=what) as refused:
            held_out_batches(obs, named, 0.1, 0)
        assert "expected: --batch-column with one of plate, lane, donor\n" in str(refused.value)
    for named in ("plate", "lane", "donor"):
        held = held_out_batches(obs, named, 0.2, 0)
        assert set(obs[named][held]).isdisjoint(obs[named][~held])
        assert 0.2 <= held.mean() < 0.4
    with pytest.raises(InputError, match="one of obs' columns that names batches; it has none"):
        held_out_batches(obs[[column]], column, 0.1, 0)


EQUAL = pd.DataFrame({"batch": ["a"] * 5 + ["b"] * 5})


@pytest.mark.parametrize("share", [0.7, 0.9])
def test_a_share_that_leaves_nothing_to_train_on_is_refused(share: float) -> None:
    with pytest.raises(InputError, match="nothing would be left to train on") as refused:
        held_out_batches(EQUAL, "batch", share, 0)
    lines = [line.split(":")[0].strip() for line in str(refused.value).splitlines()]
    assert lines == ["error", "where", "expected", "found", "do"]
    assert "a (5 samples), b (5 samples)" in str(refused.value)
    assert held_out_batches(EQUAL, "batch", 0.5, 0).sum() == 5


@pytest.mark.parametrize("seed", range(5))
def test_every_study_keeps_training_samples(seed: int) -> None:
    obs = pd.DataFrame({"batch": ["only"] * 10 + ["x"] * 45 + ["y"] * 45})
    studies = np.array(["small"] * 10 + ["large"] * 90)
    held = held_out_batches(obs, "batch", 0.1, seed, studies)
    assert set(obs["batch"][held]) in ({"x"}, {"y"})
    with pytest.raises(InputError, match="nothing of some study would be left to train on"):
        held_out_batches(EQUAL, "batch", 0.5, seed, EQUAL["batch"].to_numpy())


@pytest.mark.parametrize("options", [("--validation", "none"), ("--batch-column", "plate")])
def test_a_file_without_a_count_on_the_models_genes_is_refused(
    options: tuple[str, ...], model: Path, cells: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = anndata.read_h5ad(cells)
    empty.X[:, :30] = 0
    empty.write_h5ad(tmp_path / "empty.h5ad")
    assert finetune(model, tmp_path / "empty.h5ad", tmp_path / "out", *options) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "No sample of this file has a count on the model's genes" in lines[0]
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["where", "expected", "found", "do"]
    assert [path.name for path in tmp_path.iterdir()] == ["empty.h5ad"]


def test_a_pretrained_model_does_not_decay_unless_asked_to() -> None:
    for preset in PRESETS.values():
        assert finetuning_config(preset, {"epochs": 3}).weight_decay(100) == 0
        assert finetuning_config(preset, {"weight_decay_scale": 1}).weight_decay_scale == 1


def test_the_budget_is_ten_epochs_unless_one_is_given() -> None:
    config = config_from_mapping(MODEL)
    assert (finetuning_config(config, {}).epochs, finetuning_config(config, {}).steps) == (10, None)
    assert finetuning_config(config, {"samples_seen": 5}).samples_seen == 5
    with pytest.raises(InputError, match="did you mean 'max_lr'"):
        finetuning_config(config, {"max_lrr": 1})
