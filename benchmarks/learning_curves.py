"""What the miniature learns with a budget of minutes: curves of training, and a held-out study beside PCA.

    make mini            # or: snakemake corpora --configfile config/mini.yaml
    python benchmarks/learning_curves.py [--minutes 10 30] [--seeds 0 1 2] [--model JSON] [--name nano] --out FOLDER

A budget of m minutes is a number of samples: what the model passes in that time on this machine, measured before the
first run by a training of --calibrate-seconds (the machine must be quiet). The schedule of the learning rate spans the
budget, so each budget is a training of its own. Two trainings with half of the threads each pass more samples than one
with all: --at-once 2 takes less time for the same budgets.

Each training is compared on the held-out study, at full counts and thinned to 300 a cell, with PCA (raw and
standardised) on the same stores, and what came out is kept as one small file, RECORDS/NAME.<m>min.s<seed>.json, beside
RECORDS/NAME.rate.json. What has a record is not run again and an interrupted training goes on, so that the hours can be
had in pieces and on several machines: the table and FOLDER/NAME.png are of the records. Medians and ranges over seeds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

CURVE = ("step", "samples_seen", "explained_deviance", "cls_rank", "dead_gene_share")
METRICS = {"linear_probe": "linear probe", "few_shot": "few-shot", "nmi": "NMI"}


def train(
    args: argparse.Namespace, name: str, samples_seen: int, seed: int, *, threads: int, calibration: bool
) -> Path:
    """Train one model, unless it is finished; return its folder."""
    folder = args.out / name
    if not (folder / "model.json").is_file():
        model = args.model | {"samples_seen": samples_seen}
        if calibration:
            model["validate_every_steps"] = 10**9
        command = [sys.executable, "-m", "txfm", "train", "--corpus", args.corpus, "--variant", args.variant]
        command += ["--model", json.dumps(model), "--seed", seed, "--threads", threads, "--out", folder]
        command += ["--checkpoints", f"{folder}.checkpoints", *args.train_arguments]
        with Path(f"{folder}.log").open("a") as log:
            subprocess.run(list(map(str, command)), check=True, stdout=log, stderr=subprocess.STDOUT)
    return folder


def lines_of(folder: Path, kind: str) -> list[dict[str, Any]]:
    """The lines of a training's log that are of one kind."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == kind]


def samples_per_minute(args: argparse.Namespace) -> float:
    """How many samples a minute the model passes on a quiet machine: of the record, or measured."""
    path = args.records / f"{args.name}.rate.json"
    if not path.is_file():
        rates: list[float] = []
        seen = 20_000
        while not rates or args.calibrate_seconds > seen / rates[-1] * 1.5:  # longer, until the start does not matter
            if rates:
                seen = int(rates[-1] * args.calibrate_seconds)
            name = f"calibration.{args.name}.{seen}"
            folder = train(args, name, seen, 0, threads=args.threads, calibration=True)
            rates.append(statistics.median(line["samples_per_s"] for line in lines_of(folder, "train")))
            print(f"calibration: {seen:,} samples, {rates[-1]:,.0f}/s", flush=True)
        write_json(path, {"samples_per_s": round(rates[-1], 1), "threads": args.threads, "model": args.model})
    return 60 * float(json.loads(path.read_text())["samples_per_s"])


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a record, a row of a list a line; it is whole or not there."""
    lines = []
    for key, value in content.items():
        text = json.dumps(value)
        if isinstance(value, list):
            text = "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n ]"
        lines.append(f" {json.dumps(key)}: {text}")
    partial = path.with_suffix(".partial")
    partial.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    partial.replace(path)


def scores_on_held_out(args: argparse.Namespace, model: Path) -> list[dict[str, Any]]:
    """Rows of one model and of PCA on the held-out study."""
    table = args.out / f"{model.name}.table.json"
    command = [sys.executable, "-m", "txfm", "evaluate", "held-out", "--store", args.store, "--label", args.label]
    command += ["--corpus", args.corpus, "--models", model, "--out", table, "--threads", args.threads // args.at_once]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    about = ("embedder", "scaling", "depth", "genes", "n_genes", "n_training_samples")
    rows = json.loads(table.read_text())["rows"]
    return [
        {key: row[key] for key in about}
        | {metric: {key: round(row[metric][key], 4) for key in ("mean", "sd")} for metric in METRICS}
        for row in rows
    ]


def run(args: argparse.Namespace, minutes: float, seed: int, samples_seen: int) -> None:
    """One training and its scores, unless their record is there."""
    name = f"{args.name}.{minutes:g}min.s{seed}"
    record = args.records / f"{name}.json"
    if record.is_file():
        return
    started = time.perf_counter()
    folder = train(args, name, samples_seen, seed, threads=args.threads // args.at_once, calibration=False)
    print(f"{name}: {(time.perf_counter() - started) / 60:.1f} minutes", flush=True)
    lines = lines_of(folder, "validation")
    lines = lines[:: -(-len(lines) // 100)] + lines[-1:]  # enough to draw
    curve = [{key: round(line[key], 4) for key in CURVE} for line in lines]
    variant = json.loads((folder / "model.json").read_text())["variant"]
    about = {"minutes": minutes, "seed": seed, "samples_seen": samples_seen, "model": args.model, "variant": variant}
    write_json(record, about | {"rows": scores_on_held_out(args, folder), "curve": curve})


def spread(values: Iterable[float], form: str = ".3f") -> str:
    """Median (range)."""
    values = list(values)
    middle = f"{statistics.median(values):{form}}"
    return middle if len(values) == 1 else f"{middle} ({min(values):{form}}-{max(values):{form}})"


def print_table(runs: dict[float, list[dict[str, Any]]]) -> None:
    """A row a budget, and rows of PCA."""

    def cells(rows: list[dict[str, Any]]) -> list[str]:
        of_depth = {depth: [row for row in rows if row["depth"] == depth] for depth in ("full", "thinned")}
        return [spread(row[metric]["mean"] for row in of_depth[depth]) for depth in of_depth for metric in METRICS]

    def chosen(records: list[dict[str, Any]], **wanted: str) -> list[dict[str, Any]]:
        rows = [row for record in records for row in record["rows"]]
        return [row for row in rows if all(row[key] == value for key, value in wanted.items())]

    def show(*columns: str) -> None:
        print("| " + " | ".join(columns) + " |")

    titles = [f"{title}{depth}" for depth in ("", ", thinned") for title in METRICS.values()]
    head = ["", "scaling", "samples seen", "explained deviance", "CLS rank", *titles]
    show(*head)
    print("|---|---|" + "---:|" * (len(head) - 2))
    for scaling in ("raw", "standardised"):
        for minutes, records in sorted(runs.items()):
            last = [record["curve"][-1] for record in records]
            about = [f"{statistics.median(record['samples_seen'] for record in records):,.0f}"]
            about += [spread(line["explained_deviance"] for line in last), spread((x["cls_rank"] for x in last), ".1f")]
            rows = chosen(records, embedder="txfm", scaling=scaling)
            seeds = "1 seed" if len(records) == 1 else f"{len(records)} seeds"
            show(f"TxFM, {minutes:g} min, {seeds}", scaling, *about, *cells(rows))
        first = next(iter(runs.values()))[:1]
        for genes in dict.fromkeys(row["genes"] for row in chosen(first, embedder="pca")):
            rows = chosen(first, embedder="pca", scaling=scaling, genes=genes)
            about = [f"{rows[0]['n_training_samples']:,}", "", ""]
            show(f"PCA-50, {rows[0]['n_genes']:,} genes", scaling, *about, *cells(rows))


def draw(runs: dict[float, list[dict[str, Any]]], path: Path) -> None:
    """Explained deviance and rank of every training against the samples seen."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    panels = figure.subplots(1, 2)
    for number, (minutes, records) in enumerate(sorted(runs.items())):
        for record in records:
            seen = [line["samples_seen"] / 1e6 for line in record["curve"]]
            label = f"{minutes:g} minutes" if record is records[0] else None
            for panel, key in zip(panels, ("explained_deviance", "cls_rank"), strict=True):
                panel.plot(seen, [line[key] for line in record["curve"]], color=f"C{number}", lw=1.2, label=label)
    panels[0].set_ylim(-0.05, None)
    panels[1].set_ylim(0, None)
    for panel, title in zip(panels, ("explained deviance, held-out samples", "rank of the CLS embedding"), strict=True):
        panel.set_title(title)
        panel.set_xlabel("samples seen (millions)")
        panel.set_xscale("log")
        panel.grid(alpha=0.3)
    panels[0].legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    """Train, compare, print."""
    build = Path("results/mini")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the models")
    parser.add_argument("--records", type=Path, default=Path(__file__).with_suffix(""), help="folder of what came out")
    parser.add_argument("--corpus", type=Path, default=build / "corpus")
    parser.add_argument("--variant", default="mini_all")
    parser.add_argument("--store", type=Path, default=build / "evaluation" / "mixology_3cl.evaluation.zarr")
    parser.add_argument("--label", default="cell_line")
    parser.add_argument("--minutes", type=float, nargs="*", default=[10, 30], help="none: only the table")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--model", type=json.loads, default={"preset": "nano"}, metavar="JSON", help="default: nano")
    parser.add_argument("--name", default="nano", help="of the model, for the records")
    parser.add_argument("--threads", type=int, default=2, help="of the machine that the minutes are of")
    parser.add_argument("--at-once", type=int, default=1, help="trainings side by side, which share those threads")
    parser.add_argument("--calibrate-seconds", type=float, default=60)
    parser.add_argument("--train-arguments", nargs=argparse.REMAINDER, default=[], help="passed on to `txfm train`")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    args.records.mkdir(parents=True, exist_ok=True)
    rate = samples_per_minute(args) if args.minutes else 0.0
    with ThreadPoolExecutor(args.at_once) as pool:
        jobs = [(minutes, seed) for minutes in args.minutes for seed in args.seeds]
        for job in [pool.submit(run, args, minutes, seed, int(rate * minutes)) for minutes, seed in jobs]:
            job.result()
    runs: dict[float, list[dict[str, Any]]] = {}
    for path in sorted(args.records.glob(f"{args.name}.*min.s*.json")):
        record = json.loads(path.read_text())
        runs.setdefault(record["minutes"], []).append(record)
    print_table(runs)
    draw(runs, args.out / f"{args.name}.png")


if __name__ == "__main__":
    main()
