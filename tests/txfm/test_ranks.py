"""Several ranks train the model that one would, and end together; real processes, ended by real signals."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from txfm.config import config_from_mapping
from txfm.errors import InputError
from txfm.hardware import Hardware
from txfm.training.checkpoint import checkpoint_folders
from txfm.training.exit_codes import EXIT_RESUMABLE
from txfm.training.loop import StoppedError
from txfm.training.ranks import Ranks
from txfm.training.run import TrainingRun, train
from txfm.training.step import TrainingStep

MODEL = {
    "preset": "nano",
    "width": 16,
    "n_visible_genes": 12,
    "stochastic_depth": 0.3,
    "steps": 50,
    "batch_size_samples": 16,
    "log_every_steps": 1,
    "validate_every_steps": 20,
}
ONE_THREAD = Hardware(device=torch.device("cpu"), precision="float32", threads=1)


def command(corpus: Any, folder: Path, *options: str) -> list[str]:
    paths = ["--corpus", str(corpus.folder), "--out", str(folder / "model"), "--checkpoints", str(folder / "saved")]
    run = ["--variant", "tiny", "--model", json.dumps(MODEL), "--precision", "float32", "--device", "cpu"]
    return ["-m", "txfm", "train", *paths, *run, "--checkpoint-every-steps", "3", *options]


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "model" / "metrics.jsonl").read_text().splitlines()]


def assert_same_curve(folder: Path, expected: list[dict[str, Any]]) -> None:
    """The same lines, with losses, gradient norms and scores equal to 1e-5."""
    found = lines(folder)
    assert [(line["kind"], line["step"], line["samples_seen"]) for line in found] == [
        (line["kind"], line["step"], line["samples_seen"]) for line in expected
    ]
    for line, other in zip(found, expected, strict=True):
        for name in ("loss", "gradient_norm", "loss_masked"):
            if name in line:
                assert line[name] == pytest.approx(other[name], rel=1e-5), (line["step"], name)


@pytest.fixture(scope="module")
def of_one_rank(tiny_corpus: Any, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("one")
    train(run_in(tiny_corpus, folder), ONE_THREAD)
    return lines(folder)


def run_in(corpus: Any, folder: Path) -> TrainingRun:
    return TrainingRun(
        corpus=corpus.folder,
        variant="tiny",
        config=config_from_mapping(MODEL),
        seed=0,
        out=folder / "model",
        checkpoints=folder / "saved",
        checkpoint_every_steps=3,
    )


def test_two_ranks_of_torchrun_train_as_one_rank_with_the_same_global_batch(
    tiny_corpus: Any, tmp_path: Path, of_one_rank: list[dict[str, Any]]
) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run(
        [*torchrun, *command(tiny_corpus, tmp_path, "--batch-size", "3")], check=True, stdout=subprocess.DEVNULL
    )
    assert_same_curve(tmp_path, of_one_rank)


def start(corpus: Any, folder: Path) -> subprocess.Popen[str]:
    """Start two ranks."""
    return subprocess.Popen(
        [sys.executable, *command(corpus, folder, "--ranks", "2")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_step(process: subprocess.Popen[str], step: int) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        found = re.match(r"step (\d+)/", line)
        if found and int(found.group(1)) >= step:
            return
    raise AssertionError(f"it ended before step {step}")


def pid_of_rank(launcher: int, rank: int) -> int:
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    environments = {int(child): Path(f"/proc/{child}/environ").read_bytes().split(b"\0") for child in children}
    return next(child for child, names in environments.items() if f"RANK={rank}".encode() in names)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the ranks by /proc")
def test_ranks_that_are_stopped_and_killed_go_on_to_the_same_curve_also_as_one_rank(
    tiny_corpus: Any, tmp_path: Path, of_one_rank: list[dict[str, Any]]
) -> None:
    stopped = start(tiny_corpus, tmp_path)
    wait_for_step(stopped, 7)
    stopped.send_signal(signal.SIGTERM)
    output, _ = stopped.communicate(timeout=60)
    assert stopped.returncode == EXIT_RESUMABLE
    step = int(re.search(r"stopped after step (\d+) and saved: the same command goes on", output).group(1))  # type: ignore[union-attr]
    assert checkpoint_folders(tmp_path / "saved")[-1].name == f"step-{step:09d}"
    for rank in (1, 0):  # in one run: starting two processes is what costs time
        killed = start(tiny_corpus, tmp_path)
        wait_for_step(killed, step + 9)
        os.kill(pid_of_rank(killed.pid, rank), signal.SIGKILL)
        _, errors = killed.communicate(timeout=60)
        assert killed.returncode == 1
        assert f"rank {rank} of 2 was ended by signal 9 (SIGKILL)" in errors
        step = int(checkpoint_folders(tmp_path / "saved")[-1].name.removeprefix("step-"))
        assert step < MODEL["steps"] - 9  # type: ignore[operator]
    assert not (tmp_path / "model").exists()
    train(run_in(tiny_corpus, tmp_path), ONE_THREAD)
    assert_same_curve(tmp_path, of_one_rank)


def test_what_is_wrong_for_all_ranks_is_said_once(tiny_corpus: Any, tmp_path: Path) -> None:
    wrong = command(tiny_corpus, tmp_path, "--ranks", "2")
    wrong[wrong.index("tiny")] = "tinny"
    ended = subprocess.run([sys.executable, *wrong], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.count("error:") == 1
    assert "did you mean 'tiny'" in ended.stderr


def test_a_batch_that_cannot_be_divided_is_refused_with_what_can() -> None:
    assert Ranks(rank=0, world=4).share_of_batch(1536) == 384
    with pytest.raises(InputError, match=r"a multiple of 5, such as 1535[\s\S]*use 4 ranks"):
        Ranks(rank=0, world=5).share_of_batch(1536)


def test_a_signal_ends_and_saves_at_the_next_step(
    tiny_corpus: Any, tmp_path: Path, of_one_rank: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, handler, original = run_in(tiny_corpus, tmp_path), signal.getsignal(signal.SIGUSR1), TrainingStep.__call__

    def signalled(self: TrainingStep, batch: Any, number: int, *others: Any) -> tuple[torch.Tensor, torch.Tensor]:
        if number == 7:
            os.kill(os.getpid(), signal.SIGUSR1)
        return original(self, batch, number, *others)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingStep, "__call__", signalled)
        with pytest.raises(StoppedError, match="step 9"):  # ranks tell each other before a step, not within
            train(run, ONE_THREAD)
    assert signal.getsignal(signal.SIGUSR1) == handler
    train(run, ONE_THREAD)
    timeless = [
        {name: value for name, value in line.items() if not name.endswith("_per_s")} for line in lines(tmp_path)
    ]
    assert timeless == [
        {name: value for name, value in line.items() if not name.endswith("_per_s")} for line in of_one_rank
    ]
