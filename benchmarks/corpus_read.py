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
import fcntl
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from corpus_reading import inputs, page_cache

ROOT = Path(__file__).parents[1]
PARTS = ROOT / "benchmarks" / "corpus_reading"
BATCH_SIZE = 1_024
REQUIREMENTS = ("annbatch[zarrs]==0.3.1", "h5py", "scdataset==0.3.0", "datasets==5.2.0")
# Best of `tune` on this machine: (chunk_size, preload_nchunks)
ANNBATCH = {"sc": (512, 16), "bulk": (64, 16), "mixed": (512, 16)}
CEILINGS = ("decode", "gather", "csr_rows")
DEFAULT_READERS = ("ours", "annbatch", *CEILINGS)
SLOW = ("scdataset", "ann_collection", "random_rows", "parquet")
TUNED = {
    "sc": ((64, 256), (128, 128), (256, 32), (256, 64), (512, 8), (512, 16), (512, 32), (512, 64), (1_024, 16)),
    "bulk": ((4, 256), (8, 128), (16, 64), (32, 32), (32, 64), (64, 16), (64, 32), (128, 8), (256, 4)),
}


@dataclass(frozen=True, kw_only=True)
class Runner:
    """A reader as a command line.

    Attributes
    ----------
    title : str
    command : list of str
    files : list of Path
        What it reads: leaves the page cache before a cold pass.
    environment : dict
        Beside the one of this process.
    warm_only : bool
        A ceiling, which reads nothing while it is timed.
    """

    title: str
    command: list[str]
    files: list[Path] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    warm_only: bool = False


@dataclass(frozen=True, kw_only=True)
class Pass:
    """What a pass took.

    `memory` is the peak of the anonymous memory of the process and its children, in bytes; `others_cores` how many
    cores processes of others kept busy meanwhile.
    """

    rate: float
    imports_s: float
    first_batch_s: float
    pass_s: float
    cpu_s: float
    n_samples: int
    n_nonzeros: int
    device_bytes: int
    resident_share: float
    others_cores: float
    memory: int
    checksum: int


def measure(runner: Runner, *, cold: bool, check: bool = False, limit_seconds: float = 1e9, niceness: int = 0) -> Pass:
    """Run a reader once."""
    for _ in range(5):  # another process may be reading the same files
        (page_cache.forget if cold else page_cache.warm)(runner.files)
        resident = page_cache.resident_share(runner.files)
        if abs((not cold) - resident) <= 0.01 or not runner.files:
            break
        time.sleep(1)
    extra = []
    if not runner.warm_only:
        extra = ["--started", str(time.monotonic()), "--limit-seconds", str(limit_seconds), *["--check"] * check]
    children_before = children_seconds()
    process = subprocess.Popen(
        [*runner.command, *extra],
        env=os.environ | runner.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    if niceness:
        # Linux shares the cores out among sessions first, so a process is only as nice as its session
        Path(f"/proc/{process.pid}/autogroup").write_text(str(niceness))
        os.setpriority(os.PRIO_PROCESS, process.pid, niceness)
    memory, busy_before, started = 0, busy_seconds(), time.monotonic()
    while process.poll() is None:
        memory = max(memory, anonymous_bytes(process.pid))
        time.sleep(0.05)
    # the machine's busy CPU time less what has ended under this process: the work of others
    elapsed, busy = time.monotonic() - started, busy_seconds() - busy_before
    others = max(0.0, (busy - (children_seconds() - children_before)) / elapsed)
    assert process.stdout is not None
    assert process.stderr is not None
    if process.returncode:
        raise SystemExit(f"{runner.title} failed:\n{process.stderr.read()[-3_000:]}")
    found = json.loads(process.stdout.read().strip().splitlines()[-1])
    return Pass(
        rate=found["n_samples"] / found["pass_s"],
        memory=memory,
        others_cores=others,
        resident_share=resident,
        **{
            name: found.get(name, 0)
            for name in Pass.__dataclass_fields__
            if name not in ("rate", "memory", "others_cores", "resident_share")
        },
    )


def busy_seconds() -> float:
    """Return the CPU seconds that all processes of the machine have had."""
    user, nice, system, _, _, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def children_seconds() -> float:
    """Return the CPU seconds of ended children."""
    times = os.times()
    return times.children_user + times.children_system


def anonymous_bytes(pid: int) -> int:
    """Return the anonymous memory of a process and of its children; 0 for one that has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    own = next((int(line.split()[1]) * 1_024 for line in status.splitlines() if line.startswith("RssAnon")), 0)
    return own + sum(anonymous_bytes(int(child)) for child in children)


@contextmanager
def locked(path: Path | None) -> Iterator[None]:
    """Hold the lock of a file, if there is one."""
    if path is None:
        yield
        return
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def competitors_python(venv: Path) -> str | None:
    """Return the Python of the competitors, whose environment is made if need be; None without a Python 3.12."""
    python = venv / "bin" / "python"
    if not python.exists():
        found = [shutil.which("python3.12"), *map(str, sorted(Path.home().glob(".pyenv/versions/3.12*/bin/python")))]
        base = next((path for path in found if path), None)
        if base is None:
            return None
        subprocess.run([base, "-m", "venv", venv], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
    return str(python)


def runners(
    names: list[str],
    profile_name: str,
    corpus: Path,
    variant: str,
    *,
    python: str | None,
    also: dict[str, Path],
    h5ad: Path | None = None,
    annbatch_settings: tuple[int, int] | None = None,
) -> list[Runner]:
    """Return the runners of the named readers over a corpus."""
    store_files = page_cache.files_below(
        path for path in sorted((corpus / "stores").iterdir()) if ".train." in path.name
    )
    common: dict[str, Any] = {"variant": variant, "batch_size": BATCH_SIZE, "seed": 0, "threads": 2}
    chunk_size, preload = annbatch_settings or ANNBATCH[profile_name]
    options = {
        "annbatch": {"chunk_size": chunk_size, "preload_nchunks": preload},
        "scdataset": {"h5ad": str(h5ad), "block_size": 16, "fetch_factor": 16, "workers": 2},
        "ann_collection": {"h5ad": str(h5ad)},
        "parquet": {"parquet": str(parquet_folder(corpus)), "buffer_size": 10_000},
    }
    files = {"scdataset": [h5ad], "ann_collection": [h5ad], "parquet": [parquet_folder(corpus)]}
    titles = {"annbatch": f"annbatch {chunk_size}x{preload}"}
    chosen = []
    for name in names:
        if name in CEILINGS:
            chosen += [
                Runner(
                    title=f"{name} alone, {n} thread{'s' * (n > 1)}",
                    command=[
                        *(sys.executable, "-W", "ignore", str(PARTS / "ceilings.py"), name, str(corpus)),
                        *("--variant", variant, "--threads", str(n), "--batch-size", str(BATCH_SIZE)),
                    ],
                    warm_only=True,
                )
                for n in (1, 2)
            ]
            continue
        if name != "ours" and (python is None or (name in SLOW and h5ad is None)):
            continue
        text = json.dumps(common | options.get(name, {}))
        command = ["-W", "ignore", str(PARTS / "one_pass.py"), name, str(corpus), text]
        read = page_cache.files_below(path for path in files[name] if path) if name in files else store_files
        if name == "ours":
            for title, folder in {"ours": ROOT, **{f"ours ({key})": path for key, path in also.items()}}.items():
                environment = {"PYTHONPATH": str(folder)}
                chosen.append(
                    Runner(title=title, command=[sys.executable, *command], files=read, environment=environment)
                )
        else:
            environment = {"PYTHONPATH": ""}
            chosen.append(
                Runner(
                    title=titles.get(name, name), command=[str(python), *command], files=read, environment=environment
                )
            )
    return chosen


def parquet_folder(corpus: Path) -> Path:
    """Return where the parquet files of a corpus' only study lie."""
    return corpus / "source" / "parquet"


def take_turns(chosen: list[Runner], args: argparse.Namespace) -> dict[str, dict[str, list[Pass]]]:
    """Run every reader cold and warm in each round; return the passes by title and by `cold` or `warm`."""
    found: dict[str, dict[str, list[Pass]]] = {runner.title: {"cold": [], "warm": []} for runner in chosen}
    for number in range(args.rounds):
        with locked(args.lock):
            for runner in chosen[number % len(chosen) :] + chosen[: number % len(chosen)]:
                for state in ("warm",) if runner.warm_only else ("cold", "warm"):
                    taken = measure(runner, cold=state == "cold", limit_seconds=args.limit_seconds, niceness=args.nice)
                    found[runner.title][state].append(taken)
                    if not runner.warm_only and abs((state == "warm") - taken.resident_share) > 0.01:
                        print(f"{runner.title}, {state}: {taken.resident_share:.0%} cached before it", file=sys.stderr)
        so_far = ", ".join(
            f"{title} "
            + " / ".join(f"{statistics.median(p.rate for p in passes):,.0f}" for passes in states.values() if passes)
            for title, states in found.items()
        )
        load = os.getloadavg()[0]
        print(
            f"round {number + 1} of {args.rounds}, load {load:.1f}; cold / warm: {so_far}", file=sys.stderr, flush=True
        )
    return found


def spread(values: list[float], form: str = ",.0f") -> str:
    """Return median (range)."""
    if not values:
        return "-"
    return f"{statistics.median(values):{form}} ({min(values):{form}}-{max(values):{form}})"


def print_table(found: dict[str, dict[str, list[Pass]]]) -> None:
    """Print a line a reader."""
    titles = "reader", "samples/s cold", "warm", "per CPU s", "first batch s, cold", "warm", "with imports"
    titles = (*titles, "MB", "MB read, cold", "others' cores")
    print(f"| {' | '.join(titles)} |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for title, passes in found.items():
        cold, warm = passes["cold"], passes["warm"]
        ceiling = not cold
        cells = [spread([taken.rate for taken in cold]), spread([taken.rate for taken in warm])]
        cells.append(f"{statistics.median(taken.n_samples / taken.cpu_s for taken in warm):,.0f}")
        cells += [""] * 5 if ceiling else [
            spread([taken.first_batch_s for taken in cold], ".2f"),
            spread([taken.first_batch_s for taken in warm], ".2f"),
            spread([taken.imports_s + taken.first_batch_s for taken in warm], ".2f"),
            f"{max(taken.memory for taken in cold + warm) / 1e6:,.0f}",
            f"{statistics.median(taken.device_bytes for taken in cold) / 1e6:,.0f}",
        ]  # fmt: skip
        cells.append(f"{statistics.mean(taken.others_cores for taken in cold + warm):.2f}")
        print(f"| {title} | " + " | ".join(cells) + " |")


def print_bars(found: dict[str, dict[str, list[Pass]]], profile: str) -> None:
    """Print how ours stands to the bars; ratios are medians of the ratios within a round."""

    def rates(title: str, state: str) -> list[float]:
        return [taken.rate for taken in found.get(title, {}).get(state, [])]

    def per_cpu(title: str) -> float:
        return statistics.median(taken.n_samples / taken.cpu_s for taken in found[title]["warm"])

    bounds = {
        name: [
            1 / (1 / decode + 1 / gather)
            for decode, gather in zip(
                rates("decode alone, 2 threads", "warm"), rates(f"{name} alone, 2 threads", "warm"), strict=True
            )
        ]
        for name in ("gather", "csr_rows")
        if f"{name} alone, 2 threads" in found and "decode alone, 2 threads" in found
    }
    floor = {"sc": 50_000, "bulk": 3_000}[profile]
    for title in (title for title in found if title.startswith("ours")):
        for rival in (title for title in found if title.startswith("annbatch")):
            ratios = {
                state: [ours / its for ours, its in zip(rates(title, state), rates(rival, state), strict=True)]
                for state in ("cold", "warm")
            }
            print(
                f"{title}: {spread(ratios['cold'], '.2f')}x {rival} cold, {spread(ratios['warm'], '.2f')}x warm, "
                f"{per_cpu(title) / per_cpu(rival):.2f}x in CPU seconds (bar 1.5, aim 2)"
            )
        for name, bound in bounds.items():
            share = {
                state: spread([rate / its for rate, its in zip(rates(title, state), bound, strict=True)], ".0%")
                for state in ("cold", "warm")
            }
            print(
                f"{title}: {share['cold']} cold, {share['warm']} warm, of decode + {name} on two cores, "
                f"{statistics.median(bound):,.0f}/s (bar 70%)"
            )
        first = spread([taken.first_batch_s for taken in found[title]["cold"]], ".2f")
        print(
            f"{title}: {spread(rates(title, 'cold'))} samples/s cold (bar {floor:,}), first batch {first} s (bar 0.7)"
        )


def check_counts(chosen: list[Runner], limit_seconds: float) -> None:
    """Read everything once with each reader and compare samples, non-zeros and a weighted sum; stop if they differ."""
    sums = {}
    for runner in (runner for runner in chosen if not runner.warm_only and runner.title not in SLOW):
        taken = measure(runner, cold=False, check=True)
        sums[runner.title] = (taken.n_samples, taken.n_nonzeros, taken.checksum)
    if len(set(sums.values())) > 1:
        raise SystemExit(f"the readers do not agree: {sums}")
    print(f"all agree: {sums}", file=sys.stderr, flush=True)


def write_parquet(profile: inputs.Profile, folder: Path) -> None:
    """Write the profile's only study as parquet, a row a sample, shuffled files of 10,000 rows."""
    import anndata as ad
    import pyarrow as pa
    import pyarrow.parquet as pq

    target = parquet_folder(profile.corpus(folder))
    if target.is_dir():
        return
    partial = target.with_name(".parquet.part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    x = ad.read_h5ad(profile.h5ad(folder), backed="r").X
    for number, first in enumerate(range(0, x.shape[0], 10_000)):
        block = x[first : min(first + 10_000, x.shape[0])]
        offsets = pa.array(block.indptr.astype("int32"))
        columns = {
            "positions": pa.ListArray.from_arrays(offsets, pa.array(block.indices.astype("uint16"))),
            "counts": pa.ListArray.from_arrays(offsets, pa.array(block.data.astype("int32"))),
        }
        pq.write_table(pa.table(columns), partial / f"{number:03}.parquet", row_group_size=1_000, compression="zstd")
    partial.rename(target)


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
            check_counts(chosen, args.limit_seconds)
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


def annbatch_batches(
    python: str, corpus: Path, args: argparse.Namespace, batch_size: int, seed: int
) -> list[np.ndarray]:
    """Return the rows of annbatch's batches."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "order.npz"
        links = corpus / "variants" / f"{args.variant}.zarr"
        chunk_size, preload = ANNBATCH["mixed"]
        numbers = {"batch-size": batch_size, "chunk-size": chunk_size, "preload-nchunks": preload}
        numbers |= {"seed": seed, "batches": args.batches}
        options = [text for name, value in numbers.items() for text in (f"--{name}", str(value))]
        command = [python, "-W", "ignore", str(PARTS / "annbatch_order.py"), str(links), str(out), *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": ""})
        found = np.load(out)
        return np.split(found["rows"], np.cumsum(found["lengths"])[:-1])


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
