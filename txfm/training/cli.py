"""``python -m txfm train``."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from txfm.config import PRESETS, config_from_json, config_from_mapping
from txfm.errors import InputError
from txfm.training.run_options import (
    add_run_options,
    check_run_options,
    hardware_of,
    require,
    run_on_ranks,
    settings_of,
)

if TYPE_CHECKING:
    from txfm.hardware import Hardware
    from txfm.training.ranks import Ranks

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
    add_run_options(parser)
    parser.add_argument(
        "--keep-every-steps", type=int, metavar="N", help="a model every N steps stays in OUT.kept/ (default: none)"
    )
    parser.add_argument("--memory-gib", type=float, default=1.0, help="cache of decoded blocks of a rank (default 1)")
    parser.add_argument(
        "--describe",
        metavar="MODEL",
        help=f"print shapes, parameters, FLOPs and memory of a preset ({', '.join(PRESETS)}) or of a JSON as for "
        "--model, and exit; with --corpus and --variant, for their genes and samples",
    )
    parser.add_argument(
        "--genes", type=int, default=PUBLISHED_N_GENES, help="vocabulary size for --describe (default 44349)"
    )
    parser.add_argument(
        "--overfit-batch",
        type=int,
        metavar="STEPS",
        help="for debugging: train on one batch with one mask; exit code 0 if the network learns it by heart",
    )


def run(args: argparse.Namespace) -> None:
    """Describe, overfit or train."""
    check_run_options(args)
    keeps = args.keep_every_steps
    require(keeps is None or keeps >= 1, "keep_every_steps", "1 or more", keeps)
    if args.describe is not None:
        require(args.genes >= 1, "genes", "1 or more", args.genes)
        _describe(args)
        return
    overfits = args.overfit_batch is not None
    needed = ["corpus", "variant", "model"] + ([] if overfits else ["out", "checkpoints"])
    missing = [f"--{name}" for name in needed if getattr(args, name) is None]
    if missing:
        raise InputError(
            "Arguments of train are missing", expected=", ".join(missing), todo="python -m txfm train --help"
        )
    config_from_json(args.model)
    if overfits:
        require(args.overfit_batch >= 1, "overfit_batch", "1 step or more", args.overfit_batch)
        _overfit(args)
    else:
        run_on_ranks(_train, args)


def _train(args: argparse.Namespace, hardware: "Hardware", ranks: "Ranks") -> None:
    from txfm.training.run import TrainingRun, train

    run = TrainingRun(
        corpus=args.corpus,
        variant=args.variant,
        config=config_from_json(args.model),
        seed=args.seed,
        out=args.out,
        checkpoints=args.checkpoints,
        memory_bytes=int(args.memory_gib * 2**30),
        keep_every_steps=args.keep_every_steps,
        **settings_of(args),
    )
    train(run, hardware, ranks)


def _overfit(args: argparse.Namespace) -> None:
    from txfm.training.launch import is_rank
    from txfm.training.overfit import overfit_batch
    from txfm.training.samples import CorpusSamples

    require(args.ranks == 1 and not is_rank(), "overfit_batch", "one process, no --ranks and no torchrun", "several")
    config = config_from_json(args.model)
    samples = CorpusSamples(corpus=args.corpus, variant=args.variant, max_genes=config.max_genes)
    micro_batch = settings_of(args)["micro_batch"]
    if not overfit_batch(samples, config, args.seed, args.overfit_batch, hardware_of(args), micro_batch):
        raise SystemExit(1)


def _describe(args: argparse.Namespace) -> None:
    from txfm.describe import describe

    is_json = args.describe.lstrip().startswith("{")
    config = config_from_json(args.describe) if is_json else config_from_mapping({"preset": args.describe})
    name = "this model" if is_json else args.describe
    hardware = hardware_of(args)
    if args.corpus is None:
        print(describe(name, config, args.genes, hardware))
        return
    if args.variant is None:
        raise InputError("A corpus has several variants", expected="--variant with --corpus")
    from txfm.training.samples import CorpusSamples

    samples = CorpusSamples(corpus=args.corpus, variant=args.variant, max_genes=config.max_genes)
    corpus = samples.training(batch_size=config.batch_size_samples, seed=args.seed)
    print(describe(name, config, len(corpus.vocabulary), hardware, corpus.n_samples))
