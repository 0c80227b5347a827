"""Checkpoints of a training run: safetensors and json, atomic, never pickle."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from txfm.errors import InputError
from txfm.files import flush_to_disk, temporary_beside, write_json
from txfm.model import TxFM
from txfm.training.ranks import Ranks

MOMENTS = ("exp_avg", "exp_avg_sq")
N_KEPT = 2  # a disk that damages the newest leaves one to go on from


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands. No random state: masks are a function of (seed, step).

    `last_line` is the log's, which a model's description repeats; a run that goes on from its last step logs no other.
    """

    step: int
    samples_seen: int
    reader: dict[str, Any]
    metrics_bytes: int
    unlogged_loss_sum: float
    unlogged_steps: int
    micro_batch: int
    world: int
    last_line: dict[str, Any] | None = None


class Checkpoints:
    """The folder with a run's checkpoints ``step-<n>/``; only rank 0 reads and writes it.

    Parameters
    ----------
    folder : Path
        Created if it does not exist.
    identity : dict
        What a resumed run must have in common with this one.
    every_steps : int
        Steps between two checkpoints.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], every_steps: int) -> None:
        self.folder, self.identity, self.every_steps = folder, identity, every_steps

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for one process, until it ends however it ends.

        Raises
        ------
        InputError
            Another process trains in this folder.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise InputError(
                "Another training runs in this folder of checkpoints",
                where=str(self.folder),
                todo="wait for it, end it, or choose another --checkpoints",
            ) from None
        except OSError:  # a file system without locks, such as some network file systems
            pass
        try:
            for left_over in self.folder.glob(".*.tmp"):
                shutil.rmtree(left_over)
            yield
        finally:
            os.close(descriptor)

    def save(self, network: TxFM, optimiser: torch.optim.Optimizer, progress: Progress) -> None:
        """Write ``step-<n>/`` and remove all but the last `N_KEPT`; a kill meanwhile leaves the older ones usable."""
        final = self.folder / f"step-{progress.step:09d}"
        temporary = temporary_beside(final)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        tensors = {f"model.{name}": tensor.contiguous() for name, tensor in network.state_dict().items()}
        for name, parameter in network.named_parameters():
            for moment in MOMENTS:
                tensors[f"{moment}.{name}"] = optimiser.state[parameter][moment].contiguous()
        save_file(tensors, temporary / "state.safetensors")
        flush_to_disk(temporary / "state.safetensors")
        write_json(temporary / "state.json", {"identity": self.identity, "progress": vars(progress)})
        flush_to_disk(temporary)
        temporary.rename(final)
        flush_to_disk(self.folder)
        for older in checkpoint_folders(self.folder)[:-N_KEPT]:
            _remove(older)

    def load(self, network: TxFM, optimiser: torch.optim.Optimizer) -> Progress | None:
        """Load the newest checkpoint into `network` and `optimiser`; None if there is none.

        Raises
        ------
        InputError
            The checkpoint is of another run, or damaged; nothing was changed.
        """
        folders = checkpoint_folders(self.folder)
        if not folders:
            return None
        newest = folders[-1]
        try:
            state = json.loads((newest / "state.json").read_text())
            tensors = load_file(newest / "state.safetensors")
            progress = Progress(**state["progress"])
        except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
            raise InputError(
                "The newest checkpoint cannot be read",
                where=str(newest),
                found=str(error),
                todo="delete that folder: training goes on from "
                + (f"{folders[-2].name}, the one before" if len(folders) > 1 else "its start"),
            ) from error
        differences = _differences(state["identity"], self.identity)
        if differences:
            raise InputError(
                "The checkpoints in this folder belong to another training run",
                where=str(newest),
                expected="; ".join(f"{name}={new}" for name, _, new in differences),
                found="; ".join(f"{name}={old}" for name, old, _ in differences),
                todo=f"undo the change to continue that run, or delete the folder {self.folder} to start anew",
            )
        network.load_state_dict(
            {name.removeprefix("model."): tensor for name, tensor in tensors.items() if name.startswith("model.")}
        )
        for name, parameter in network.named_parameters():
            moments = {moment: tensors[f"{moment}.{name}"].to(parameter.device) for moment in MOMENTS}
            optimiser.state[parameter] = _adamw_state(parameter, progress.step, moments)
        return progress

    def remove(self) -> None:
        """Remove what a finished run no longer needs; a folder that holds anything else stays."""
        for checkpoint in checkpoint_folders(self.folder):
            _remove(checkpoint)


def checkpoint_folders(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(folder.glob("step-*"))


def resume(checkpoints: Checkpoints, network: TxFM, optimiser: torch.optim.Optimizer, ranks: Ranks) -> Progress | None:
    """`Checkpoints.load` on rank 0, and the same state on every rank; the folder need not be on the others' disks."""

    def load() -> dict[str, Any] | None:
        progress = checkpoints.load(network, optimiser)
        return None if progress is None else vars(progress)

    fields = ranks.from_main(load)
    if fields is None:
        return None
    progress = Progress(**fields)
    for parameter in network.parameters():
        if not ranks.is_main:
            moments = {moment: torch.zeros_like(parameter) for moment in MOMENTS}
            optimiser.state[parameter] = _adamw_state(parameter, progress.step, moments)
        ranks.copy_from_main([parameter.detach(), *(optimiser.state[parameter][moment] for moment in MOMENTS)])
    return progress


def _adamw_state(parameter: torch.Tensor, step: int, moments: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Fused AdamW keeps its step counter on the parameter's device."""
    return {"step": torch.tensor(float(step), device=parameter.device), **moments}


def _remove(checkpoint: Path) -> None:
    """Remove a folder; a kill meanwhile leaves no half of it under its name."""
    doomed = temporary_beside(checkpoint)
    checkpoint.rename(doomed)
    shutil.rmtree(doomed)


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    """What is not in `new` is not compared: an older version kept more."""
    found: list[tuple[str, Any, Any]] = []
    for name in sorted(new):
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            found += _differences(before, after, f"{prefix}{name}.")
        elif before != after:
            found.append((f"{prefix}{name}", before, after))
    return found
