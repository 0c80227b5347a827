"""The comparison as json (every number), tsv (one row a score) and markdown (for people)."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from txfm.baselines.fit import N_COMPONENTS
from txfm.baselines.pca import N_PASSES
from txfm.evaluation.compare import SHUFFLE_SEED, THINNING_SEED, Row, thinned
from txfm.evaluation.held_out import HeldOut
from txfm.evaluation.probes import CLUSTER_SEEDS, CLUSTER_STARTS, N_DRAWS, N_FOLDS, PROBE_C, PROBE_SEEDS, SHOTS
from txfm.evaluation.scores import software
from txfm.evaluation.telling import page_end
from txfm.files import temporary_beside

FORMAT, FORMAT_VERSION = "txfm-evaluation", "0.1"
EMBEDDER_TITLES = {
    "txfm": "TxFM",
    "pca": "PCA-{n_dimensions}",
    "hvg": "log counts of {n_dimensions:,} variable genes",
    "lognorm": "log counts of all genes",
    "scvi": "scVI-{n_dimensions}",
    "untrained": "untrained TxFM (floor)",
    "shuffled_labels": "TxFM, shuffled labels (control)",
}
METRIC_TITLES = {"linear_probe": "linear probe", "few_shot": "few-shot", "nmi": "NMI"}
DEPTHS = ("full", "thinned")


def as_mapping(
    study: HeldOut, rows: list[Row], counts_per_sample: int, refused: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Everything that was measured, ready for json; `refused` are models without a row, and why."""
    models, order = list(dict.fromkeys(row.model for row in rows)), list(EMBEDDER_TITLES)
    classes, sizes = np.unique(study.labels, return_counts=True)
    depth_totals = {"full": study.adata.X.sum(axis=1), "thinned": thinned(study, counts_per_sample).adata.X.sum(axis=1)}
    table: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "held_out": study.identity,
        "n_samples": len(study.labels),
        "n_genes_measured": len(study.measured_ids),
        "classes": {str(name): int(size) for name, size in zip(classes, sizes, strict=True)},
        "largest_class_share": float(sizes.max() / sizes.sum()),
        "left_out": study.left_out,
        "median_counts": {depth: float(np.median(np.asarray(totals))) for depth, totals in depth_totals.items()},
        "settings": {
            "linear_probe": {"folds": N_FOLDS, "seeds": list(PROBE_SEEDS), "C": PROBE_C},
            "few_shot": {"shots": SHOTS, "draws": N_DRAWS, "seed": 0, "classifier": "nearest centroid, Euclidean"},
            "nmi": {"clustering": "k-means", "k": len(classes), "seeds": list(CLUSTER_SEEDS), "starts": CLUSTER_STARTS},
            "thinned": {"counts_per_sample": counts_per_sample, "seed": THINNING_SEED},
            "pca": {"components": N_COMPONENTS, "passes": N_PASSES, "seed": 0},
            "shuffled_labels": {"seed": SHUFFLE_SEED},
        },
        "software": software(),
        "rows": [
            {name: value for name, value in vars(row).items() if name != "scores"}
            | {metric: score.as_mapping() for metric, score in row.scores.items()}
            for row in sorted(rows, key=lambda row: (models.index(row.model), order.index(row.embedder)))
        ],
        "not_scored": [{"model": model, "reason": reason} for model, reason in (refused or {}).items()],
    }
    table["reading"] = reading(table)
    return table


def reading(table: dict[str, Any]) -> list[str]:
    """Who is ahead, by the numbers alone: one sentence per model, metric and depth."""
    sentences = []
    for model in dict.fromkeys(row["model"] for row in table["rows"]):
        for metric, title in METRIC_TITLES.items():
            for depth in DEPTHS:
                of_model = [row for row in table["rows"] if row["model"] == model and row["depth"] == depth]
                best = {
                    name: max(
                        (row for row in of_model if row["embedder"] == name),
                        key=lambda row: row[metric]["mean"],
                        default=None,
                    )
                    for name in ("txfm", "pca")
                }
                if best["txfm"] is None or best["pca"] is None:
                    continue
                ours, theirs = best["txfm"][metric], best["pca"][metric]
                difference = ours["mean"] - theirs["mean"]
                spread = max(ours["sd"], theirs["sd"])
                verdict = "level with" if abs(difference) <= spread else "above" if difference > 0 else "below"
                sentences.append(
                    f"{model}, {title}, {depth} counts: TxFM ({_setting(best['txfm'])}) {_number(ours)} is {verdict} "
                    f"PCA ({_setting(best['pca'])}) {_number(theirs)}."
                )
    return sentences


def embedder_title(row: dict[str, Any]) -> str:
    """What a row's embedder is called."""
    return EMBEDDER_TITLES[row["embedder"]].format(**row)


def _setting(row: dict[str, Any]) -> str:
    return row["scaling"] if row["embedder"] == "txfm" else f"{row['genes']} genes, {row['scaling']}"


def _number(score: dict[str, Any]) -> str:
    return f"{score['mean']:.3f} ± {score['sd']:.3f}"


def markdown(table: dict[str, Any]) -> str:
    """The table for people, with what is needed to judge it."""
    held_out, settings = table["held_out"], table["settings"]
    simulated = " (SIMULATED)" if held_out["simulated"] else ""
    classes = ", ".join(f"{name} {size:,}" for name, size in table["classes"].items())
    left_out = "; ".join(f"{number:,} {reason}" for reason, number in table["left_out"].items()) or "none"
    counts = table["median_counts"]
    lines = [
        f"# {held_out['study']}{simulated}: {held_out['label']}",
        "",
        f"{table['n_samples']:,} held-out samples ({classes}); left out: {left_out}. "
        f"{table['n_genes_measured']:,} genes measured. Median counts {counts['full']:,.0f}, "
        f"thinned {counts['thinned']:,.0f}. Always naming the largest class scores {table['largest_class_share']:.3f}.",
        "",
    ]
    for depth in DEPTHS:
        lines += [
            f"## {depth.capitalize()} counts",
            "",
            f"| model | embedder | genes | counts | scaling | {' | '.join(METRIC_TITLES.values())} | samples seen |",
            f"|---|---|---:|---:|---|{'---:|' * len(METRIC_TITLES)}---:|",
        ]
        for row in table["rows"]:
            if row["depth"] != depth:
                continue
            scores = " | ".join(_number(row[metric]) for metric in METRIC_TITLES)
            lines.append(
                f"| {row['model']} | {embedder_title(row)} | {row['n_genes']:,} ({row['genes']}) "
                f"| {row['median_counts']:,.0f} | {row['scaling']} | {scores} | {samples_seen(row):,} |"
            )
        lines.append("")
    not_scored = [(row["model"], row["reason"]) for row in table["not_scored"]]
    lines += page_end(("model", "reason"), not_scored, (), method(settings))
    lines += ["## What it says", "", *(f"- {sentence}" for sentence in table["reading"]), ""]
    return "\n".join(lines)


def samples_seen(row: dict[str, Any]) -> int:
    """Training samples that the embedder saw, with repetition for one that is trained in epochs."""
    is_of_its_model = row["embedder"] not in ("pca", "untrained")
    return row["samples_seen"] if is_of_its_model else row["n_training_samples"]


def method(settings: dict[str, Any]) -> list[str]:
    """How the numbers were made, one sentence each."""
    probe, shots, nmi = settings["linear_probe"], settings["few_shot"], settings["nmi"]
    n_folds_in_all = probe["folds"] * len(probe["seeds"])
    seeds = ", ".join(map(str, probe["seeds"]))
    return [
        f"Linear probe: accuracy of logistic regression (C = {probe['C']:g}, fixed) on standardised features; mean ± "
        f"sd of {n_folds_in_all} folds ({probe['folds']}-fold, stratified, seeds {seeds}). "
        "It standardises by itself, so raw and standardised agree.",
        f"Few-shot: accuracy of the nearest centroid of {shots['shots']} samples a class; mean ± sd of "
        f"{shots['draws']} draws.",
        f"NMI: k-means with k = {nmi['k']}; mean ± sd of {len(nmi['seeds'])} seeds.",
        f"Thinned: binomial thinning to about {settings['thinned']['counts_per_sample']} counts a sample (one draw, "
        f"seed {settings['thinned']['seed']}); samples with fewer keep all.",
        f"PCA: {settings['pca']['components']} components of log-normalised counts, fitted on the training samples of "
        "the model's variant, over genes that every training study and the held-out study measured (all), or over "
        "those of them in the model's vocabulary (vocabulary). An unmeasured gene is never taken for a zero.",
        "Counts: median over the samples, on the genes that the embedder uses.",
        "Standardised: every dimension scaled to unit variance over the compared samples, for TxFM and PCA alike.",
        "Untrained: the model's own weights before its first step. Shuffled labels: what chance scores on this study.",
        "One training seed a model: the sd does not hold the spread between trainings. The sentences compare the "
        "best setting of each side, chosen on these same samples; level with: the difference is within the larger sd.",
    ]


def write_table(table: dict[str, Any], out: Path) -> None:
    """Write OUT.json, and OUT.tsv and OUT.md beside it; the json appears last."""
    fields = [name for name in table["rows"][0] if name not in METRIC_TITLES]
    tsv = temporary_beside(out.with_suffix(".tsv"))
    with tsv.open("w", newline="") as handle:
        writer = csv.writer(handle, delimiter="\t", lineterminator="\n")
        writer.writerow([*fields, "metric", "mean", "sd", "n_values"])
        for row in table["rows"]:
            for metric in METRIC_TITLES:
                score = row[metric]
                writer.writerow(
                    [*(row[name] for name in fields), metric, score["mean"], score["sd"], len(score["values"])]
                )
    tsv.rename(out.with_suffix(".tsv"))
    for path, text in (
        (out.with_suffix(".md"), markdown(table)),
        (out, json.dumps(table, indent=1, allow_nan=False) + "\n"),
    ):
        temporary = temporary_beside(path)
        temporary.write_text(text)
        temporary.rename(path)
