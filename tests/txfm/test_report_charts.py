"""Plots of benchmarks on the page: layers of networks, lines of dots; and what it says of embedders left out."""

import re

import pandas as pd
import pytest

from txfm.report.benchmark_sections import _layers_picture, summarise
from txfm.report.dot_charts import SERIES_STEP, dot_chart, with_places, with_whiskers
from txfm.report.modules_part import modules_pictures, modules_tables
from txfm.report.palette import looks
from txfm.report.score_records import dropped_in_words

LAYERS = ("block1", "block2", "cls", "decoder1")


def scores(postprocessings: tuple[str, ...] = ("",)) -> pd.DataFrame:
    of = {"dataset": "atlas", "task": "clusters", "metric": "nmi"}
    return pd.DataFrame(
        [
            of
            | {"embedder": f"{model}:{layer}", "postprocessing": processing}
            | {"value": place / 10 + seed / 100 + (model == "b")}
            for model in ("a", "b")
            for place, layer in enumerate(LAYERS)
            for processing in postprocessings
            for seed in (0, 1)
        ]
    )


@pytest.mark.parametrize("postprocessings", [("",), ("centering",), ("none", "centering")])
def test_a_model_is_a_line_over_its_layers_in_the_order_of_the_network(postprocessings, tmp_path):
    pytest.importorskip("vl_convert", reason="vl-convert-python is not installed (extra report)")
    (picture,) = _layers_picture("layers", summarise(scores(postprocessings)), "Layers: atlas", tmp_path)
    (view,) = picture.spec["concat"]
    assert view["title"] == ("clusters: NMI (centering)" if postprocessings == ("centering",) else "clusters: NMI")
    if len(postprocessings) > 1:
        assert view["facet"]["sort"] == list(postprocessings)
        view = view["spec"]
    assert view["layer"][0]["encoding"]["x"]["sort"] == list(LAYERS)
    assert view["layer"][0]["encoding"]["color"]["scale"]["domain"] == ["a", "b"]
    drawn = pd.read_parquet(tmp_path / "layers.parquet")
    first = drawn[(drawn["model"] == "b") & (drawn["postprocessing"] == postprocessings[0])]
    assert first["layer"].tolist() == list(LAYERS)
    assert first["mean"].tolist() == pytest.approx([1.005, 1.105, 1.205, 1.305])
    lines = re.findall(r'aria-roledescription="line mark"', (tmp_path / "layers.svg").read_text())
    assert len(lines) == 2 * len(postprocessings)
    assert "b:cls, clusters: NMI" in picture.alt


def test_a_reason_is_said_once_with_all_that_it_is_of():
    dropped = {"a.hvg": "it has no vectors", "b.hvg": "it has no vectors", "cells without label": 7, "doublets": 0}
    assert (
        dropped_in_words({"dropped": dropped}) == "Left out: 7 cells without label; a.hvg, b.hvg (it has no vectors)."
    )
    assert dropped_in_words({}) == "Left out: nothing."


def test_a_line_has_room_for_its_own_series_alone():
    of = {"metric": "nmi", "panel": "", "mean": 0.5, "sd": 0.1}
    rows = [("txfm", "a"), ("txfm", "b"), ("pca", "c"), ("txfm", "c"), ("hvg", "d")]
    drawn = with_places(with_whiskers(pd.DataFrame([of | {"line": line, "series": series} for line, series in rows])))
    assert drawn["place"].tolist() == [0, 1, 0, 2, 0]
    spec = dot_chart(drawn, looks(list("abcd")), {}, dodged=True)
    assert spec["concat"][0]["height"]["step"] == 3 * SERIES_STEP + 6


def module_scores() -> pd.DataFrame:
    values = {
        ("a", "nmi", "truth"): 0.85,
        ("a", "ari", "truth"): 0.7,
        ("a", "n_modules", "modules"): 12.0,
        ("a", "enriched_modules", "CORUM"): 0.25,
        ("pca", "nmi", "truth"): 0.6,
        ("pca", "n_modules", "modules"): 7.0,
    }
    of_modules = [
        dict(zip(("embedder", "metric", "dataset"), key, strict=True)) | {"value": v} for key, v in values.items()
    ]
    other = {"embedder": "a", "metric": "recall", "dataset": "union", "value": 0.3, "task": "decoder"}
    return pd.DataFrame([row | {"task": "modules"} for row in of_modules] + [other])


def test_modules_are_shown_beside_the_truth(tmp_path):
    (table,) = modules_tables("genes", module_scores())
    titles = ["embedder", "NMI with the true modules", "ARI with them", "modules", "enriched, CORUM"]
    assert [column.title for column in table.columns] == titles
    shown = [[column.text(record) for column in table.columns] for record in table.records]
    assert shown == [["a", "0.850", "0.700", "12", "0.250"], ["pca", "0.600", "", "7", ""]]
    pytest.importorskip("vl_convert", reason="vl-convert-python is not installed (extra report)")
    (picture,) = modules_pictures("genes", module_scores(), tmp_path)
    assert picture.alt == "Dots. a, NMI: 0.850. a, ARI: 0.700. pca, NMI: 0.600."
    assert (tmp_path / "genes_modules.svg").is_file()


def test_where_no_modules_were_sought_the_page_shows_none(tmp_path):
    scores = module_scores().query("task != 'modules'")
    assert (modules_tables("genes", scores), modules_pictures("genes", scores, tmp_path)) == ([], [])
