"""Arguments that several benchmarks have, each said once; nothing heavy is imported."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from txfm.embedding.run import ReadingOptions

from txfm.errors import InputError


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Where the scores go."""
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="of scores.parquet, .json, .tsv and .md"
    )


def add_samples(parser: argparse.ArgumentParser, what: str) -> None:
    """The file that embedders are scored on, of which `what` says what it holds; how scores name it, and `--out`."""
    parser.add_argument("file", type=Path, help=f"{what}: .h5ad, or .zarr of this project or of anndata")
    add_outputs(parser)
    parser.add_argument("--name", help="how scores name the file (default: its name)")
    parser.add_argument("--study", nargs="+", default=[], help="study of the file, to refuse models that have seen it")
    parser.add_argument(
        "--corpus",
        type=Path,
        metavar="FOLDER",
        help="that the models were trained on: refuse a store that shares samples with it, by their fingerprints",
    )
    parser.add_argument("--counts", default="X", help="where the raw counts are: X, raw or layers/NAME (default X)")
    parser.add_argument("--gene-column", help="column of var with Ensembl ids or symbols, or index (default: found)")
    parser.add_argument(
        "--min-matched-share",
        type=float,
        help="refuse a model of whose genes the file has less (default 0.3; of a store, which says what was measured, "
        "any share)",
    )


def reading_of(args: argparse.Namespace) -> "ReadingOptions":
    """How the arguments of `add_samples` say that models read the file."""
    from txfm.embedding.run import ReadingOptions

    return ReadingOptions(gene_column=args.gene_column, min_matched_share=args.min_matched_share)


def add_embedders(parser: argparse.ArgumentParser) -> None:
    """What is compared, and its floor."""
    parser.add_argument("--models", nargs="+", default=[], help="folders of trained models and fitted baselines")
    parser.add_argument("--obsm", nargs="+", default=[], metavar="KEY", help="embeddings that the file has in obsm")
    parser.add_argument("--no-random", action="store_true", help="leave out the floor, an embedding of random numbers")


def add_relations(parser: "argparse._ActionsContainer") -> None:
    """Databases of related genes."""
    parser.add_argument(
        "--relations",
        type=Path,
        metavar="FOLDER",
        help="<database>.txt files with the columns entity1,entity2 (default: those of the installed package "
        "efaar-benchmarking)",
    )
    parser.add_argument(
        "--without-relations",
        action="store_true",
        help="where there are no relations, go on and record the reason, also if --relations names a folder",
    )


def add_computing(parser: argparse.ArgumentParser) -> None:
    """How it is computed."""
    how = parser.add_argument_group("how it is computed")
    how.add_argument("--threads", type=int, help="CPU threads (default: torch's choice)")
    how.add_argument("--device", default="auto", help="auto, cpu, cuda (default auto)")


def check_choice(option: str, given: Sequence[object], known: Sequence[str] | None = None) -> None:
    """Refuse values that are unknown or named twice; without `known`, anything but numbers from 0.

    Raises
    ------
    InputError
    """
    strange = [each for each in given if (each not in known if known else not isinstance(each, int) or each < 0)]
    if strange or len(set(given)) < len(given):
        raise InputError(
            f"{option} cannot be used",
            expected="each once, of " + ", ".join(known) if known else "numbers from 0, each once",
            found=", ".join(map(str, given)),
        )
