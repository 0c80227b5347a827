"""The verbs of `python -m curation` over a finished corpus. Nothing heavy is imported before a verb runs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from curation.acquire.commands import AddVerb
from curation.errors import InputError


def info(args: argparse.Namespace) -> None:
    """Print what a corpus or a variant is made of, beside Table 1 of the paper."""
    from curation.composition import composition, composition_text
    from curation.manifests import open_selection

    found = composition(open_selection(args.corpus, args.variant))
    print(json.dumps(found, indent=1) if args.json else composition_text(found))


def diff(args: argparse.Namespace) -> int:
    """Print what differs between two corpora, or between two variants."""
    from curation.difference import difference, difference_text
    from curation.manifests import parse_selection

    found = difference(parse_selection(args.a), parse_selection(args.b))
    print(json.dumps(found, indent=1) if args.json else difference_text(found))
    return 1 if args.exit_code and not found["equal"] else 0


def recode(args: argparse.Namespace) -> None:
    """Copy a corpus, or the stores of one variant, under another codec: to a folder or to a bucket."""
    from curation.recode import Codec
    from curation.recode import recode as copy
    from curation.sizes import human_size

    codec = Codec.named(args.codec, args.level)
    threads = _threads(args.threads)
    stores = copy(args.corpus, args.out, codec=codec, variant=args.variant, threads=threads)
    before, after = sum(store[1] for store in stores), sum(store[2] for store in stores)
    print(f"{args.out}: {len(stores)} stores, {human_size(before)} -> {human_size(after)}; every digest is as before")


def export(args: argparse.Namespace) -> None:
    """Write one study as a plain h5ad file."""
    from curation.export import Export, export_study

    task = Export(
        corpus=args.corpus,
        study=args.study,
        recipe=args.recipe,
        split=args.split,
        all_genes=args.genes == "all",
        compress=args.compression == "gzip",
    )
    n_samples, n_genes, nnz = export_study(task, args.out, overwrite=args.overwrite)
    print(f"{args.out}: {n_samples:,} samples, {n_genes:,} genes, {nnz:,} non-zeros")


def _threads(number: int | None) -> int:
    """Return how many threads compress: the number that is given, or one a core."""
    import os

    if number is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if number < 1:
        raise InputError("no threads", where="--threads", expected="1 or more", found=str(number))
    return number


def register(verb: AddVerb) -> None:
    """Add the verbs of this module to a command line."""
    sub = verb("info", info)
    sub.add_argument("corpus", type=Path)
    sub.add_argument("--variant", help="one variant instead of all stores")
    sub.add_argument("--json", action="store_true", help="for programs")

    sub = verb("diff", diff)
    sub.add_argument("a", metavar="A", help="CORPUS, or CORPUS:VARIANT")
    sub.add_argument("b", metavar="B", help="CORPUS, or CORPUS:VARIANT")
    sub.add_argument("--json", action="store_true", help="for programs")
    sub.add_argument("--exit-code", action="store_true", help="exit code 1 if the content differs")

    sub = verb("recode", recode)
    sub.add_argument("corpus", type=Path)
    sub.add_argument("out", metavar="OUT", help="a folder, file:///FOLDER, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX")
    sub.add_argument(
        "--codec", choices=("lz4", "zstd", "keep"), default="lz4", help="keep copies byte for byte (default lz4)"
    )
    sub.add_argument("--level", type=int, help="of compression, 1 to 9 (default: lz4 5, zstd 2)")
    sub.add_argument("--variant", help="the stores and the manifest of this variant only")
    sub.add_argument("--threads", type=int, help="that compress (default: one a core)")

    sub = verb("export", export)
    sub.add_argument("corpus", type=Path)
    sub.add_argument("--study", required=True)
    sub.add_argument("--recipe", help="needed where the study is there under several")
    sub.add_argument(
        "--split", choices=("train", "validation", "both"), default="both", help="both adds a column `split` (default)"
    )
    sub.add_argument(
        "--genes",
        choices=("measured", "all"),
        default="measured",
        help="default measured",
    )
    sub.add_argument("--compression", choices=("gzip", "none"), default="gzip", help="of the file (default gzip)")
    sub.add_argument("--out", type=Path, required=True, help="NAME.h5ad")
    sub.add_argument("--overwrite", action="store_true", help="replace the file if it is there")
