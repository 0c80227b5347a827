"""``python -m txfm train``."""

import argparse
from pathlib import Path

from txfm.config import PRESETS, config_from_json, config_from_mapping
from txfm.errors import InputError

PUBLISHED_N_GENES = 44_349  # Table 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("--corpus", type=Path, help="corpus folder")
    parser.add_argument("--variant", help="name of the variant to train on")
    parser.add_argument(
        "--model", metavar="JSON", help='preset and overrides, as in {"preset": "nano", "samples_seen": 200000}'
    )
    parser.add_argument("--seed", type=int, default=0, help="of weights, shuffling and masks (default 0)")
    parser.add_argument("--out", type=Path, help="folder of the finished model")
    parser.add_argument("--checkpoints", type=Path, help="folder for checkpoints; an interrupted run resumes from it")
    parser.add_argument("--checkpoint-every-steps", type=int, default=1000, metavar="N", help="default 1000")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's choice)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N (default auto)")
    parser.add_argument("--precision", choices=("auto", "bf16", "float32"), default="auto", help="default auto")
    parser.add_argument("--memory-gib", type=float, default=1.0, help="cache of decoded blocks (default 1)")
    parser.add_argument(
        "--describe", metavar="PRESET", help=f"print the size of a preset ({', '.join(PRESETS)}) and exit"
    )
    parser.add_argument(
        "--genes", type=int, default=PUBLISHED_N_GENES, help="vocabulary size for --describe (default 44349)"
    )


def run(args: argparse.Namespace) -> None:
    """Describe or train."""
    if args.describe is not None:
        from txfm.describe import describe

        print(describe(args.describe, config_from_mapping({"preset": args.describe}), args.genes))
        return
    needed = ("corpus", "variant", "model", "out", "checkpoints")
    missing = [f"--{name}" for name in needed if getattr(args, name) is None]
    if missing:
        raise InputError(
            "Arguments of train are missing", expected=", ".join(missing), todo="python -m txfm train --help"
        )
    config = config_from_json(args.model)

    from txfm.hardware import choose_hardware
    from txfm.train import TrainingRun, train

    training_run = TrainingRun(
        corpus=args.corpus,
        variant=args.variant,
        config=config,
        seed=args.seed,
        out=args.out,
        checkpoints=args.checkpoints,
        checkpoint_every_steps=args.checkpoint_every_steps,
        memory_bytes=int(args.memory_gib * 2**30),
    )
    train(training_run, choose_hardware(args.device, args.precision, args.threads))
