"""Section of the page about benchmarks: every folder of scores, every grid of ablations, and the paper's values."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from txfm.ablation.table import FORMAT as ABLATION_FORMAT
from txfm.artifact.sums import sums_of
from txfm.evaluation.perturbation.settings import TASKS
from txfm.evaluation.perturbation.summary import AVERAGE as AVERAGE_OF_TASKS
from txfm.evaluation.perturbation.summary import summarise as summarise_tasks
from txfm.evaluation.scores import BENCHMARKS, read_scores
from txfm.report.ablation_part import grid_part
from txfm.report.charts import chart
from txfm.report.dot_charts import dot_chart, with_places, with_whiskers
from txfm.report.drawing import Picture
from txfm.report.layer_charts import layer_chart, with_layers
from txfm.report.modules_part import modules_pictures, modules_tables
from txfm.report.page import Section
from txfm.report.palette import looks
from txfm.report.published import AVERAGE, OURS, RECALL, published_part
from txfm.report.results import Build
from txfm.report.score_records import dropped_in_words, metric_title, record_tables
from txfm.report.tables import Cell, Column, Record, Table, mean_and_sd, words

TITLES = {
    "perturbation": "Perturbations",
    "cell_types": "Cell types",
    "genes": "Genes",
    "layers": "Layers",
    "held_out": "Held-out studies",
}
DATASETS = {"union": "all databases"}  # of relations of genes
# What makes the scores of a benchmark; {results} and {model} are filled in
COMMANDS = {
    "perturbation": "perturbation SCREEN.h5ad --perturbation COLUMN --batch COLUMN --control LABEL"
    " --models {model} --out {results}/evaluation/SCREEN.perturbation",
    "cell_types": "cells CELLS.h5ad --label COLUMN --batch COLUMN --models {model}"
    " --out {results}/evaluation/CELLS.cells",
    "genes": "genes {model} --relations FOLDER --out {results}/evaluation/genes",
    "layers": "layers CELLS.h5ad {model} --label COLUMN --out {results}/evaluation/CELLS.layers",
}
NO_CHOICE = "no choice"  # of post-processing: the task has an alignment of its own
KEYS = ["dataset", "task", "metric", "postprocessing", "embedder"]
SEEDS = "the benchmark's seeds (first weights, drawn cells)"
SPREAD = "Mean and spread over the benchmark's seeds"
EXPLAINED = (
    f"Mean and standard deviation over {SEEDS}, of primary metrics in each metric's own unit; the spread is no error "
    "between trainings. Point at a dot for its exact value."
)
MOST_ROWS = 40  # of a table that is not folded
NUMBERS = {"mean": "mean", "sd": "sd", "n": "values"}  # of the tooltips


def benchmarks_section(build: Build, figures: Path) -> Section:
    """Scores of `txfm evaluate` below evaluation/, grids below ablation/, and published anchors."""
    parts: list[Section] = []
    ours: list[dict[str, Any]] = []
    found: set[str] = set()
    for path in sorted((build.folder / "evaluation").rglob("scores.json")):
        frame, record = read_scores(path.parent)
        found |= set(frame["benchmark"])
        parts.append(_scores_part(build, path, frame, record, figures))
        ours += beside_published(frame, record)
    grids = {path: json.loads(path.read_text()) for path in sorted((build.folder / "ablation").glob("*.json"))}
    grids = {path: grid for path, grid in grids.items() if grid.get("format") == ABLATION_FORMAT}
    parts += [grid_part(build, path, grid, figures) for path, grid in grids.items()]
    hints = [_hint(build, benchmark) for benchmark in BENCHMARKS if benchmark in COMMANDS.keys() - found]
    if not grids:
        hints.append(
            Markup("There are no ablations yet: <code>snakemake ablation --cores N</code> trains and compares a grid.")
        )
    return Section(
        key="benchmarks",
        title="Benchmarks",
        parts=[*parts, published_part(ours, figures)],
        paragraphs=hints,
    )


def _hint(build: Build, benchmark: str) -> Cell:
    results = f"results/{build.name}"
    model = f"{results}/models/{build.models[0].name if build.models else 'MODEL'}"
    command = COMMANDS[benchmark].format(results=results, model=model)
    return Markup("{}: there are no scores yet. <code>python -m txfm evaluate {}</code> makes them.").format(
        TITLES[benchmark], command
    )


def _scores_part(build: Build, path: Path, frame: pd.DataFrame, record: dict[str, Any], figures: Path) -> Section:
    folder = path.parent.relative_to(build.folder).as_posix()
    name = "scores_" + folder.removeprefix("evaluation").strip("/").replace("/", "~")
    benchmarks = list(dict.fromkeys(frame["benchmark"]))
    primary = frame[frame["primary"]]
    datasets = list(dict.fromkeys((primary if len(primary) else frame)["dataset"]))
    beside = [build.link(path.with_suffix(suffix), suffix) for suffix in (".parquet", ".tsv", ".md")]
    paragraphs: list[Cell] = [
        Markup("Record: {} ({}), sha256 <code>{}</code>.").format(
            build.link(path), Markup(", ").join(beside), sums_of(path)["sha256"]
        ),
        dropped_in_words(record),
    ]
    named = ", ".join(DATASETS.get(dataset, dataset) for dataset in datasets)
    title = f"{', '.join(TITLES[benchmark] for benchmark in benchmarks)}: {named}"
    pictures: list[Picture] = []
    tables: list[Table] = []
    if primary.empty:
        paragraphs.append("None of its metrics is a primary one; all are in the record.")
    else:
        summary = summarise(primary)
        draw = _layers_picture if benchmarks == ["layers"] else _scores_picture
        pictures = draw(name, summary, title, figures)
        if benchmarks == ["perturbation"]:
            tables.append(_tasks_table(name, frame, record))
        trainings = over_trainings(primary)
        if (trainings["n"] > 1).any():
            caption = f"{title}: mean ± sd over training seeds, of what the benchmark's own seeds gave on average"
            tables.append(_scores_table(f"{name}_trainings", trainings, caption))
        tables.append(_scores_table(name, summary, f"{title}: mean ± sd over {SEEDS}"))
    pictures += modules_pictures(name, frame, figures)
    tables += modules_tables(name, frame)
    return Section(
        key=name,
        title=title,
        paragraphs=paragraphs,
        warnings=[str(text) for text in record.get("warnings") or []],
        pictures=pictures,
        tables=[*tables, *record_tables(name, record)],
    )


def summarise(scores: pd.DataFrame, keys: Sequence[str] = KEYS) -> pd.DataFrame:
    """Mean, sd (n - 1; NaN for one value) and number of values by the keys."""
    return (
        scores.groupby(list(keys), sort=False, dropna=False)["value"]
        .agg(mean="mean", sd="std", n="count")
        .reset_index()
    )


def over_trainings(scores: pd.DataFrame) -> pd.DataFrame:
    """As `summarise`, over the training seeds of a model: the embedder `all.nano.s0` is a training of `all.nano`."""
    by_training = summarise(scores.assign(model_seed=scores["model_seed"].astype("Int64")), [*KEYS, "model_seed"])
    names = zip(by_training["embedder"], by_training["model_seed"], strict=True)
    by_training["embedder"] = [name if pd.isna(seed) else name.removesuffix(f".s{seed}") for name, seed in names]
    return summarise(by_training.rename(columns={"mean": "value"}))


def _metric_titles(summary: pd.DataFrame) -> list[str]:
    """Task and metric in words; the data set where there are several."""
    several = summary["dataset"].nunique() > 1
    return [
        (f"{dataset}, " if several else "") + metric_title(task, metric)
        for dataset, task, metric in zip(summary["dataset"], summary["task"], summary["metric"], strict=True)
    ]


def _scores_picture(name: str, summary: pd.DataFrame, title: str, figures: Path) -> list[Picture]:
    drawn = with_whiskers(summary).assign(line=summary["embedder"])
    drawn["metric"] = list(map(metric_title, summary["task"], summary["metric"]))
    drawn["panel"] = drawn["dataset"] if drawn["dataset"].nunique() > 1 else ""
    processed = bool((drawn["postprocessing"] != "").any())
    drawn["series"] = drawn["postprocessing"].where(drawn["postprocessing"] != "", NO_CHOICE)
    if not processed:
        drawn["series"] = drawn["embedder"]
    drawn = with_places(drawn)
    spec = dot_chart(
        drawn,
        looks(list(dict.fromkeys(drawn["series"]))),
        {"embedder": "embedder", "metric": "metric", "dataset": "data"}
        | ({"postprocessing": "post-processing"} if processed else {})
        | NUMBERS,
        legend="post-processing" if processed else None,
        dodged=processed,
    )
    alt = f"Dots with whiskers, mean and standard deviation over {SEEDS}. {title}. {_told(summary)}"
    return chart(name, spec, drawn, figures, title=SPREAD, alt=alt, caption=EXPLAINED)


def _layers_picture(name: str, summary: pd.DataFrame, title: str, figures: Path) -> list[Picture]:
    drawn = with_layers(with_whiskers(summary))
    drawn["metric"], drawn["panel"], drawn["series"] = _metric_titles(summary), "", drawn["model"]
    if drawn.groupby("metric")["postprocessing"].nunique().max() > 1:
        drawn["panel"] = drawn["postprocessing"]
    else:  # said once, with the metric
        chosen = drawn["postprocessing"] != ""
        drawn.loc[chosen, "metric"] += " (" + drawn.loc[chosen, "postprocessing"] + ")"
    series = list(dict.fromkeys(drawn["series"]))
    spec = layer_chart(
        drawn,
        looks(series),
        {"model": "model", "layer": "layer", "metric": "metric"} | NUMBERS,
        legend="model" if len(series) > 1 else None,
    )
    alt = f"Lines from the first layer to the last, with whiskers, a model a line. {title}. {_told(summary)}"
    return chart(name, spec, drawn, figures, title=SPREAD, alt=alt, caption=EXPLAINED)


def _told(summary: pd.DataFrame) -> str:
    """Every number of a picture in words."""
    titles = [
        f"{metric}, {postprocessing}" if postprocessing else metric
        for metric, postprocessing in zip(_metric_titles(summary), summary["postprocessing"], strict=True)
    ]
    told = zip(summary["embedder"], titles, summary["mean"], summary["sd"], strict=True)
    return " ".join(f"{embedder}, {metric}: {_mean_sd(mean, sd)}." for embedder, metric, mean, sd in told)


def _mean_sd(mean: float, sd: float) -> str:
    """Shares and scores of at most a few units: three decimals, so that columns can be read down."""
    return f"{mean:.3f}" + ("" if pd.isna(sd) else f" ± {sd:.3f}")


def _scores_table(name: str, summary: pd.DataFrame, caption: str) -> Table:
    """A row an embedder and post-processing, a column a metric; the file has a row a number."""
    titled = summary.assign(title=_metric_titles(summary))
    cells = {
        (row["embedder"], row["postprocessing"], row["title"]): _mean_sd(row["mean"], row["sd"])
        for row in titled.to_dict("records")
    }

    def column(metric: str) -> Column:
        def text(record: Record) -> Cell:
            return cells.get((record["embedder"], record["postprocessing"], metric), "")

        return Column(title=metric, text=text, is_number=True)

    chosen = Column(title="post-processing", text=lambda record: record["postprocessing"] or NO_CHOICE)
    processed = (titled["postprocessing"] != "").any()
    embedders = list(dict.fromkeys(titled["embedder"]))
    lines = titled[["embedder", "postprocessing"]].drop_duplicates().to_dict("records")
    return Table(
        name=name,
        caption=caption,
        columns=[
            words("embedder", "embedder"),
            *([chosen] if processed else []),
            *(column(metric) for metric in dict.fromkeys(titled["title"])),
        ],
        records=sorted(
            ({str(key): value for key, value in row.items()} for row in lines),
            key=lambda row: embedders.index(row["embedder"]),
        ),
        folded=len(lines) > MOST_ROWS,
        raw=summary,
    )


def _tasks_of(frame: pd.DataFrame, record: dict[str, Any]) -> pd.DataFrame:
    settings = record.get("settings") or {}
    tasks = settings.get("tasks") or list(dict.fromkeys(frame["task"]))
    return summarise_tasks(frame, settings.get("fixed", "centering"), tasks)


def _tasks_table(name: str, frame: pd.DataFrame, record: dict[str, Any]) -> Table:
    tasks = _tasks_of(frame, record)
    fixed = (record.get("settings") or {}).get("fixed", "centering")
    return Table(
        name=f"{name}_tasks",
        caption="Scores of tasks, times 100 as in Table 2 of the paper: the best post-processing, and a fixed one",
        columns=[
            words("embedder", "embedder"),
            Column(title="task", text=lambda record: metric_title(record["task"], "")),
            mean_and_sd("best", "best", "best_sd", ".2f", "not scored"),
            words("best post-processing", "best_postprocessing"),
            mean_and_sd(fixed, "fixed", "fixed_sd", ".2f", "not scored"),
        ],
        records=[{str(key): value for key, value in row.items()} for row in tasks.to_dict("records")],
        folded=True,
    )


def beside_published(frame: pd.DataFrame, record: dict[str, Any]) -> list[dict[str, Any]]:
    """Averages of the perturbation benchmark over all six tasks, and recall of decoder weights, of these scores."""
    found: list[dict[str, Any]] = []
    of_screen = frame[frame["benchmark"] == "perturbation"]
    for dataset, of_data in of_screen.groupby("dataset", sort=False):
        tasks = _tasks_of(of_data, record)
        if not set(TASKS) <= set(tasks["task"]):
            continue  # the paper's average is over all six
        averages = tasks[(tasks["task"] == AVERAGE_OF_TASKS) & tasks["best"].notna()]
        found += [
            {"quantity": AVERAGE, "model": row["embedder"], "data": dataset, "value": row["best"]}
            for row in averages.to_dict("records")
        ]
    recalled = frame[(frame["benchmark"] == "genes") & (frame["task"] == "decoder") & frame["primary"]]
    for (model, database), draws in recalled.groupby(["embedder", "dataset"], sort=False):
        found.append({"quantity": RECALL, "model": model, "data": database, "value": 100 * draws["value"].mean()})
    return [row | {"source": OURS, "highest": row["value"]} for row in found]
