"""The gene benchmark: planted modules are recalled and found, noise is at chance, what is left out is counted."""

import argparse
import itertools
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import StandardScaler
from statsmodels.stats.multitest import multipletests

from txfm.__main__ import main
from txfm.artifact import Provenance
from txfm.baselines.features import LogCountFeatures, PcaFeatures
from txfm.baselines.model import Baseline
from txfm.config import config_from_mapping
from txfm.errors import InputError
from txfm.evaluation.genes import cli
from txfm.evaluation.genes.enrichment import enrich_relations, enrich_sets
from txfm.evaluation.genes.gene_names import NOT_CODING, match_names
from txfm.evaluation.genes.gene_sets import read_gene_sets
from txfm.evaluation.genes.gene_types import read_gene_types
from txfm.evaluation.genes.gene_vectors import GeneEmbedder, read_gene_embedder
from txfm.evaluation.genes.modules import Modules, find_modules
from txfm.evaluation.genes.projection import components_of, project
from txfm.evaluation.genes.recall import ComparedGenes, RecalledPairs, measure_recall, sweep_components
from txfm.evaluation.genes.settings import ModuleSettings, RecallSettings
from txfm.evaluation.genes.summary import compare, sd_of_difference
from txfm.evaluation.genes.true_modules import agreement, read_true_modules
from txfm.evaluation.relation_files import read_relations
from txfm.evaluation.scores import read_scores
from txfm.hardware import Hardware
from txfm.model import TxFM
from txfm.pretrained import TrainingRecord, save_model
from txfm.training.checkpoint import Checkpoints, Progress
from txfm.training.optimiser import adamw
from txfm.vocabulary import Vocabulary

DATA = Path(os.environ.get("DIVERSERNA_DATA", Path(__file__).parents[4] / "shared" / "data"))
N_GENES, N_CODING, N_MODULES = 400, 360, 20
MODULE_OF = np.arange(N_GENES) % N_MODULES
IDS = tuple(f"ENSG{i:011d}" for i in range(N_GENES))
SYMBOLS = tuple(f"GENE{i:03d}" for i in range(N_GENES))
VOCABULARY = Vocabulary(axis_positions=np.arange(N_GENES), ensembl_ids=IDS, symbols=SYMBOLS)
PROVENANCE = Provenance(
    variant="simulated",
    variant_digest="digest-of-variant",
    corpus_digest="digest-of-corpus",
    studies={
        "alpha": {"recipe": "plain", "assay": "sc", "n_samples": 50, "simulated": True, "title": "", "licence": ""}
    },
    held_out=(),
)
CONFIG = config_from_mapping({"preset": "nano", "width": 24, "n_heads": 2, "n_blocks": 1, "samples_seen": 100})
RECALL = RecallSettings(n_null=20_000)


def noise(d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((N_GENES, d))


def planted(d: int, strength: float = 3.0, seed: int = 1) -> np.ndarray:
    """Genes of a module have nearly the same vector, and modules different directions where there are enough."""
    centres = np.random.default_rng(seed).standard_normal((N_MODULES, d))
    if d >= N_MODULES:
        centres = np.sqrt(d) * np.linalg.qr(centres.T)[0].T
    return strength * centres[MODULE_OF] + noise(d, seed + 1)


def planted_network(strength: float) -> TxFM:
    network = TxFM(CONFIG, N_GENES)
    network.initialise(torch.full((N_GENES,), 5.0), torch.Generator().manual_seed(0))
    with torch.no_grad():
        network.decoder_out.weight.copy_(torch.from_numpy(planted(CONFIG.width, strength)))
    return network


def record(samples_seen: int = 100, steps: int = 10) -> TrainingRecord:
    return TrainingRecord(
        config=CONFIG, vocabulary=VOCABULARY, provenance=PROVENANCE, seed=7, samples_seen=samples_seen, steps=steps,
        final_metrics={},
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models, two databases, gene types, gene sets and the truth."""
    folder = tmp_path_factory.mktemp("genes")
    (folder / "metrics.jsonl").write_text("")
    hardware = Hardware(device=torch.device("cpu"), precision="float32", threads=1)
    save_model(folder / "txfm", planted_network(3.0), record(), folder / "metrics.jsonl", hardware)
    mean = np.zeros(N_GENES)
    pca = PcaFeatures(mean=mean, components=noise(30, 5).T.copy(), scale=np.ones(30), library_size=1e5)
    counts = LogCountFeatures(mean=mean, chosen=np.arange(N_GENES), library_size=1e5)
    for kind, features in (("pca", pca), ("lognorm", counts)):
        config = {"library_size_counts": 1e5}
        Baseline.fitted(kind, features, VOCABULARY, PROVENANCE, config=config, seed=0, n_samples=50).save(folder / kind)
    relations = folder / "relations"
    relations.mkdir()
    within = [(i, j) for i in range(N_GENES) for j in range(i + 1, N_GENES) if MODULE_OF[i] == MODULE_OF[j]]
    lines = [f"{SYMBOLS[i]},{SYMBOLS[j]}" for i, j in within]
    (relations / "Half.txt").write_text("\n".join(["entity1,entity2", *lines[::2], "OLD1,GENE021", "UNKNOWN0,GENE003"]))
    ids = [f"{IDS[i]}.3,{IDS[j]}" for i, j in within[1::2]]
    (relations / "Other.txt").write_text("\n".join(["entity1,entity2", *ids, "GENE399,GENE379"]))
    types = pd.DataFrame({"ensembl_gene_id": IDS, "symbol": SYMBOLS, "locus_group": "protein-coding gene"})
    types["prev_symbol"] = ""
    types.loc[1, "prev_symbol"] = "OLD1|OLD2"
    types.loc[2, "prev_symbol"] = "OLD2"
    types.loc[N_CODING:, "locus_group"] = "non-coding RNA"
    types.to_csv(folder / "hgnc.txt", sep="\t", index=False)
    sets = [f"module {m}\tplanted\t" + "\t".join(np.array(SYMBOLS)[m == MODULE_OF]) for m in range(0, N_MODULES, 2)]
    (folder / "planted.gmt").write_text("\n".join([*sets, "small\t\tGENE001\tGENE002"]))
    pd.DataFrame({"symbol": SYMBOLS, "module": MODULE_OF}).to_csv(folder / "truth.tsv", sep="\t", index=False)
    return folder


def evaluate(folder: Path, *options: object) -> None:
    where = ["--relations", folder / "relations", "--gene-types", folder / "hgnc.txt", "--null-pairs", 20_000]
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    given = list(map(str, options))
    n_models = next((i for i, option in enumerate(given) if option.startswith("--")), len(given))
    # What is given later wins, and argparse wants all models in one place
    cli.run(parser.parse_args([*given[:n_models], *map(str, where), *given[n_models:]]))


@pytest.fixture(scope="module")
def results(folder: Path) -> Path:
    """Of three models, without modules."""
    models = (folder / "txfm", f"loadings={folder / 'pca'}", folder / "lognorm")
    evaluate(folder, *models, "--out", folder / "results", "--sweep")
    return folder / "results"


def compared(tables: dict[str, np.ndarray], kind: str = "txfm") -> tuple[GeneEmbedder, ComparedGenes]:
    embedder = GeneEmbedder(label="a", kind=kind, vocabulary=VOCABULARY, tables=tables, card={}, source="a")
    pairs = pd.DataFrame([(SYMBOLS[i], SYMBOLS[i + N_MODULES]) for i in range(N_GENES - N_MODULES)])
    return embedder, ComparedGenes.of(embedder, {"chains": pairs}, None)


# --- the benchmark from a command line


def test_planted_modules_are_recalled_and_noise_is_at_chance(results: Path) -> None:
    scores, _ = read_scores(results)
    assert set(scores["dataset"]) == {"Half", "Other", "union", "mean"}
    primary = scores[scores["primary"]].groupby(["embedder", "task"])["value"]
    assert primary.size().to_dict() == dict.fromkeys(
        [("loadings", "decoder"), ("loadings", "encoder"), ("txfm", "decoder"), ("txfm", "encoder")], 3
    )
    assert primary.mean()["txfm", "decoder"] > 0.95
    for noisy in (("txfm", "encoder"), ("loadings", "encoder"), ("loadings", "decoder")):
        assert_allclose(primary.mean()[noisy], 0.1, atol=0.025)  # 3 standard deviations of 3,060 pairs, some shared
    shuffled = scores[(scores["metric"] == "recall_shuffled_genes") & (scores["dataset"] == "union")]
    assert len(shuffled) == 4
    assert_allclose(shuffled["value"], 0.1, atol=0.04)
    txfm = scores[(scores["embedder"] == "txfm") & (scores["metric"] == "recall")]
    assert set(txfm["seed"]) == {0, 1, 2}
    assert txfm["variant"].unique().tolist() == ["simulated"]
    assert txfm["model_seed"].unique().tolist() == [7]
    of_databases = txfm[txfm["dataset"] != "mean"]
    assert_allclose(of_databases["value"], (of_databases["hits"] / of_databases["trials"]).astype(float))


def test_the_json_says_what_was_measured_with_what_and_what_was_left_out(folder: Path, results: Path) -> None:
    content = json.loads((results / "scores.json").read_text())
    assert content["settings"]["null_pairs"] == 20_000
    assert content["dropped"] == {"lognorm": "a model of kind lognorm has no vectors of genes"}
    assert sorted(content["inputs"]) == ["Half.txt", "Other.txt", "hgnc.txt"]
    assert content["warnings"] == []
    names = content["embedders"][0]["names_of_relations"]
    assert content["embedders"][0]["compared_genes"] == N_CODING
    assert content["embedders"][0]["variant"]["digest"] == "digest-of-variant"
    lines = [(folder / "relations" / f"{name}.txt").read_text().split()[1:] for name in ("Half", "Other")]
    given = {name for line in itertools.chain(*lines) for name in line.split(",")}
    not_coding = [name for name in given if int(re.findall(r"\d+", name)[0]) >= N_CODING]
    assert names["names"] == len(given)
    assert names["left_out_by_reason"] == {NOT_CODING: len(not_coding), "not a gene of the model": 1}
    assert sum(names["used_by"].values()) == names["used"]
    assert names["used_by"]["approved or earlier symbol (HGNC)"] == 1
    misses = pd.read_csv(results / "gene_misses.tsv", sep="\t").set_index(["embedder", "name"])
    assert misses.loc[("txfm", "UNKNOWN0"), ["reason", "databases"]].tolist() == ["not a gene of the model", "Half"]
    page = (results / "scores.md").read_text()
    assert "Not measured: lognorm" in page
    assert "| txfm | recall | 24 |" in page


def test_a_sweep_ends_at_what_the_table_has(results: Path) -> None:
    sweep = pd.read_parquet(results / "sweep.parquet")
    union = sweep[(sweep["database"] == "union") & (sweep["embedder"] == "txfm") & (sweep["task"] == "decoder")]
    assert union.groupby("n_components").size().to_dict() == {8: 3, 16: 3, 24: 3}
    scores = pd.read_parquet(results / "scores.parquet")
    at_the_end = scores[scores["primary"] & (scores["embedder"] == "txfm") & (scores["task"] == "decoder")]
    assert_allclose(union.loc[union["n_components"] == 24, "value"], at_the_end["value"])


def test_a_run_leaves_nothing_of_an_earlier_one(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    evaluate(folder, folder / "pca", "--sweep", "--out", out)
    assert (out / "sweep.parquet").is_file()
    (out / "mine.txt").write_text("mine")
    evaluate(folder, folder / "pca", "--out", out)
    assert sorted(path.name for path in out.iterdir()) == [
        "comparisons.parquet",
        "gene_misses.tsv",
        "mine.txt",
        "scores.json",
        "scores.md",
        "scores.parquet",
        "scores.tsv",
        "summary.tsv",
    ]


def test_what_has_no_pair_has_no_score_but_a_reason(folder: Path, tmp_path: Path) -> None:
    relations = tmp_path / "relations"
    relations.mkdir()
    (relations / "None.txt").write_text("entity1,entity2\nGENE399,GENE001\n")
    (relations / "Some.txt").write_text("entity1,entity2\nGENE001,GENE002\n")
    evaluate(folder, folder / "pca", "--out", tmp_path / "out", "--relations", relations)
    scores, content = read_scores(tmp_path / "out")
    assert set(scores["dataset"]) == {"Some", "union", "mean"}
    assert {row["dataset"] for row in content["not_scored"]} == {"None"}
    assert "no pairs" in (tmp_path / "out" / "scores.md").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["lognorm"], "None of the models has vectors"),
        (["absent"], "no trained model"),
        (["pca", "pca"], "Two models have one name"),
        (["pca", "--databases", "CORUM"], "no such database"),
        (["pca", "--checkpoints", "."], "belong to a trained TxFM"),
        (["pca", "txfm", "--checkpoints", "."], "belong to one model"),
        (["pca", "--seeds", "1", "1"], "--seeds cannot be used"),
        (["pca", "--null-pairs", "0"], "--null-pairs cannot be used"),
        (["pca", "--truth", "truth.tsv"], "add --modules"),
    ],
)
def test_what_cannot_be_measured_is_refused_and_nothing_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.chdir(folder)
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    with pytest.raises(InputError, match=said):
        cli.run(parser.parse_args([*options, "--relations", "relations", "--out", str(tmp_path / "out")]))
    assert list(tmp_path.iterdir()) == []


# --- recall of one embedder


def test_without_relations_a_workflow_gets_the_reason_and_people_an_error(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("txfm.evaluation.relation_files.PACKAGE", "no_such_package")
    out = tmp_path / "out"
    assert main(["evaluate", "genes", str(folder / "txfm"), "--out", str(out)]) == 2
    assert not out.exists()
    for options in ((), ("--relations", str(tmp_path / "nowhere"))):
        evaluate(folder, folder / "txfm", "--out", out)  # what an earlier run left
        assert (
            main(["evaluate", "genes", str(folder / "txfm"), "--out", str(out), "--without-relations", *options]) == 0
        )
        frame, record = read_scores(out)
        assert len(frame) == 0
        (row,) = record["not_scored"]
        assert row["reason"] in (out / "scores.md").read_text()
        assert ("nowhere" if options else "efaar-benchmarking") in row["reason"]
        assert {path.name for path in out.iterdir()} == {f"scores.{end}" for end in ("json", "md", "parquet", "tsv")}


def test_projection_is_that_of_the_standardised_genes_and_its_first_columns_are_the_smaller_one() -> None:
    vectors, is_fitted = planted(12), np.arange(N_GENES) < 300
    scaler = StandardScaler().fit(vectors[is_fitted])
    expected = PCA(5, svd_solver="full").fit(scaler.transform(vectors[is_fitted])).transform(scaler.transform(vectors))
    found = project(vectors, is_fitted, 5)
    assert_allclose(found @ found.T, expected @ expected.T, atol=1e-9)  # signs are free
    assert_allclose(project(vectors, is_fitted, 1000)[:, :5], found, atol=1e-9)
    assert project(vectors, is_fitted, 1000).shape == (N_GENES, 12)
    order = np.random.default_rng(0).permutation(N_GENES)
    permuted = project(vectors[order], is_fitted[order], 5)
    assert_allclose(permuted @ permuted.T, (found @ found.T)[np.ix_(order, order)], atol=1e-9)


def test_components_are_those_of_the_paper() -> None:
    assert components_of("txfm", "encoder") == 32
    assert components_of("txfm", "decoder") == 256
    assert components_of("pca", "encoder") == components_of("scvi", "decoder") == 1024


def test_the_order_of_genes_says_nothing() -> None:
    embedder, genes = compared({"encoder": planted(8, strength=0.7)})
    order = np.random.default_rng(3).permutation(N_GENES)
    shuffled = replace(
        embedder, vocabulary=VOCABULARY.subset(order), tables={"encoder": embedder.tables["encoder"][order]}
    )
    same_genes = ComparedGenes.of(shuffled, {"chains": genes.relations["chains"]}, None)
    before, after = (measure_recall(*pair, RECALL)[0] for pair in ((embedder, genes), (shuffled, same_genes)))
    is_recall = before["metric"] == "recall"
    assert 0.15 < before.loc[is_recall, "value"].min() < 0.95
    pd.testing.assert_frame_equal(before[is_recall], after[is_recall])


def test_a_null_of_all_pairs_is_not_drawn() -> None:
    embedder, genes = compared({"encoder": noise(8)})
    measured, _ = measure_recall(embedder, genes, RecallSettings())
    assert measured["seed"].isna().all()
    assert measured["null_size"].dropna().unique().tolist() == [N_GENES * (N_GENES - 1) // 2]
    assert set(measured["metric"]) == {"recall", "recall_shuffled_genes"}  # all genes are compared: one fit


def test_a_perfect_table_recalls_everything_and_a_sweep_takes_each_number_once() -> None:
    embedder, genes = compared({"decoder": planted(8, strength=1e4)})
    sweep = sweep_components(embedder, genes, RECALL, components=(4, 8, 16))
    assert sweep.loc[sweep["database"] == "union", "value"].tolist() == [1.0] * 6


@pytest.mark.parametrize("stem", ["x", "encoder"])
def test_numbers_of_a_table_that_are_no_dimensions_are_refused_and_the_dimensions_are_named(tmp_path, stem):
    frame = pd.DataFrame(np.eye(3), columns=[f"{stem}{i}" for i in range(3)])
    frame.insert(0, "symbol", ["A", "B", "C"])
    frame.to_csv(tmp_path / "t.csv", index=False)
    found = read_gene_embedder(str(tmp_path / "t.csv"))
    assert found.identity["columns"] == {"vectors" if stem == "x" else stem: f"{stem}0 to {stem}2"}
    for stray in ("chromosome", "length1", "encoder"):
        frame.assign(**{stray: [1, 2, 3]}).to_csv(tmp_path / "t.csv", index=False)
        with pytest.raises(InputError, match=rf"(?s)no dimensions.*found: {stem}0 to {stem}2, {stray}"):
            read_gene_embedder(str(tmp_path / "t.csv"))


def test_a_table_of_vectors_is_compared_like_a_model(folder: Path, tmp_path: Path) -> None:
    model = read_gene_embedder(str(folder / "txfm"))
    frame = pd.DataFrame({"ensembl_id": IDS, "symbol": SYMBOLS})
    for name, vectors in model.tables.items():
        frame = frame.join(pd.DataFrame(vectors, columns=[f"{name}{i}" for i in range(vectors.shape[1])]))
    frame.to_parquet(tmp_path / "table.parquet")
    table = read_gene_embedder(str(tmp_path / "table.parquet"))
    assert (table.label, table.kind, table.vocabulary.symbols) == ("table", "table", SYMBOLS)
    for name, vectors in model.tables.items():
        assert_array_equal(table.tables[name], vectors)
    frame.drop(columns="ensembl_id").set_index("symbol").filter(like="decoder").add_prefix("x").to_csv(
        tmp_path / "t.csv"
    )
    assert list(read_gene_embedder(str(tmp_path / "t.csv")).tables) == ["vectors"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("symbol,x\nA,1\nA,2\n", "a gene twice"),
        ("symbol,x\nA,1\nB,inf\n", "not finite"),
        ("name,x\nA,1\n", "cannot be used"),
        ("symbol,x\nA,a\n", "cannot be used"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        read_gene_embedder(str(tmp_path / "t.csv"))


# --- names and types of genes


def test_gene_types_of_hgnc_and_of_a_gene_axis(folder: Path, tmp_path: Path) -> None:
    types = read_gene_types(folder / "hgnc.txt")
    assert types.is_coding(VOCABULARY).sum() == N_CODING
    assert types.id_of_name["OLD1"] == IDS[1]
    assert "OLD2" not in types.id_of_name  # two genes had it
    axis = pd.DataFrame({"ensembl_id": IDS, "symbol": SYMBOLS, "biotype": "lncRNA"})
    axis.to_parquet(tmp_path / "genes.parquet")
    with pytest.raises(InputError, match=r"(?s)no protein-coding gene.*'lncRNA'"):
        read_gene_types(tmp_path / "genes.parquet")
    axis.loc[3, "biotype"] = "protein_coding"
    axis.to_parquet(tmp_path / "genes.parquet")
    assert read_gene_types(tmp_path / "genes.parquet").is_coding(VOCABULARY).nonzero()[0].tolist() == [3]
    axis.drop(columns="biotype").to_csv(tmp_path / "genes.csv")
    with pytest.raises(InputError, match="none of the known sets of columns"):
        read_gene_types(tmp_path / "genes.csv")


@pytest.mark.real
@pytest.mark.skipif(not (DATA / "gene_pairs").is_dir(), reason="the real databases are not here: set DIVERSERNA_DATA")
def test_the_real_databases_find_their_genes_among_those_of_hgnc() -> None:
    types = read_gene_types(DATA / "annotation" / "hgnc_complete_set.txt.gz")
    symbols = sorted(types.coding_symbols)
    vocabulary = Vocabulary(axis_positions=np.arange(len(symbols)), ensembl_ids=tuple(symbols), symbols=tuple(symbols))
    relations = read_relations(DATA / "gene_pairs")
    _, match = match_names(relations, vocabulary, np.ones(len(symbols), bool))
    assert list(relations) == ["CORUM", "HuMAP", "Reactome", "SIGNOR", "StringDB"]
    assert len(match.table) == 13_183
    assert len(match.misses) < 400


def test_names_are_matched_by_id_symbol_or_earlier_symbol() -> None:
    pairs = pd.DataFrame({"entity1": [f"{IDS[4]}.2", "GENE004", "OLD", "NEW"], "entity2": ["GENE005", "GENE006"] * 2})
    is_used = np.arange(N_GENES) != 6
    translated, match = match_names({"a": pairs}, VOCABULARY, is_used, {"OLD": IDS[7], "NEW": "ENSG09999999999"})
    assert translated["a"].astype(str).to_numpy().tolist() == [
        [IDS[4], IDS[5]],
        [IDS[4], IDS[6]],
        [IDS[7], IDS[5]],
        ["NEW", IDS[6]],
    ]
    assert match.misses.to_numpy().tolist() == [["GENE006", NOT_CODING, "a"], ["NEW", "not a gene of the model", "a"]]


def test_relations_without_a_gene_of_the_model_are_refused() -> None:
    embedder, _ = compared({"encoder": noise(4)})
    with pytest.raises(InputError, match=r"(?s)No gene of the relations.*MOUSE1"):
        ComparedGenes.of(embedder, {"a": pd.DataFrame([("MOUSE1", "MOUSE2")])}, None)


# --- differences


def recalled(vectors: np.ndarray, n_draws: int = 3) -> RecalledPairs:
    """Of pairs within the modules."""
    embedder, genes = compared({"decoder": vectors})
    settings = RecallSettings(n_null=20_000, seeds=tuple(range(n_draws)))
    return measure_recall(embedder, genes, settings)[1]["decoder"]


def test_two_tables_of_noise_differ_no_more_often_than_by_chance() -> None:
    p_values = []
    for i in range(100):
        tables = recalled(noise(8, 2 * i)), recalled(noise(8, 2 * i + 1))
        p_values.append(compare({("a", "decoder"): tables[0], ("b", "decoder"): tables[1]})["p_value"].item())
    assert np.mean(np.array(p_values) < 0.05) <= 0.11  # 3 standard deviations above 0.05


def test_a_table_that_knows_more_is_found() -> None:
    tables = {"planted": planted(8, 1.5), "again": planted(8, 1.5, seed=5), "noise": noise(8)}
    found = compare({(name, "decoder"): recalled(vectors) for name, vectors in tables.items()})
    p = found.set_index(["first", "second"])["p_adjusted"]
    assert p["planted", "noise"] < 1e-4
    assert p["again", "noise"] < 1e-4
    assert compare({(name, "decoder"): recalled(noise(8)) for name in "ab"})["p_value"].tolist() == [1.0]


def test_the_variance_of_a_difference_has_the_covariances_of_pairs_that_share_a_gene() -> None:
    rng = np.random.default_rng(2)
    genes = np.array(list(itertools.combinations(range(9), 2)))
    first, second = rng.random((2, 3, len(genes))) < np.array([0.4, 0.5])[:, None, None]
    deviations = first.mean(axis=0) - second.mean(axis=0)
    deviations -= deviations.mean()
    independent = sum(deviations**2)
    shared = sum(
        deviations[i] * deviations[j]
        for i, j in itertools.product(range(len(genes)), repeat=2)
        if set(genes[i]) & set(genes[j])
    )
    draws = sum(hits.mean(axis=1).var(ddof=1) / 3 for hits in (first, second))
    expected = np.sqrt(max(shared, independent) / len(genes) ** 2 + draws)
    assert_allclose(sd_of_difference(genes, first, second), expected)


def test_embedders_are_compared_on_the_pairs_that_both_have_and_adjusted_within_a_task() -> None:
    rng = np.random.default_rng(0)
    names = np.array([("A", "B"), ("C", "B"), ("C", "D"), ("D", "A")], dtype=object)
    first = RecalledPairs(genes=names[:3], is_hit=np.array([[True, True, False]]))
    second = RecalledPairs(genes=names[[3, 2, 1]][:, ::-1], is_hit=np.array([[True, False, False]]))
    (row,) = compare({("a", "encoder"): first, ("b", "encoder"): second}).to_dict("records")
    assert (row["pairs"], row["difference"]) == (2, 0.5)

    pairs = np.array(list(itertools.combinations("ABCDEFGHIJ", 2)), dtype=object)
    tables = {
        (name, task): RecalledPairs(genes=pairs, is_hit=rng.random((1, len(pairs))) < share)
        for task in ("encoder", "decoder")
        for name, share in (("a", 0.2), ("b", 0.3), ("c", 0.8))
    }
    found = compare(tables)
    for _, of_task in found.groupby("task"):
        assert_allclose(of_task["p_adjusted"], multipletests(of_task["p_value"], method="fdr_bh")[1])
    assert len(found) == 6


# --- along a training


@pytest.fixture(scope="module")
def checkpoints(folder: Path) -> Path:
    """Two checkpoints and the finished model."""
    where = folder / "training"
    identity = {"config": CONFIG.as_mapping(), "variant_digest": "digest-of-variant", "n_genes": N_GENES}
    for step, strength in ((2, 0.0), (10, 0.6)):
        network = planted_network(strength)
        optimiser = adamw(network, 0.0)
        sum(parameter.sum() * 0 for parameter in network.parameters()).backward()
        optimiser.step()
        progress = Progress(
            step=step, samples_seen=10 * step, reader={}, metrics_bytes=0, unlogged_loss_sum=0.0, unlogged_steps=0,
            micro_batch=1, world=1,
        )  # fmt: skip
        Checkpoints(where, identity, 1).save(network, optimiser, progress)
    hardware = Hardware(device=torch.device("cpu"), precision="float32", threads=1)
    save_model(where / "end", planted_network(3.0), record(300, 30), folder / "metrics.jsonl", hardware)
    return where


def test_recall_along_a_training_is_measured_by_step(folder: Path, checkpoints: Path, tmp_path: Path) -> None:
    evaluate(folder, folder / "txfm", "--out", tmp_path / "out", "--checkpoints", checkpoints)
    states = pd.read_parquet(tmp_path / "out" / "checkpoints.parquet")
    decoder = states[(states["database"] == "union") & (states["task"] == "decoder")]
    first = decoder[decoder["seed"] == 0]
    assert first["step"].tolist() == [2, 10, 30]
    assert first["state"].tolist() == ["step-000000002", "step-000000010", "end"]
    assert first["epoch"].tolist() == [20 / 50, 100 / 50, 300 / 50]
    start, middle, end = first["value"]
    assert 0.05 < start < 0.15 < middle < 0.9 < end


def test_the_finished_model_ends_the_curve_and_halves_of_models_are_no_part_of_it(
    folder: Path, checkpoints: Path, tmp_path: Path
) -> None:
    shutil.copytree(checkpoints / "step-000000002", tmp_path / "kept" / "step-000000002")
    for half in (".model-000000020.99.tmp", "model-000000020"):
        shutil.copytree(checkpoints / "end", tmp_path / "kept" / half)
    (tmp_path / "kept" / "model-000000020" / "model.json").unlink()
    evaluate(folder, folder / "txfm", "--out", tmp_path / "out", "--checkpoints", tmp_path / "kept")
    states = pd.read_parquet(tmp_path / "out" / "checkpoints.parquet")
    assert states.groupby("step", sort=False)["state"].unique().map(list).to_dict() == {
        2: ["step-000000002"],
        10: ["txfm"],
    }
    last = states[states["step"] == 10].reset_index(drop=True)
    recall = pd.read_parquet(tmp_path / "out" / "scores.parquet")
    assert last["samples_seen"].unique() == [100]
    assert set(last["value"]) <= set(recall["value"])


def test_checkpoints_of_another_training_and_damaged_ones_are_refused(
    folder: Path, checkpoints: Path, tmp_path: Path
) -> None:
    def copy(change: Any) -> Path:
        target = tmp_path / f"case{len(list(tmp_path.iterdir()))}"
        where = target / "step-000000002"
        where.mkdir(parents=True)
        for file in (checkpoints / "step-000000002").iterdir():
            (where / file.name).write_bytes(file.read_bytes())
        change(where)
        return target

    def other_variant(where: Path) -> None:
        state = json.loads((where / "state.json").read_text())
        state["identity"]["variant_digest"] = "another"
        (where / "state.json").write_text(json.dumps(state))

    cases = {
        "of another training": other_variant,
        r"cannot be read(?s:.*)step-000000002": lambda where: (where / "state.safetensors").write_bytes(b"torn"),
        "checkpoint cannot be read": lambda where: (where / "state.json").unlink(),
    }
    for said, change in cases.items():
        with pytest.raises(InputError, match=said):
            evaluate(folder, folder / "txfm", "--out", tmp_path / "out", "--checkpoints", copy(change))
    with pytest.raises(InputError, match="No state of a training"):
        evaluate(folder, folder / "txfm", "--out", tmp_path / "out", "--checkpoints", folder / "relations")
    assert not (tmp_path / "out").exists()


# --- modules


def test_planted_modules_are_found_and_enriched(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("igraph", reason="modules need igraph (extra `evaluate`)")
    how = ("--modules", "--gene-sets", folder / "planted.gmt", "--truth", folder / "truth.tsv")
    evaluate(folder, folder / "txfm", folder / "pca", "--out", tmp_path / "out", *how)
    scores = pd.read_parquet(tmp_path / "out" / "scores.parquet").set_index(["embedder", "task", "metric", "dataset"])
    scores = scores["value"][lambda column: column.index.get_level_values("task") == "modules"].droplevel("task")
    assert scores["txfm", "ari", "truth"] > 0.95
    assert abs(scores["pca", "ari", "truth"]) < 0.05
    assert scores["txfm", "n_modules", "modules"] == N_MODULES
    assert scores["txfm", "enriched_modules", "planted"] == 0.5  # every other module is a set
    assert scores["txfm", "enriched_modules", "Half"] == 1.0
    assert scores["pca", "enriched_modules", "planted"] == 0.0
    genes = pd.read_parquet(tmp_path / "out" / "modules.parquet")
    assert len(genes) == 2 * N_CODING
    content = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert content["small_gene_sets"] == {"txfm": {"planted": 1}, "pca": {"planted": 1}}
    enrichment = pd.read_parquet(tmp_path / "out" / "module_enrichment.parquet")
    best = enrichment[(enrichment["embedder"] == "txfm") & (enrichment["source"] == "planted")].nsmallest(10, "p_value")
    assert (best["overlap"] == best["set_size"]).all()


def test_modules_need_no_gene_sets_and_sets_without_a_gene_change_nothing(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("igraph", reason="modules need igraph (extra `evaluate`)")
    (tmp_path / "foreign.gmt").write_text("mouse\t\tActb\tTrp53\n")
    evaluate(folder, folder / "txfm", "--out", tmp_path / "without", "--modules")
    sets = ("--gene-sets", tmp_path / "foreign.gmt", folder / "planted.gmt")
    evaluate(folder, folder / "txfm", "--out", tmp_path / "with", "--modules", *sets)
    without, with_sets = (
        pd.read_parquet(tmp_path / name / "module_enrichment.parquet") for name in ("without", "with")
    )
    assert set(without["source"]) == {"Half", "Other"}
    assert set(with_sets["source"]) == {"Half", "Other", "planted"}
    of_databases = with_sets[with_sets["source"] != "planted"].reset_index(drop=True)
    pd.testing.assert_frame_equal(of_databases, without)


def test_two_sources_of_one_name_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "Half.gmt").write_text("a\t\tGENE001\tGENE002\n")
    with pytest.raises(InputError, match="have one name"):
        evaluate(folder, folder / "txfm", "--out", tmp_path / "out", "--modules", "--gene-sets", tmp_path / "Half.gmt")
    assert not (tmp_path / "out").exists()


def test_modules_do_not_depend_on_the_order_of_genes_and_noise_agrees_with_nothing() -> None:
    pytest.importorskip("igraph", reason="modules need igraph (extra `evaluate`)")
    vectors, order = planted(24), np.random.default_rng(0).permutation(N_GENES)
    found, permuted = (find_modules(rows, ModuleSettings()) for rows in (vectors, vectors[order]))
    assert adjusted_rand_score(found.module_of, MODULE_OF) > 0.95
    assert adjusted_rand_score(found.module_of[order], permuted.module_of) > 0.95
    assert found.agreement > 0.95
    assert found.modularity > 0.5
    of_noise = find_modules(noise(24), ModuleSettings())
    assert of_noise.agreement < 0.5
    assert abs(adjusted_rand_score(of_noise.module_of, MODULE_OF)) < 0.05


def test_genes_without_a_direction_are_in_no_module() -> None:
    pytest.importorskip("igraph", reason="modules need igraph (extra `evaluate`)")
    vectors = planted(24)
    vectors[::40] = 0
    found = find_modules(vectors, ModuleSettings())
    assert (found.module_of[::40] == -1).all()
    assert found.n_modules == N_MODULES
    with pytest.raises(InputError, match="no modules"):
        find_modules(np.zeros((5, 2)), ModuleSettings())


def test_modules_without_igraph_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "igraph", None)
    with pytest.raises(InputError, match="pip install"):
        find_modules(planted(4), ModuleSettings())


def test_enrichment_is_hypergeometric_and_adjusted_over_all_tests() -> None:
    modules = Modules(module_of=np.array([0] * 6 + [1] * 5 + [-1] * 9), modularity=0.0, agreement=1.0)
    sets = {"x": np.array([0, 1, 2, 3, 6]), "y": np.array([11, 12, 13, 14, 15])}
    found = enrich_sets(modules, {"source": sets}).set_index(["module", "set_name"])
    assert sorted(found.index) == [(0, "x"), (1, "x")]
    first, second = stats.hypergeom.sf(3, 20, 5, 6), stats.hypergeom.sf(0, 20, 5, 5)
    assert_allclose(
        found.loc[(0, "x"), ["overlap", "set_size", "expected", "p_value"]].astype(float), [4, 5, 1.5, first]
    )
    adjusted = multipletests([first, second, 1, 1], method="fdr_bh")[1]
    assert_allclose(found["p_adjusted"], adjusted[:2])
    pairs = enrich_relations(modules, {"d": np.array([[0, 1], [2, 3], [6, 7], [0, 19], [5, 6]])}).set_index("module")
    assert pairs["overlap"].tolist() == [2, 1]
    assert_allclose(pairs["p_value"], [stats.hypergeom.sf(1, 190, 5, 15), stats.hypergeom.sf(0, 190, 5, 10)])


def test_gene_sets_are_read_and_pointers_refused(folder: Path, tmp_path: Path) -> None:
    sets = read_gene_sets(folder / "planted.gmt")
    assert len(sets) == N_MODULES // 2 + 1
    assert sets["small"] == {"GENE001", "GENE002"}
    (tmp_path / "clusters.tsv").write_text("complex (a)\tA B C\n")
    assert read_gene_sets(tmp_path / "clusters.tsv") == {"complex (a)": {"A", "B", "C"}}
    (tmp_path / "go.gmt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    with pytest.raises(InputError, match=r"(?s)line 1.*pointer"):
        read_gene_sets(tmp_path / "go.gmt")
    with pytest.raises(InputError, match="kind of the gene sets"):
        read_gene_sets(folder / "truth.csv")


def test_true_modules_are_read_from_tables_and_from_an_h5ad(folder: Path, tmp_path: Path) -> None:
    truth = read_true_modules(folder / "truth.tsv")
    var = pd.DataFrame({"module": MODULE_OF}, index=list(IDS))
    ad.AnnData(np.zeros((1, N_GENES), dtype=np.float32), var=var).write_h5ad(tmp_path / "screen.h5ad")
    of_screen = read_true_modules(tmp_path / "screen.h5ad")
    exact = Modules(module_of=MODULE_OF.astype(np.int64), modularity=0.0, agreement=1.0)
    for known in (truth, of_screen):
        assert agreement(exact, VOCABULARY, known) == {"nmi": 1.0, "ari": 1.0, "n_genes": N_GENES}
    alone = Modules(module_of=np.full(N_GENES, -1), modularity=0.0, agreement=1.0)
    assert agreement(alone, VOCABULARY, truth)["ari"] == 0.0
    for text, said in (("symbol\nA\n", "lack a column"), ("symbol,module\nA,1\nA,2\n", "two modules")):
        (tmp_path / "bad.csv").write_text(text)
        with pytest.raises(InputError, match=said):
            read_true_modules(tmp_path / "bad.csv")
    with pytest.raises(InputError, match="not those of the model"):
        agreement(exact, VOCABULARY, pd.Series([1, 2], index=["X", "Y"]))
