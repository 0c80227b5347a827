"""Command-line options of everything that trains: how it runs, never what is learned."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from txfm.errors import InputError
from txfm.training.exit_codes import EXIT_RESUMABLE

if TYPE_CHECKING:
    from txfm.hardware import Hardware
    from txfm.training.ranks import Ranks

    Work = Callable[[argparse.Namespace, Hardware, Ranks], None]


def add_run_options(parser: argparse._ActionsContainer) -> None:
    """Add the options to a verb."""
    parser.add_argument("--checkpoint-every-steps", type=int, default=1000, metavar="N", help="default 1000")
    parser.add_argument(
        "--batch-size",
        default="auto",
        metavar="N",
        help="samples per forward pass and rank; 'auto' (default): the model's micro_batch_size_samples, or what fits "
        "into memory. An optimiser step has the model's batch_size_samples in any case",
    )
    parser.add_argument(
        "--ranks", type=int, default=1, metavar="N", help="processes on this machine, one a GPU (default 1)"
    )
    parser.add_argument("--threads", type=int, help="CPU threads of all ranks together (default: torch's choice)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N (default auto)")
    parser.add_argument("--precision", choices=("auto", "bf16", "float32"), default="auto", help="default auto")
    parser.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, default=None, help="torch.compile (default: on CUDA)"
    )
    parser.add_argument("--tensorboard", type=Path, metavar="FOLDER", help="write event files for TensorBoard")
    parser.add_argument(
        "--peak-tflops",
        type=float,
        metavar="X",
        help="dense peak of one device, for MFU (default: known for some GPUs)",
    )


def check_run_options(args: argparse.Namespace) -> None:
    """Refuse numbers that cannot be used, before any process is started."""
    for name in ("checkpoint_every_steps", "ranks"):
        require(getattr(args, name) >= 1, name, "1 or more", getattr(args, name))
    usable = args.batch_size == "auto" or (args.batch_size.isdecimal() and int(args.batch_size) >= 1)
    require(usable, "batch_size", "auto, or 1 or more", args.batch_size)
    for name in ("peak_tflops", "memory_gib"):
        number = getattr(args, name)
        require(number is None or (math.isfinite(number) and number > 0), name, "a number above 0", number)
    require(args.threads is None or args.threads >= 1, "threads", "1 or more", args.threads)


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """The options as fields of `FitSettings`."""
    return {
        "checkpoint_every_steps": args.checkpoint_every_steps,
        "micro_batch": None if args.batch_size == "auto" else int(args.batch_size),
        "tensorboard": args.tensorboard,
        "peak_flops": None if args.peak_tflops is None else args.peak_tflops * 1e12,
    }


def hardware_of(args: argparse.Namespace) -> "Hardware":
    """The hardware of this process, also where it is one of several on its machine."""
    from txfm.hardware import choose_hardware
    from txfm.training.ranks import local_rank

    rank, n_local = local_rank()
    return choose_hardware(
        args.device, args.precision, args.threads, compiled=args.compile, local_rank=rank, n_local_ranks=n_local
    )


def run_on_ranks(work: "Work", args: argparse.Namespace) -> None:
    """Call ``work(args, hardware, ranks)`` in this process, or run the command line in `--ranks` new ones.

    Raises
    ------
    SystemExit
        `EXIT_RESUMABLE` after a signal asked to stop, or the exit code of a rank that failed.
    """
    from txfm.training.launch import end_with_launcher, is_rank, launch

    if args.ranks > 1 and not is_rank():
        launch(args.command_line, args.ranks)
        return
    end_with_launcher()
    from txfm.training.loop import StoppedError
    from txfm.training.ranks import join_ranks

    with join_ranks(uses_cuda=_uses_cuda(args.device)) as ranks:
        try:
            work(args, hardware_of(args), ranks)
        except StoppedError as stopped:
            print(f"stopped after step {stopped.step:,} and saved: the same command goes on from there", flush=True)
            raise SystemExit(EXIT_RESUMABLE) from None


def _uses_cuda(device: str) -> bool:
    import torch

    return device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())


def require(fulfilled: bool, name: str, expected: str, found: object) -> None:
    """Refuse an option, by its name in the parsed arguments."""
    if not fulfilled:
        option = "--" + name.replace("_", "-")
        raise InputError(f"{option} cannot be used", expected=expected, found=str(found))
