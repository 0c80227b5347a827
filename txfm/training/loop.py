"""The steps of a training, from where it stands to its end: learning rate, logs, validation, checkpoints, stops."""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from txfm.corpus import Batch, Corpus
from txfm.errors import InputError
from txfm.training.checkpoint import Checkpoints, Progress
from txfm.training.divergence import Divergence
from txfm.training.kept import KeptModels
from txfm.training.ranks import RankLostError
from txfm.training.run_log import RunLog
from txfm.training.schedule import one_cycle_lr
from txfm.training.step import TrainingStep
from txfm.training.stopping import StopRequest
from txfm.training.throughput import Stopwatch
from txfm.validation import Validation


class StoppedError(Exception):
    """A signal asked the training to stop; what it has reached is in a checkpoint.

    Attributes
    ----------
    step : int
        Steps taken.
    """

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped after step {step}")
        self.step = step


@dataclass(kw_only=True)
class Loop:
    """The loop over steps.

    Only rank 0 has `log` and `validation`; while it validates or writes, the others wait for it in their next
    collective. So scores are the same whatever the number of ranks, and no rank needs another's samples; it costs the
    others the time of a few steps in a thousand.

    Parameters
    ----------
    take_step : TrainingStep
    corpus : Corpus
        This rank's part of the batches.
    total_steps : int
    checkpoints : Checkpoints
    stopwatch : Stopwatch
    stop : StopRequest
    log : RunLog, optional
    validation : Validation, optional
    kept : KeptModels, optional
    on_divergence : callable
        Called on rank 0 with what was found; saves it and returns where.
    """

    take_step: TrainingStep
    corpus: Corpus
    total_steps: int
    checkpoints: Checkpoints
    stopwatch: Stopwatch
    stop: StopRequest
    log: RunLog | None
    validation: Validation | None
    kept: KeptModels | None
    on_divergence: Callable[[Divergence], Path]

    def __post_init__(self) -> None:
        self.step, self.samples_seen = 0, 0
        self.last_line: dict[str, Any] | None = None
        self._network, self._ranks = self.take_step.network, self.take_step.ranks
        self._hardware = self.take_step.hardware
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=self._hardware.device)
        self._n_unlogged = 0
        self._n_measured_S = np.count_nonzero(self.corpus.measured, axis=1)

    def run(self, progress: Progress | None) -> dict[str, Any] | None:
        """Go on from `progress` to the last step, and save there; returns the validation that follows.

        Where `progress` is of the last step, all that is left is to validate.

        Raises
        ------
        StoppedError
            On every rank, if a signal reached one of them.
        InputError
            The loss or the gradient is not finite.
        """
        if progress is not None:
            self.step, self.samples_seen = progress.step, progress.samples_seen
            self._loss_sum += progress.unlogged_loss_sum
            self._n_unlogged = progress.unlogged_steps
            self.last_line = progress.last_line
        self._network.train()
        if self.step == 0:
            self._validate()
        self.stopwatch.restart()
        with closing(_endless(self.corpus)) as batches:
            while self.step < self.total_steps:
                self._advance(next(batches))
        return self._validate()

    def _advance(self, batch: Batch) -> None:
        """One step with all that is due after it; the last validation is not, because it follows the last save."""
        config = self._network.config
        n_counted = int(np.count_nonzero(self._n_measured_S[batch.study_index]))
        n_samples, n_counted, n_stops = self._ranks.sums([len(batch), n_counted, int(bool(self.stop))])
        lr = one_cycle_lr(self.step, self.total_steps, config.max_lr, config.warmup_share)
        loss, gradient_norm = self.take_step(batch, self.step, lr, n_counted)
        self.step += 1
        self.samples_seen += n_samples
        self.stopwatch.count(n_samples)
        self._loss_sum += loss
        self._n_unlogged += 1
        is_last = self.step == self.total_steps
        logs = is_last or self.step % config.log_every_steps == 0
        validates = not is_last and self.step % config.validate_every_steps == 0
        keeps = self.kept is not None and self.kept.is_due(self.step)
        saves = is_last or n_stops > 0 or self.step % self.checkpoints.every_steps == 0
        if (
            logs or validates or keeps or saves or self._hardware.device.type == "cpu"
        ):  # elsewhere it would wait for the GPU
            self._refuse_divergence()
        if logs:
            self._log(lr, float(gradient_norm))
        if validates:
            self._validate()
        if keeps:
            self._keep()
        if saves:  # after a model is kept, so that one that a kill prevented is made up for
            self._save()
        if validates or keeps or saves:
            self.stopwatch.restart()
        if n_stops and not is_last:
            raise StoppedError(self.step)

    def _log(self, lr: float, gradient_norm: float) -> None:
        speed = self.stopwatch.lap(self.total_steps - self.step)
        self.last_line = {
            "kind": "train",
            "step": self.step,
            "samples_seen": self.samples_seen,
            "loss": float(self._loss_sum) / self._n_unlogged,
            "lr": lr,
            "gradient_norm": gradient_norm,
            "samples_per_s": round(speed.samples_per_s, 1),
            "tokens_per_s": round(speed.tokens_per_s),
        }
        if speed.mfu is not None:
            self.last_line["mfu"] = round(speed.mfu, 4)
        self._loss_sum.zero_()
        self._n_unlogged = 0
        if self.log is not None:
            self.log.training(self.last_line, speed)

    def _validate(self) -> dict[str, Any] | None:
        if self.validation is None or self.log is None:
            return None
        scores = self.validation.score(self._network, self._hardware.device, self._hardware.precision)
        line = {"kind": "validation", "step": self.step, "samples_seen": self.samples_seen, **scores}
        self.log.validation(line)
        return line

    def _keep(self) -> None:
        if self.log is None or self.kept is None:
            return
        self.kept.save(
            self._network,
            self.corpus,
            self._hardware,
            seed=self.checkpoints.identity["seed"],
            step=self.step,
            samples_seen=self.samples_seen,
        )

    def _save(self) -> None:
        if self.log is None:
            return
        progress = Progress(
            step=self.step,
            samples_seen=self.samples_seen,
            reader=self.corpus.state_dict(),
            metrics_bytes=self.log.metrics.sync(),
            unlogged_loss_sum=float(self._loss_sum),
            unlogged_steps=self._n_unlogged,
            micro_batch=self.take_step.micro_batch,
            world=self._ranks.world,
            last_line=self.last_line,
        )
        self.checkpoints.save(self._network, self.take_step.optimiser, progress)

    def _refuse_divergence(self) -> None:
        found = self.take_step.guard.divergence()
        if found is None:
            return
        where = self._ranks.from_main(lambda: str(self.on_divergence(found)))
        if not self._ranks.is_main:  # every rank has found the same; rank 0 says it
            raise RankLostError
        raise InputError(
            f"Training diverged at step {found.step + 1}: loss {found.loss}, gradient norm {found.gradient_norm}",
            where=where,
            expected="finite numbers",
            found="the folder has the batch of that step, the seed of its masks and the weights before it",
            todo="go on from the last checkpoint with --precision float32; or start anew with a lower max_lr or with a "
            "gradient_clip_norm, in another folder of checkpoints",
        )


def _endless(corpus: Corpus) -> Generator[Batch, None, None]:
    while True:
        yield from corpus
