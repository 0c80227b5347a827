"""Values that the paper prints, as anchors beside ours: never mixed with measured ones."""

from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from txfm.report.charts import chart
from txfm.report.dot_charts import LETTER, LINE_STEP, WIDTH
from txfm.report.page import Section
from txfm.report.tables import Cell, Column, Record, Table, number, words

CITATION: Cell = Markup(
    "Published values: Kenyon-Dean et al., <cite>Effective Biological Representation Learning by Masking Gene "
    'Expression</cite> (<a href="https://arxiv.org/abs/2605.31562">arXiv 2605.31562</a>). They are of the authors\' '
    "models on the authors' data, set in italics, and were not measured in this build."
)

OURS, PUBLISHED = "this build", "published"
COLOURS = {OURS: "#0072B2", PUBLISHED: "#8A8F98"}
FILLS = {OURS: "#0072B2", PUBLISHED: "transparent"}
SHAPES = {OURS: "circle", PUBLISHED: "diamond"}
# What is compared; a chart a quantity
AVERAGE, RECALL = "perturbation average", "decoder gene recall"
QUANTITIES = {
    AVERAGE: "Perturbation benchmark: average of six tasks, times 100, best post-processing of each",
    RECALL: "Gene benchmark: known relationships that decoder weights recall, %",
}
FORMS = {AVERAGE: ".2f", RECALL: ".1f"}  # as printed
COLUMNS = ["quantity", "model", "data", "source", "value", "highest"]

# Table 2: iLISI is printed between 0 and 1 and enters the average times 100.
_TASKS = ["ilisi", "linear_probe", "knn", "consistency", "relationships", "invertibility", "average"]
_PERTURBATION = [
    dict(zip(["model", *_TASKS], ["TxFM-B, HepG2", 0.706, 25.93, 13.14, 32.47, 45.26, 44.40, 38.63], strict=True))
]
# Averages of the perturbation benchmark on three lines of cells that no model was trained on.
_LINES = ("RPE1", "HepG2", "Jurkat")
_AVERAGES = {
    "TxFM-B": (42.17, 38.63, 36.52),
    "best other foundation model (STATE-SE)": (40.38, 35.10, 33.81),
    "PCA on DiverseRNA": (35.72, 34.00, 30.91),
    "scVI": (35.18, 32.69, 30.68),
    "TxFM-B, fine-tuned": (44.85, 40.78, 38.01),
    "PCA, beside the fine-tuned": (42.64, 38.63, 34.89),
}
# Recall of gene relationships by decoder weights, %: lowest and highest of the values that the paper prints.
_RECALLS = {"TxFM": (42.7, 43.9), "scVI": (40.4, 40.4), "PCA": (29.2, 29.2)}
# Table 5h: samples, perturbations ("perts"), gene recall of the encoder and of the decoder, as printed.
_CURATION = [
    dict(zip(["variant", "samples", "perturbations", "encoder_recall", "decoder_recall"], row, strict=True))
    for row in (
        ("minus K562", "932K", 31.4, 31.5, 42.0),
        ("K562 controls only", "1.0M", 34.3, 32.0, 42.2),
        ("curated K562 (default)", "1.4M", 37.3, 32.6, 43.9),
        ("full K562", "2.8M", 35.6, 31.2, 44.9),
        ("full K562, 2x compute", "2.8M", 36.7, 29.8, 44.7),
        ("57M-cell atlas, 4x compute", "57M", 30.3, 35.2, 40.3),
    )
]


def anchor_records() -> list[dict[str, Any]]:
    """The paper's values that a build can be put beside, with `COLUMNS`."""
    averages = [
        {"quantity": AVERAGE, "model": model, "data": line, "source": PUBLISHED, "value": value, "highest": value}
        for line, of_line in zip(_LINES, zip(*_AVERAGES.values(), strict=True), strict=True)
        for model, value in zip(_AVERAGES, of_line, strict=True)
    ]
    recalls = [
        {
            "quantity": RECALL,
            "model": model,
            "data": "all databases",
            "source": PUBLISHED,
            "value": low,
            "highest": high,
        }
        for model, (low, high) in _RECALLS.items()
    ]
    return averages + recalls


def published_part(ours: list[dict[str, Any]], figures: Path) -> Section:
    """Published values beside ours, told apart by mark, colour and word; then the tables of the paper."""
    records = [*ours, *anchor_records()]
    frame = pd.DataFrame(records, columns=COLUMNS)
    frame["line"] = frame["model"] + ", " + frame["data"] + frame["source"].map({OURS: "", PUBLISHED: " (published)"})
    known = frame["source"] == OURS
    hint = (
        "Filled dots are this build's."
        if known.any()
        else "This build has none to set beside them: it takes a perturbation benchmark with all six tasks, or the "
        "gene benchmark of decoder weights."
    )
    pictures = [
        picture
        for name, (quantity, title) in zip(("anchors_perturbation", "anchors_genes"), QUANTITIES.items(), strict=True)
        for picture in chart(
            name,
            _anchor_chart(frame[frame["quantity"] == quantity]),
            frame[frame["quantity"] == quantity],
            figures,
            title=title,
            alt=f"{title}. " + _words(frame[frame["quantity"] == quantity]),
            caption="Hollow diamonds: printed in the paper, of other models on other data. " + hint,
        )
    ]
    return Section(
        key="published",
        title="Published values beside ours",
        paragraphs=[CITATION],
        pictures=pictures,
        tables=[_beside(frame), *published_tables()],
    )


def _words(frame: pd.DataFrame) -> str:
    return "; ".join(f"{row['line']} {row['value']:.4g}" for row in frame.to_dict("records")) + "."


def _anchor_chart(frame: pd.DataFrame) -> dict[str, Any]:
    """Hollow diamonds for the paper, filled dots for this build."""
    sources = [source for source in (OURS, PUBLISHED) if (frame["source"] == source).any()]
    lines = list(dict.fromkeys(frame["line"]))
    label = LETTER * max(map(len, lines))
    encoding: dict[str, Any] = {
        "y": {
            "field": "line",
            "type": "nominal",
            "sort": lines,
            "title": None,
            "axis": {"ticks": False, "labelLimit": label},
        },
        "tooltip": [
            {"field": "model", "title": "model"},
            {"field": "data", "title": "data"},
            {"field": "source", "title": "source"},
            {"field": "value", "title": "value"},
            {"field": "highest", "title": "highest printed"},
        ],
    }
    legend = {"title": None, "orient": "bottom"}

    def look(values: dict[str, str]) -> dict[str, Any]:
        scale = {"domain": sources, "range": [values[source] for source in sources]}
        return {"field": "source", "type": "nominal", "scale": scale, "legend": legend}

    x = {"type": "quantitative", "title": None, "scale": {"zero": False, "padding": 8}}
    span = {
        "mark": {"type": "rule", "strokeWidth": 2},
        "encoding": encoding | {"x": x | {"field": "value"}, "x2": {"field": "highest"}},
    }
    dots = {
        "mark": {"type": "point", "size": 90, "opacity": 1, "strokeWidth": 2},
        "encoding": encoding
        | {"x": x | {"field": "value"}, "shape": look(SHAPES), "stroke": look(COLOURS), "fill": look(FILLS)},
    }
    return {"width": WIDTH - min(label, WIDTH // 2), "height": {"step": LINE_STEP}, "layer": [span, dots]}


def _beside(frame: pd.DataFrame) -> Table:
    def value(record: Record) -> str:
        form = FORMS[record["quantity"]]
        ends = dict.fromkeys(format(record[name], form) for name in ("value", "highest"))
        return " to ".join(ends)

    return Table(
        name="published_beside_ours",
        caption="Published values and ours",
        columns=[
            words("model", "model"),
            words("data", "data"),
            Column(title="quantity", text=lambda record: record["quantity"]),
            words("source", "source"),
            Column(title="value", text=value, is_number=True),
        ],
        records=[{str(name): value for name, value in row.items()} for row in frame[COLUMNS].to_dict("records")],
        is_published=lambda record: record["source"] == PUBLISHED,
        folded=True,
    )


def published_tables() -> list[Table]:
    """Tables 2 and 5h of the paper, as far as they are known here."""
    titles = ["iLISI", "linear probe", "kNN", "perturbation consistency", "relationship recall", "invertibility"]
    tasks = dict(zip(_TASKS, [*titles, "average"], strict=True))
    forms = {"ilisi": ".3f"}
    return [
        Table(
            name="published_perturbation",
            caption="Published (paper, Table 2): perturbation benchmark",
            columns=[
                words("model, cells", "model"),
                *(number(title, task, forms.get(task, ".2f")) for task, title in tasks.items()),
            ],
            records=_PERTURBATION,
            is_published=lambda record: True,
        ),
        Table(
            name="published_curation",
            caption="Published (paper, Table 5h): curation variants",
            columns=[
                words("variant", "variant"),
                words("samples", "samples"),
                *(
                    number(title, title.replace(" ", "_"), ".1f")
                    for title in ("perturbations", "encoder recall", "decoder recall")
                ),
            ],
            records=_CURATION,
            is_published=lambda record: True,
        ),
    ]
