"""The files of a gene benchmark: all of them appear at once, or none."""

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import pandas as pd

from txfm.artifact.provenance import software
from txfm.artifact.sums import sums_of
from txfm.embedding.outputs.destination import atomic
from txfm.errors import InputError
from txfm.evaluation.genes.page import markdown
from txfm.evaluation.genes.projection import COMPONENTS, OTHER_COMPONENTS
from txfm.evaluation.genes.recall import METRICS, SHUFFLE_SEED
from txfm.evaluation.genes.run import GeneBenchmark, GeneResults
from txfm.evaluation.genes.summary import compare, summarise
from txfm.evaluation.relation_files import relation_paths
from txfm.evaluation.relationships import UNION
from txfm.files import write_json

FORMAT, FORMAT_VERSION = "txfm-gene-evaluation", "1.0"
SCORE_COLUMNS = (
    "benchmark dataset embedder kind variant model model_seed task metric postprocessing seed value hits trials primary"
).split()


def check_out(out: Path, force: bool) -> None:
    """Refuse a folder that is in use, before any work.

    Raises
    ------
    InputError
        It holds anything, unless `force` and it is an earlier result of this command; or it is a file.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    is_ours = (out / "scores.json").is_file() and json.loads((out / "scores.json").read_text()).get("format") == FORMAT
    if not (force and is_ours):
        raise InputError(
            "The output exists already",
            where=str(out),
            expected="a folder that does not exist, or is empty",
            found="results of an earlier run" if is_ours else "other files",
            todo="choose another --out, or replace the results with --force" if is_ours else "choose another --out",
        )


def write_results(results: GeneResults, benchmark: GeneBenchmark, out: Path) -> None:
    """Write the folder; see docs/evaluation-genes.md for what is in it."""
    scores, comparisons = scores_frame(results), compare(results.recall)
    summary = summarise(results.recall)
    with atomic(out) as folder:
        folder.mkdir(parents=True)
        scores.to_parquet(folder / "scores.parquet", index=False)
        summary.to_csv(folder / "scores.tsv", sep="\t", index=False)
        comparisons.to_parquet(folder / "comparisons.parquet", index=False)
        results.misses.to_csv(folder / "gene_misses.tsv", sep="\t", index=False)
        for name, frame in (("sweep", results.sweep), ("checkpoints", results.checkpoints)):
            if frame is not None:
                frame.to_parquet(folder / f"{name}.parquet", index=False)
        if results.modules:
            genes = pd.concat([report.genes for report in results.modules], ignore_index=True)
            genes.to_parquet(folder / "modules.parquet", index=False)
            enrichment = pd.concat([report.enrichment for report in results.modules], ignore_index=True)
            enrichment.to_parquet(folder / "module_enrichment.parquet", index=False)
        (folder / "scores.md").write_text(markdown(results, summary, comparisons))
        write_json(folder / "scores.json", description(results, benchmark))


def scores_frame(results: GeneResults) -> pd.DataFrame:
    """Every number of the benchmark, one a row: `SCORE_COLUMNS`."""
    recall = results.recall.rename(columns={"database": "dataset"})
    recall["primary"] = (recall["metric"] == "recall") & (recall["dataset"] == UNION)
    parts = [recall]
    of_embedder = results.recall.drop_duplicates("embedder").set_index("embedder")
    for report in results.modules:
        origin = {name: of_embedder.loc[report.embedder, name] for name in ("kind", "variant", "model_seed")}
        scores = report.scores.assign(embedder=report.embedder, task="modules", primary=False, **origin)
        parts.append(scores.assign(seed=pd.array([pd.NA] * len(scores), dtype="Int64")))
    counts = dict.fromkeys(("model_seed", "seed", "hits", "trials"), "Int64")
    parts = [part.assign(benchmark="genes", model=part["embedder"], postprocessing="") for part in parts]
    frame = pd.concat([part[SCORE_COLUMNS].astype(counts) for part in parts], ignore_index=True)
    return frame.astype({"value": "float64", "primary": bool})


def description(results: GeneResults, benchmark: GeneBenchmark) -> dict[str, Any]:
    """Settings, inputs and what was left out, ready for json."""
    modules = benchmark.modules
    files = [*benchmark.gene_sets, *(path for path in (benchmark.gene_types, benchmark.truth) if path)]
    files += relation_paths(benchmark.relations, benchmark.databases).values()
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "benchmark": "genes",
        "settings": {
            "null_pairs": benchmark.recall.n_null,
            "null_seeds": list(benchmark.recall.seeds),
            "thresholds": list(benchmark.recall.thresholds),
            "components": {f"{kind} {table}": n for (kind, table), n in COMPONENTS.items()}
            | {"all others": OTHER_COMPONENTS},
            "shuffle_seed": SHUFFLE_SEED,
            "metrics": dict(METRICS),
            "modules": None if modules is None else {**vars(modules), "seeds": list(modules.seeds)},
        },
        "inputs": {path.name: sums_of(path) for path in files},
        "embedders": list(results.embedders),
        "not_measured": results.dropped,
        "small_gene_sets": {report.embedder: report.small_sets for report in results.modules},
        "warnings": list(results.warnings),
        "software": software(**_versions(modules is not None)),
    }


def _versions(has_modules: bool) -> dict[str, str]:
    names = ("scikit-learn", "scipy", *(("igraph",) if has_modules else ()))
    return {name: importlib.metadata.version(name) for name in names}
