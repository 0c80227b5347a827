"""The files of a gene benchmark: scores in the shape of every benchmark, and what only genes have beside them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from txfm.artifact.sums import sums_of
from txfm.errors import InputError
from txfm.evaluation.genes.enrichment import SIGNIFICANT, joined
from txfm.evaluation.genes.page import markdown, without_relations
from txfm.evaluation.genes.projection import COMPONENTS, OTHER_COMPONENTS
from txfm.evaluation.genes.recall import METRICS, SHUFFLE_SEED
from txfm.evaluation.genes.run import GeneBenchmark, GeneResults
from txfm.evaluation.genes.summary import compare, summarise
from txfm.evaluation.relation_files import relation_paths
from txfm.evaluation.relationships import UNION
from txfm.evaluation.scores import DTYPES, reason_of, score_frame, software, write_scores


def write_results(results: GeneResults, benchmark: GeneBenchmark, out: Path) -> None:
    """Write the folder; each file replaces an older one in one step, and scores.json comes last."""
    summary, comparisons = summarise(results.recall), compare(results.pairs)
    frames = {
        "summary.tsv": summary,
        "comparisons.parquet": comparisons,
        "gene_misses.tsv": results.misses,
        "sweep.parquet": results.sweep,
        "checkpoints.parquet": results.checkpoints,
        "modules.parquet": pd.concat([report.genes for report in results.modules]) if results.modules else None,
        "module_enrichment.parquet": joined([report.enrichment for report in results.modules])
        if results.modules
        else None,
    }
    scores, not_scored = scores_of(results)
    found = {
        "embedders": list(results.embedders),
        "dropped": results.dropped,
        "small_gene_sets": {report.embedder: report.small_sets for report in results.modules},
        "warnings": list(results.warnings),
    }
    record = record_of(benchmark, relation_paths(benchmark.relations, benchmark.databases).values(), not_scored)
    made = {name: frame for name, frame in frames.items() if frame is not None}
    write_scores(out, scores, record | found, markdown(results, summary, comparisons), made)


def write_reason(lack: InputError, benchmark: GeneBenchmark, out: Path) -> None:
    """Write scores without a number, and why there are no relations to measure by."""
    not_scored = [{"embedder": "all", "dataset": "all", "task": "all", "metric": "recall", "reason": reason_of(lack)}]
    record = record_of(benchmark, (), not_scored) | {"embedders": [], "dropped": {}, "warnings": []}
    write_scores(out, score_frame([]), record, without_relations(reason_of(lack)))


def scores_of(results: GeneResults) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """Every number of the benchmark as `txfm.evaluation.scores` wants it, and what has none."""
    recall = results.recall.rename(columns={"database": "dataset"})
    recall["primary"] = (recall["metric"] == "recall") & (recall["dataset"] == UNION)
    origin = recall.drop_duplicates("embedder").set_index("embedder")[["kind", "variant", "model", "model_seed"]]
    modules = [
        report.scores.assign(embedder=report.embedder, task="modules", primary=False).join(origin, on="embedder")
        for report in results.modules
    ]
    counts = dict.fromkeys(("model_seed", "seed", "hits", "trials"), "Int64")
    parts = [part.reindex(columns=list(DTYPES)).astype(counts) for part in (recall, *modules)]
    frame = pd.concat(parts, ignore_index=True).assign(benchmark="genes", postprocessing="").astype(DTYPES)
    is_scored = frame["value"].notna()
    columns = ["embedder", "dataset", "task", "metric"]
    missing = frame.loc[~is_scored, columns].drop_duplicates().assign(reason="no pair is among the genes compared")
    missing.loc[missing["task"] == "modules", "reason"] = "there are no modules, or one seed"
    reasons = [{str(name): str(value) for name, value in row.items()} for row in missing.to_dict("records")]
    return frame[is_scored].reset_index(drop=True), reasons


def record_of(benchmark: GeneBenchmark, relations: Iterable[Path], not_scored: list[dict[str, str]]) -> dict[str, Any]:
    """Settings, inputs and what has no score, ready for json; `relations` are the files of the databases."""
    modules = benchmark.modules
    files = [*benchmark.gene_sets, *(path for path in (benchmark.gene_types, benchmark.truth) if path), *relations]
    return {
        "benchmark": "genes",
        "settings": {
            "null_pairs": benchmark.recall.n_null,
            "null_seeds": list(benchmark.recall.seeds),
            "thresholds": list(benchmark.recall.thresholds),
            "components": {f"{kind} {table}": n for (kind, table), n in COMPONENTS.items()}
            | {"all others": OTHER_COMPONENTS},
            "shuffle_seed": SHUFFLE_SEED,
            "enriched_p_adjusted_below": SIGNIFICANT,
            "metrics": dict(METRICS),
            "modules": None if modules is None else {**vars(modules), "seeds": list(modules.seeds)},
        },
        "inputs": {path.name: sums_of(path) for path in files},
        "not_scored": not_scored,
        "software": software(),
    }
