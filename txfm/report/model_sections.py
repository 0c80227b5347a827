"""Sections of the page about the models."""

from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from txfm.artifact.sums import sums_of
from txfm.evaluation.table import DEPTHS, METRIC_TITLES, embedder_title, method, samples_seen
from txfm.report.charts import chart
from txfm.report.dot_charts import dot_chart, with_places, with_whiskers
from txfm.report.drawing import Picture, picture
from txfm.report.embedding_maps import MAX_POINTS, UMAP_NEIGHBOURS, UMAP_SEED, maps, umap_map
from txfm.report.page import Section, study_cell
from txfm.report.palette import looks
from txfm.report.results import Build, TrainedModel
from txfm.report.tables import Cell, Column, Record, Table, digest, mean_and_sd, number, words
from txfm.report.training_charts import LOWEST_DEVIANCE, curve_chart, curve_frame

MOST_SENTENCES = 12  # about comparisons; more are folded


def models_section(build: Build, figures: Path) -> Section:
    """Curves and final numbers of the trainings."""
    if not build.models:
        return Section(key="models", title="Models", paragraphs=["No model was trained in this build."])
    paragraphs = [
        "Explained deviance is 1 when the prediction is perfect and 0 when it is no better than the mean expression of "
        "the sample's study; the rank (participation ratio) of the embedding is 1 when all samples lie on a line. Both "
        "are measured on fixed validation samples and masks. A model with simulated training samples is marked.",
    ]
    pictures, curves = [], curve_frame(build.models)
    if (curves["kind"] == "validation").any():
        pictures = chart(
            "curves",
            curve_chart(curves, [model.name for model in build.models]),
            curves,
            figures,
            title="Training",
            alt="Curves of loss, explained deviance and rank of the embedding against samples seen. "
            + " ".join(_last_words(model) for model in build.models),
            caption="Markers: validation. Thin: training. Each variant validates on its own batches, so losses "
            f"have their own scales. Explained deviance below {LOWEST_DEVIANCE} is cut off.",
        )
    else:
        paragraphs.append("There are no curves: no validation was logged.")
    at_the_end = Table(
        name="models",
        caption="Models at the end of training",
        columns=_model_columns(build),
        records=[_model_record(model) for model in build.models],
    )
    logged = Table(
        name="curves",
        caption="Validations during training",
        columns=[
            words("model", "model"),
            number("samples seen", "samples_seen"),
            number("loss", "loss", ".1f", "not defined"),
            number("explained deviance", "explained_deviance", ".3f", "not defined"),
            number("embedding rank", "cls_rank", ".1f", "not defined"),
        ],
        records=[{"model": model.name} | line for model in build.models for line in model.validations()],
        raw=curves,
        folded=True,
    )
    tables = [at_the_end, logged] if logged.records else [at_the_end]
    return Section(key="models", title="Models", paragraphs=paragraphs, pictures=pictures, tables=tables)


def _last_words(model: TrainedModel) -> str:
    if not model.validations():
        return f"{model.name}: not validated."
    final = model.validations()[-1]
    loss, deviance = (
        "not defined" if value is None else format(value, form)
        for value, form in ((final["loss"], ".1f"), (final["explained_deviance"], ".3f"))
    )
    return f"{model.name} ends with loss {loss}, explained deviance {deviance}."


def _model_record(model: TrainedModel) -> dict[str, Any]:
    validations, card = model.validations(), model.card
    final = validations[-1] if validations else {}
    measured = {name: final.get(name) for name in ("loss", "explained_deviance", "cls_rank", "dead_gene_share")}
    return {
        "model": model.name,
        "simulated_data": card["simulated_data"],
        "is_validated": bool(validations),
        "parameters": card["n_parameters"],
        "genes": card["n_genes"],
        "samples_seen": card["samples_seen"],
        **measured,
        "weights_sha256": card.get("files", {}).get("model.safetensors", {}).get("sha256", ""),
    }


def _model_columns(build: Build) -> list[Column]:
    def model(record: Record) -> Cell:
        return study_cell(record["model"] + (" [SIMULATED]" if record["simulated_data"] else ""))

    def config(record: Record) -> Cell:
        folder = build.folder / "models" / record["model"]
        return Markup("{}, {}").format(
            build.link(folder / "model.json", "config"), build.link(folder / "metrics.jsonl", "log")
        )

    def measured(title: str, key: str, form: str) -> Column:
        column = number(title, key, form, "not defined")
        return Column(
            title=title,
            text=lambda record: column.text(record) if record["is_validated"] else "not validated",
            is_number=True,
        )

    return [
        Column(title="model", text=model),
        number("parameters", "parameters"),
        number("genes", "genes"),
        number("samples seen", "samples_seen"),
        measured("validation loss", "loss", ".1f"),
        measured("explained deviance", "explained_deviance", ".3f"),
        measured("embedding rank", "cls_rank", ".1f"),
        measured("dead genes", "dead_gene_share", ".1%"),
        digest("weights", "weights_sha256"),
        Column(title="records", text=config),
    ]


def maps_section(build: Build, figures: Path) -> Section:
    """UMAP of the embeddings."""
    key, title = "maps", "Maps of the embeddings"
    embedded = [(model.name, model.embeddings) for model in build.models if model.embeddings is not None]
    if not embedded:
        return Section(key=key, title=title, paragraphs=["There are no embeddings in this results folder."])
    try:
        layouts = [umap_map(name, path) for name, path in embedded]
    except ImportError:
        return Section(key=key, title=title, paragraphs=["Left out: umap-learn is not installed (extra `report`)."])
    drawn = picture(
        "umap",
        lambda theme: maps(build, layouts, theme),
        pd.concat([layout.frame() for layout in layouts], ignore_index=True),
        figures,
        title="UMAP by study",
        alt=f"UMAP of the samples' embeddings coloured by study, one panel for each of {len(layouts)} models: "
        + ", ".join(f"{layout.model} with {len(layout.studies):,} samples" for layout in layouts),
        caption=f"UMAP ({UMAP_NEIGHBOURS} neighbours, seed {UMAP_SEED}) of at most {MAX_POINTS:,} training and "
        "validation samples a model, drawn at random. Distances between groups mean little; whether groups mix does.",
    )
    return Section(key=key, title=title, pictures=[drawn])


def evaluation_section(build: Build, figures: Path) -> Section:
    """Comparisons on held-out studies."""
    key, title = "evaluation", "Evaluation on held-out studies"
    if not build.tables:
        hint = Markup(
            "No evaluation was run in this build. The workflow compares models on the studies of "
            "<code>select.studies_for_evaluation</code>; <code>python -m txfm evaluate held-out</code> does it by hand."
        )
        return Section(key=key, title=title, paragraphs=[hint])
    paragraphs, pictures, tables = [], [], []
    for path, table in build.tables.items():
        study = table["held_out"]["study"] + (" [SIMULATED]" if table["held_out"]["simulated"] else "")
        classes = ", ".join(f"{name} {size:,}" for name, size in table["classes"].items())
        left_out = "; ".join(f"{number:,} {reason}" for reason, number in table["left_out"].items()) or "none"
        paragraphs.append(
            Markup(
                "{}, {}: {:,} samples ({}); left out: {}. Always naming the largest class scores {:.3f}. "
                "Record: {}, sha256 <code>{}</code>."
            ).format(
                study,
                table["held_out"]["label"],
                table["n_samples"],
                classes,
                left_out,
                table["largest_class_share"],
                build.link(path),
                sums_of(path)["sha256"],
            )
        )
        pictures += _comparison_picture(build, table, study, figures)
        tables += [_scores(table, study, depth) for depth in DEPTHS]
    sentences = [sentence for table in build.tables.values() for sentence in table["reading"]]
    how = method(next(iter(build.tables.values()))["settings"])
    points = [*sentences, *how]
    if len(sentences) > MOST_SENTENCES:
        tables.append(_sentences(sentences))
        points = how
    return Section(key=key, title=title, paragraphs=paragraphs, pictures=pictures, tables=tables, points=points)


def _sentences(sentences: list[str]) -> Table:
    return Table(
        name="evaluation_reading",
        caption=f"In words: TxFM beside PCA, {len(sentences)} comparisons",
        columns=[words("comparison", "comparison")],
        records=[{"comparison": sentence} for sentence in sentences],
        folded=True,
    )


def setting_title(row: dict[str, Any]) -> str:
    """Embedder, genes and scaling in words."""
    title = embedder_title(row)
    if row["embedder"] == "shuffled_labels":
        return title
    genes = f", {row['genes']} genes" if row["embedder"] == "pca" else ""
    return f"{title}{genes}, {row['scaling']}"


def _comparison_picture(build: Build, table: dict[str, Any], study: str, figures: Path) -> list[Picture]:
    models = list(dict.fromkeys([*(model.name for model in build.models), *(row["model"] for row in table["rows"])]))
    shown = {row["model"] for row in table["rows"]}
    rows = [
        {
            "metric": title,
            "panel": f"{depth} counts",
            "line": setting_title(row),
            "series": row["model"],
            "mean": row[metric]["mean"],
            "sd": row[metric]["sd"],
        }
        for metric, title in METRIC_TITLES.items()
        for depth in DEPTHS
        for row in table["rows"]
        if row["depth"] == depth
    ]
    drawn = with_places(with_whiskers(pd.DataFrame(rows)))
    spec = dot_chart(
        drawn,
        {name: look for name, look in looks(models).items() if name in shown},
        {
            "line": "embedder",
            "series": "beside model",
            "metric": "metric",
            "panel": "depth",
            "mean": "mean",
            "sd": "sd",
        },
        legend="beside model",
        dodged=True,
    )
    return chart(
        f"evaluation_{table['held_out']['study']}",
        spec,
        drawn,
        figures,
        title=f"{study}: how well embeddings know the {table['held_out']['label'].replace('_', ' ')}",
        alt="Points of linear probe, few-shot and NMI for TxFM, PCA and controls. " + " ".join(table["reading"]),
        caption="Mean and standard deviation; farther right is better. PCA is fitted on the training samples of the "
        "model it stands beside. Point at a dot for its exact value.",
    )


def _scores(table: dict[str, Any], study: str, depth: str) -> Table:
    records = [
        {"embedder": setting_title(row), "model": row["model"]}
        | {name: row[name] for name in ("n_genes", "median_counts")}
        | {f"{metric}_{part}": row[metric][part] for metric in METRIC_TITLES for part in ("mean", "sd")}
        | {"samples_seen": samples_seen(row)}
        for row in table["rows"]
        if row["depth"] == depth
    ]
    columns = [
        words("embedder", "embedder"),
        words("beside model", "model"),
        number("genes", "n_genes"),
        number("counts", "median_counts", ",.0f"),
        *(mean_and_sd(title, f"{metric}_mean", f"{metric}_sd") for metric, title in METRIC_TITLES.items()),
        number("samples seen", "samples_seen"),
    ]
    return Table(
        name=f"evaluation_{table['held_out']['study']}_{depth}",
        caption=f"{study}: {depth} counts, median {table['median_counts'][depth]:,.0f} a sample",
        columns=columns,
        records=records,
        folded=True,
    )
