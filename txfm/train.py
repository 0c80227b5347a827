"""Training a model on one variant: resumable, and repeatable from (configuration, seed, variant)."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from txfm.artifact import is_finished
from txfm.checkpoint import Progress, load_checkpoint, remove_checkpoints, save_checkpoint
from txfm.config import ModelConfig
from txfm.corpus import DEFAULT_MEMORY_BYTES, Batch, Corpus, open_corpus
from txfm.errors import InputError
from txfm.hardware import Hardware
from txfm.inputs import inputs_of
from txfm.masking import choose_visible, sample_keys, seeded_generator
from txfm.metrics import MetricsFile, ProgressLine
from txfm.model import TxFM
from txfm.objective import batch_loss, masked_task
from txfm.pretrained import TrainingRecord, save_model
from txfm.schedule import one_cycle_lr
from txfm.statistics import MeanExpression, mask_log_weights, mean_expression
from txfm.validation import BATCH_SAMPLES, SEED, Validation


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """What to train, from what, to where."""

    corpus: Path
    variant: str
    config: ModelConfig
    seed: int
    out: Path
    checkpoints: Path
    checkpoint_every_steps: int = 1000
    memory_bytes: int = DEFAULT_MEMORY_BYTES


def train(run: TrainingRun, hardware: Hardware) -> None:
    """Train to the end of the budget and write the model; resume from the newest checkpoint if there is one.

    Raises
    ------
    InputError
        The model exists already, the checkpoints belong to another run, the corpus is not what its manifest says, or
        the loss is no longer finite.
    """
    _refuse_finished(run.out)
    config = run.config
    corpus = open_corpus(
        run.corpus,
        run.variant,
        "train",
        batch_size=config.batch_size_samples,
        seed=run.seed,
        max_genes=config.max_genes,
        memory_bytes=run.memory_bytes,
    )
    total_steps = config.total_steps(corpus.n_samples)
    means = mean_expression(corpus, config.library_size_counts, config.preprocessing)
    network = new_network(config, means, run.seed, hardware.device)
    optimiser = adamw(network, config.weight_decay(total_steps))
    identity = {
        "config": config.as_mapping(),
        "seed": run.seed,
        "variant": run.variant,
        "variant_digest": corpus.variant.digest,
        "n_genes": len(corpus.vocabulary),
    }
    run.checkpoints.mkdir(parents=True, exist_ok=True)
    progress = load_checkpoint(run.checkpoints, network, optimiser, identity)
    if progress is not None:
        corpus.load_state_dict(progress.reader)
    _print_plan(run, corpus, network, total_steps, hardware, progress)
    validation = _validation(run, corpus, means)
    with MetricsFile(run.checkpoints / "metrics.jsonl", 0 if progress is None else progress.metrics_bytes) as metrics:
        loop = _Loop(run, corpus, network, optimiser, hardware, validation, metrics, total_steps, identity)
        last_validation = loop.run(progress)
    record = TrainingRecord.of(
        corpus, config, run.seed, loop.samples_seen, total_steps, loop.last_line, last_validation
    )
    save_model(run.out, network, record, metrics.path, hardware)
    remove_checkpoints(run.checkpoints)
    metrics.path.unlink()
    print(f"wrote {run.out}", flush=True)


class _Loop:
    """The steps of a run; what changes from step to step lives here."""

    def __init__(
        self,
        run: TrainingRun,
        corpus: Corpus,
        network: TxFM,
        optimiser: torch.optim.Optimizer,
        hardware: Hardware,
        validation: Validation | None,
        metrics: MetricsFile,
        total_steps: int,
        identity: dict[str, Any],
    ) -> None:
        self._run, self._corpus, self._network, self._optimiser = run, corpus, network, optimiser
        self._hardware, self._validation, self._metrics = hardware, validation, metrics
        self._total_steps, self._identity = total_steps, identity
        self._bar = ProgressLine(total_steps)
        self._measured_SG = torch.from_numpy(corpus.measured).to(hardware.device)
        log_weights = mask_log_weights(corpus, run.config.mask_temperature)
        self._log_weights_G = None if log_weights is None else torch.from_numpy(log_weights).to(hardware.device)
        self._loss_sum, self._n_unlogged = 0.0, 0
        self.samples_seen = 0
        self.last_line: dict[str, Any] | None = None

    def run(self, progress: Progress | None) -> dict[str, Any] | None:
        """Run to the last step; returns the last validation."""
        config = self._run.config
        step = 0
        if progress is not None:
            step, self.samples_seen = progress.step, progress.samples_seen
            self._loss_sum, self._n_unlogged = progress.unlogged_loss_sum, progress.unlogged_steps
        self._network.train()
        scores = self._validate(step) if step == 0 or step == self._total_steps else None
        window_started, window_samples = time.perf_counter(), 0
        for batch in _endless(self._corpus):
            if step == self._total_steps:
                break
            loss, gradient_norm = self._step(batch, step)
            step += 1
            self.samples_seen += len(batch)
            window_samples += len(batch)
            self._loss_sum, self._n_unlogged = self._loss_sum + loss, self._n_unlogged + 1
            if step % config.log_every_steps == 0 or step == self._total_steps:
                seconds = time.perf_counter() - window_started
                self._log(step, gradient_norm, window_samples / seconds)
                window_started, window_samples = time.perf_counter(), 0
            if step % config.validate_every_steps == 0 or step == self._total_steps:
                scores = self._validate(step)
                window_started, window_samples = time.perf_counter(), 0
            if step % self._run.checkpoint_every_steps == 0 and step < self._total_steps:
                self._checkpoint(step)
        return scores

    def _step(self, batch: Batch, step: int) -> tuple[float, float]:
        """One optimiser step over a batch; returns its loss and gradient norm."""
        config = self._run.config
        device, precision = self._hardware.device, self._hardware.precision
        lr = one_cycle_lr(step, self._total_steps, config.max_lr, config.warmup_share)
        for group in self._optimiser.param_groups:
            group["lr"] = lr
        inputs = inputs_of(batch, self._measured_SG, config)
        keys_B = sample_keys(torch.arange(len(batch), device=device), "train", self._run.seed, step)
        self._optimiser.zero_grad(set_to_none=True)
        n_counted = int((inputs.n_measured_B > 0).sum())  # a sample without a measured gene has no loss
        loss_sum = torch.zeros((), device=device)
        size = config.micro_batch_size_samples or len(batch)
        for start in range(0, len(batch), size):
            part, keys = inputs.rows(start, start + size), keys_B[start : start + size]
            visible = choose_visible(
                part.measured_BG, config.n_visible_genes, keys, self._log_weights_G, part.n_measured_B
            )
            generator = seeded_generator(device, "train", self._run.seed, step, start)
            outcome = masked_task(self._network, config, part, visible, precision, generator)
            loss = batch_loss(outcome, part, n_counted)
            loss.backward()
            loss_sum += loss.detach()
        norm = torch.nn.utils.clip_grad_norm_(self._network.parameters(), config.gradient_clip_norm or math.inf)
        value, norm_value = float(loss_sum), float(norm)
        if not (math.isfinite(value) and math.isfinite(norm_value)):
            raise InputError(
                f"Training diverged at step {step + 1}: loss {value}, gradient norm {norm_value}",
                where=str(self._run.checkpoints),
                expected="finite numbers",
                todo="lower max_lr, or use --precision float32; the newest checkpoint is from before this step",
            )
        self._optimiser.step()
        return value, norm_value

    def _log(self, step: int, gradient_norm: float, samples_per_s: float) -> None:
        config = self._run.config
        self.last_line = {
            "kind": "train",
            "step": step,
            "samples_seen": self.samples_seen,
            "loss": self._loss_sum / self._n_unlogged,
            "lr": one_cycle_lr(step - 1, self._total_steps, config.max_lr, config.warmup_share),
            "gradient_norm": gradient_norm,
            "samples_per_s": round(samples_per_s, 1),
        }
        self._loss_sum, self._n_unlogged = 0.0, 0
        self._write(self.last_line)

    def _validate(self, step: int) -> dict[str, Any] | None:
        if self._validation is None:
            return None
        scores = self._validation.score(self._network, self._hardware.device, self._hardware.precision)
        line = {"kind": "validation", "step": step, "samples_seen": self.samples_seen, **scores}
        self._write(line)
        return line

    def _write(self, line: dict[str, Any]) -> None:
        self._metrics.append(line)
        self._bar.show(line)

    def _checkpoint(self, step: int) -> None:
        progress = Progress(
            step=step,
            samples_seen=self.samples_seen,
            reader=self._corpus.state_dict(),
            metrics_bytes=self._metrics.sync(),
            unlogged_loss_sum=self._loss_sum,
            unlogged_steps=self._n_unlogged,
        )
        save_checkpoint(self._run.checkpoints, self._network, self._optimiser, progress, self._identity)


def new_network(config: ModelConfig, means: MeanExpression, seed: int, device: torch.device) -> TxFM:
    """A network with seeded weights; drawn on the CPU, so that every device starts alike."""
    network = TxFM(config, len(means.overall))
    log_means_G = torch.from_numpy(np.log(means.overall)).float()
    network.initialise(log_means_G, seeded_generator(torch.device("cpu"), "weights", seed))
    return network.to(device)


def adamw(network: TxFM, weight_decay: float) -> torch.optim.AdamW:
    """AdamW with the configuration's betas; decay applies to matrices, not to biases, norms, LayerScale and CLS."""
    config = network.config
    matrices = [parameter for parameter in network.parameters() if parameter.ndim >= 2]
    others = [parameter for parameter in network.parameters() if parameter.ndim < 2]
    return torch.optim.AdamW(
        [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=config.max_lr,
        betas=(config.adam_beta1, config.adam_beta2),
        eps=config.adam_epsilon,
        fused=True,
    )


def _endless(corpus: Corpus) -> Iterator[Batch]:
    while True:
        yield from corpus


def _validation(run: TrainingRun, corpus: Corpus, means: MeanExpression) -> Validation | None:
    held_out = open_corpus(
        run.corpus, run.variant, "validation", batch_size=BATCH_SAMPLES, seed=SEED, vocabulary=corpus.vocabulary
    )
    if held_out.n_samples == 0:
        print("no validation: no study of this variant has a held-out batch", flush=True)
        return None
    return Validation(held_out, means, run.config.n_validation_samples)


def _print_plan(
    run: TrainingRun, corpus: Corpus, network: TxFM, total_steps: int, hardware: Hardware, progress: Progress | None
) -> None:
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    print(f"variant {run.variant}: {corpus.n_samples:,} training samples, {len(corpus.vocabulary):,} genes")
    for study, n_samples in corpus.samples_by_study().items():
        n_measured = int(corpus.measured[corpus.studies.index(study)].sum())
        print(f"  {study}: {n_samples:,} samples, {n_measured:,} of these genes measured")
    print(
        f"model: {n_parameters / 1e6:.2f}M parameters, {total_steps:,} steps of {run.config.batch_size_samples} samples"
    )
    print(hardware)
    if progress is not None:
        print(f"resuming at step {progress.step:,}")


def _refuse_finished(out: Path) -> None:
    if is_finished(out):
        raise InputError(
            "There is a finished model in the output folder; it is never overwritten",
            where=str(out),
            todo="delete the folder to train it again, or choose another --out",
        )
