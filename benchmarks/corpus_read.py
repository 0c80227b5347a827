"""The corpus reader beside other readers on the same data, beside its ceilings, and beside a real full shuffle.

    python benchmarks/corpus_read.py [read] [--profiles sc bulk] [--rounds 5] [--readers ours annbatch decode ...]
    python benchmarks/corpus_read.py tune [--profiles sc bulk]
    python benchmarks/corpus_read.py shuffle [--seeds 5] [--batch-sizes 256 1024] [--with-annbatch]
    python benchmarks/corpus_read.py scale --corpus CORPUS --variant VARIANT
    python benchmarks/corpus_read.py inputs

Simulated corpora are written once, by curation, below --folder (default: a temporary one; 6 GB; what is there is used
again): `sc` 200,000 cells x 20,000 genes, 410 million non-zeros; `bulk` 3,000 samples x 40,000 genes, 29,000 non-zeros
each; `mixed` six studies of unequal size and depth. --scale 0.02 makes toys of them.

read     Each reader passes once over a profile in batches of 1,024, cold and warm, each time in a new process; order
         rotated each round. Cold: the files leave the page cache first (mincore says whether they did). The clock runs
         from the call that opens to the last batch. Slow readers stop after --limit-seconds. CPU seconds, of all
         threads, tell more than the clock where other people's work runs on the same cores.
           ours            txfm.open_corpus, 2 threads
           annbatch        its Loader with zarrs on the very same store, X alone; settings found by `tune`
           scdataset       blocks of 16 of an h5ad file of the same cells, two worker processes
           ann_collection  anndata's AnnCollection on that file, which AnnLoader calls
           random_rows     anndata's sparse_dataset on our store, row by row
           parquet         Hugging Face datasets on parquet of lists, shuffle buffer of 10,000
           decode, gather, csr_rows  ceilings, on one and two threads: see corpus_reading/ceilings.py
         Competitors need Python 3.12: --venv is used as it is, or made from a Python 3.12 that is found (left out if
         there is none). --also NAME=FOLDER measures the txfm of another checkout as well.
tune     annbatch at several chunk_size and preload_nchunks.
shuffle  200 consecutive batches of `mixed` beside 200 batches of real full shuffles: chi-square of the composition by
         study and by experimental batch, and the autocorrelation of library size between neighbours.
scale    One epoch of any corpus.

--lock FILE is locked during each round, so that benchmarks of several people take turns. All run on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from corpus_reading import inputs, page_cache
from corpus_reading.passes import check_counts, locked, measure, take_turns
from corpus_reading.readers import (
    ANNBATCH,
    BATCH_SIZE,
    CEILINGS,
    SLOW,
    annbatch_batches,
    competitors_python,
    runners,
    write_parquet,
)
from corpus_reading.tables import print_bars, print_table

DEFAULT_READERS = ("ours", "annbatch", *CEILINGS)
TUNED = {
    "sc": ((64, 256), (128, 128), (256, 32), (256, 64), (512, 8), (512, 16), (512, 32), (512, 64), (1_024, 16)),
    "bulk": ((4, 256), (8, 128), (16, 64), (32, 32), (32, 64), (64, 16), (64, 32), (128, 8), (256, 4)),
}


def profiles(args: argparse.Namespace) -> dict[str, inputs.Profile]:
    """Return the profiles at the wanted scale."""
    return {
        "sc": inputs.single_cell(int(200_000 * args.scale)),
        "bulk": inputs.bulk(int(3_000 * args.scale)),
        "mixed": inputs.mixed(args.scale),
    }


def read(args: argparse.Namespace, folder: Path) -> None:
    """Compare the readers."""
    python = competitors_python(args.venv or folder / "venv312")
    if python is None:
        print("no Python 3.12 here: competitors are left out")
    raw = {}
    for name in args.profiles:
        profile = profiles(args)[name]
        corpus = inputs.write_corpus(profile, folder, keep_source=True)
        if "parquet" in args.readers:
            write_parquet(profile, folder)
        h5ad = profile.h5ad(folder)
        chosen = runners(args.readers, name, corpus, "all", python=python, also=args.also, h5ad=h5ad)
        with locked(args.lock):
            check_counts([runner for runner in chosen if not runner.warm_only and runner.title not in SLOW])
        found = take_turns(chosen, args)
        size = sum(file.stat().st_size for file in page_cache.files_below([corpus / "stores"]))
        totals = json.loads((corpus / "variants" / "all.json").read_text())["totals"]["train"]
        print(
            f"\n{name}: {profile.n_samples:,} samples x {profile.n_genes:,} genes, {totals['nnz'] / 1e6:,.1f} M "
            f"non-zeros, {size / totals['nnz']:.2f} bytes each on disk; batches of {BATCH_SIZE:,}; median of "
            f"{args.rounds} (range)\n"
        )
        print_table(found)
        print()
        print_bars(found, name)
        raw[name] = {
            title: {state: [vars(taken) for taken in passes] for state, passes in states.items()}
            for title, states in found.items()
        }
    if args.json:
        args.json.write_text(json.dumps(raw, indent=1))


def tune(args: argparse.Namespace, folder: Path) -> None:
    """Compare settings of annbatch."""
    python = competitors_python(args.venv or folder / "venv312")
    if python is None:
        raise SystemExit("no Python 3.12 here, which annbatch needs")
    for name in args.profiles:
        corpus = inputs.write_corpus(profiles(args)[name], folder, keep_source=True)
        chosen = [
            runner
            for settings in TUNED[name]
            for runner in runners(["annbatch"], name, corpus, "all", python=python, also={}, annbatch_settings=settings)
        ]
        print(f"\n{name}, median of {args.rounds} (range)\n")
        print_table(take_turns(chosen, args))


def write_inputs(args: argparse.Namespace, folder: Path) -> None:
    """Write every input."""
    for name, profile in profiles(args).items():
        corpus = inputs.write_corpus(profile, folder, keep_source=name != "mixed")
        print(f"{name}: {corpus}")


def scale(args: argparse.Namespace, folder: Path) -> None:
    """Read a corpus once."""
    totals = json.loads((args.corpus / "variants" / f"{args.variant}.json").read_text())["totals"]["train"]
    (runner,) = runners(["ours"], "mixed", args.corpus, args.variant, python=None, also={})
    size = sum(file.stat().st_size for file in runner.files)
    with locked(args.lock):
        taken = measure(runner, cold=not args.warm, niceness=args.nice)
    assert taken.n_samples == totals["n_samples"], "every sample once"
    print(
        f"{taken.n_samples:,} samples, {totals['nnz'] / 1e9:.2f} G non-zeros, {size / 1e9:.2f} GB on disk: an epoch in "
        f"{taken.pass_s:,.1f} s, {taken.rate:,.0f} samples/s, first batch {taken.first_batch_s:.2f} s, "
        f"{taken.memory / 1e6:,.0f} MB of anonymous memory, {taken.device_bytes / 1e9:.2f} GB read from disk"
    )


def shuffle(args: argparse.Namespace, folder: Path) -> None:
    """Compare consecutive batches with those of a full shuffle."""
    from corpus_reading import shuffle_quality

    corpus = args.corpus or inputs.write_corpus(profiles(args)["mixed"], folder, keep_source=False)
    python = competitors_python(args.venv or folder / "venv312") if args.with_annbatch else None
    for batch_size in args.batch_sizes:
        other = {}
        if python is not None:
            orders = [annbatch_batches(python, corpus, args, batch_size, seed) for seed in range(args.seeds)]
            other = {"annbatch {}x{}".format(*ANNBATCH["mixed"]): orders}
        shuffle_quality.report(
            corpus, args.variant, batch_size=batch_size, n_seeds=args.seeds, n_batches=args.batches, other=other
        )


def named_folder(text: str) -> tuple[str, Path]:
    """Parse NAME=FOLDER."""
    name, _, folder = text.partition("=")
    return name, Path(folder)


def main() -> None:
    """Choose what to measure."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--folder", type=Path, help="of the inputs (default: a temporary one)")
    common.add_argument("--scale", type=float, default=1.0, help="of the simulated corpora")
    common.add_argument("--lock", type=Path, help="file that is locked during a round")
    common.add_argument("--venv", type=Path, help="of the competitors (default: venv312 in the folder)")
    common.add_argument("--nice", type=int, default=0, help="of what is measured; -15 on a machine that others use")
    common.add_argument("--rounds", type=int, default=5)
    common.add_argument("--limit-seconds", type=float, default=10.0, help="of a pass of a slow reader")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers()
    sub = verbs.add_parser("read", parents=[common])
    sub.add_argument("--profiles", nargs="+", choices=("sc", "bulk"), default=["sc", "bulk"])
    sub.add_argument("--readers", nargs="+", choices=("ours", "annbatch", *SLOW, *CEILINGS))
    sub.add_argument("--also", type=named_folder, nargs="+", metavar="NAME=FOLDER", default=[])
    sub.add_argument("--json", type=Path, help="where all single figures go")
    sub.set_defaults(run=read)
    sub = verbs.add_parser("tune", parents=[common])
    sub.add_argument("--profiles", nargs="+", choices=("sc", "bulk"), default=["sc", "bulk"])
    sub.set_defaults(run=tune)
    sub = verbs.add_parser("inputs", parents=[common])
    sub.set_defaults(run=write_inputs)
    sub = verbs.add_parser("shuffle", parents=[common])
    sub.add_argument("--corpus", type=Path, help="another corpus than the simulated one")
    sub.add_argument("--variant", default="all")
    sub.add_argument("--with-annbatch", action="store_true", help="its batches as well")
    sub.add_argument("--seeds", type=int, default=5)
    sub.add_argument("--batches", type=int, default=200)
    sub.add_argument("--batch-sizes", type=int, nargs="+", default=[256, 1_024])
    sub.set_defaults(run=shuffle)
    sub = verbs.add_parser("scale", parents=[common])
    sub.add_argument("--corpus", type=Path, required=True)
    sub.add_argument("--variant", required=True)
    sub.add_argument("--warm", action="store_true", help="leave the files in the page cache")
    sub.set_defaults(run=scale)
    args = parser.parse_args(sys.argv[1:] or ["read"])
    if args.run is read:
        args.readers = args.readers or list(DEFAULT_READERS)
        args.also = dict(args.also)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        args.run(args, folder)


if __name__ == "__main__":
    main()
