"""``python -m txfm evaluate perturbation``."""

import argparse
import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from txfm.destinations import check_folder
from txfm.errors import InputError
from txfm.evaluation.arguments import add_computing, add_embedders, add_relations, add_samples, check_choice, reading_of

if TYPE_CHECKING:
    import pandas as pd

    from txfm.evaluation.perturbation.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the benchmark."""
    add_samples(parser, "screen")
    parser.add_argument("--perturbation", default="perturbation", help="column of obs (default %(default)s)")
    parser.add_argument("--batch", default="batch", help="column of obs (default %(default)s)")
    parser.add_argument(
        "--control",
        nargs="+",
        default=[],
        metavar="LABEL",
        help="labels of controls (default: column is_control of obs)",
    )
    add_embedders(parser)
    add_relations(parser)
    what = parser.add_argument_group("what is measured")
    what.add_argument("--tasks", nargs="+", help="some of ilisi lin knn pcst bmdb inv (default: all)")
    what.add_argument("--postprocessings", nargs="+", help="some of none centering standardising tvn (default: all)")
    what.add_argument(
        "--fixed", default="centering", help="post-processing shown beside the best (default %(default)s)"
    )
    what.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="default 0 1 2 3 4")
    what.add_argument(
        "--vary-splits", action="store_true", help="another split for each seed (default: that of seed 42)"
    )
    what.add_argument("--max-cells", type=int, help="embed and score this many random cells (default: all)")
    what.add_argument("--network", action="store_true", help="also the decoder network of Tx-Evaluation's code (slow)")
    add_computing(parser)


def run(args: argparse.Namespace) -> None:
    """Score embedders on a screen."""
    import numpy as np

    from txfm.evaluation.embedders import check_embedders, embeddings_of, unchecked
    from txfm.evaluation.perturbation.constants import constants
    from txfm.evaluation.perturbation.page import markdown
    from txfm.evaluation.perturbation.run import run_benchmark
    from txfm.evaluation.perturbation.screen import read_screen
    from txfm.evaluation.perturbation.summary import summarise
    from txfm.evaluation.relation_files import find_relations
    from txfm.evaluation.samples import read_samples
    from txfm.evaluation.scores import refuse_empty, score_frame, software, write_scores
    from txfm.evaluation.shared_samples import compare_with_training
    from txfm.evaluation.telling import tell_not_scored
    from txfm.hardware import choose_hardware

    check_folder(args.out)
    hardware = choose_hardware(args.device, "float32", args.threads)
    print(hardware, flush=True)
    settings = _settings(args, str(hardware.device))
    relations = find_relations(args.relations, may_lack=args.without_relations)
    samples = read_samples(args.file)
    screen = read_screen(
        samples, args.perturbation, args.batch, args.control, counts=args.counts, max_cells=args.max_cells
    )
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
        rows=None if args.max_cells is None else np.sort(screen.rows),
    )
    dataset = args.name or args.file.stem
    outcome = run_benchmark(screen, embeddings, relations, settings, dataset, lambda line: print(line, flush=True))
    outcome.warnings.extend([*unchecked(samples, args.models, args.study), *not_compared])
    frame = score_frame(outcome.scores)
    refuse_empty(frame, outcome.not_scored, args.file)
    summary = summarise(frame, settings.fixed, settings.tasks)
    record = {
        "benchmark": "perturbation",
        "dataset": dataset,
        "settings": {
            **asdict(settings),
            "perturbation": args.perturbation,
            "batch": args.batch,
            "control": args.control,
            "counts": args.counts,
            **asdict(reading_of(args)),
        },
        "inputs": {"screen": samples.identity, "relations": _identity_of(args.relations, relations)},
        "screen": {
            "n_cells": len(screen),
            "n_perturbations": len(set(screen.perturbation[~screen.is_control])),
            "n_controls": int(screen.is_control.sum()),
            "n_batches": len(set(screen.batch)),
            "cells_of_batch": {str(name): int((screen.batch == name).sum()) for name in sorted(set(screen.batch))},
        },
        "embedders": outcome.embedders,
        "dropped": screen.dropped,
        "not_scored": outcome.not_scored,
        "warnings": outcome.warnings,
        "constants": constants(),
        "software": software(),
    }
    page = markdown(frame, summary, record, settings)
    frames = {"summary.parquet": summary, "consistency.parquet": outcome.consistency_frame}
    write_scores(args.out, frame, record, page, frames)
    print(page.split("## All candidates")[0])
    tell_not_scored(outcome.not_scored, outcome.warnings)
    print(f"wrote {args.out}/scores.parquet, .json, .tsv, .md, summary.parquet and consistency.parquet")


def _settings(args: argparse.Namespace, device: str) -> "Settings":
    from txfm.evaluation.perturbation.settings import TASKS, Settings
    from txfm.evaluation.scores import POSTPROCESSINGS

    tasks, postprocessings = tuple(args.tasks or TASKS), tuple(args.postprocessings or POSTPROCESSINGS)
    for option, given, known in (
        ("--tasks", tasks, tuple(TASKS)),
        ("--postprocessings", postprocessings, POSTPROCESSINGS),
        ("--fixed", (args.fixed,), postprocessings),
        ("--seeds", tuple(args.seeds), None),
    ):
        check_choice(option, given, known)
    if args.max_cells is not None and args.max_cells < 3:
        raise InputError("--max-cells cannot be used", expected="3 or more", found=str(args.max_cells))
    return Settings(
        seeds=tuple(args.seeds),
        vary_splits=args.vary_splits,
        tasks=tuple(task for task in TASKS if task in tasks),
        postprocessings=postprocessings,
        fixed=args.fixed,
        network=args.network,
        device=device,
    )


def _identity_of(
    folder: Path | None, relations: "dict[str, pd.DataFrame] | InputError"
) -> dict[str, dict[str, int | str]]:
    """Rows and sha256 of each database's file."""
    from txfm.evaluation.relation_files import relation_paths

    if isinstance(relations, InputError):
        return {}
    files = relation_paths(folder, list(relations))
    return {
        name: {"rows": len(pairs), "sha256": hashlib.sha256(files[name].read_bytes()).hexdigest()}
        for name, pairs in relations.items()
    }
