"""Which processor and precision a run uses."""

import ctypes
import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass

import torch

from txfm.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Device, precision ("bf16" or "float32"), CPU threads of a run, and whether its network is compiled."""

    device: torch.device
    precision: str
    threads: int
    compiled: bool = False

    def __str__(self) -> str:
        name = f" ({torch.cuda.get_device_name(self.device)})" if self.device.type == "cuda" else ""
        compiled = ", compiled" if self.compiled else ""
        return f"device {self.device}{name}, {self.threads} CPU threads, precision {self.precision}{compiled}"


def choose_hardware(
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    *,
    compiled: bool | None = False,
    local_rank: int = 0,
    n_local_ranks: int = 1,
) -> Hardware:
    """Resolve "auto", set torch's number of threads and tune the C library's allocator.

    Parameters
    ----------
    device : str
        "auto" (CUDA if there is one), "cpu", "cuda", "cuda:1", ...
    precision : {"auto", "bf16", "float32"}
        "auto" takes bf16 where the processor computes it natively.
    threads : int, optional
        CPU threads of all processes on this machine together; None leaves torch's choice.
    compiled : bool, optional
        Whether training compiles the network; None = on CUDA, where the compiler's own compiler is installed.
    local_rank, n_local_ranks : int
        Of the processes that train together on this machine: each takes a CUDA device of its own and its part of the
        threads.

    Raises
    ------
    InputError
        There is no such device or not one for each process, or the number of threads is below 1.
    """
    keep_freed_memory()
    if threads is not None:
        if threads < 1:
            raise InputError("The number of threads is too small", expected="at least 1", found=str(threads))
        torch.set_num_threads(max(1, threads // n_local_ranks))
    elif n_local_ranks > 1:
        torch.set_num_threads(max(1, torch.get_num_threads() // n_local_ranks))
    chosen = choose_device(device)
    if chosen.type == "cuda":
        chosen = _cuda_device(chosen, local_rank, n_local_ranks)
    if precision == "auto":
        precision = "bf16" if _computes_bf16(chosen) else "float32"
    if compiled is None:
        compiled = chosen.type == "cuda" and _can_compile()
    return Hardware(device=chosen, precision=precision, threads=torch.get_num_threads(), compiled=compiled)


def choose_device(name: str) -> torch.device:
    """The device of a name: "auto" (CUDA if there is one), "cpu", "cuda", "cuda:1", ...

    Raises
    ------
    InputError
        There is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(name)
    except RuntimeError:
        chosen = None
    if chosen is None or chosen.type not in ("cpu", "cuda"):
        raise InputError("There is no such device", expected="auto, cpu, cuda or cuda:N", found=name)
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise InputError("There is no CUDA device on this machine", found=name, todo="use auto or cpu (--device)")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        expected = f"cuda:0 to cuda:{torch.cuda.device_count() - 1}"
        raise InputError("There is no such CUDA device on this machine", expected=expected, found=name)
    return chosen


def _cuda_device(asked: torch.device, local_rank: int, n_local_ranks: int) -> torch.device:
    n_devices = torch.cuda.device_count()
    if n_local_ranks > 1 and (asked.index is not None or n_local_ranks > n_devices):
        raise InputError(
            "Each process of a distributed training takes a CUDA device of its own",
            expected=f"--device cuda, and at most {n_devices} processes on this machine",
            found=f"{asked}, {n_local_ranks} processes",
            todo="start as many processes as there are devices; CUDA_VISIBLE_DEVICES says which they may use",
        )
    chosen = torch.device("cuda", local_rank if asked.index is None else asked.index)
    torch.cuda.set_device(chosen)
    return chosen


def _can_compile() -> bool:
    """Whether torch.compile can work on CUDA: it needs triton and a C compiler."""
    missing = [] if importlib.util.find_spec("triton") else ["the package triton"]
    if not any(shutil.which(name) for name in (os.environ.get("CC", "cc"), "gcc", "clang")):
        missing.append("a C compiler (gcc)")
    if missing:
        print(f"not compiled, because there is no {' and no '.join(missing)}: training is slower", flush=True)
    return not missing


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
