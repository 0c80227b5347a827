"""Checkpoints of a training run: safetensors and json, atomic, never pickle."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from txfm.errors import InputError
from txfm.files import flush_to_disk, temporary_beside, write_json
from txfm.model import TxFM

MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands. No random state: masks are a function of (seed, step)."""

    step: int
    samples_seen: int
    reader: dict[str, Any]
    metrics_bytes: int
    unlogged_loss_sum: float
    unlogged_steps: int


def save_checkpoint(
    folder: Path, network: TxFM, optimiser: torch.optim.Optimizer, progress: Progress, identity: dict[str, Any]
) -> None:
    """Write ``step-<n>/`` and remove the older ones; a kill leaves the previous checkpoint usable.

    Parameters
    ----------
    folder : Path
        The run's checkpoint folder.
    network, optimiser
        Weights and AdamW moments.
    progress : Progress
    identity : dict
        What a resumed run must have in common with this one.
    """
    final = folder / f"step-{progress.step:09d}"
    temporary = temporary_beside(final)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    tensors = {f"model.{name}": tensor.contiguous() for name, tensor in network.state_dict().items()}
    for name, parameter in network.named_parameters():
        for moment in MOMENTS:
            tensors[f"{moment}.{name}"] = optimiser.state[parameter][moment].contiguous()
    save_file(tensors, temporary / "state.safetensors")
    flush_to_disk(temporary / "state.safetensors")
    write_json(temporary / "state.json", {"identity": identity, "progress": vars(progress)})
    temporary.rename(final)
    flush_to_disk(folder)
    for older in checkpoint_folders(folder):
        if older != final:
            shutil.rmtree(older)


def checkpoint_folders(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(folder.glob("step-*"))


def load_checkpoint(
    folder: Path, network: TxFM, optimiser: torch.optim.Optimizer, identity: dict[str, Any]
) -> Progress | None:
    """Load the newest checkpoint into `network` and `optimiser`; None if there is none.

    Raises
    ------
    InputError
        The checkpoint is of another run; nothing was changed.
    """
    folders = checkpoint_folders(folder)
    if not folders:
        return None
    newest = folders[-1]
    state = json.loads((newest / "state.json").read_text())
    differences = _differences(state["identity"], identity)
    if differences:
        raise InputError(
            "The checkpoints in this folder belong to another training run",
            where=str(newest),
            expected="; ".join(f"{name}={new}" for name, _, new in differences),
            found="; ".join(f"{name}={old}" for name, old, _ in differences),
            todo=f"delete the folder {folder} to start anew, or undo the change to continue that run",
        )
    tensors = load_file(newest / "state.safetensors")
    network.load_state_dict(
        {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
    )
    progress = Progress(**state["progress"])
    for name, parameter in network.named_parameters():
        moments = {moment: tensors[f"{moment}.{name}"].to(parameter.device) for moment in MOMENTS}
        optimiser.state[parameter] = {"step": torch.tensor(float(progress.step)), **moments}
    _move_step_counters(optimiser)
    return progress


def remove_checkpoints(folder: Path) -> None:
    """Remove what a finished run no longer needs; a folder that holds anything else stays."""
    for checkpoint in checkpoint_folders(folder):
        shutil.rmtree(checkpoint)


def _move_step_counters(optimiser: torch.optim.Optimizer) -> None:
    """Fused AdamW keeps its step counter on the parameter's device."""
    for parameter, state in optimiser.state.items():
        state["step"] = state["step"].to(parameter.device)


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    found: list[tuple[str, Any, Any]] = []
    for name in sorted(set(old) | set(new)):
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            found += _differences(before, after, f"{prefix}{name}.")
        elif before != after:
            found.append((f"{prefix}{name}", before, after))
    return found
