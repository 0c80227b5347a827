"""A loss or gradient that is not finite is found at its step, not learned from, and what caused it is saved."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from txfm.config import config_from_mapping
from txfm.corpus import open_corpus
from txfm.errors import InputError
from txfm.hardware import Hardware
from txfm.training.checkpoint import checkpoint_folders
from txfm.training.divergence import Divergence, DivergenceGuard
from txfm.training.run import TrainingRun, train

MODEL = {"preset": "nano", "width": 16, "n_visible_genes": 12, "steps": 40, "batch_size_samples": 16}
ON_CPU = Hardware(device=torch.device("cpu"), precision="float32", threads=1)


@pytest.fixture(scope="module")
def diverged(tiny_corpus: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingRun, str]:
    """A training whose learning rate is absurd, and its message."""
    folder = tmp_path_factory.mktemp("diverged")
    run = TrainingRun(
        corpus=tiny_corpus.folder,
        variant="tiny",
        config=config_from_mapping(MODEL | {"max_lr": 1e30, "log_every_steps": 1}),
        seed=0,
        out=folder / "model",
        checkpoints=folder / "saved",
        checkpoint_every_steps=1,
    )
    with pytest.raises(InputError) as refused:
        train(run, ON_CPU)
    return run, str(refused.value)


def test_the_message_names_the_step_and_the_folder(diverged: tuple[TrainingRun, str]) -> None:
    run, message = diverged
    folder = next(run.checkpoints.glob("diverged-*"))
    assert f"Training diverged at step {int(folder.name.split('-')[-1])}: loss" in message
    assert str(folder) in message
    assert not run.out.exists()


def test_the_folder_holds_the_batch_the_masks_seed_and_the_weights_before_the_step(
    diverged: tuple[TrainingRun, str],
) -> None:
    run, _ = diverged
    folder = next(run.checkpoints.glob("diverged-*"))
    assert sorted(path.name for path in folder.iterdir()) == [
        "batch.safetensors",
        "diverged.json",
        "weights.safetensors",
    ]
    report = json.loads((folder / "diverged.json").read_text())
    step = report["step"] - 1
    assert report["masks"] == ["train", 0, step]
    corpus = open_corpus(run.corpus, "tiny", "train", batch_size=16, seed=0, max_genes=1000)
    expected = list(corpus.batches())[step]
    assert report["sample_ids"] == expected.sample_ids
    batch = load_file(folder / "batch.safetensors")
    for name in ("indptr", "positions", "counts", "study_index", "measured"):
        np.testing.assert_array_equal(batch[name].numpy(), getattr(expected, name))
    newest = checkpoint_folders(run.checkpoints)[-1]
    assert newest.name == f"step-{step:09d}"
    before = load_file(newest / "state.safetensors")
    weights = load_file(folder / "weights.safetensors")
    assert all(torch.equal(weights[name], before[f"model.{name}"]) for name in weights)
    assert all(torch.isfinite(weight).all() for weight in weights.values())


def test_the_first_bad_step_is_remembered_and_no_later_one_is_learned_from() -> None:
    guard = DivergenceGuard(torch.device("cpu"))
    weight = torch.nn.Parameter(torch.ones(2))
    optimiser = torch.optim.AdamW([weight], lr=0.1, fused=True)
    values = []
    for step, loss in enumerate([3.0, 2.0, float("inf"), float("nan"), 1.0]):
        weight.grad = torch.ones(2)
        guard.watch(step, torch.tensor(loss), torch.tensor(0.5))
        optimiser.found_inf = guard.tripped  # type: ignore[attr-defined]
        optimiser.step()
        values.append(weight.detach().clone())
    assert not torch.equal(values[0], values[1])
    assert all(torch.equal(values[1], value) for value in values[2:])
    assert guard.divergence() == Divergence(step=2, loss=float("inf"), gradient_norm=0.5)


def test_a_run_goes_on_from_its_last_checkpoint_if_what_diverged_was_not_its_own(
    diverged: tuple[TrainingRun, str],
) -> None:
    run, _ = diverged
    with pytest.raises(InputError, match=r"belong to another training run[\s\S]*config\.max_lr"):
        train(replace(run, config=replace(run.config, max_lr=1e-3)), ON_CPU)
