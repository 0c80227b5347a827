"""Modules of genes on the page: how many, how stable, how enriched, and whether they are the true ones."""

from pathlib import Path

import pandas as pd

from txfm.report.charts import chart
from txfm.report.dot_charts import dot_chart, with_whiskers
from txfm.report.drawing import Picture
from txfm.report.palette import looks
from txfm.report.tables import Cell, Column, Record, Table, words

TASK, TRUTH, ENRICHED = "modules", "truth", "enriched_modules"
COLUMNS = {
    ("nmi", TRUTH): ("NMI with the true modules", ".3f"),
    ("ari", TRUTH): ("ARI with them", ".3f"),
    ("n_genes", TRUTH): ("genes in both", ",.0f"),
    ("n_modules", TASK): ("modules", ",.0f"),
    ("modularity", TASK): ("modularity", ".3f"),
    ("agreement_of_seeds", TASK): ("agreement of seeds", ".3f"),
    ("genes_in_modules", TASK): ("share of genes in modules", ".3f"),
}


def modules_tables(name: str, scores: pd.DataFrame) -> list[Table]:
    """A row an embedder; none where no modules were sought."""
    modules = scores[scores["task"] == TASK]
    if modules.empty:
        return []
    found = {
        (embedder, metric, dataset): value
        for embedder, metric, dataset, value in zip(
            *(modules[column] for column in ("embedder", "metric", "dataset", "value")), strict=True
        )
    }
    databases = dict.fromkeys(modules.loc[modules["metric"] == ENRICHED, "dataset"])
    shown = COLUMNS | {(ENRICHED, database): (f"enriched, {database}", ".3f") for database in databases}
    measured = {(metric, dataset) for _, metric, dataset in found}

    def column(key: tuple[str, str], title: str, form: str) -> Column:
        def text(record: Record) -> Cell:
            value = found.get((record["embedder"], *key))
            return "" if value is None or pd.isna(value) else format(value, form)

        return Column(title=title, text=text, is_number=True)

    return [
        Table(
            name=f"{name}_modules",
            caption="Modules of genes (communities of decoder weights or loadings) and the enriched share of them",
            columns=[
                words("embedder", "embedder"),
                *(column(key, title, form) for key, (title, form) in shown.items() if key in measured),
            ],
            records=[{"embedder": embedder} for embedder in dict.fromkeys(modules["embedder"])],
            raw=modules,
        )
    ]


def modules_pictures(name: str, scores: pd.DataFrame, figures: Path) -> list[Picture]:
    """Agreement with true modules, where they are known."""
    known = scores[(scores["task"] == TASK) & (scores["dataset"] == TRUTH) & scores["metric"].isin(["nmi", "ari"])]
    if known.empty:
        return []
    drawn = with_whiskers(known.assign(mean=known["value"], sd=0.0, line=known["embedder"], series=known["embedder"]))
    drawn = drawn.assign(panel="", metric=[metric.upper() for metric in drawn["metric"]])
    drawn = drawn[["metric", "panel", "line", "series", "mean", "low", "high"]]
    told = zip(drawn["line"], drawn["metric"], drawn["mean"], strict=True)
    spec = dot_chart(
        drawn,
        looks(list(dict.fromkeys(drawn["series"]))),
        {"line": "embedder", "metric": "metric", "mean": "value"},
    )
    return chart(
        f"{name}_modules",
        spec,
        drawn,
        figures,
        title="Recovered modules of genes against the true ones",
        alt="Dots. " + " ".join(f"{embedder}, {metric}: {value:.3f}." for embedder, metric, value in told),
        caption="Modules of the simulated genes, as they were drawn, against communities of the embedder's vectors of "
        "genes, over the genes that both have. 1: the same; 0: no better than chance (ARI).",
    )
