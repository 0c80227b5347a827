"""Section of the page about fine-tuned models."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from txfm.report.charts import chart
from txfm.report.finetuning_charts import TRAININGS, validation_chart, validation_frame
from txfm.report.page import Section, study_cell
from txfm.report.results import Build, FineTuned
from txfm.report.tables import Cell, Column, Record, Table, digest, number, words
from txfm.report.training_charts import LOWEST_DEVIANCE

STAGES = {"pretrained": "pretrained", "finetuned": "fine-tuned", "from_scratch": "from scratch"}
MEASURES = ("loss", "explained_deviance", "explained_deviance_masked", "pearson_masked", "cls_rank")
NOT_DEFINED = "not defined"


def finetuning_section(build: Build, figures: Path) -> Section:
    """Pretrained, fine-tuned and from scratch on the same held-out batches; for a build with fine-tuned models."""
    entries = build.finetuned
    curves = validation_frame(entries)
    pictures = []
    if len(curves):
        pictures = chart(
            "finetuning",
            validation_chart(curves),
            curves,
            figures,
            title="Curves of fine-tuning",
            alt="Curves of explained deviance and loss on held-out batches against samples seen, fine-tuned and from "
            "scratch. " + " ".join(_in_words(entry) for entry in entries),
            caption="Both trainings have the same samples, budget, seed and held-out batches. Explained deviance below "
            f"{LOWEST_DEVIANCE} is cut off.",
        )
    return Section(
        key="finetuning",
        title="Fine-tuning",
        paragraphs=[
            "Models of this build whose training went on with other samples. Fine-tuning is worth it where it ends "
            "above the same training from scratch; the pretrained model shows what was known before. All are scored on "
            "the same batches, which were held out whole."
        ],
        warnings=[warning for entry in entries for warning in _warnings(entry)],
        pictures=pictures,
        tables=list(_tables(build, entries, curves)),
        points=[_in_words(entry) for entry in entries],
    )


def _warnings(entry: FineTuned) -> Iterator[str]:
    compared = entry.report.get("held_out_samples")
    if compared and compared["not_compared_with"]:
        yield (
            f"{entry.name}: its held-out samples were not compared with the training samples of "
            f"{', '.join(compared['not_compared_with'])}. That they are new is known from names of studies alone."
        )


def _in_words(entry: FineTuned) -> str:
    ends = [
        f"{title} " + (NOT_DEFINED if (value := score["explained_deviance"]) is None else format(value, ".3f"))
        for stage, title in STAGES.items()
        if (score := entry.report["scores"].get(stage))
    ]
    return f"{entry.name}: explained deviance {', '.join(ends) or 'not measured: no batch was held out'}."


def _tables(build: Build, entries: list[FineTuned], curves: pd.DataFrame) -> Iterator[Table]:
    columns = [
        words("fine-tuning", "finetuning"),
        words("model", "stage"),
        number("samples seen", "samples_seen"),
        number("loss", "loss", ".1f", NOT_DEFINED),
        number("explained deviance", "explained_deviance", ".3f", NOT_DEFINED),
        number("masked genes", "explained_deviance_masked", ".3f", NOT_DEFINED),
        number("Pearson, masked", "pearson_masked", ".3f", NOT_DEFINED),
        number("embedding rank", "cls_rank", ".1f", NOT_DEFINED),
    ]
    yield Table(
        name="finetuning",
        caption="Scores on held-out batches",
        columns=columns,
        records=[
            {"finetuning": entry.name, "stage": title, "samples_seen": score["samples_seen"]}
            | {measure: score.get(measure) for measure in MEASURES}
            for entry in entries
            for stage, title in STAGES.items()
            if (score := entry.report["scores"].get(stage))
        ],
    )
    yield Table(
        name="finetuning_data",
        caption="What was fine-tuned, on what",
        columns=_data_columns(build),
        records=[_data_record(entry) for entry in entries],
    )
    if len(curves):
        yield Table(
            name="finetuning_curves",
            caption="Validations during fine-tuning",
            columns=[words("fine-tuning", "finetuning"), words("training", "training"), *columns[2:5]],
            records=[
                {"finetuning": entry.name, "training": title} | line
                for entry in entries
                for training, title in TRAININGS.items()
                for line in entry.report["curves"][training] or ()
            ],
            raw=curves,
            folded=True,
        )


def _data_record(entry: FineTuned) -> dict[str, Any]:
    data, card = entry.report["data"], entry.card
    studies = card["training_studies"]
    scores = entry.report["scores"]
    return {
        "finetuning": entry.name,
        "simulated_data": card["simulated_data"],
        "parent": Path(entry.report["parent"]["name"]).name,
        "data": data["file"] if "file" in data else f"variant {data['variant']}",
        "studies": ", ".join(studies),
        "n_training_samples": sum(study["n_samples"] for study in studies.values()),
        "n_held_out_samples": scores["finetuned"]["n_samples"] if scores else 0,
        "batch_column": data.get("batch_column"),
        "held_out_batches": ", ".join(data.get("held_out_batches", ())),
        "compared_with": ", ".join((entry.report.get("held_out_samples") or {}).get("compared_with", ())),
        "weights_sha256": card["files"]["model.safetensors"]["sha256"],
    }


def _data_columns(build: Build) -> list[Column]:
    def name(record: Record) -> Cell:
        return study_cell(record["finetuning"] + (" [SIMULATED]" if record["simulated_data"] else ""))

    def held_out(record: Record) -> str:
        if record["batch_column"] is None:
            return "the variant's validation batches" if record["n_held_out_samples"] else "nothing"
        return f"{record['batch_column']}: {record['held_out_batches']}"

    def records(record: Record) -> Cell:
        folder = build.folder / "finetuned" / record["finetuning"]
        links = [build.link(folder / file, file) for file in ("finetune.json", "model.json", "metrics.jsonl")]
        return Markup(", ").join(links)

    return [
        Column(title="fine-tuning", text=name),
        words("started from", "parent"),
        words("data", "data"),
        words("studies", "studies"),
        number("training samples", "n_training_samples"),
        number("held-out samples", "n_held_out_samples"),
        Column(title="held out", text=held_out),
        words("none of these is a training sample of", "compared_with", "not compared"),
        digest("weights", "weights_sha256"),
        Column(title="records", text=records),
    ]
