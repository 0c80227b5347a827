"""One optimiser step: micro-batches, the exact mean gradient over the batch of all ranks, clipping, AdamW."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch.nn.parallel import DistributedDataParallel

from txfm.corpus import Batch
from txfm.hardware import Hardware
from txfm.inputs import inputs_of
from txfm.masking import choose_visible, sample_keys
from txfm.model import KeptRows, Output, TxFM, draw_kept_rows
from txfm.objective import batch_loss, masked_task
from txfm.training.divergence import DivergenceGuard
from txfm.training.ranks import Ranks


class TrainingStep:
    """Calls of ``step(batch, number, lr, n_counted)`` train the network.

    Nothing here waits for a GPU: losses stay on it, and `guard` remembers there whether a value was not finite.

    Parameters
    ----------
    network : TxFM
    optimiser : torch.optim.AdamW
        Fused.
    measured : numpy.ndarray (n_studies, G), bool
        Which genes each study measured.
    log_weights : numpy.ndarray (G,), optional
        Of `mask_log_weights`.
    hardware : Hardware
    seed : int
        Of the masks and of stochastic depth.
    micro_batch : int
        Samples per forward pass; only passes of this size are compiled, others (the end of an epoch) run as they are.
    ranks : Ranks
    """

    def __init__(
        self,
        network: TxFM,
        optimiser: torch.optim.AdamW,
        measured: np.ndarray,
        log_weights: np.ndarray | None,
        hardware: Hardware,
        *,
        seed: int,
        micro_batch: int,
        ranks: Ranks | None = None,
    ) -> None:
        self.network, self.optimiser, self.hardware = network, optimiser, hardware
        self.ranks = Ranks() if ranks is None else ranks
        self._seed, self.micro_batch = seed, micro_batch
        self._measured_SG = torch.from_numpy(measured).to(hardware.device)
        self.log_weights_G = None if log_weights is None else torch.from_numpy(log_weights).to(hardware.device)
        self._parameters = list(network.parameters())
        self._distributed = _distributed(network, hardware.device) if self.ranks.world > 1 else None
        self._plain: Callable[..., Output] = self._distributed or network
        self._compiled = torch.compile(self._plain, dynamic=False) if hardware.compiled else None
        self._has_run_compiled = False
        self.guard = DivergenceGuard(hardware.device)

    def __call__(self, batch: Batch, number: int, lr: float, n_counted: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Take one step.

        Parameters
        ----------
        batch : Batch
            This rank's samples: those at rank, rank + world, ... of the global batch.
        number : int
            Of the step, 0 for the first; with the seed and a sample's place in the global batch it decides its mask and
            the blocks that it skips.
        lr : float
        n_counted : int
            Samples of the global batch that measured a gene: what the loss is a mean over.

        Returns
        -------
        loss, gradient_norm : torch.Tensor ()
            Of the global batch, before clipping; on the device. Weights stay as they are from the first step on in
            which one of them is not finite.
        """
        config, ranks, device = self.network.config, self.ranks, self.hardware.device
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        inputs = inputs_of(batch, self._measured_SG, config)
        places_B = torch.arange(len(batch)) * ranks.world + ranks.rank
        keys_B = sample_keys(places_B, "train", self._seed, number).to(device, non_blocking=True)
        depth_keys_B = sample_keys(places_B, "stochastic depth", self._seed, number)
        self.optimiser.zero_grad(set_to_none=True)
        loss_sum = torch.zeros((), device=device)
        for start in range(0, len(batch), self.micro_batch):
            rows = slice(start, start + self.micro_batch)
            part = inputs.rows(rows.start, rows.stop)
            visible = choose_visible(
                part.measured_BG, config.n_visible_genes, keys_B[rows], self.log_weights_G, part.n_measured_B
            )
            kept = draw_kept_rows(config, depth_keys_B[rows], device)
            is_usual = len(part) == self.micro_batch and _any_number_of_rows(kept)
            forward = self._run_compiled if is_usual else self._plain
            with self._accumulate(is_last=rows.stop >= len(batch)):
                outcome = masked_task(forward, config, part, visible, self.hardware.precision, kept)
                loss = batch_loss(outcome, part, n_counted)
                (loss * ranks.world).backward()  # DistributedDataParallel takes the mean over ranks
            loss_sum += loss.detach()
        ranks.add_up(loss_sum)
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if config.gradient_clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self._parameters, config.gradient_clip_norm, norm)
        self.guard.watch(number, loss_sum, norm)
        self.optimiser.found_inf = self.guard.tripped  # type: ignore[attr-defined]  # GradScaler's way to skip a step
        self.optimiser.step()
        return loss_sum, norm

    def _run_compiled(self, *arguments: Any) -> Output:
        """The compiled network; the plain one from its first call on if compiling fails."""
        if self._compiled is None:
            return self._plain(*arguments)
        try:
            outputs = self._compiled(*arguments)
        except Exception as error:
            if self._has_run_compiled or isinstance(error, torch.OutOfMemoryError):
                raise
            reason = str(error).strip().splitlines() or [type(error).__name__]
            print(f"not compiled, because torch.compile failed; training is slower: {reason[0]}", flush=True)
            self._compiled = None
            return self._plain(*arguments)
        self._has_run_compiled = True
        return outputs

    def _accumulate(self, is_last: bool) -> AbstractContextManager[Any]:
        """Gradients travel between ranks once a step, with the last micro-batch."""
        return nullcontext() if is_last or self._distributed is None else self._distributed.no_sync()


def _any_number_of_rows(kept: Sequence[KeptRows | None] | None) -> bool:
    """Let one compiled network serve every number of kept rows; False if it cannot, because a block keeps 0 or 1."""
    tensors = [rows for of_block in kept or () if of_block is not None for rows in of_block]
    if any(len(rows) < 2 for rows in tensors):  # torch.compile makes a network of its own for these sizes
        return False
    for rows in tensors:
        torch._dynamo.maybe_mark_dynamic(rows, 0)
    return True


def _distributed(network: TxFM, device: torch.device) -> DistributedDataParallel:
    devices = [device] if device.type == "cuda" else None
    return DistributedDataParallel(network, device_ids=devices, gradient_as_bucket_view=True)
