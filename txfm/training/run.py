"""Training a model on one variant: resumable, and repeatable from (configuration, seed, variant)."""

from dataclasses import dataclass
from pathlib import Path

from txfm.artifact.destination import check_destinations
from txfm.corpus import DEFAULT_MEMORY_BYTES
from txfm.destinations import check_folder
from txfm.hardware import Hardware
from txfm.pretrained import TrainingRecord, save_model
from txfm.training.fit import FitSettings, fitted
from txfm.training.kept import KeptModels
from txfm.training.ranks import Ranks
from txfm.training.samples import CorpusSamples


@dataclass(frozen=True, kw_only=True)
class TrainingRun(FitSettings):
    """What to train, from what, to where.

    Attributes
    ----------
    corpus : Path
    variant : str
    out : Path
        Folder of the finished model.
    memory_bytes : int
        Of each rank's cache of decoded blocks.
    keep_every_steps : int, optional
        Steps between two models that stay in the folder ``<out>.kept``; None = none stay.
    """

    corpus: Path
    variant: str
    out: Path
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    keep_every_steps: int | None = None


def train(run: TrainingRun, hardware: Hardware, ranks: Ranks | None = None) -> None:
    """Train to the end of the budget and write the model; resume from the newest checkpoint if there is one.

    Parameters
    ----------
    run : TrainingRun
    hardware : Hardware
    ranks : Ranks, optional
        Of a distributed training; every rank calls this function. None = one process alone.

    Raises
    ------
    InputError
        The model exists already, a result could not be written, the corpus is not what its manifest says, or as for
        `fitted`.
    StoppedError
        A signal asked to stop.
    """
    ranks = Ranks() if ranks is None else ranks
    kept = None
    if run.keep_every_steps is not None:
        kept = KeptModels(folder=run.out.parent / f"{run.out.name}.kept", every_steps=run.keep_every_steps)
    ranks.from_main(lambda: _check_destinations(run, kept))
    samples = CorpusSamples(
        corpus=run.corpus, variant=run.variant, max_genes=run.config.max_genes, memory_bytes=run.memory_bytes
    )
    with fitted(samples, run, hardware, ranks, kept=kept) as end:
        if ranks.is_main:
            record = TrainingRecord.of(
                end.corpus, run.config, run.seed, end.samples_seen, end.steps, end.last_line, end.last_validation
            )
            save_model(run.out, end.network, record, end.metrics, hardware)
    print(f"wrote {run.out}", flush=True)


def _check_destinations(run: TrainingRun, kept: KeptModels | None) -> None:
    inputs = {"--corpus": run.corpus}
    check_destinations(run.out, checkpoints=run.checkpoints, tensorboard=run.tensorboard, inputs=inputs)
    if kept is not None:
        check_folder(kept.folder, "--out")
