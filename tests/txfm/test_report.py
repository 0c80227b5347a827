"""The page about a build."""

import argparse
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from chromium import chromium

from txfm.errors import InputError
from txfm.evaluation.scores import Score, score_frame, write_scores
from txfm.report import build_page, charts, cli, embedding_maps
from txfm.report.benchmark_sections import beside_published, over_trainings
from txfm.report.corpus_figures import kept_share, samples_of
from txfm.report.embedding_maps import drawn_samples
from txfm.report.page import Section, render
from txfm.report.palette import looks
from txfm.report.score_records import metric_title
from txfm.report.tables import Column, Table, words

STUDIES = {"alpha": False, "beta": False, "gamma": True}  # name -> simulated
PLOTS = "ablation_grid anchors_genes anchors_perturbation curves evaluation_omega scores_deep~genes".split()
PICTURES = [*PLOTS, *"composition counts_kept dropped_genes dropped_samples gene_overlap umap".split()]


def qc_report(study: str, role: str = "train", **changes: dict) -> dict:
    report = {
        "study": study,
        "recipe": "plain" if role == "train" else "evaluation",
        "assay": "bulk" if study == "gamma" else "sc",
        "simulated": STUDIES.get(study, False),
        "role": role,
        "samples": {"read": 1200, "kept": 1200, "dropped": {}},
        "genes": {
            "in_table": 60,
            "mapped": 57,
            "merged": 0,
            "kept": 57,
            "dropped": {"unknown_symbol": 3},
            "examples": {},
        },
        "counts": {
            "kind": "umi",
            "total": 20_000,
            "mapped_share": 0.96,
            "kept_samples_total": 18_000,
            "max_rounding": 0.0,
            "n_rounded": 0,
            "n_values": 5000,
        },
        "batches": {"n": 2, "train": ["one"], "validation": ["two"], "note": ""},
        "splits": {"train": {"n_samples": 1000}, "validation": {"n_samples": 200}},
    }
    return report | changes


def reports() -> list[dict]:
    few = {"read": 1307, "kept": 90, "dropped": {"not_singlet": 1201, "below_min_genes_per_sample": 16}}
    genes = {"in_table": 70, "mapped": 60, "merged": 1, "kept": 40, "dropped": {"excel_date": 7, "spike_in": 3}}
    one_batch = {
        "n": 1,
        "train": ["all"],
        "validation": [],
        "note": "the study has one batch: all its samples are for training",
    }
    held_out = {"n": 1, "train": [], "validation": [], "note": "held out for evaluation"}
    return [
        qc_report("alpha", samples=few, genes=genes | {"examples": {"excel_date": ["1-Mar", "<script>"]}}),
        qc_report("beta"),
        qc_report("gamma", batches=one_batch, splits={"train": {"n_samples": 12}, "validation": {"n_samples": 0}}),
        qc_report("omega", role="evaluation", batches=held_out, splits={"evaluation": {"n_samples": 1200}}),
    ]


def evaluation_table() -> dict:
    def row(embedder: str, depth: str, mean: float) -> dict:
        score = {"mean": mean, "sd": 0.05, "values": [mean]}
        scores = dict.fromkeys(("linear_probe", "few_shot", "nmi"), score)
        named = {"model": "tiny.micro.s0", "variant": "tiny", "seed": 0, "samples_seen": 4321, "embedder": embedder}
        sizes = {"n_genes": 40, "median_counts": 250.0, "n_dimensions": 8, "n_training_samples": 132}
        return named | sizes | {"genes": "all", "scaling": "raw", "depth": depth} | scores

    probes = {
        "linear_probe": {"folds": 5, "seeds": [0, 1, 2], "C": 1.0},
        "few_shot": {"shots": 3, "draws": 50},
        "nmi": {"k": 3, "seeds": list(range(10))},
        "thinned": {"counts_per_sample": 300, "seed": 0},
        "pca": {"components": 50},
    }
    return {
        "format": "txfm-evaluation",
        "held_out": {"study": "omega", "recipe": "evaluation", "simulated": False, "label": "cell_line"},
        "n_samples": 60,
        "classes": {"A": 30, "B": 30},
        "largest_class_share": 0.5,
        "left_out": {"no label": 5},
        "median_counts": {"full": 4000.0, "thinned": 300.0},
        "settings": probes,
        "rows": [
            row(name, depth, mean) for depth in ("full", "thinned") for name, mean in (("txfm", 0.612), ("pca", 0.934))
        ],
        "reading": ["tiny.micro.s0, few-shot, full counts: TxFM (raw) 0.612 ± 0.050 is below PCA."],
    }


def write_results(folder: Path, corpus: Path) -> Path:
    """A results folder with everything: the tiny corpus, four QC reports, a model, embeddings, an evaluation."""
    shutil.copytree(corpus, folder / "corpus")
    manifest_path = folder / "corpus" / "variants" / "tiny.json"
    manifest = json.loads(manifest_path.read_text())
    for store in manifest["stores"]:
        store |= {"simulated": STUDIES[store["study"]], "count_kind": "umi"}
    sizes = {
        split: sum(s["n_samples"] for s in manifest["stores"] if s["split"] == split)
        for split in ("train", "validation")
    }
    manifest["totals"] = {split: {"n_samples": size} for split, size in sizes.items()}
    manifest["vocabulary"] = {"n_genes": 56}
    manifest_path.write_text(json.dumps(manifest))
    citation = {
        "citation": {"doi": "10.1000/alpha", "year": 2020, "text": "Doe & Roe, Alpha"},
        "licence": "CC BY 4.0",
        "title": "A",
    }
    overview = {
        "name": "test_build",
        "digest": "ab" * 32,
        "gene_axis": {"sha256": "cd" * 32, "n_genes": 60, "source": "axis"},
        "stores": manifest["stores"],
        "studies": {"alpha": citation},
        "sources": {study: [{"file": f"{study}.csv", "size": 10, "sha256": "ef" * 32}] for study in STUDIES},
        "tools": {"zarr": "3.1.0"},
    }
    (folder / "corpus" / "corpus.json").write_text(json.dumps(overview))
    write_json(folder / "qc", {f"{report['study']}.{report['recipe']}": report for report in reports()})
    model = folder / "models" / "tiny.micro.s0"
    card = {
        "n_parameters": 1234,
        "samples_seen": 4321,
        "simulated_data": True,
        "training_studies": {study: {"simulated": simulated} for study, simulated in STUDIES.items()},
        "vocabulary": {"ensembl_ids": ["ENSG1"] * 40},
    }
    write_json(model, {"model": card})
    (model / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in metrics()))
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.standard_normal((60, 4)).astype(np.float32), columns=["e0", "e1", "e2", "e3"])
    frame.insert(0, "study", np.repeat(list(STUDIES), 20))
    (folder / "embeddings").mkdir()
    frame.to_parquet(folder / "embeddings" / "tiny.micro.s0.parquet")
    write_json(folder / "evaluation", {"omega.table": evaluation_table()})
    scores = [
        Score(
            benchmark="genes",
            dataset="atlas",
            embedder=embedder,
            kind=embedder,
            task="recall",
            metric="union",
            seed=seed,
            value=value + seed / 10,
            primary=True,
        )
        for embedder, value in (("txfm", 0.3), ("pca", 0.2))
        for seed in (0, 1, 2)
    ]
    record = {
        "settings": {"null_pairs": 1000, "thresholds": [0.05, 0.95]},
        "embedders": [{"label": "txfm", "weights_sha256": "12" * 32}],
        "dropped": {"genes without a name": 7},
        "not_scored": [{"embedder": "pca", "dataset": "corum", "task": "recall", "reason": "no pair is known"}],
        "warnings": ["the null has few pairs"],
        "software": {"numpy": "2.0"},
    }
    write_scores(folder / "evaluation" / "deep" / "genes", score_frame(scores), record, "")
    write_json(folder / "ablation", {"grid": grid()})
    return folder


def grid() -> dict:
    about = {"benchmark": "genes", "task": "recall", "metric": "union", "postprocessing": "", "mean": 0.25}
    about |= {"n_seeds": 3, "dataset": "atlas", "sd": None, "difference": None, "p": None, "p_adjusted": None}
    interval = {"difference_sd": 0.008, "difference_low": -0.072, "difference_high": -0.028}
    tested = {"sd": 0.01, "difference": -0.05, "p": 0.006, "p_adjusted": 0.012, "significant": True} | interval
    default = about | dict.fromkeys(interval) | {"factor": "", "alternative": "", "significant": False}
    other = default | tested | {"factor": "depth", "alternative": "2"}
    cost = {"samples": 132, "genes": 40, "samples_seen": 4321, "steps": 200, "parameters": 1234, "hours": 0.25}
    return {
        "format": "txfm-ablation",
        "rows": [default, other, default | {"dataset": "map"}, other | {"dataset": "map"}],
        "cells": [{"factor": "", "alternative": ""} | cost, {"factor": "depth", "alternative": "2"} | cost],
        "warnings": ["depth: 2 saw 100 samples, the default 4,321: not equal compute"],
        "method": ["Mean and sd over training seeds."],
    }


def write_json(folder: Path, contents: dict[str, dict]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(json.dumps(content))


def metrics() -> list[dict]:
    lines: list[dict] = []
    for step in range(0, 301, 100):
        scores = {
            "loss": -30.0 - step / 100,
            "explained_deviance": step / 1000,
            "cls_rank": 3.0,
            "dead_gene_share": 0.0,
        }
        lines.append({"kind": "validation", "step": step, "samples_seen": 32 * step, **scores})
        lines.append({"kind": "train", "step": step + 50, "samples_seen": 32 * step + 1600, "loss": -31.0})
    return lines


def build(folder: Path) -> str:
    cli.run(argparse.Namespace(results=folder, out=folder / "report.html"))
    return (folder / "report.html").read_text()


@pytest.fixture(scope="module")
def results(tiny_corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_results(tmp_path_factory.mktemp("results") / "test_build", tiny_corpus.folder)


@pytest.fixture(scope="module")
def page(results: Path) -> str:
    return build(results)


class Elements(HTMLParser):
    """Start tags with their attributes, and the text outside style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data.strip())

    def of(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", " ".join(Elements(page).texts))


def test_the_page_names_every_study_and_marks_the_simulated_one(page):
    text = text_of(page)
    assert all(study in text for study in (*STUDIES, "omega"))
    assert "Contains simulated data." in text
    assert re.search(r"gamma SIMULATED", text)
    assert not re.search(r"(alpha|beta|omega) SIMULATED", text)
    assert "tiny.micro.s0 SIMULATED" in text


def test_every_picture_is_in_the_page_and_in_the_folder(page, results):
    for ending in ("png", "svg", "parquet"):
        assert sorted(path.stem for path in (results / "figures").glob(f"*.{ending}")) == sorted(PICTURES)
    images = Elements(page).of("img")
    assert len(images) == len(PICTURES)
    assert all(len(image["alt"]) > 40 for image in images)
    for path in (results / "figures").glob("*.svg"):
        assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_every_plot_carries_its_data_and_its_description(page):
    plots = [attributes for attributes in Elements(page).of("div") if attributes.get("class") == "plot"]
    specs = [json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', page, re.S)]
    assert len(plots) == len(specs) == len(PLOTS)
    for plot, spec in zip(plots, specs, strict=True):
        assert plot["role"] == "img"
        assert plot["aria-label"] == spec["description"]
        assert len(spec["data"]["values"]) > 0


def test_what_a_plot_draws_is_a_file_with_unrounded_values(results):
    drawn = pd.read_parquet(results / "figures" / "scores_deep~genes.parquet").set_index("embedder")
    assert drawn.loc["txfm", "mean"] == np.mean([0.3, 0.4, 0.5])
    assert drawn.loc["txfm", "high"] == drawn.loc["txfm", "mean"] + np.std([0.3, 0.4, 0.5], ddof=1)
    differences = pd.read_parquet(results / "figures" / "ablation_grid.parquet")
    assert differences[["mean", "low", "high"]].to_numpy().tolist() == [[-0.05, -0.072, -0.028]] * 2


def test_panels_of_one_metric_share_their_axis(page):
    specs = [json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', page, re.S)]
    view = next(spec for spec in specs if "Dots of the difference" in spec["description"])["concat"][0]
    assert view["facet"]["sort"] == ["atlas, union", "map, union"]
    assert view.get("resolve") is None  # the default of Vega-Lite: panels of a facet share their scales


def test_the_page_loads_nothing_from_outside(page):
    elements = Elements(page)
    loading = [
        attributes.get(name)
        for _, attributes in elements.tags
        for name in ("src", "srcset", "data", "poster", "action")
    ]
    assert all(address.startswith("data:image/svg+xml;base64,") for address in loading if address)
    assert elements.of("link") == []
    assert all(set(script) <= {"type"} for script in elements.of("script"))
    assert elements.of("iframe") == []
    policy = next(meta["content"] for meta in elements.of("meta") if "http-equiv" in meta)
    assert policy.startswith("default-src 'none'; img-src data:;")
    outside = [link["href"] for link in elements.of("a") if link["href"].startswith("http")]
    assert outside == ["https://doi.org/10.1000/alpha", "https://arxiv.org/abs/2605.31562"]


def test_links_lead_to_files_from_wherever_the_page_lies(page, results, tmp_path):
    def files(text: str) -> list[str]:
        links = [unquote(link["href"]) for link in Elements(text).of("a")]
        return [link for link in links if not link.startswith(("http", "#"))]

    linked = files(page)
    assert all((results / link).is_file() for link in linked)
    records = "corpus/corpus.json corpus/variants/tiny.json models/tiny.micro.s0/model.json qc/alpha.plain.json"
    records += " evaluation/omega.table.json evaluation/deep/genes/scores.json ablation/grid.json figures/curves.svg"
    assert set(records.split()) <= set(linked)
    cli.run(argparse.Namespace(results=results, out=tmp_path / "elsewhere.html"))
    assert all((tmp_path / link).is_file() for link in files((tmp_path / "elsewhere.html").read_text()))


def test_every_picture_has_a_light_and_a_dark_version(page):
    elements = Elements(page)
    dark, light = elements.of("source"), elements.of("img")
    assert {source["media"] for source in dark} == {"(prefers-color-scheme: dark)"}
    assert all(one["srcset"] != other["src"] for one, other in zip(dark, light, strict=True))


def test_headings_and_table_headers_are_marked_up_for_screen_readers(page):
    elements = Elements(page)
    assert all(header.get("scope") in ("col", "row") for header in elements.of("th"))
    assert len(elements.of("caption")) == len(elements.of("table"))
    targets = {attributes["id"] for _, attributes in elements.tags if "id" in attributes}
    assert {link["href"][1:] for link in elements.of("a") if link["href"].startswith("#")} <= targets
    assert elements.of("html") == [{"lang": "en"}]


def test_tables_are_parquet_files_with_raw_values_beside_the_pictures(page, results):
    folder = results / "figures" / "tables"
    assert len(list(folder.glob("*.parquet"))) == len(Elements(page).of("table"))
    models = pd.read_parquet(folder / "models.parquet")
    assert models["samples_seen"].tolist() == [4321]
    assert models["model"].tolist() == ["tiny.micro.s0"]
    assert models["explained_deviance"].tolist() == [0.3]
    assert models.attrs["caption"] == "Models at the end of training"
    digests = pd.read_parquet(folder / "variants.parquet")["digest"]
    assert digests.tolist() == ["digest-variant-tiny"]  # the page shows twelve characters
    kept = pd.read_parquet(folder / "counts.parquet")["kept_share"]
    assert kept.tolist() == [0.9] * 4
    scores = pd.read_parquet(folder / "scores_deep~genes.parquet").set_index("embedder")
    assert scores.loc["pca", ["mean", "n"]].tolist() == pytest.approx([0.3, 3], rel=1e-12)


def test_a_table_of_an_earlier_page_does_not_stay(results, page):
    stale = results / "figures" / "tables" / "models_1.parquet"
    pd.DataFrame({"old": [1]}).to_parquet(stale)
    build(results)
    assert not stale.exists()


def test_benchmarks_show_scores_and_how_they_were_made(page):
    text = text_of(page)
    assert "Genes: atlas: mean ± sd over the benchmark's seeds (first weights, drawn cells)" in text
    assert "txfm 0.400 ± 0.100 pca 0.300 ± 0.100" in text
    assert "Left out: 7 genes without a name." in text
    assert "Warnings the null has few pairs" in text
    assert "settings thresholds 0.05, 0.95" in text
    assert f"embedders txfm, weights_sha256 {'12' * 32}" in text
    assert "pca corum recall no pair is known" in text


def test_scores_that_are_missing_are_named_with_the_command_that_makes_them(page):
    text = text_of(page)
    assert "Perturbations: there are no scores yet. python -m txfm evaluate perturbation SCREEN.h5ad" in text
    assert "--models results/test_build/models/tiny.micro.s0 --out results/test_build/evaluation" in text
    assert "Genes: there are no scores yet" not in text


def test_a_grid_has_both_p_values_the_interval_and_the_costs(page):
    text = text_of(page)
    row = "depth: 2 genes: atlas recall: union -0.0500 -0.0720 to -0.0280 0.006 0.012* 0.0080 0.2500 0.0100 3"
    assert row in text
    assert "depth: 2 132 40 4,321 200 1,234 0.25" in text
    assert "depth: 2 saw 100 samples, the default 4,321: not equal compute" in text


def test_trainings_of_a_model_are_averaged_over_what_each_scored():
    of = {
        "benchmark": "cell_types",
        "dataset": "atlas",
        "kind": "txfm",
        "variant": "all",
        "model": "m",
        "task": "clusters",
    }
    of |= {"metric": "nmi", "postprocessing": "", "hits": None, "trials": None, "primary": True, "secondary": False}
    values = {
        ("all.nano.s0", 0, 0): 0.1,
        ("all.nano.s0", 0, 1): 0.3,
        ("all.nano.s1", 1, 0): 0.6,
        ("all.pca", 0, 0): 0.5,
    }
    frame = pd.DataFrame(
        [of | {"embedder": e, "model_seed": m, "seed": s, "value": v} for (e, m, s), v in values.items()]
    )
    found = over_trainings(frame).set_index("embedder")
    assert found.loc["all.nano", ["mean", "sd", "n"]].tolist() == pytest.approx([0.4, 0.4 / 2**0.5, 2])
    assert found.loc["all.pca", "n"] == 1


def test_a_metric_is_named_with_its_task_and_no_word_is_there_twice():
    assert metric_title("lin", "top1") == "linear probe: top1"
    assert metric_title("ilisi", "ilisi") == "iLISI"
    assert metric_title("linear", "macro_f1") == "linear: macro-F1"
    assert metric_title("few_shot", "few-shot, full counts") == "few-shot, full counts"


def test_published_values_are_apart_from_ours(page, results):
    text = text_of(page)
    assert "Published (paper, Table 5h)" in text
    assert "curated K562 (default) 1.4M 37.3 32.6 43.9" in text
    published = [row for row in Elements(page).of("tr") if row.get("class") == "published"]
    anchors = pd.read_parquet(results / "figures" / "tables" / "published_beside_ours.parquet")
    assert len(published) == 7 + len(anchors)
    assert set(anchors["source"]) == {"published"}
    averages = anchors[anchors["quantity"] == "perturbation average"].set_index(["model", "data"])["value"]
    assert averages["TxFM-B"].tolist() == [42.17, 38.63, 36.52]
    assert round(averages["TxFM-B"].mean(), 2) == 39.11  # as the paper prints it


def test_our_values_stand_beside_the_published_ones():
    tasks = {"ilisi": 0.5, "lin": 0.2, "knn": 0.1, "pcst": 0.3, "bmdb": 0.4, "inv": 0.3}
    about = {"benchmark": "perturbation", "dataset": "screen", "embedder": "ours", "kind": "txfm", "primary": True}
    scores = [Score(task=task, metric=task, value=value, **about) for task, value in tasks.items()]
    record = {"settings": {"tasks": list(tasks), "fixed": "centering"}}
    found = beside_published(score_frame(scores), record)
    assert [(row["model"], row["data"], round(row["value"], 9)) for row in found] == [("ours", "screen", 30.0)]
    assert beside_published(score_frame(scores[:5]), {"settings": {"tasks": list(tasks)[:5]}}) == []


def test_without_the_package_that_plots_the_page_has_tables_and_says_so(results, page, monkeypatch, tmp_path):
    monkeypatch.setattr(charts, "is_installed", lambda: False)
    monkeypatch.setattr(build_page, "is_installed", lambda: False)
    cli.run(argparse.Namespace(results=results, out=tmp_path / "plain.html"))
    plain = (tmp_path / "plain.html").read_text()
    assert "vl-convert-python is not installed (extra report)" in text_of(plain)
    assert len(Elements(plain).of("table")) == len(Elements(page).of("table"))
    assert len(Elements(plain).of("img")) == len(PICTURES) - len(PLOTS)


def test_every_reason_is_shown_with_its_count(page):
    text = text_of(page)
    assert "not singlet 1,201" in text
    assert "below min genes per sample 16" in text
    assert "excel date 7" in text
    assert "nothing dropped 0" in text


def test_text_from_a_study_cannot_become_markup(page):
    assert "&lt;script&gt;" in page
    assert page.count("<script>") == 2  # the plots' program and the page's


def test_a_study_with_one_batch_says_why_nothing_validates(page):
    assert "the study has one batch: all its samples are for training" in text_of(page)


def test_the_overlap_of_genes_is_counted_from_the_stores(page):
    # alpha 0-39, beta 20-49, gamma 10-55
    assert "56 genes are measured by at least one study, 20 by all 3." in text_of(page)


def test_licence_citation_and_digest_are_stated(page):
    text = text_of(page)
    assert "CC BY 4.0" in text
    assert "Doe & Roe, Alpha (2020)" in text
    assert "ab" * 32 in text
    assert "not stated in the corpus" in text


def test_the_evaluation_says_who_is_ahead_and_how_it_was_measured(page):
    text = text_of(page)
    assert "TxFM (raw) 0.612 ± 0.050 is below PCA." in text
    assert "0.934 ± 0.050" in text
    assert "An unmeasured gene is never taken for a zero." in text
    assert "left out: 5 no label" in text


def test_the_page_is_the_same_byte_for_byte_when_it_is_made_again(results, page, monkeypatch):
    assert build(results) == page


def test_what_is_missing_is_said_and_does_not_fail(tiny_corpus, tmp_path):
    folder = write_results(tmp_path / "test_build", tiny_corpus.folder)
    for name in ("embeddings", "evaluation", "models", "qc", "corpus/stores", "ablation"):
        shutil.rmtree(folder / name)
    text = text_of(build(folder))
    assert "No model was trained in this build." in text
    assert "There are no embeddings in this results folder." in text
    assert "No evaluation was run in this build." in text
    assert "This results folder has no QC reports" in text
    assert text.count("there are no scores yet. python -m txfm evaluate") == 4
    assert "There are no ablations yet: snakemake ablation --cores N trains and compares a grid." in text
    assert "The stores are not in this results folder." in text
    drawn = sorted(path.stem for path in (folder / "figures").glob("*.png"))
    assert drawn == ["anchors_genes", "anchors_perturbation", "composition"]


def test_a_model_without_validation_is_shown_without_curves(tiny_corpus, tmp_path):
    folder = write_results(tmp_path / "test_build", tiny_corpus.folder)
    shutil.rmtree(folder / "embeddings")
    lines = [json.dumps(line) for line in metrics() if line["kind"] == "train"]
    (folder / "models" / "tiny.micro.s0" / "metrics.jsonl").write_text("\n".join(lines))
    assert "no validation was logged" in text_of(build(folder))
    assert not (folder / "figures" / "curves.png").exists()


def test_a_folder_without_a_corpus_is_refused(tmp_path):
    with pytest.raises(InputError, match="no corpus to report on"):
        build(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_two_recipes_of_a_study_are_told_apart_and_share_its_colour(tiny_corpus, tmp_path):
    from txfm.report.results import read_build

    folder = write_results(tmp_path / "test_build", tiny_corpus.folder)
    write_json(folder / "qc", {"alpha.full": qc_report("alpha") | {"recipe": "full"}})
    known = read_build(folder)
    assert known.titles()["alpha", "full"] == "alpha (full)"
    assert known.titles()["gamma", "plain"] == "gamma [SIMULATED]"
    assert known.studies == ["alpha", "beta", "gamma", "omega"]


def test_looks_stay_distinct_past_the_number_of_colours():
    chosen = looks([f"study_{index}" for index in range(12)])
    assert len(set(chosen.values())) == 12


def test_samples_and_counts_are_added_up():
    stores = [
        {"study": "a", "recipe": "r", "split": split, "n_samples": n} for split, n in (("train", 5), ("validation", 2))
    ]
    assert samples_of({"studies": {"a": "r"}, "stores": stores}) == {("a", "r"): (5, 2)}
    assert kept_share(qc_report("alpha")) == 0.9


def test_a_large_file_of_embeddings_is_reduced_to_a_seeded_draw(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding_maps, "MAX_POINTS", 30)
    frame = pd.DataFrame(
        {"study": [f"s{i}" for i in range(100)], "e0": np.arange(100.0), "extra": 1, "e1": -np.arange(100.0)}
    )
    frame.to_parquet(tmp_path / "x.parquet", row_group_size=16)
    studies, vectors, n_samples = drawn_samples(tmp_path / "x.parquet")
    assert n_samples == 100
    assert vectors.shape == (30, 2)
    assert [f"s{int(value)}" for value in vectors[:, 0]] == list(studies)
    np.testing.assert_array_equal(vectors, drawn_samples(tmp_path / "x.parquet")[1])


# Names of the rows in order, and how each column says that it is sorted
STATE = """(() => {
  const table = document.querySelector("#hook table");
  const rows = Array.from(table.tBodies[0].rows, (row) => row.cells[0].textContent).join("");
  return [rows, ...Array.from(table.tHead.rows[0].cells, (cell) => cell.ariaSort)].join(" ");
})()"""
ENTER, SPACE, TAB = ("Enter", 13), (" ", 32), ("Tab", 9)


def test_keys_sort_numbers_as_numbers_and_keep_ties_in_order(tmp_path):
    values = {"a": "1,000", "b": "not defined", "c": "-2.5", "d": "90 ± 3", "e": "-2.5"}
    columns = [words("name", "name"), Column(title="value", text=lambda record: record["value"], is_number=True)]
    records = [{"name": name, "value": value} for name, value in values.items()]
    table = Table(name="t", caption="t", columns=columns, records=records)
    (tmp_path / "page.html").write_text(render("x", [], [], [Section(key="hook", title="Hook", tables=[table])]))
    with chromium(tmp_path / "profile") as browser:
        browser.open(tmp_path / "page.html")
        browser.evaluate("document.querySelector('#hook thead button').focus()")
        browser.press(*TAB)  # on to the second column
        seen = []
        for key in (ENTER, SPACE):
            browser.press(*key)
            seen.append(browser.evaluate(STATE))
        browser.evaluate("document.querySelector('#hook thead button').focus()")
        browser.press(*ENTER)
        seen.append(browser.evaluate(STATE))
    assert seen == ["cedab none ascending", "adceb none descending", "abcde ascending none"]


NARROW = 420
# Of every plot: what it says of itself, the number of its marks, and whether its still picture is out of the way
DRAWN = """Array.from(document.querySelectorAll(".plot"), (plot) => ({
  label: plot.getAttribute("aria-label").length,
  marks: plot.querySelectorAll("svg .mark-symbol path").length,
  still: getComputedStyle(plot.previousElementSibling).display,
  text: getComputedStyle(plot.querySelector("svg text")).fill,
}))"""
FIRST_SCORE = "document.querySelector('#scores_deep\\\\~genes .plot svg .mark-symbol path')"
SORT_ALL = """Array.from(document.querySelectorAll("th button"), (button) => {
  button.click();
  return button.parentElement.ariaSort;
})"""


def test_a_browser_draws_every_plot_asks_for_nothing_and_does_not_complain(page, results, tmp_path):
    with chromium(tmp_path / "profile") as browser:
        browser.prefer("light")
        browser.open(results / "report.html")
        browser.wait_for("document.documentElement.dataset.plots === 'light'")
        light = browser.evaluate(DRAWN)
        browser.hover(FIRST_SCORE)
        browser.wait_for("document.querySelector('#vg-tooltip-element.visible') !== null")
        tooltip = browser.evaluate("document.querySelector('#vg-tooltip-element').innerText")
        browser.prefer("dark")
        browser.wait_for("document.documentElement.dataset.plots === 'dark'")
        dark = browser.evaluate(DRAWN)
        sorts = browser.evaluate(SORT_ALL)
        browser.resize(NARROW)
        width = browser.evaluate("document.documentElement.scrollWidth")
        assert browser.complaints() == []
        assert browser.requested() == [(results / "report.html").as_uri()]
    assert len(light) == len(PLOTS)
    assert all(plot["label"] > 40 and plot["marks"] > 1 and plot["still"] == "none" for plot in (*light, *dark))
    assert all(one["text"] != other["text"] for one, other in zip(light, dark, strict=True))
    assert re.split(r"\s+", tooltip) == "embedder txfm metric recall: union data atlas mean 0.4 sd 0.1 values 3".split()
    assert width == NARROW  # wide tables and plots scroll by themselves
    assert set(sorts) == {"ascending"}
    assert len(sorts) == len(re.findall('<th scope="col"', page))


def test_the_browsers_policy_stops_what_would_leave_the_page(results, page, tmp_path):
    leaking = page.replace("</body>", "<img src='http://127.0.0.1:9/leak.png'></body>")
    (tmp_path / "page.html").write_text(leaking)
    with chromium(tmp_path / "profile") as browser:
        browser.open(tmp_path / "page.html")
        browser.wait_for("document.documentElement.dataset.plots !== undefined")
        assert any("Content Security Policy" in complaint for complaint in browser.complaints())
