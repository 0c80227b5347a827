"""``python -m txfm evaluate cells``."""

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from txfm.destinations import check_folder
from txfm.errors import InputError
from txfm.evaluation.arguments import add_computing, add_embedders, add_samples, check_choice, reading_of

if TYPE_CHECKING:
    from txfm.evaluation.cells.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the benchmark."""
    add_samples(parser, "cells")
    parser.add_argument("--label", default="cell_type", help="column of obs (default %(default)s)")
    parser.add_argument("--batch", help="column of obs (default: no batches)")
    add_embedders(parser)
    add_choices(parser.add_argument_group("what is measured"))
    add_computing(parser)


def add_choices(group: "argparse._ArgumentGroup") -> None:
    """Arguments that `settings_of` reads."""
    group.add_argument("--tasks", nargs="+", help="some of clusters silhouettes linear mlp (default: all)")
    group.add_argument(
        "--seeds", type=int, nargs="+", default=list(range(10)), help="of draws and of Louvain (default 0 ... 9)"
    )
    group.add_argument("--split-seeds", type=int, nargs="+", default=[0, 1, 2], help="of the probes (default 0 1 2)")
    group.add_argument(
        "--max-cells", type=int, default=10_000, help="of a draw for clusters and silhouettes (default 10,000)"
    )


def run(args: argparse.Namespace) -> None:
    """Score embedders on labels of cells."""
    from txfm.evaluation.cells.cells import read_cells
    from txfm.evaluation.cells.constants import constants
    from txfm.evaluation.cells.page import markdown
    from txfm.evaluation.cells.run import run_benchmark
    from txfm.evaluation.cells.summary import summarise
    from txfm.evaluation.embedders import check_embedders, embeddings_of, unchecked
    from txfm.evaluation.samples import read_samples
    from txfm.evaluation.scores import refuse_empty, score_frame, software, write_scores
    from txfm.evaluation.shared_samples import compare_with_training
    from txfm.evaluation.telling import tell_not_scored
    from txfm.hardware import choose_hardware

    check_folder(args.out)
    hardware = choose_hardware(args.device, "float32", args.threads)
    print(hardware, flush=True)
    settings = settings_of(args, str(hardware.device))
    samples = read_samples(args.file)
    cells = read_cells(samples, args.label, args.batch)
    check_embedders(samples, args.models, args.obsm)
    not_compared = compare_with_training(args.file, args.models, args.corpus)
    embeddings = embeddings_of(
        samples,
        args.models,
        args.obsm,
        studies=args.study,
        device=settings.device,
        counts=args.counts,
        reading=reading_of(args),
        random=not args.no_random,
    )
    dataset = args.name or args.file.stem
    outcome = run_benchmark(cells, embeddings, settings, dataset, lambda line: print(line, flush=True))
    outcome.warnings.extend([*unchecked(samples, args.models, args.study), *not_compared])
    frame = score_frame(outcome.scores)
    refuse_empty(frame, outcome.not_scored, args.file)
    summary = summarise(frame)
    record = {
        "benchmark": "cell_types",
        "dataset": dataset,
        "settings": asdict(settings)
        | {"label": args.label, "batch": args.batch, "counts": args.counts, **asdict(reading_of(args))},
        "inputs": {"cells": samples.identity},
        "cells": cells.description(),
        "embedders": outcome.embedders,
        "dropped": cells.dropped,
        "not_scored": outcome.not_scored,
        "warnings": outcome.warnings,
        "constants": constants(),
        "software": software(),
    }
    page = markdown(summary, record)
    details = {f"{name}.parquet": each for name, each in outcome.frames.items() if len(each)}
    frames = {"summary.parquet": summary, **details}
    write_scores(args.out, frame, record, page, frames)
    print(page.split("## How to read it")[0])
    tell_not_scored(outcome.not_scored, outcome.warnings)
    print(f"wrote {args.out}/scores.parquet, .json, .tsv, .md, {', '.join(frames)}")


def settings_of(args: argparse.Namespace, device: str) -> "Settings":
    """The settings that the arguments of `add_choices` name.

    Raises
    ------
    InputError
        They cannot be used.
    """
    from txfm.evaluation.cells.settings import TASKS, Settings

    tasks = tuple(args.tasks or TASKS)
    for option, given, known in (
        ("--tasks", tasks, tuple(TASKS)),
        ("--seeds", tuple(args.seeds), None),
        ("--split-seeds", tuple(args.split_seeds), None),
    ):
        check_choice(option, given, known)
    if args.max_cells < 3:
        raise InputError("--max-cells cannot be used", expected="3 or more", found=str(args.max_cells))
    return Settings(
        seeds=tuple(args.seeds),
        max_cells=args.max_cells,
        split_seeds=tuple(args.split_seeds),
        tasks=tuple(task for task in TASKS if task in tasks),
        device=device,
    )
