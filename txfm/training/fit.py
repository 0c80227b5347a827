"""Fitting one network to samples: everything from opened samples to the last step."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from txfm.config import ModelConfig
from txfm.corpus import Corpus
from txfm.cost import n_tokens, training_flops_per_sample
from txfm.errors import InputError
from txfm.hardware import Hardware
from txfm.model import TxFM
from txfm.statistics import MeanExpression, mask_log_weights
from txfm.training.checkpoint import Checkpoints, Progress, resume
from txfm.training.divergence import Divergence, save_divergence
from txfm.training.kept import KeptModels
from txfm.training.loop import Loop
from txfm.training.masked_genes import masked_shares, refuse_nothing_masked
from txfm.training.metrics import MetricsFile
from txfm.training.micro_batch import available_bytes, choose_micro_batch
from txfm.training.optimiser import adamw
from txfm.training.ranks import Ranks, local_rank
from txfm.training.run_log import RunLog
from txfm.training.samples import Samples, batch_of_step, shared_means
from txfm.training.step import TrainingStep
from txfm.training.stopping import listen_for_stop
from txfm.training.throughput import Stopwatch, known_peak
from txfm.training.weights import new_network
from txfm.validation import Validation

# Fields of a configuration that say how a training runs or is watched; its steps are the same to the bit
NOT_LEARNED = ("micro_batch_size_samples", "log_every_steps", "validate_every_steps", "n_validation_samples")
# Makes the network that training starts from
Start = Callable[[MeanExpression], TxFM]


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """What to learn, and how it is kept and shown.

    Attributes
    ----------
    config : ModelConfig
    seed : int
        Of weights, order and masks.
    checkpoints : Path
        Folder that an interrupted run goes on from.
    checkpoint_every_steps : int
    micro_batch : int, optional
        Samples per forward pass; None = the configuration's, or else what fits into memory.
    tensorboard : Path, optional
        Folder for event files.
    peak_flops : float, optional
        Of one device, a second; None = what is known of it.
    started_from : str, optional
        What the first weights were, where a run does not begin with seeded ones; a resumed run must say the same.
    """

    config: ModelConfig
    seed: int
    checkpoints: Path
    checkpoint_every_steps: int = 1000
    micro_batch: int | None = None
    tensorboard: Path | None = None
    peak_flops: float | None = None
    started_from: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """A network after its last step, and what is to be said of how it got there; `metrics` is on rank 0 only."""

    network: TxFM
    corpus: Corpus
    samples_seen: int
    steps: int
    last_line: dict[str, Any] | None
    last_validation: dict[str, Any] | None
    metrics: Path


@contextmanager
def fitted(
    samples: Samples,
    settings: FitSettings,
    hardware: Hardware,
    ranks: Ranks,
    start: Start | None = None,
    kept: KeptModels | None = None,
) -> Iterator[Fitted]:
    """Fit to the end of the budget, from the newest checkpoint if there is one.

    The checkpoints are removed when the block ends well: then what it wrote takes their place.

    Parameters
    ----------
    samples : Samples
    settings : FitSettings
    hardware : Hardware
    ranks : Ranks
        Every rank calls this function.
    start : callable, optional
        Makes the network that a new run starts from; None = seeded weights.
    kept : KeptModels, optional
        Models that stay from the middle of the run; None = none.

    Raises
    ------
    InputError
        K leaves no gene masked, the checkpoints or kept models belong to another run, the checkpoints are in use, the
        batch cannot be divided, a step does not fit into memory, or loss or gradient are not finite.
    StoppedError
        A signal asked to stop.
    """
    config, seed = settings.config, settings.seed
    corpus = ranks.after_main(
        lambda: samples.training(
            batch_size=ranks.share_of_batch(config.batch_size_samples), seed=seed, rank=ranks.rank, world=ranks.world
        )
    )
    ranks.from_main(lambda: refuse_nothing_masked(config, len(corpus.vocabulary)))
    total_steps = config.total_steps(corpus.n_samples)
    checkpoints = Checkpoints(settings.checkpoints, _identity(settings, corpus), settings.checkpoint_every_steps)
    with ExitStack() as stack:
        ranks.from_main(lambda: stack.enter_context(checkpoints.locked()))
        fitting_micro_batch = _micro_batch(settings, corpus, hardware, ranks)
        means = shared_means(corpus, config, ranks)
        network = new_network(config, means, seed, hardware.device) if start is None else start(means)
        optimiser = adamw(network, config.weight_decay(total_steps), _measured_in_training(corpus))
        progress = resume(checkpoints, network, optimiser, ranks)
        if progress is not None:
            corpus.load_state_dict(progress.reader)
        first_step = 0 if progress is None else progress.step
        if kept is not None:
            ranks.from_main(lambda: kept.cut_back(first_step, checkpoints.identity))
        take_step = TrainingStep(
            network,
            optimiser,
            corpus.measured,
            mask_log_weights(corpus, config.mask_temperature),
            hardware,
            seed=seed,
            micro_batch=_as_before(fitting_micro_batch, settings, progress, ranks),
            ranks=ranks,
        )
        _print_plan(samples, take_step, corpus, total_steps, progress)

        def save(found: Divergence) -> Path:
            batch = batch_of_step(samples, found.step, config.batch_size_samples, seed)
            return save_divergence(settings.checkpoints, found, network, batch, _facts(take_step, checkpoints, corpus))

        metrics = settings.checkpoints / "metrics.jsonl"
        with ExitStack() as while_training:
            stop = while_training.enter_context(listen_for_stop())
            log, validation = None, None
            if ranks.is_main:
                validation = _validation(samples, means, config)
                lines = while_training.enter_context(
                    MetricsFile(metrics, 0 if progress is None else progress.metrics_bytes)
                )
                log = while_training.enter_context(RunLog(lines, total_steps, settings.tensorboard, first_step))
            loop = Loop(
                take_step=take_step,
                corpus=corpus,
                total_steps=total_steps,
                checkpoints=checkpoints,
                stopwatch=_stopwatch(take_step, settings.peak_flops),
                stop=stop,
                log=log,
                validation=validation,
                kept=kept,
                on_divergence=save,
            )
            try:
                last_validation = loop.run(progress)
            except torch.OutOfMemoryError as error:
                raise _out_of_memory(take_step, error) from error
        yield Fitted(
            network=network,
            corpus=corpus,
            samples_seen=loop.samples_seen,
            steps=total_steps,
            last_line=loop.last_line,
            last_validation=last_validation,
            metrics=metrics,
        )
        if ranks.is_main:
            checkpoints.remove()
            metrics.unlink()


def _identity(settings: FitSettings, corpus: Corpus) -> dict[str, Any]:
    """What a resumed run must have in common.

    Not the micro-batch and not the number of ranks: masks and stochastic depth are drawn for each sample from its place
    in the global batch, so that both change nothing but the order in which gradients are added up. Not what is logged
    and validated: neither moves a weight or draws a number. A run from given weights is the exception: it is judged by
    its first validation and its last, which must be of the same samples.
    """
    config = settings.config.as_mapping()
    of_validation = {} if settings.started_from is None else {"n_validation_samples": config["n_validation_samples"]}
    return {
        "config": {name: value for name, value in config.items() if name not in NOT_LEARNED} | of_validation,
        "seed": settings.seed,
        "started_from": settings.started_from,
        "variant": corpus.variant.name,
        "variant_digest": corpus.variant.digest,
        "n_genes": len(corpus.vocabulary),
    }


def _measured_in_training(corpus: Corpus) -> np.ndarray:
    """Genes (G,) that some training sample measured."""
    has_samples = np.array([n_samples > 0 for n_samples in corpus.samples_by_study().values()])
    return np.any(corpus.measured[has_samples], axis=0)


def _micro_batch(settings: FitSettings, corpus: Corpus, hardware: Hardware, ranks: Ranks) -> int:
    """Samples per forward pass of every rank: what was asked for, or what fits."""
    asked = settings.micro_batch or settings.config.micro_batch_size_samples
    if asked is not None:
        return min(asked, corpus.batch_size)
    available = available_bytes(hardware.device, local_rank()[1])
    n_genes = len(corpus.vocabulary)
    return ranks.smallest(choose_micro_batch(settings.config, n_genes, corpus.batch_size, hardware, available))


def _as_before(micro_batch: int, settings: FitSettings, progress: Progress | None, ranks: Ranks) -> int:
    """What fits, or what the run had before it was resumed if that fits: the same sums give the same bits."""
    is_free = settings.micro_batch is None and settings.config.micro_batch_size_samples is None
    if progress is not None and is_free and progress.world == ranks.world:
        return min(micro_batch, progress.micro_batch)
    return micro_batch


def _validation(samples: Samples, means: MeanExpression, config: ModelConfig) -> Validation | None:
    held_out = samples.validation()
    return None if held_out is None else Validation(held_out, means, config.n_validation_samples)


def _stopwatch(take_step: TrainingStep, peak_of_a_device: float | None) -> Stopwatch:
    config, n_genes = take_step.network.config, take_step.network.n_genes
    peak = known_peak(take_step.hardware) if peak_of_a_device is None else peak_of_a_device
    flops = training_flops_per_sample(config, n_genes)
    return Stopwatch(flops, n_tokens(config, n_genes), None if peak is None else peak * take_step.ranks.world)


def _facts(take_step: TrainingStep, checkpoints: Checkpoints, corpus: Corpus) -> dict[str, Any]:
    return {
        "seed": checkpoints.identity["seed"],
        "studies": list(corpus.studies),
        "training": checkpoints.identity,
        "ranks": take_step.ranks.world,
        "micro_batch": take_step.micro_batch,
        "hardware": str(take_step.hardware),
        "torch": torch.__version__,
    }


def _print_plan(
    samples: Samples, take_step: TrainingStep, corpus: Corpus, total_steps: int, progress: Progress | None
) -> None:
    network, ranks = take_step.network, take_step.ranks
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    print(f"{samples.title}: {corpus.n_samples:,} training samples, {len(corpus.vocabulary):,} genes")
    shares = masked_shares(corpus, network.config)
    for study, n_samples in corpus.samples_by_study().items():
        n_measured = int(corpus.measured[corpus.studies.index(study)].sum())
        masked = f"{shares[study]:.1%} of them masked"
        print(f"  {study}: {n_samples:,} samples, {n_measured:,} of these genes measured, {masked}")
        if n_samples and not shares[study]:
            shown = f"K = {network.config.n_visible_genes:,} shows all of its genes"
            print(f"  warning: {shown}: nothing is masked in these {n_samples:,} samples")
    batch_size = network.config.batch_size_samples
    print(f"model: {n_parameters / 1e6:.2f}M parameters, {total_steps:,} steps of {batch_size} samples")
    parts = f"{take_step.micro_batch} samples at a time"
    print(f"{take_step.hardware}, " + (parts if ranks.world == 1 else f"{ranks.world} ranks, {parts} each"), flush=True)
    if progress is not None:
        print(f"resuming at step {progress.step:,}", flush=True)


def _out_of_memory(take_step: TrainingStep, error: Exception) -> InputError:
    half = max(1, take_step.micro_batch // 2)
    return InputError(
        "A training step does not fit into the device's memory",
        where=str(take_step.hardware.device),
        found=f"{take_step.micro_batch} samples at a time; {str(error).splitlines()[0]}",
        todo=f"--batch-size {half} lets fewer samples pass at once, with the same result; training goes on from the "
        "last checkpoint",
    )
