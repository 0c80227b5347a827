"""Sections of the page about the models."""

from pathlib import Path
from typing import Any

from txfm.evaluation.table import DEPTHS, METRIC_TITLES, method, samples_seen
from txfm.report.drawing import Picture, picture
from txfm.report.evaluation_figure import comparison, setting_title
from txfm.report.page import Cell, Section, Table, study_cell
from txfm.report.results import Build, TrainedModel
from txfm.report.training_figures import LOWEST_DEVIANCE, MAX_POINTS, UMAP_NEIGHBOURS, UMAP_SEED, curves, maps, umap_map

MODEL_COLUMNS = [
    "model",
    "parameters",
    "genes",
    "samples seen",
    "validation loss",
    "explained deviance",
    "embedding rank",
    "dead genes",
]


def models_section(build: Build, figures: Path) -> Section:
    """Curves and final numbers of the trainings."""
    if not build.models:
        return Section(key="models", title="Models", paragraphs=["No model was trained in this build."])
    paragraphs = [
        "Explained deviance is 1 when the prediction is perfect and 0 when it is no better than the mean expression of "
        "the sample's study; the rank (participation ratio) of the embedding is 1 when all samples lie on a line. Both "
        "are measured on fixed validation samples and masks. A model with simulated training samples is marked.",
    ]
    pictures = []
    if any(line["kind"] == "validation" for model in build.models for line in model.metrics):
        pictures = [
            picture(
                "curves",
                lambda theme: curves(build, theme),
                figures,
                title="Training",
                alt="Curves of loss, explained deviance and rank of the embedding against samples seen. "
                + " ".join(_last_words(model) for model in build.models),
                caption="Markers: validation. Thin: training. Each variant validates on its own batches, so losses "
                f"have their own scales. Explained deviance below {LOWEST_DEVIANCE} is cut off.",
            )
        ]
    else:
        paragraphs.append("There are no curves: no validation was logged.")
    rows = [_model_row(model) for model in build.models]
    table = Table(
        caption="Models at the end of training", columns=MODEL_COLUMNS, rows=rows, numbers=frozenset(MODEL_COLUMNS[1:])
    )
    return Section(key="models", title="Models", paragraphs=paragraphs, pictures=pictures, tables=[table])


def _final(model: TrainedModel) -> dict[str, Any]:
    validation = [line for line in model.metrics if line["kind"] == "validation"]
    return validation[-1] if validation else {}


def _last_words(model: TrainedModel) -> str:
    final = _final(model)
    if not final:
        return f"{model.name}: not validated."
    deviance = _number(final["explained_deviance"])
    return f"{model.name} ends with loss {_number(final['loss'], 1)}, explained deviance {deviance}."


def _number(value: float | None, digits: int = 3) -> str:
    return "not defined" if value is None else f"{value:.{digits}f}"


def _model_row(model: TrainedModel) -> list[Cell]:
    final, card = _final(model), model.card
    scores = ["not validated"] * 4
    if final:
        scores = [_number(final["loss"], 1), _number(final["explained_deviance"]), _number(final["cls_rank"], 1)]
        scores.append(f"{final['dead_gene_share']:.1%}")
    size = [f"{card['n_parameters']:,}", f"{card['n_genes']:,}", f"{card['samples_seen']:,}"]
    return [study_cell(model.name + (" [SIMULATED]" if card["simulated_data"] else "")), *size, *scores]


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
        return Section(key=key, title=title, paragraphs=["No evaluation was run in this build."])
    paragraphs, pictures, tables = [], [], []
    for table in build.tables:
        study = table["held_out"]["study"] + (" [SIMULATED]" if table["held_out"]["simulated"] else "")
        classes = ", ".join(f"{name} {size:,}" for name, size in table["classes"].items())
        left_out = "; ".join(f"{number:,} {reason}" for reason, number in table["left_out"].items()) or "none"
        paragraphs.append(
            f"{study}, {table['held_out']['label']}: {table['n_samples']:,} samples ({classes}); left out: {left_out}. "
            f"Always naming the largest class scores {table['largest_class_share']:.3f}."
        )
        pictures.append(_comparison_picture(build, table, study, figures))
        tables += [_scores(table, study, depth) for depth in DEPTHS]
    sentences = [sentence for table in build.tables for sentence in table["reading"]]
    how = method(build.tables[0]["settings"])
    return Section(
        key=key, title=title, paragraphs=[*paragraphs], pictures=pictures, tables=tables, points=[*sentences, *how]
    )


def _comparison_picture(build: Build, table: dict[str, Any], study: str, figures: Path) -> Picture:
    names = [model.name for model in build.models]
    names += [row["model"] for row in table["rows"] if row["model"] not in names]
    return picture(
        f"evaluation_{table['held_out']['study']}",
        lambda theme: comparison(table, list(dict.fromkeys(names)), theme),
        figures,
        title=f"{study}: how well embeddings know the {table['held_out']['label'].replace('_', ' ')}",
        alt="Points of linear probe, few-shot and NMI for TxFM, PCA and controls. " + " ".join(table["reading"]),
        caption="Mean and standard deviation; farther right is better. PCA is fitted on the training samples of the "
        "model it stands beside.",
    )


def _scores(table: dict[str, Any], study: str, depth: str) -> Table:
    rows = [
        [
            setting_title(row),
            row["model"],
            f"{row['n_genes']:,}",
            f"{row['median_counts']:,.0f}",
            *(f"{row[metric]['mean']:.3f} ± {row[metric]['sd']:.3f}" for metric in METRIC_TITLES),
            samples_seen(row),
        ]
        for row in table["rows"]
        if row["depth"] == depth
    ]
    columns = ["embedder", "beside model", "genes", "counts", *METRIC_TITLES.values(), "samples seen"]
    return Table(
        caption=f"{study}: {depth} counts, median {table['median_counts'][depth]:,.0f} a sample",
        columns=columns,
        rows=rows,
        numbers=frozenset(columns[2:]),
        folded=True,
    )
