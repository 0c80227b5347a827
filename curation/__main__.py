"""Command line of curation: one verb a step. Exit code 0 done, 2 wrong input or refused by the system, 1 any other."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from curation.acquire.commands import Command, register
from curation.corpus_commands import register as register_corpus
from curation.errors import InputError, refusal_of_system

if TYPE_CHECKING:
    from curation.build import Curation

# Exit codes of a shell for a command that Ctrl-C, or the end of its reader, ended
INTERRUPTED = 130
BROKEN_PIPE = 141


def genes(args: argparse.Namespace) -> None:
    """Read a reference gene table into the gene axis."""
    from curation.axis import build_axis
    from curation.catalog import Annotation

    annotation = Annotation.from_json(args.annotation)
    hgnc = annotation.hgnc.path(args.sources) if annotation.hgnc else None
    axis, left_out = build_axis(annotation.path(args.sources), annotation.format, hgnc=hgnc)
    if annotation.history:
        from curation.gene_history import with_history

        axis = with_history(axis, *annotation.history_paths(args.sources), last_release=annotation.ensembl_release)
    axis.write(args.out)
    reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items() if count) or "none"
    print(f"{axis.genes.height:,} genes on the axis; rows left out: {reasons}")


def simulate(args: argparse.Namespace) -> None:
    """Write a simulated screen or, with --scale, all nine studies with known truth, to rehearse a build."""
    if args.scale is not None:
        _rehearse(args)
        return
    from curation.simulate import Screen, write_screen

    write_screen(Screen.from_json(json.loads(args.screen)), args.genes, args.out)


def _rehearse(args: argparse.Namespace) -> None:
    from curation.simulate.rehearsal import STUDIES, Rehearsal, write_rehearsal

    rehearsal = Rehearsal(
        scale=args.scale,
        gene_share=args.gene_share,
        seed=args.seed,
        studies=tuple(args.studies or STUDIES),
        annotation=args.annotation,
    )
    write_rehearsal(rehearsal, args.genes, args.out)


def _curation(args: argparse.Namespace) -> tuple[Curation, float]:
    """Return what to curate, and the wanted share of samples in validation batches."""
    from curation.allocator import give_back_large_arrays
    from curation.build import Curation
    from curation.entries import read_recipe, read_split, read_study

    give_back_large_arrays()
    validation_share, seed = read_split(args.split)
    task = Curation(
        study=read_study(args.study),
        recipe=read_recipe(args.recipe),
        recipe_name=args.recipe_name,
        genes=args.genes,
        sources=args.sources,
        seed=seed,
        other_stores=tuple(args.other_stores),
    )
    return task, validation_share


def curate(args: argparse.Namespace) -> None:
    """Write the train and validation store of a study, and its QC report."""
    from curation.build import curate_training

    task, share = _curation(args)
    curate_training(task, train=args.train, validation=args.validation, report=args.report, validation_share=share)


def curate_evaluation(args: argparse.Namespace) -> None:
    """Write the store of a held-out study, outside any corpus, and its QC report."""
    from curation.build import curate_evaluation as write

    task, _ = _curation(args)
    write(task, evaluation=args.evaluation, report=args.report)


def assemble(args: argparse.Namespace) -> None:
    """Write corpus.json."""
    from curation.corpus import assemble as write

    write(
        args.corpus,
        name=args.name,
        axis_source=args.axis_source,
        reports=args.reports,
        studies=json.loads(args.studies),
        out=args.out,
    )


def compose(args: argparse.Namespace) -> None:
    """Write one variant over the stores."""
    from curation.corpus import compose as write

    write(
        args.corpus,
        variant=args.variant,
        members=json.loads(args.members),
        held_out=json.loads(args.held_out),
        reports=args.reports,
        evaluation_stores={name: Path(path) for name, path in json.loads(args.evaluation_stores).items()},
    )


def verify(args: argparse.Namespace) -> None:
    """Check a corpus against the format; list everything that is wrong."""
    from curation.verify import verify_corpus

    problems = verify_corpus(args.corpus)
    if problems:
        raise InputError(
            f"{len(problems)} problems in this corpus",
            where=str(args.corpus),
            expected="a corpus as docs/corpus-format.md describes it",
            found="\n  ".join(["", *problems]),
            todo="remove the stores that are named and run the workflow again; it writes only what is missing",
        )
    print(f"{args.corpus}: every store, digest and split is as promised")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m curation", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, command: Command) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=command.__doc__, description=command.__doc__)
        sub.set_defaults(command=command)
        return sub

    register(verb)

    sub = verb("genes", genes)
    sub.add_argument("--annotation", required=True, help="the gene table's catalogue entry, JSON")
    sub.add_argument("--sources", type=Path, required=True, help="folder of all downloads")
    sub.add_argument("--out", type=Path, required=True, help="genes.parquet; gene_names.parquet goes beside it")

    sub = verb("simulate", simulate)
    sub.add_argument("--genes", type=Path, required=True, help="genes.parquet")
    sub.add_argument("--out", type=Path, required=True, help="h5ad file; with --scale, a folder")
    sub.add_argument("--screen", default="{}", help="size and strength of one screen, JSON; see docs/simulation.md")
    sub.add_argument("--scale", type=float, help="simulate the nine studies with this share of the samples, up to 1")
    sub.add_argument("--gene-share", type=float, default=1.0, help="share of the genes of the published tables")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--studies", nargs="+", help="some of the nine only")
    sub.add_argument("--annotation", help="entry of the gene axis, for the config of the rehearsal")

    for name, command in (("curate", curate), ("curate-evaluation", curate_evaluation)):
        sub = verb(name, command)
        sub.add_argument("--study", required=True, help="the study's catalogue entry, JSON")
        sub.add_argument("--recipe", required=True, help="the recipe's fields, JSON")
        sub.add_argument("--recipe-name", required=True)
        sub.add_argument("--split", required=True, help='JSON: {"validation_share": 0.05, "seed": 0}')
        sub.add_argument("--genes", type=Path, required=True, help="genes.parquet")
        sub.add_argument("--sources", type=Path, required=True, help="the study's folder of fetched files")
        sub.add_argument("--report", type=Path, required=True, help="QC report, JSON")
        sub.add_argument(
            "--other-stores", type=Path, nargs="*", default=[], help="stores of the recipe's drop_samples_of"
        )
        for store in ("train", "validation") if name == "curate" else ("evaluation",):
            sub.add_argument(f"--{store}", type=Path, required=True, help=f"{store} store to write")

    sub = verb("assemble", assemble)
    sub.add_argument("--corpus", type=Path, required=True)
    sub.add_argument("--name", required=True)
    sub.add_argument("--axis-source", default="", help="annotation entry that the gene axis was read from")
    sub.add_argument("--studies", default="{}", help="JSON: study to title, citation and licence")
    sub.add_argument("--reports", type=Path, nargs="+", required=True, help="QC reports of the stores")
    sub.add_argument("--out", type=Path, required=True, help="corpus.json")

    sub = verb("compose", compose)
    sub.add_argument("--corpus", type=Path, required=True)
    sub.add_argument("--variant", required=True)
    sub.add_argument("--members", required=True, help="JSON: study to recipe")
    sub.add_argument("--held-out", default="[]", help="JSON: studies that no variant may hold")
    sub.add_argument("--reports", type=Path, nargs="+", required=True, help="QC reports of the members")
    sub.add_argument("--evaluation-stores", default="{}", help="JSON: study that is held out to its store")

    sub = verb("verify", verify)
    sub.add_argument("corpus", type=Path)

    register_corpus(verb)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit code."""
    args = _parser().parse_args(argv)
    command: Command = args.command
    try:
        code = command(args) or 0
        sys.stdout.flush()
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except BrokenPipeError:
        # `| head` has read enough. What is still in the buffer must not be written once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        print(refusal_of_system(error), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr, flush=True)
        return INTERRUPTED
    return code


if __name__ == "__main__":
    exit_code = main()
    if exit_code == INTERRUPTED:
        # At once: other threads may still wait for servers, and whatever they wrote can be taken up.
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(INTERRUPTED)
    sys.exit(exit_code)
