"""Training end to end on the tiny corpus: files, resuming, refusals."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import txfm
from txfm.__main__ import main
from txfm.config import config_from_mapping
from txfm.corpus import open_corpus
from txfm.cost import activation_bytes, state_bytes
from txfm.errors import InputError
from txfm.hardware import Hardware, choose_hardware
from txfm.model import TxFM
from txfm.statistics import mean_expression
from txfm.training.checkpoint import Checkpoints, checkpoint_folders
from txfm.training.micro_batch import SHARE_OF_FREE_MEMORY
from txfm.training.run import TrainingRun, train
from txfm.training.schedule import one_cycle_lr
from txfm.training.step import TrainingStep
from txfm.validation import BATCH_SAMPLES, SEED, Validation

TINY_MODEL = {
    "preset": "nano",
    "width": 16,
    "n_visible_genes": 12,
    "samples_seen": 400,
    "batch_size_samples": 16,
    "log_every_steps": 1,
    "validate_every_steps": 10,
    "stochastic_depth": 0.2,
}
CLOCKED = ("samples_per_s", "tokens_per_s")
ONE_THREAD = Hardware(device=torch.device("cpu"), precision="float32", threads=1)


def tiny_run(corpus: Any, folder: Path, **overrides: object) -> TrainingRun:
    return TrainingRun(
        corpus=corpus.folder,
        variant="tiny",
        config=config_from_mapping(TINY_MODEL | overrides),
        seed=0,
        out=folder / "model",
        checkpoints=folder / "checkpoints",
        checkpoint_every_steps=4,
    )


def metrics(folder: Path) -> list[dict[str, Any]]:
    """Lines of metrics.jsonl without what the clock decides."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in CLOCKED} for line in lines]


@pytest.fixture(scope="module")
def trained(tiny_corpus: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train(tiny_run(tiny_corpus, folder), ONE_THREAD)
    return folder


def interrupt_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    original = TrainingStep.__call__

    def step_or_stop(self: TrainingStep, batch: Any, number: int, *others: Any) -> tuple[torch.Tensor, torch.Tensor]:
        if number == step:
            raise KeyboardInterrupt
        return original(self, batch, number, *others)

    monkeypatch.setattr(TrainingStep, "__call__", step_or_stop)


def test_a_finished_run_leaves_weights_card_and_metrics(trained: Path) -> None:
    out = trained / "model"
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md",
        "metrics.jsonl",
        "model.json",
        "model.safetensors",
    ]
    assert list((trained / "checkpoints").iterdir()) == []
    card = json.loads((out / "model.json").read_text())
    assert card["variant"] == {"name": "tiny", "digest": "digest-variant-tiny"}
    assert card["corpus_digest"] == "digest-corpus"
    assert card["simulated_data"] is True
    assert card["training_studies"]["gamma"]["n_samples"] == 12
    assert card["samples_seen"] == 3 * 132 + 16  # the budget of 400, rounded up to a batch
    assert card["steps"] == 3 * 9 + 1
    assert card["vocabulary"]["symbols"][:2] == ["GENE0", "GENE1"]
    assert card["final_metrics"]["validation"]["step"] == card["steps"]


def test_metrics_hold_one_line_a_step_and_the_validations(trained: Path) -> None:
    lines = metrics(trained / "model")
    assert [line["step"] for line in lines if line["kind"] == "train"] == list(range(1, 29))
    assert [line["step"] for line in lines if line["kind"] == "validation"] == [0, 10, 20, 28]
    whole = [json.loads(line) for line in (trained / "model" / "metrics.jsonl").read_text().splitlines()]
    assert all(line["samples_per_s"] > 0 and line["tokens_per_s"] > 0 for line in whole if line["kind"] == "train")
    validation = lines[-1]
    assert validation["n_samples"] == validation["n_samples_masked"] == 30
    assert set(validation["explained_deviance_by_study"]) == {"alpha", "beta"}
    assert 0 <= validation["dead_gene_share"] <= 1
    assert validation["cls_rank"] >= 1


def validation_scores(corpus: Any, n_visible_genes: int, unmeasured: str | None = None) -> dict[str, Any]:
    config = config_from_mapping(TINY_MODEL | {"n_visible_genes": n_visible_genes})
    means = mean_expression(open_corpus(corpus.folder, "tiny", "train"), config.library_size_counts)
    held_back = open_corpus(corpus.folder, "tiny", "validation", batch_size=BATCH_SAMPLES, seed=SEED)
    if unmeasured is not None:
        held_back.measured[held_back.studies.index(unmeasured)] = False
    network = TxFM(config, len(held_back.vocabulary))
    network.initialise(torch.full((network.n_genes,), 5.0), torch.Generator().manual_seed(0))
    return Validation(held_back, means, 30).score(network, torch.device("cpu"), "float32")


def test_validation_averages_masked_genes_over_samples_that_have_some(tiny_corpus: Any) -> None:
    few, many = (validation_scores(tiny_corpus, n_visible_genes) for n_visible_genes in (12, 35))
    assert (few["n_samples_masked"], many["n_samples_masked"]) == (30, 20)  # beta measured 30 genes, alpha 40
    alone = validation_scores(tiny_corpus, 35, unmeasured="beta")
    assert many["loss_masked"] == pytest.approx(alone["loss_masked"], rel=1e-6)
    assert many["explained_deviance_masked"] == pytest.approx(alone["explained_deviance_masked"], rel=1e-6)


def test_validation_without_a_masked_gene_has_no_masked_scores(tiny_corpus: Any) -> None:
    scores = validation_scores(tiny_corpus, 50)
    assert scores["n_samples_masked"] == 0
    assert scores["loss_masked"] is None
    assert scores["explained_deviance_masked"] is None
    assert scores["loss"] == pytest.approx(scores["loss_visible"], rel=1e-6)


def test_validation_leaves_out_samples_without_a_measured_gene(tiny_corpus: Any) -> None:
    every, alone = (validation_scores(tiny_corpus, 12, unmeasured) for unmeasured in (None, "beta"))
    assert alone["explained_deviance_by_study"]["beta"] is None
    by_study = alone["explained_deviance_by_study"]["alpha"]
    assert by_study == pytest.approx(alone["explained_deviance"], rel=1e-12)
    assert by_study == pytest.approx(every["explained_deviance_by_study"]["alpha"], rel=0.2)


def test_the_same_run_gives_the_same_weights(trained: Path, tiny_corpus: Any, tmp_path: Path) -> None:
    train(tiny_run(tiny_corpus, tmp_path), ONE_THREAD)
    assert_same_model(trained / "model", tmp_path / "model")


def assert_same_model(expected: Path, found: Path) -> None:
    assert metrics(found) == metrics(expected)
    first, second = load_file(expected / "model.safetensors"), load_file(found / "model.safetensors")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("step", [1, 4, 17])
def test_an_interrupted_run_resumes_to_the_same_bits(
    trained: Path, tiny_corpus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    run = tiny_run(tiny_corpus, tmp_path)
    with monkeypatch.context() as patch:
        interrupt_at(patch, step)
        with pytest.raises(KeyboardInterrupt):
            train(run, ONE_THREAD)
    assert not run.out.exists()
    assert len(checkpoint_folders(run.checkpoints)) == min(step // 4, 2)
    train(run, ONE_THREAD)
    assert_same_model(trained / "model", run.out)


def test_after_a_write_that_failed_the_same_command_only_validates_and_writes(
    trained: Path, tiny_corpus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny_run(tiny_corpus, tmp_path)

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("txfm.training.run.save_model", full_disk)
        with pytest.raises(OSError, match="No space left"):
            train(run, ONE_THREAD)
    assert checkpoint_folders(run.checkpoints)[-1].name == "step-000000028"
    monkeypatch.setattr(TrainingStep, "__call__", lambda *_: pytest.fail("a step was taken again"))
    train(run, ONE_THREAD)
    assert_same_model(trained / "model", run.out)
    expected, found = (
        json.loads((path / "model.json").read_text())["final_metrics"] for path in (trained / "model", run.out)
    )
    assert found["validation"] == expected["validation"]
    assert found["train"].keys() == expected["train"].keys()
    assert found["train"]["loss"] == expected["train"]["loss"]
    assert list(run.checkpoints.iterdir()) == []


def test_a_run_that_is_stopped_while_it_validates_for_the_last_time_goes_on_from_its_last_step(
    trained: Path, tiny_corpus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shorter than the steps between two checkpoints: without the last one all of it would be lost."""
    run = replace(tiny_run(tiny_corpus, tmp_path), checkpoint_every_steps=1000)
    original, n_validations = Validation.score, 0

    def score_or_stop(self: Validation, *arguments: Any) -> dict[str, Any]:
        nonlocal n_validations
        n_validations += 1
        if n_validations == 4:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(Validation, "score", score_or_stop)
    with pytest.raises(KeyboardInterrupt):
        train(run, ONE_THREAD)
    monkeypatch.setattr(TrainingStep, "__call__", lambda *_: pytest.fail("a step was taken again"))
    train(run, ONE_THREAD)
    assert_same_model(trained / "model", run.out)
    assert n_validations == 5


def kept_weights(run: TrainingRun) -> dict[str, dict[str, torch.Tensor]]:
    folder = run.out.with_name(f"{run.out.name}.kept")
    return {path.name: load_file(path / "model.safetensors") for path in sorted(folder.iterdir())}


def assert_same_kept(expected: TrainingRun, found: TrainingRun) -> None:
    first, second = kept_weights(expected), kept_weights(found)
    assert first.keys() == second.keys()
    for name, weights in first.items():
        assert all(torch.equal(weights[tensor], second[name][tensor]) for tensor in weights)


def test_a_process_killed_at_any_moment_resumes_to_the_same_bits(tiny_corpus: Any, tmp_path: Path) -> None:
    """With a checkpoint a step and a kept model every five, most moments are within the writing of one."""
    model = TINY_MODEL | {"samples_seen": 1500, "validate_every_steps": 60, "log_every_steps": 7}
    killed = replace(tiny_run(tiny_corpus, tmp_path / "killed", **model), checkpoint_every_steps=1, keep_every_steps=5)
    paths = ["--corpus", str(tiny_corpus.folder), "--out", str(killed.out), "--checkpoints", str(killed.checkpoints)]
    options = [
        "--variant",
        "tiny",
        "--model",
        json.dumps(model),
        "--precision",
        "float32",
        "--threads",
        "1",
        "--device",
        "cpu",
    ]
    every = ["--checkpoint-every-steps", "1", "--keep-every-steps", "5"]
    command = [sys.executable, "-m", "txfm", "train", *paths, *options, *every]
    random = np.random.default_rng()
    for least in (3, 40):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while not any(int(folder.name[5:]) >= least for folder in checkpoint_folders(killed.checkpoints)):
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(random.uniform(0, 0.1))
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert not killed.out.exists()
    train(killed, ONE_THREAD)
    whole = replace(killed, out=tmp_path / "model", checkpoints=tmp_path / "saved")
    train(whole, ONE_THREAD)
    assert_same_model(whole.out, killed.out)
    assert_same_kept(whole, killed)


def test_no_file_of_a_run_is_a_pickle(tiny_corpus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_at(monkeypatch, 9)
    with pytest.raises(KeyboardInterrupt):
        train(tiny_run(tiny_corpus, tmp_path), ONE_THREAD)
    files = {path.name for path in (tmp_path / "checkpoints").rglob("*") if path.is_file()}
    assert files == {"state.safetensors", "state.json", "metrics.jsonl"}


def keeping_run(corpus: Any, folder: Path, **overrides: object) -> TrainingRun:
    """A run of 28 steps that keeps models of 5, 10, 15, 20 and 25."""
    return replace(tiny_run(corpus, folder, **overrides), keep_every_steps=5)


@pytest.fixture(scope="module")
def kept(tiny_corpus: Any, tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    run = keeping_run(tiny_corpus, tmp_path_factory.mktemp("kept"))
    train(run, ONE_THREAD)
    return run


def test_a_model_every_n_steps_stays_and_changes_nothing(kept: TrainingRun, trained: Path) -> None:
    assert_same_model(trained / "model", kept.out)
    assert list(kept_weights(kept)) == [f"model-{step:09d}" for step in (5, 10, 15, 20, 25)]
    cards = [txfm.load(kept.out.with_name("model.kept") / name).card for name in kept_weights(kept)]
    assert [card["steps"] for card in cards] == [5, 10, 15, 20, 25]
    assert [card["samples_seen"] for card in cards] == [
        5 * 16,
        132 + 16,
        132 + 6 * 16,
        2 * 132 + 2 * 16,
        2 * 132 + 7 * 16,
    ]


@pytest.mark.parametrize("step", [3, 10, 18])
def test_kept_models_of_an_interrupted_run_are_those_of_a_whole_one(
    kept: TrainingRun, tiny_corpus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    run = keeping_run(tiny_corpus, tmp_path)
    with monkeypatch.context() as patch:
        interrupt_at(patch, step)
        with pytest.raises(KeyboardInterrupt):
            train(run, ONE_THREAD)
    folder = run.out.with_name("model.kept")
    assert len(list(folder.glob("*"))) == step // 5
    for half in (".model-000000020.99.tmp", "model-000000020"):  # a kill while it was written, or renamed
        (folder / half).mkdir(parents=True)
        (folder / half / "model.safetensors").write_bytes(b"half")
    train(run, ONE_THREAD)
    assert_same_kept(kept, run)


def test_a_folder_with_kept_models_of_another_training_is_refused(
    kept: TrainingRun, tiny_corpus: Any, tmp_path: Path
) -> None:
    run = keeping_run(tiny_corpus, tmp_path, max_lr=1e-4)
    folder = run.out.with_name("model.kept")
    shutil.copytree(kept.out.with_name("model.kept"), folder)
    with pytest.raises(
        InputError, match=r"another training[\s\S]*model-000000005[\s\S]*max_lr=0\.0001[\s\S]*max_lr=0\.003"
    ):
        train(run, ONE_THREAD)
    assert len(list(folder.iterdir())) == 5
    train(replace(run, config=replace(run.config, max_lr=3e-3), micro_batch=5), ONE_THREAD)  # the same training again


def test_checkpoints_of_another_configuration_are_refused(
    tiny_corpus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny_run(tiny_corpus, tmp_path)
    interrupt_at(monkeypatch, 9)
    with pytest.raises(KeyboardInterrupt):
        train(run, ONE_THREAD)
    other = replace(run, config=replace(run.config, max_lr=1e-4))
    with pytest.raises(
        InputError,
        match=r"config\.max_lr=0\.0001[\s\S]*config\.max_lr=0\.003[\s\S]*do: undo the change [\s\S]*delete the folder",
    ):
        train(other, ONE_THREAD)


@pytest.mark.parametrize("is_older", [False, True])
def test_a_run_may_be_resumed_with_another_log_and_learns_the_same(
    trained: Path, tiny_corpus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_older: bool
) -> None:
    run = keeping_run(tiny_corpus, tmp_path)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 9)
        with pytest.raises(KeyboardInterrupt):
            train(run, ONE_THREAD)
    if is_older:  # what was compared before this version
        path = checkpoint_folders(run.checkpoints)[-1] / "state.json"
        state = json.loads(path.read_text())
        state["identity"]["config"] |= {"log_every_steps": 1, "validate_every_steps": 10, "n_validation_samples": 512}
        path.write_text(json.dumps(state))
    watched = {"log_every_steps": 7, "validate_every_steps": 6, "n_validation_samples": 64}
    train(replace(run, config=replace(run.config, **watched)), ONE_THREAD)
    lines = metrics(run.out)
    assert [line["step"] for line in lines if line["kind"] == "train"] == [*range(1, 9), 14, 21, 28]
    assert [line["step"] for line in lines if line["kind"] == "validation"] == [0, 12, 18, 24, 28]
    whole, resumed = (load_file(path / "model.safetensors") for path in (trained / "model", run.out))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_run_from_given_weights_keeps_the_samples_that_it_is_judged_by(
    tiny_corpus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = replace(tiny_run(tiny_corpus, tmp_path), started_from="other weights")
    interrupt_at(monkeypatch, 9)
    with pytest.raises(KeyboardInterrupt):
        train(run, ONE_THREAD)
    with pytest.raises(InputError, match=r"expected: config\.n_validation_samples=64\n"):
        train(replace(run, config=replace(run.config, n_validation_samples=64)), ONE_THREAD)


def test_a_checkpoint_that_is_damaged_is_named_with_the_one_before_it(
    tiny_corpus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: Path
) -> None:
    run = tiny_run(tiny_corpus, tmp_path)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 9)
        with pytest.raises(KeyboardInterrupt):
            train(run, ONE_THREAD)
    newest = checkpoint_folders(run.checkpoints)[-1]
    weights = (newest / "state.safetensors").read_bytes()
    (newest / "state.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(InputError, match=r"step-000000008[\s\S]*goes on from step-000000004"):
        train(run, ONE_THREAD)
    shutil.rmtree(newest)
    half_written = run.checkpoints / ".step-000000012.99.tmp"  # a kill while it was written
    half_written.mkdir()
    (half_written / "state.safetensors").write_bytes(weights[:100])
    train(run, ONE_THREAD)
    assert_same_model(trained / "model", run.out)
    assert list(run.checkpoints.iterdir()) == []


def test_two_trainings_never_share_a_folder_of_checkpoints(tiny_corpus: Any, tmp_path: Path) -> None:
    run = tiny_run(tiny_corpus, tmp_path)
    with Checkpoints(run.checkpoints, {}, 4).locked(), pytest.raises(InputError, match="Another training runs"):
        train(run, ONE_THREAD)


def test_the_same_curve_comes_out_however_many_samples_pass_at_once(tiny_corpus: Any, tmp_path: Path) -> None:
    for size in (None, 5):
        run = tiny_run(tiny_corpus, tmp_path / str(size))
        train(replace(run, micro_batch=size), ONE_THREAD)
    whole, parts = metrics(tmp_path / "None" / "model"), metrics(tmp_path / "5" / "model")
    assert [line["loss"] for line in parts] == pytest.approx([line["loss"] for line in whole], rel=1e-5)


def overfit(corpus: Any, model: dict[str, Any], *options: str) -> int:
    """Exit code of ``--overfit-batch`` on one thread."""
    given = ["--corpus", str(corpus.folder), "--variant", "tiny", "--device", "cpu", "--precision", "float32"]
    try:
        return main(["train", *given, "--model", json.dumps(model), *options])
    except SystemExit as ended:
        return int(ended.code or 0)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_overfitting_one_batch_passes_for_a_sound_model_and_writes_nothing(
    tiny_corpus: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.chdir(tmp_path)
    in_parts = ["--seed", str(seed), "--batch-size", "6"]
    assert overfit(tiny_corpus, TINY_MODEL, "--overfit-batch", "200", *in_parts) == 0
    out = capsys.readouterr().out
    assert "one batch of 16 samples, 6 at a time" in out
    assert float(re.search(r"passed: (\d+\.\d)% of the deviance at the start is left", out).group(1)) < 5  # type: ignore[union-attr]
    assert list(tmp_path.iterdir()) == []


def test_overfitting_one_batch_fails_for_a_model_that_mixes_up_samples_or_learns_too_slowly(
    tiny_corpus: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert overfit(tiny_corpus, TINY_MODEL | {"max_lr": 3e-5}, "--overfit-batch", "100") == 1
    original = TxFM.tokens
    monkeypatch.setattr(TxFM, "tokens", lambda *given: original(*given)[torch.randperm(len(given[1]))])
    assert overfit(tiny_corpus, TINY_MODEL, "--overfit-batch", "100") == 1
    assert len(re.findall(r"failed: [89]\d\.\d% of the deviance", capsys.readouterr().out)) == 2


def test_overfitting_one_batch_fails_for_an_encoder_without_a_gradient(
    tiny_corpus: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decoder alone learns a few samples by heart."""
    original = TxFM.decode
    monkeypatch.setattr(TxFM, "decode", lambda self, cls_BD: original(self, cls_BD.detach()))
    assert overfit(tiny_corpus, TINY_MODEL, "--overfit-batch", "20") == 1
    assert re.search(r"failed: .*no gradient in cls, gene_table\.weight", capsys.readouterr().out)


def test_overfitting_takes_no_batch_that_memory_does_not_hold(
    tiny_corpus: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_from_mapping(TINY_MODEL)
    needed = state_bytes(config, 56, "float32") + activation_bytes(config, 56, 4, "float32", "cpu")
    monkeypatch.setattr("txfm.training.overfit.available_bytes", lambda _: int(needed / SHARE_OF_FREE_MEMORY) + 1)
    overfit(tiny_corpus, TINY_MODEL, "--overfit-batch", "1")
    assert "one batch of 16 samples, 4 at a time" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--batch-size", "many"),
        ("--ranks", "0"),
        ("--peak-tflops", "-1"),
        ("--threads", "0"),
        ("--memory-gib", "0"),
        ("--memory-gib", "-1"),
        ("--memory-gib", "nan"),
        ("--memory-gib", "inf"),
        ("--overfit-batch", "0"),
        ("--overfit-batch", "-3"),
        ("--keep-every-steps", "0"),
        ("--keep-every-steps", "-5"),
    ],
)
def test_options_that_cannot_be_used_are_refused(
    tiny_corpus: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    options = ["--corpus", str(tiny_corpus.folder), "--variant", "tiny", "--model", json.dumps(TINY_MODEL)]
    folders = ["--out", str(tmp_path / "m"), "--checkpoints", str(tmp_path / "c")]
    assert main(["train", *options, *folders, f"{option}={value}"]) == 2
    assert f"{option} cannot be used" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_overfitting_on_several_ranks_is_refused(tiny_corpus: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert overfit(tiny_corpus, TINY_MODEL, "--overfit-batch", "1", "--ranks", "2") == 2
    assert "one process, no --ranks" in capsys.readouterr().err


@pytest.mark.parametrize("n_visible_genes", [56, 2048])
def test_a_training_that_would_mask_nothing_is_refused(tiny_corpus: Any, tmp_path: Path, n_visible_genes: int) -> None:
    run = tiny_run(tiny_corpus, tmp_path, n_visible_genes=n_visible_genes)
    with pytest.raises(
        InputError, match=r"nothing would be masked[\s\S]*the vocabulary's 56 genes[\s\S]*n_visible_genes to 14"
    ):
        train(run, ONE_THREAD)
    assert not run.out.exists()
    assert not run.checkpoints.exists()


def test_studies_whose_genes_are_all_shown_are_told_before_training(
    tiny_corpus: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny_run(tiny_corpus, tmp_path, n_visible_genes=30, samples_seen=16), ONE_THREAD)
    output = capsys.readouterr().out
    plan = output[: output.index("step 0")]
    assert "alpha: 70 samples, 40 of these genes measured, 25.0% of them masked" in plan
    assert "beta: 50 samples, 30 of these genes measured, 0.0% of them masked" in plan
    assert plan.count("warning:") == 1
    assert "K = 30 shows all of its genes: nothing is masked in these 50 samples" in plan


def test_a_finished_model_is_never_overwritten(trained: Path, tiny_corpus: Any) -> None:
    before = (trained / "model" / "model.safetensors").read_bytes()
    with pytest.raises(InputError, match="never overwritten"):
        train(tiny_run(tiny_corpus, trained), ONE_THREAD)
    assert (trained / "model" / "model.safetensors").read_bytes() == before


def test_a_loss_that_is_not_finite_stops_the_run_at_its_step(
    tiny_corpus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = TxFM.decode
    calls = 0

    def poisoned(self: TxFM, cls_BD: torch.Tensor) -> tuple[torch.Tensor, None]:
        nonlocal calls
        calls += self.training
        return original(self, cls_BD)[0] * (float("nan") if calls == 6 else 1.0), None

    monkeypatch.setattr(TxFM, "decode", poisoned)
    with pytest.raises(InputError, match="step 6: loss nan"):
        train(tiny_run(tiny_corpus, tmp_path), ONE_THREAD)
    assert [folder.name for folder in checkpoint_folders(tmp_path / "checkpoints")] == ["step-000000004"]


def test_a_variant_without_validation_trains_and_says_so(
    write_corpus: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = write_corpus(tmp_path / "corpus", validation=False)
    train(tiny_run(corpus, tmp_path), ONE_THREAD)
    assert "no study of this variant has a held-out batch" in capsys.readouterr().out
    assert {line["kind"] for line in metrics(tmp_path / "model")} == {"train"}


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_training_explains_held_out_samples(tiny_corpus: Any, tmp_path: Path, seed: int) -> None:
    """At most 7% of the deviance: 132 samples teach little. With stochastic depth two seeds of four explain none.

    A network of width 16 has nothing to spare. What a model explains comes first, because the losses of different
    seeds start at different values.
    """
    changes = {"samples_seen": 4000, "n_visible_genes": 40, "stochastic_depth": 0.0, "validate_every_steps": 1000}
    train(replace(tiny_run(tiny_corpus, tmp_path, **changes), seed=seed), ONE_THREAD)
    first, last = [line for line in metrics(tmp_path / "model") if line["kind"] == "validation"]
    assert first["explained_deviance"] < 0.01
    assert last["explained_deviance"] > 0.03  # 0.059 to 0.072
    assert last["loss"] < first["loss"]
    assert last["dead_gene_share"] == 0


def test_learning_rate_rises_for_a_tenth_and_then_falls() -> None:
    rates = [one_cycle_lr(step, 1000, 1e-3) for step in range(1000)]
    assert rates[0] == pytest.approx(4e-5)
    assert max(rates) == rates[100] == 1e-3
    assert rates[-1] == pytest.approx(4e-9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = scheduler(optimiser, max_lr=1e-3, total_steps=1000, pct_start=0.1)
    expected = []
    for _ in range(1000):
        expected.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        if len(expected) < 1000:
            theirs.step()
    np.testing.assert_allclose(rates, expected, rtol=0.03, atol=2e-6)  # torch's peak is one step earlier


def test_precision_and_device_are_resolved() -> None:
    assert choose_hardware("cpu", "float32", 1).precision == "float32"
    assert choose_hardware("cpu", "auto", 1).precision in ("bf16", "float32")
    with pytest.raises(InputError, match="at least 1"):
        choose_hardware("cpu", "auto", 0)


def test_wrong_input_ends_with_exit_code_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    options = ["--out", str(tmp_path / "m"), "--checkpoints", str(tmp_path / "c"), "--corpus", str(tmp_path / "none")]
    assert main(["train", "--variant", "x", "--model", '{"preset": "nano"}', *options]) == 2
    assert "error: There is no variant 'x'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert main(["train"]) == 2
    assert "--corpus, --variant" in capsys.readouterr().err


def test_describe_needs_no_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--describe", "B"]) == 0
    assert "158.52M" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--genes=-5", "--genes=0", "--memory-gib=nan", "--threads=0"])
def test_describe_refuses_what_cannot_be(capsys: pytest.CaptureFixture[str], option: str) -> None:
    assert main(["train", "--describe", "S", option]) == 2
    assert f"{option.partition('=')[0]} cannot be used" in capsys.readouterr().err


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, txfm; sys.exit('torch' in sys.modules or 'anndata' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert callable(txfm.load)
