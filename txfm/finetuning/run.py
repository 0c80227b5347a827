"""Fine-tuning a model (sec. A.1.1): the same objective and setup on other samples, started from its weights."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from txfm.artifact import parent_of
from txfm.artifact.destination import refuse_finished
from txfm.files import write_json
from txfm.finetuning.comparison import Comparison
from txfm.finetuning.seen_samples import SeenComparison
from txfm.finetuning.target import Target
from txfm.hardware import Hardware
from txfm.model import TxFM
from txfm.pretrained import PretrainedModel, TrainingRecord, save_model
from txfm.statistics import MeanExpression
from txfm.training.fit import FitSettings, Fitted, fitted
from txfm.training.ranks import Ranks

SCRATCH = "from_scratch.json"


@dataclass(frozen=True, kw_only=True)
class FinetuningRun:
    """What to go on with, and where to.

    Attributes
    ----------
    model : PretrainedModel
    name : str
        Of the model, for the record.
    settings : FitSettings
        Its configuration is `finetuning_config`'s.
    out : Path
        Folder of the new model.
    compares : bool
        Whether a training from scratch is done beside it, with the same samples, budget and seed. Without held-out
        samples it never is: there is nothing to compare on.
    held_out_samples : SeenComparison, optional
        With which training samples of the model they were compared, for the record; needed on rank 0 alone.
    """

    model: PretrainedModel
    name: str
    settings: FitSettings
    out: Path
    compares: bool = True
    held_out_samples: SeenComparison | None = None


def finetune(run: FinetuningRun, target: Target, hardware: Hardware, ranks: Ranks) -> None:
    """Train from scratch if wanted, fine-tune, and write the model with finetune.json; both go on after a kill.

    Parameters
    ----------
    run : FinetuningRun
    target : Target
        Samples over the model's vocabulary.
    hardware : Hardware
    ranks : Ranks
        Every rank calls this function.

    Raises
    ------
    InputError
        The model exists already, or as for `fitted`.
    StoppedError
        A signal asked to stop.
    """
    ranks.from_main(lambda: refuse_finished(run.out))
    settings, folder = run.settings, run.settings.checkpoints
    if run.compares and not target.validates:
        print("no training from scratch: without held-out samples there is nothing to compare on", flush=True)
    scratch = _from_scratch(run, target, hardware, ranks) if run.compares and target.validates else None
    parent = parent_of(run.name, run.model.card)
    weights = run.model.network.state_dict()
    tuned = replace(
        settings,
        checkpoints=folder / "finetuned",
        started_from=_identity_of(run),
        tensorboard=_below(settings, "finetuned"),
    )

    def start(_: MeanExpression) -> TxFM:
        network = TxFM(settings.config, len(run.model.vocabulary))
        network.load_state_dict(weights)
        return network.to(hardware.device)

    print(f"fine-tuning {run.name}", flush=True)
    with fitted(target, tuned, hardware, ranks, start) as end:
        if ranks.is_main:
            comparison = Comparison.of(read_lines(end.metrics), scratch)
            report = {
                "parent": parent,
                "data": target.facts(),
                "held_out_samples": _compared(run),
                "config": settings.config.as_mapping(),
                "seed": settings.seed,
                "steps": end.steps,
                "samples_seen": end.samples_seen,
                **comparison.as_mapping(),
            }
            _save(run, end, parent, comparison, report, hardware)
            print(comparison, flush=True)
    if ranks.is_main:
        _clear(folder)
    print(f"wrote {run.out}", flush=True)


def _from_scratch(run: FinetuningRun, target: Target, hardware: Hardware, ranks: Ranks) -> list[dict[str, Any]]:
    """Lines of metrics of a training that knows nothing; from its file if it had ended before."""
    settings, folder = run.settings, run.settings.checkpoints
    known = ranks.from_main(lambda: _known_scratch(run, target))
    if known is not None:
        print("the training from scratch has ended before", flush=True)
        return known
    print("training from scratch, to compare with", flush=True)
    alone = replace(
        settings,
        checkpoints=folder / "from_scratch",
        started_from=f"seeded weights of the vocabulary {_vocabulary_digest(run)}",
        tensorboard=_below(settings, "from_scratch"),
    )
    lines: list[dict[str, Any]] = []
    with fitted(target, alone, hardware, ranks) as end:
        if ranks.is_main:
            lines = read_lines(end.metrics)
            write_json(folder / SCRATCH, {"of": _fingerprint(run, target), "lines": lines})
    return lines


def _known_scratch(run: FinetuningRun, target: Target) -> list[dict[str, Any]] | None:
    """The result of a training from scratch that was the same in everything, if this folder has one."""
    path = run.settings.checkpoints / SCRATCH
    if not path.is_file():
        return None
    content = json.loads(path.read_text())
    return content["lines"] if content["of"] == _fingerprint(run, target) else None


def _fingerprint(run: FinetuningRun, target: Target) -> dict[str, Any]:
    """What the validations of a training from scratch depend on, and what they are compared with, as json has it."""
    fingerprint = {
        "config": run.settings.config.as_mapping(),
        "seed": run.settings.seed,
        "data": target.facts(),
        "vocabulary": _vocabulary_digest(run),
        "parent": _identity_of(run),
        "out": str(run.out),
    }
    return dict(json.loads(json.dumps(fingerprint)))


def _vocabulary_digest(run: FinetuningRun) -> str:
    return hashlib.sha256("\n".join(run.model.vocabulary.ensembl_ids).encode()).hexdigest()


def _identity_of(run: FinetuningRun) -> str:
    """The parent's weights by their sum; by its name for a model of format 0.1, which has none."""
    return str(parent_of(run.name, run.model.card)["weights_sha256"] or run.name)


def _below(settings: FitSettings, name: str) -> Path | None:
    return None if settings.tensorboard is None else settings.tensorboard / name


def _save(
    run: FinetuningRun,
    end: Fitted,
    parent: dict[str, Any],
    comparison: Comparison,
    report: dict[str, Any],
    hardware: Hardware,
) -> None:
    """Write the model with finetune.json."""
    record = TrainingRecord.of(
        end.corpus,
        run.settings.config,
        run.settings.seed,
        end.samples_seen,
        end.steps,
        end.last_line,
        end.last_validation,
        parent,
    )
    about = {"held_out_samples": compared} if (compared := _compared(run)) else {}
    record = replace(record, final_metrics=record.final_metrics | comparison.other_scores() | about)
    save_model(run.out, end.network, record, end.metrics, hardware, report)


def _compared(run: FinetuningRun) -> dict[str, Any] | None:
    return None if run.held_out_samples is None else run.held_out_samples.as_mapping()


def _clear(folder: Path) -> None:
    """Remove what a finished run no longer needs; a folder that holds anything else stays."""
    (folder / SCRATCH).unlink(missing_ok=True)
    for empty in (folder / "from_scratch", folder / "finetuned", folder):
        if empty.is_dir() and not any(empty.iterdir()):
            empty.rmdir()


def read_lines(metrics: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl."""
    return [json.loads(line) for line in metrics.read_text().splitlines()]
