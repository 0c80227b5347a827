"""Which processor and precision a run uses."""

import ctypes
import sys
from dataclasses import dataclass

import torch

from txfm.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Device, precision ("bf16" or "float32") and CPU threads of a run."""

    device: torch.device
    precision: str
    threads: int

    def __str__(self) -> str:
        name = f" ({torch.cuda.get_device_name(self.device)})" if self.device.type == "cuda" else ""
        return f"device {self.device}{name}, {self.threads} CPU threads, precision {self.precision}"


def choose_hardware(device: str = "auto", precision: str = "auto", threads: int | None = None) -> Hardware:
    """Resolve "auto", set torch's number of threads and tune the C library's allocator.

    Parameters
    ----------
    device : str
        "auto" (CUDA if there is one), "cpu", "cuda", "cuda:1", ...
    precision : {"auto", "bf16", "float32"}
        "auto" takes bf16 where the processor computes it natively.
    threads : int, optional
        CPU threads; None leaves torch's choice.

    Raises
    ------
    InputError
        There is no such device, or the number of threads is below 1.
    """
    keep_freed_memory()
    _check_device(device)
    if threads is not None:
        if threads < 1:
            raise InputError("The number of threads is too small", expected="at least 1", found=str(threads))
        torch.set_num_threads(threads)
    chosen = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise InputError("There is no CUDA device on this machine", found=device, todo="use --device auto or cpu")
    if precision == "auto":
        precision = "bf16" if _computes_bf16(chosen) else "float32"
    return Hardware(device=chosen, precision=precision, threads=torch.get_num_threads())


def _check_device(name: str) -> None:
    if name == "auto":
        return
    try:
        known = torch.device(name).type in ("cpu", "cuda")
    except RuntimeError:
        known = False
    if not known:
        raise InputError("There is no such device", expected="auto, cpu, cuda or cuda:N", found=name)


def _computes_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # torch has no public query: AVX512-BF16 and AMX are the two instruction sets that oneDNN uses for bf16
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def keep_freed_memory() -> None:
    """Let the C library keep freed blocks below 32 MiB for the next step instead of returning them to the system.

    Every step allocates the same activations of a few MiB; asking the system for zeroed pages each time cost 20% of a
    nano step on one core (benchmarks/train_step.py). Linux with glibc only; elsewhere nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(-3, 32 * 2**20)  # M_MMAP_THRESHOLD; 32 MiB is the largest value that glibc accepts
        mallopt(-1, 2**30)  # M_TRIM_THRESHOLD
