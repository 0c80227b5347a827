"""When loss or gradient are no longer finite: notice it, keep the weights, save what is needed to find out why."""

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from txfm.corpus import Batch
from txfm.files import flush_to_disk, temporary_beside, write_json
from txfm.model import TxFM


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """The first step whose loss or gradient norm was not finite."""

    step: int
    loss: float
    gradient_norm: float


class DivergenceGuard:
    """Remembers on the device the first step with a value that is not finite, so that nothing waits for a GPU.

    Attributes
    ----------
    tripped : torch.Tensor (), float32
        1 from that step on. As `found_inf` of a fused optimiser it stops updates, on the device and on every rank
        alike.
    """

    def __init__(self, device: torch.device) -> None:
        self.tripped = torch.zeros((), device=device)
        self._first = torch.zeros(3, dtype=torch.float64, device=device)  # step, loss, gradient norm

    def watch(self, step: int, loss: torch.Tensor, gradient_norm: torch.Tensor) -> None:
        """Look at a step's values; the same on every rank, so that all ranks remember the same."""
        is_bad = ~(torch.isfinite(loss) & torch.isfinite(gradient_norm))
        found = torch.stack([torch.full_like(loss, step, dtype=torch.float64), loss.double(), gradient_norm.double()])
        self._first = torch.where(is_bad & (self.tripped == 0), found, self._first)
        self.tripped = torch.maximum(self.tripped, is_bad.float())

    def divergence(self) -> Divergence | None:
        """What was found, if anything; waits for the device."""
        if not bool(self.tripped):
            return None
        step, loss, gradient_norm = self._first.tolist()
        return Divergence(step=int(step), loss=loss, gradient_norm=gradient_norm)


def save_divergence(folder: Path, found: Divergence, network: TxFM, batch: Batch, facts: Mapping[str, Any]) -> Path:
    """Write what the bad step was made of; the weights are those before it, because no later step changed them.

    Parameters
    ----------
    folder : Path
        The run's checkpoint folder.
    found : Divergence
    network : TxFM
    batch : Batch
        The global batch of that step.
    facts : mapping
        What else belongs into diverged.json: the seed, the studies that `batch.study_index` refers to, the
        configuration.

    Returns
    -------
    Path
        ``diverged-step-<n>`` with batch.safetensors (CSR and measured genes), weights.safetensors and diverged.json.
    """
    final = folder / f"diverged-step-{found.step + 1:09d}"
    temporary = temporary_beside(final)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    arrays = {name: getattr(batch, name) for name in ("indptr", "positions", "counts", "study_index", "measured")}
    save_file(
        {name: torch.from_numpy(array).contiguous() for name, array in arrays.items()}, temporary / "batch.safetensors"
    )
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(weights, temporary / "weights.safetensors")
    values = {"loss": found.loss, "gradient_norm": found.gradient_norm}
    report = {
        "step": found.step + 1,
        **{name: value if math.isfinite(value) else str(value) for name, value in values.items()},
        "masks": ["train", facts["seed"], found.step],
        "sample_ids": batch.sample_ids,
        **facts,
    }
    write_json(temporary / "diverged.json", report)
    for name in ("batch.safetensors", "weights.safetensors"):
        flush_to_disk(temporary / name)
    shutil.rmtree(final, ignore_errors=True)
    temporary.rename(final)
    flush_to_disk(folder)
    return final
