"""What the miniature learns with a budget of minutes: curves of training, and a held-out study beside PCA.

    make mini            # or: snakemake corpora --configfile config/mini.yaml
    python benchmarks/learning_curves.py [--minutes 10 30] [--seeds 0 1 2] [--model JSON] [--name nano] --out FOLDER

A budget of m minutes is a number of samples: what the model passes in that time on this machine, measured before the
first run by a training of --calibrate-seconds (the machine must be quiet) and kept in FOLDER/NAME.rate.json. The
schedule of the learning rate spans the budget, so each budget is a training of its own. Finished runs are not repeated
and an interrupted one goes on, so the hours can be had in pieces. Afterwards every model is compared on the held-out
study, at full counts and thinned to 300 a cell, with PCA (raw and standardised) on the same stores; medians and ranges
over seeds are printed as a table, and the curves drawn as FOLDER/curves.png.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

METRICS = {"linear_probe": "linear probe", "few_shot": "few-shot", "nmi": "NMI"}


def train(args: argparse.Namespace, name: str, samples_seen: int, seed: int, *, validate_every: int = 0) -> Path:
    """Train one model, unless it is finished; return its folder."""
    folder = args.out / name
    if not (folder / "model.json").is_file():
        model = args.model | {"samples_seen": samples_seen}
        if validate_every:
            model["validate_every_steps"] = validate_every
        command = [sys.executable, "-m", "txfm", "train", "--corpus", args.corpus, "--variant", args.variant]
        command += [
            "--model",
            json.dumps(model),
            "--seed",
            seed,
            "--out",
            folder,
            "--checkpoints",
            f"{folder}.checkpoints",
        ]
        command += ["--threads", args.threads, *args.train_arguments]
        with Path(f"{folder}.log").open("a") as log:
            subprocess.run(list(map(str, command)), check=True, stdout=log, stderr=subprocess.STDOUT)
    return folder


def samples_per_minute(args: argparse.Namespace) -> float:
    """How many samples a minute the model passes on this machine; measured once a folder."""
    path = args.out / f"{args.name}.rate.json"
    if not path.is_file():
        rates: list[float] = []
        seen = 20_000
        while not rates or args.calibrate_seconds > seen / rates[-1] * 1.5:  # longer, until the start does not matter
            if rates:
                seen = int(rates[-1] * args.calibrate_seconds)
            started = time.perf_counter()
            folder = train(args, f"calibration.{args.name}.{seen}", seen, 0, validate_every=10**9)
            elapsed = time.perf_counter() - started
            lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
            rates.append(statistics.median(line["samples_per_s"] for line in lines if line["kind"] == "train"))
            print(f"calibration: {seen:,} samples in {elapsed:.0f} s, {rates[-1]:,.0f}/s", flush=True)
        path.write_text(json.dumps({"samples_per_s": rates[-1], "threads": args.threads, "model": args.model}))
    return 60 * float(json.loads(path.read_text())["samples_per_s"])


def evaluate(args: argparse.Namespace, models: list[Path]) -> dict[str, Any]:
    """Compare models on the held-out study."""
    table = args.out / "table.json"
    command = [sys.executable, "-m", "txfm", "evaluate", "held-out", "--store", args.store, "--label", args.label]
    command += ["--corpus", args.corpus, "--models", *models, "--out", table, "--threads", args.threads]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    return json.loads(table.read_text())


def validation_lines(folder: Path) -> list[dict[str, Any]]:
    """The validations of a training."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == "validation"]


def spread(values: Iterable[float], form: str = ".3f") -> str:
    """Median (range)."""
    values = list(values)
    middle = f"{statistics.median(values):{form}}"
    return middle if len(values) == 1 else f"{middle} ({min(values):{form}}-{max(values):{form}})"


def print_table(runs: dict[float, list[Path]], table: dict[str, Any]) -> None:
    """A row a budget, and rows of PCA."""

    def cells(rows: list[dict[str, Any]]) -> list[str]:
        return [
            spread(row[metric]["mean"] for row in rows if row["depth"] == depth)
            for depth in ("full", "thinned")
            for metric in METRICS
        ]

    titles = [f"{title}{depth}" for depth in ("", ", thinned") for title in METRICS.values()]
    head = ["", "scaling", "samples seen", "explained deviance", "CLS rank", *titles]
    print("| " + " | ".join(head) + " |\n|---|---|" + "---:|" * (len(head) - 2))
    for scaling in ("raw", "standardised"):
        of_scaling = [row for row in table["rows"] if row["scaling"] == scaling]
        for minutes, folders in runs.items():
            names = {folder.name for folder in folders}
            rows = [row for row in of_scaling if row["embedder"] == "txfm" and row["model"] in names]
            last = [validation_lines(folder)[-1] for folder in folders]
            about = [f"{statistics.median(row['samples_seen'] for row in rows):,.0f}"]
            about += [
                spread(line["explained_deviance"] for line in last),
                spread((line["cls_rank"] for line in last), ".1f"),
            ]
            print(
                f"| TxFM, {minutes:g} min, {len(folders)} seeds | {scaling} | "
                + " | ".join([*about, *cells(rows)])
                + " |"
            )
        first = table["rows"][0]["model"]
        for genes in dict.fromkeys(row["genes"] for row in of_scaling if row["embedder"] == "pca"):
            rows = [r for r in of_scaling if r["embedder"] == "pca" and r["genes"] == genes and r["model"] == first]
            about = [f"{rows[0]['n_training_samples']:,}", "", ""]
            print(f"| PCA-50, {rows[0]['n_genes']:,} genes | {scaling} | " + " | ".join([*about, *cells(rows)]) + " |")


def draw(runs: dict[float, list[Path]], path: Path) -> None:
    """Explained deviance and rank of every training against the samples seen."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    panels = figure.subplots(1, 2)
    for number, (minutes, folders) in enumerate(runs.items()):
        for folder in folders:
            lines = validation_lines(folder)
            seen = [line["samples_seen"] / 1e6 for line in lines]
            label = f"{minutes:g} minutes" if folder is folders[0] else None
            panels[0].plot(
                seen, [line["explained_deviance"] for line in lines], color=f"C{number}", lw=1.2, label=label
            )
            panels[1].plot(seen, [line["cls_rank"] for line in lines], color=f"C{number}", lw=1.2, label=label)
    panels[0].set_ylim(-0.05, None)
    panels[1].set_ylim(0, None)
    for panel, title in zip(panels, ("explained deviance, held-out samples", "rank of the CLS embedding"), strict=True):
        panel.set_title(title)
        panel.set_xlabel("samples seen (millions)")
        panel.grid(alpha=0.3)
    panels[0].legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    """Train, compare, print."""
    build = Path("results/mini")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the models; runs in it are not repeated")
    parser.add_argument("--corpus", type=Path, default=build / "corpus")
    parser.add_argument("--variant", default="mini_all")
    parser.add_argument("--store", type=Path, default=build / "evaluation" / "mixology_3cl.evaluation.zarr")
    parser.add_argument("--label", default="cell_line")
    parser.add_argument("--minutes", type=float, nargs="+", default=[10, 30])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--model", type=json.loads, default={"preset": "nano"}, metavar="JSON", help="default: nano")
    parser.add_argument("--name", default="nano", help="of the model, for folders")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--calibrate-seconds", type=float, default=60)
    parser.add_argument("--train-arguments", nargs=argparse.REMAINDER, default=[], help="passed on to `txfm train`")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rate = samples_per_minute(args)
    runs: dict[float, list[Path]] = {}
    for minutes in args.minutes:
        for seed in args.seeds:
            started = time.perf_counter()
            folder = train(args, f"{args.name}.{minutes:g}min.s{seed}", int(rate * minutes), seed)
            print(f"{folder.name}: {(time.perf_counter() - started) / 60:.1f} minutes", flush=True)
            runs.setdefault(minutes, []).append(folder)
    table = evaluate(args, [folder for folders in runs.values() for folder in folders])
    print_table(runs, table)
    draw(runs, args.out / "curves.png")


if __name__ == "__main__":
    main()
