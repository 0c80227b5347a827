"""``python -m txfm evaluate layers``."""

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from txfm.destinations import check_folder
from txfm.errors import InputError
from txfm.evaluation.arguments import add_computing, add_relations, add_samples, reading_of
from txfm.evaluation.cells.cli import add_choices, settings_of

if TYPE_CHECKING:
    from txfm.evaluation.layers.run import Question
    from txfm.evaluation.samples import LabelledSamples


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the benchmark."""
    add_samples(parser, "samples")
    parser.add_argument("models", nargs="+", help="folders of trained TxFM models")
    parser.add_argument("--layers", nargs="+", default=[], help="some of block1 ... cls decoder1 ... (default: all)")
    parser.add_argument("--batch", help="column of obs (default: no batches)")
    cells = parser.add_argument_group("scores of cell types (evaluate cells)")
    cells.add_argument("--label", help="column of obs")
    add_choices(cells)
    screen = parser.add_argument_group("scores of perturbations (evaluate perturbation)")
    screen.add_argument("--perturbation", help="column of obs; needs --batch")
    screen.add_argument("--control", nargs="+", default=[], metavar="LABEL", help="labels of controls")
    add_relations(screen)
    screen.add_argument("--perturbation-tasks", nargs="+", default=["lin", "knn", "pcst"], help="default %(default)s")
    screen.add_argument("--postprocessing", default="centering", help="default %(default)s")
    add_computing(parser)


def run(args: argparse.Namespace) -> None:
    """Score the layers of networks."""
    from txfm.evaluation.cells.constants import constants as cells_constants
    from txfm.evaluation.embedders import unchecked
    from txfm.evaluation.layers.page import markdown
    from txfm.evaluation.layers.run import layer_embeddings, score_layers
    from txfm.evaluation.perturbation.constants import constants as screen_constants
    from txfm.evaluation.samples import read_samples
    from txfm.evaluation.scores import refuse_empty, score_frame, software, write_scores
    from txfm.evaluation.shared_samples import compare_with_training
    from txfm.evaluation.telling import tell_not_scored
    from txfm.hardware import choose_hardware

    check_folder(args.out)
    hardware = choose_hardware(args.device, "float32", args.threads)
    print(hardware, flush=True)
    device = str(hardware.device)
    samples = read_samples(args.file)
    question = _question(args, samples, device)
    not_compared = compare_with_training(args.file, args.models, args.corpus)
    models = layer_embeddings(
        samples,
        args.models,
        args.layers,
        studies=args.study,
        device=device,
        counts=args.counts,
        reading=reading_of(args),
    )
    dataset = args.name or args.file.stem
    outcome = score_layers(question, models, dataset, lambda line: print(line, flush=True))
    frame = score_frame(outcome.scores)
    refuse_empty(frame, outcome.not_scored, args.file)
    outcome.warnings.extend([*unchecked(samples, args.models, args.study), *not_compared])
    settings = {
        "label": args.label,
        "batch": args.batch,
        "perturbation": args.perturbation,
        "control": args.control,
        "counts": args.counts,
        **asdict(reading_of(args)),
        **({} if question.cells is None else {"cells": asdict(question.cell_settings)}),
        **({} if question.screen is None else {"screen": asdict(question.screen_settings)}),
    }
    parts = {"cells": question.cells, "screen": question.screen}
    dropped = {
        f"{name}: {reason}": number
        for name, part in parts.items()
        if part is not None
        for reason, number in part.dropped.items()
    }
    record = {
        "benchmark": "layers",
        "dataset": dataset,
        "settings": settings,
        "inputs": {"samples": samples.identity},
        "embedders": outcome.embedders,
        "dropped": dropped,
        "not_scored": outcome.not_scored,
        "warnings": outcome.warnings,
        "constants": {
            **({} if question.cells is None else {"cells": cells_constants()}),
            **({} if question.screen is None else {"screen": screen_constants()}),
        },
        "software": software(),
    }
    summary = outcome.summary(frame)
    is_primary = frame[frame["primary"]]
    page = markdown(summary, set(zip(is_primary["task"], is_primary["metric"], strict=True)), record)
    write_scores(args.out, frame, record, page, {"layers.parquet": summary})
    print(page.split("## How to read it")[0])
    tell_not_scored(outcome.not_scored, outcome.warnings)
    print(f"wrote {args.out}/scores.parquet, .json, .tsv, .md and layers.parquet")


def _question(args: argparse.Namespace, samples: "LabelledSamples", device: str) -> "Question":
    from txfm.evaluation.cells.cells import read_cells
    from txfm.evaluation.layers.run import Question
    from txfm.evaluation.perturbation.screen import read_screen
    from txfm.evaluation.perturbation.settings import TASKS
    from txfm.evaluation.perturbation.settings import Settings as ScreenSettings
    from txfm.evaluation.relation_files import find_relations
    from txfm.evaluation.scores import POSTPROCESSINGS

    if args.label is None and args.perturbation is None:
        raise InputError(
            "There is nothing to score layers by",
            where=str(args.file),
            expected="a column of labels (--label), of perturbations (--perturbation), or both",
            found="columns " + ", ".join(map(str, samples.obs.columns)),
        )
    if args.perturbation is not None and args.batch is None:
        raise InputError("A screen needs a column of batches", where=str(args.file), expected="--batch COLUMN")
    for option, given, known in (
        ("--perturbation-tasks", args.perturbation_tasks, tuple(TASKS)),
        ("--postprocessing", [args.postprocessing], POSTPROCESSINGS),
    ):
        if strange := [each for each in given if each not in known]:
            raise InputError(f"{option} cannot be used", expected=", ".join(known), found=", ".join(strange))
    is_screen = args.perturbation is not None
    needs_relations = is_screen and "bmdb" in args.perturbation_tasks
    relations = find_relations(args.relations, may_lack=args.without_relations) if needs_relations else {}
    return Question(
        cells=None if args.label is None else read_cells(samples, args.label, args.batch),
        screen=read_screen(samples, args.perturbation, args.batch, args.control, counts=args.counts)
        if is_screen
        else None,
        cell_settings=settings_of(args, device),
        screen_settings=ScreenSettings(
            seeds=tuple(args.seeds[:5]),
            tasks=tuple(task for task in TASKS if task in args.perturbation_tasks),
            postprocessings=(args.postprocessing,),
            fixed=args.postprocessing,
            device=device,
        ),
        relations=relations,
    )
