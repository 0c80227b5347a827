"""How many samples pass through the network at once: what fits into memory, by the formula of cost.py."""

from pathlib import Path

import torch

from txfm.config import ModelConfig
from txfm.cost import activation_bytes, n_tokens, state_bytes
from txfm.cpu_attention import n_samples_kept
from txfm.errors import InputError
from txfm.hardware import Hardware

# For what the formula does not know: the reader's buffers, the allocator's gaps, kernels' workspaces.
SHARE_OF_FREE_MEMORY = 0.8


def available_bytes(device: torch.device, n_processes: int = 1) -> int:
    """Memory that one of `n_processes` may take: free on the GPU, or its part of what is available on this machine.

    On Linux that is MemAvailable, or what the limits of the process' control groups leave, if less; elsewhere 8 GiB are
    assumed.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    limits = [*_machine_available(), *control_groups_available()]
    return min(limits, default=8 * 2**30) // n_processes


def choose_micro_batch(config: ModelConfig, n_genes: int, n_samples: int, hardware: Hardware, available: int) -> int:
    """The largest equal parts of a batch whose training step fits into memory.

    In bf16 on a CPU no larger than those whose attention keeps its probabilities, because a larger part is slower.

    Parameters
    ----------
    config : ModelConfig
    n_genes : int
        G.
    n_samples : int
        Of this process' share of the batch.
    hardware : Hardware
    available : int
        Bytes; `SHARE_OF_FREE_MEMORY` of them is used.

    Raises
    ------
    InputError
        Not even one sample fits.
    """
    fixed = state_bytes(config, n_genes, hardware.precision)
    budget = round(SHARE_OF_FREE_MEMORY * available) - fixed

    def needed(size: int) -> int:
        return activation_bytes(config, n_genes, size, hardware.precision, hardware.device.type)

    is_bf16_on_cpu = hardware.device.type == "cpu" and hardware.precision == "bf16"
    fastest = n_samples_kept(config.n_heads, n_tokens(config, n_genes)) if is_bf16_on_cpu else n_samples
    for n_parts in range(-(-n_samples // max(fastest, 1)), n_samples + 1):
        size = -(-n_samples // n_parts)
        if needed(size) <= budget:
            return size
    raise InputError(
        "A training step does not fit into memory, not even with one sample at a time",
        where=str(hardware.device),
        expected=f"{(needed(1) + fixed) / 2**30:.1f} GiB for the model and one sample",
        found=f"{available / 2**30:.1f} GiB available, of which {SHARE_OF_FREE_MEMORY:.0%} may be used",
        todo="use a smaller model, fewer visible genes, or a device with more memory; --batch-size 1 tries it anyway",
    )


def _machine_available() -> list[int]:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return []
    return [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]


def control_groups_available(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[int]:
    """What each memory limit above this process leaves, in bytes; version 2 and version 1 of control groups.

    Parameters
    ----------
    root : Path
        Where the groups are mounted.
    own : Path
        The list of this process' groups.
    """
    try:
        memberships = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return []
    left = []
    for _, controllers, path in memberships:
        if controllers == "":
            base, files = root, ("memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            base, files = root / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        relative = Path(path.lstrip("/"))
        for folder in (base / relative, *(base / parent for parent in relative.parents)):
            try:
                limit, used = ((folder / name).read_text().strip() for name in files)
                file_cache = _inactive_file_bytes(folder)
            except OSError:  # not this group, or not seen from inside a container
                continue
            if limit.isdecimal():
                left.append(max(0, int(limit) - int(used) + file_cache))
    return left


def _inactive_file_bytes(folder: Path) -> int:
    """Cached file contents that the system gives back when memory is asked for."""
    lines = (folder / "memory.stat").read_text().splitlines()
    fields = dict(line.split() for line in lines)
    return int(fields.get("total_inactive_file", fields.get("inactive_file", 0)))
