"""The perturbation benchmark: what is scored, chosen, averaged, refused, and reported with a reason."""

import json
from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from txfm.__main__ import main
from txfm.errors import InputError
from txfm.evaluation.embedders import Embedding, embeddings_of
from txfm.evaluation.perturbation import run as run_module
from txfm.evaluation.perturbation.run import run_benchmark
from txfm.evaluation.perturbation.screen import Screen, read_screen
from txfm.evaluation.perturbation.settings import TASKS, Settings
from txfm.evaluation.perturbation.summary import AVERAGE, SCORED, summarise, task_scores
from txfm.evaluation.samples import read_samples
from txfm.evaluation.scores import Score, read_scores, score_frame

N_GENES, N_PERTURBATIONS, N_BATCHES = 40, 24, 4
FAST = Settings(seeds=(0, 1))


def write_screen(path: Path, *, batches: int = N_BATCHES, perturbations: int = N_PERTURBATIONS, seed: int = 0) -> Path:
    """A screen in which a perturbation raises its own gene and a shared one; four genes are hardly expressed."""
    rng = np.random.default_rng(seed)
    code = np.repeat(np.arange(perturbations + 1), [12] * perturbations + [80])
    means = np.full((len(code), N_GENES), 5.0)
    means[:, -4:] = 0.05
    treated = code < perturbations
    means[treated, code[treated]] *= 8
    means[treated, 24 + code[treated] % 6] *= 4
    batch = np.arange(len(code)) % batches
    means *= rng.lognormal(0, 0.3, (batches, N_GENES))[batch]
    names = [*(f"G{i}" for i in range(perturbations - 2)), "G37", "G38", "ctl"]
    obs = pd.DataFrame(
        {"guide": np.array(names)[code], "lane": [f"L{i}" for i in batch], "is_control": ~treated},
        index=[f"c{i}" for i in range(len(code))],
    )
    var = pd.DataFrame({"gene_name": [f"G{i}" for i in range(N_GENES)]}, index=[f"ENSG{i}" for i in range(N_GENES)])
    counts = rng.poisson(means).astype(np.float32)
    log = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    adata = ad.AnnData(sp.csr_matrix(counts), obs=obs, var=var, obsm={"X_log": log, "X_two": log[:, :2]})
    adata.write_h5ad(path)
    return path


def write_relations(folder: Path) -> Path:
    """Perturbations that raise the same shared gene; and a database of other genes."""
    folder.mkdir()
    pairs = [(i, j) for i in range(22) for j in range(i + 1, 22) if i % 6 == j % 6]
    (folder / "shared.txt").write_text("entity1,entity2\n" + "".join(f"G{i},G{j}\n" for i, j in pairs))
    (folder / "strange.txt").write_text("entity1,entity2\nTP53,MDM2\n")
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("screen")
    write_screen(folder / "screen.h5ad")
    write_relations(folder / "relations")
    return folder


def command(place: Path, out: Path, *options: str, file: str = "screen.h5ad") -> list[str]:
    named = ["evaluate", "perturbation", str(place / file), "--perturbation", "guide", "--batch", "lane"]
    return [*named, "--out", str(out), "--device", "cpu", *options]


@pytest.fixture(scope="module")
def scored(place, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("scored") / "out"
    options = ["--control", "ctl", "--obsm", "X_log", "X_two", "--relations", str(place / "relations")]
    assert main(command(place, out, *options, "--seeds", "0", "1", "2")) == 0
    return out


def screen_of(path: Path, **options: object) -> Screen:
    return read_screen(read_samples(path), "guide", "lane", ["ctl"], **options)


# --- the whole benchmark, from the command line


def test_every_embedder_has_six_tasks_on_four_postprocessings(scored):
    frame, record = read_scores(scored)
    assert set(frame["embedder"]) == {"X_log", "X_two", "random"}
    assert set(frame["kind"]) == {"obsm", "random"}
    primary = frame[frame["primary"]]
    for task in TASKS:
        of_task = primary[primary["task"] == task]
        expected = {""} if task == "pcst" else {"none", "centering", "standardising", "tvn"}
        for embedder in ("X_log", "X_two", "random"):
            assert set(of_task.loc[of_task["embedder"] == embedder, "postprocessing"]) == expected
    assert set(primary.loc[primary["task"] == "lin", "seed"]) == {0, 1, 2}
    assert primary.loc[primary["task"].isin(["ilisi", "knn", "bmdb", "inv"]), "seed"].isna().all()
    assert record["settings"]["seeds"] == [0, 1, 2]
    assert record["screen"]["n_batches"] == N_BATCHES
    assert sum(record["screen"]["cells_of_batch"].values()) == record["screen"]["n_cells"] == 368
    assert len(record["inputs"]["screen"]["sha256"]) == 64
    relations = record["inputs"]["relations"]
    assert {name: given["rows"] for name, given in relations.items()} == {"shared": 30, "strange": 1}
    assert len({given["sha256"] for given in relations.values()}) == 2


def test_shares_have_their_hits_and_secondary_metrics_are_there(scored):
    frame, _ = read_scores(scored)
    shares = frame[frame["trials"].notna()]
    np.testing.assert_allclose(shares["value"], (shares["hits"] / shares["trials"]).astype(float), atol=1e-12)
    assert set(frame.loc[frame["task"] == "pcst", "metric"]) == {"pooled", "per_perturbation"}
    assert {"ilisi_scib", "lisi_txeval", "ilisi_permuted_batches"} < set(frame["metric"])
    assert {"top1_without_controls", "recall_union", "genes_scored"} < set(frame["metric"])
    assert (frame.loc[frame["metric"] == "recall_shared", "trials"] == 30).all()
    assert "recall_strange" not in set(frame["metric"])  # no pair of it is in the screen
    by_gene = frame[(frame["embedder"] == "X_log") & (frame["metric"] == "genes_scored")]
    assert (by_gene["value"] == N_GENES).all()


def test_an_informative_embedding_is_above_the_random_one_which_scores_chance(scored):
    frame, _ = read_scores(scored)
    summary = summarise(frame, "centering").set_index(["embedder", "task"])
    for task in ("lin", "knn", "pcst", "bmdb", "inv"):
        assert summary.loc[("X_log", task), "fixed"] > summary.loc[("random", task), "fixed"] + 10
    assert summary.loc[("random", "pcst"), "fixed"] == 0
    assert summary.loc[("random", "lin"), "fixed"] == pytest.approx(100 * (1 + 5) / 2 / 16, abs=8)
    assert summary.loc[("random", "inv"), "fixed"] == pytest.approx(25, abs=2)
    permuted = frame.loc[frame["metric"] == "ilisi_permuted_batches", "value"].mean()
    assert summary.loc[("random", "ilisi"), "fixed"] == pytest.approx(100 * permuted, abs=8)


def test_tables_for_people_and_frames_for_programs_lie_beside_the_scores(scored):
    names = {path.name for path in scored.iterdir()}
    assert names == {
        *(f"scores.{end}" for end in ("json", "md", "parquet", "tsv")),
        "summary.parquet",
        "consistency.parquet",
    }
    page = (scored / "scores.md").read_text()
    assert "All of them split the cells alike" in page
    for words in ("## Best post-processing", "## Fixed post-processing: centering", "## All candidates", "X_log"):
        assert words in page
    consistency = pd.read_parquet(scored / "consistency.parquet")
    assert consistency.groupby("embedder").size().eq(N_PERTURBATIONS).all()
    assert {"G0", "G37"} < set(consistency["perturbation"])


def test_the_network_and_other_splits_are_scored_when_asked_for(place, tmp_path):
    options = [
        "--obsm",
        "X_log",
        "--no-random",
        "--tasks",
        "inv",
        "knn",
        "--postprocessings",
        "none",
        "--fixed",
        "none",
    ]
    assert main(command(place, tmp_path / "out", *options, "--network", "--vary-splits", "--seeds", "0", "3")) == 0
    frame, _ = read_scores(tmp_path / "out")
    assert set(frame["embedder"]) == {"X_log"}
    for metric in ("spearman", "spearman_network", "structural_integrity_network"):
        values = frame.loc[frame["metric"] == metric].set_index("seed")["value"]
        assert values.index.tolist() == [0, 3]
        assert values[0] != values[3]
    assert not frame.loc[frame["metric"].str.endswith("_network"), "primary"].any()
    assert "Each has a split of its own" in (tmp_path / "out" / "scores.md").read_text()


# --- what cannot be scored has a reason


def reasons(path: Path) -> dict[str, str]:
    return {row["task"]: row["reason"] for row in read_scores(path)[1]["not_scored"]}


def test_a_screen_of_one_batch_is_scored_where_it_can_be(tmp_path, capsys):
    write_screen(tmp_path / "screen.h5ad", batches=1)
    assert main(command(tmp_path, tmp_path / "out", "--obsm", "X_log", "--seeds", "0")) == 0
    found = reasons(tmp_path / "out")
    assert set(found) == {"ilisi", "lin", "knn", "inv", "bmdb", "efaar"}
    assert "one batch" in found["ilisi"]
    assert "1 batches" in found["lin"]
    assert "efaar-benchmarking" in found["bmdb"] or "No pair" in found["bmdb"]
    frame, record = read_scores(tmp_path / "out")
    assert set(frame["task"]) == {"pcst"}
    assert sum(row["embedder"] == "all" for row in record["not_scored"]) >= 3
    summary = pd.read_parquet(tmp_path / "out" / "summary.parquet").set_index(["embedder", "task"])
    assert np.isnan(summary.loc[("X_log", AVERAGE), "best"])  # a missing task is no zero
    assert summary.loc[("X_log", SCORED), "best"] == summary.loc[("X_log", "pcst"), "best"]
    assert "not scored: all, lin" in capsys.readouterr().err


def test_too_few_perturbations_make_no_map(place, tmp_path):
    write_screen(tmp_path / "screen.h5ad", perturbations=12)
    options = ["--obsm", "X_log", "--relations", str(place / "relations"), "--seeds", "0", "--tasks", "bmdb", "ilisi"]
    assert main(command(tmp_path, tmp_path / "out", *options)) == 0
    assert "too few perturbations" in reasons(tmp_path / "out")["bmdb"]


def test_a_file_without_counts_has_everything_but_what_needs_them(place, tmp_path):
    screen = ad.read_h5ad(place / "screen.h5ad")
    del screen.X
    screen.write_h5ad(tmp_path / "screen.h5ad")
    options = ["--obsm", "X_log", "--relations", str(place / "relations"), "--seeds", "0"]
    assert main(command(tmp_path, tmp_path / "out", *options)) == 0
    assert set(reasons(tmp_path / "out")) == {"inv", "efaar"}


@pytest.mark.parametrize("n_null", [19, 20])
def test_efaars_consistency_needs_twenty_perturbations_of_unexpressed_genes(tmp_path, n_null):
    code = np.arange(5 * (n_null + 3)) // 5  # five cells of two expressed genes, of unexpressed ones, and controls
    genes = [f"G{i}" for i in range(n_null + 2)]
    counts = np.zeros((len(code), len(genes)), dtype=np.float32)
    counts[:, :2] = 9
    obs = pd.DataFrame(
        {"guide": np.array([*genes, "ctl"])[code], "lane": "L"}, index=[f"c{i}" for i in range(len(code))]
    )
    values = np.random.default_rng(0).standard_normal((len(code), 4)).astype(np.float32)
    values[code < 2, 0] += 20
    ad.AnnData(sp.csr_matrix(counts), obs, pd.DataFrame(index=genes), obsm={"X": values}).write_h5ad(
        tmp_path / "s.h5ad"
    )
    embedding = Embedding(label="x", kind="obsm", values=values)
    settings = Settings(seeds=(0,), tasks=("pcst",), postprocessings=("none",), fixed="none")
    outcome = run_benchmark(screen_of(tmp_path / "s.h5ad"), [embedding], InputError("none"), settings, "s")
    found = {score.metric: score for score in outcome.scores}
    if n_null == 20:
        assert (found["efaar"].hits, found["efaar"].trials) == (2, 2)
        assert found["efaar_null_perturbations"].value == 20
    else:
        assert "efaar" not in found
        assert "19 of 21 perturbations" in outcome.not_scored[0]["reason"]


def test_an_embedding_too_wide_for_tvn_is_scored_without(place, monkeypatch):
    monkeypatch.setattr(run_module, "WIDEST_TVN", 10)
    screen = screen_of(place / "screen.h5ad")
    embedding = Embedding(label="wide", kind="obsm", values=screen.samples.obsm("X_log"))
    outcome = run_benchmark(screen, [embedding], InputError("none here"), Settings(seeds=(0,), tasks=("ilisi",)), "s")
    assert {score.postprocessing for score in outcome.scores} == {"none", "centering", "standardising"}
    assert [row["postprocessing"] for row in outcome.not_scored] == ["tvn"]
    assert "too wide" in outcome.not_scored[0]["reason"]


def test_a_constant_embedding_is_not_scored_and_takes_nothing_from_the_others(place):
    screen = screen_of(place / "screen.h5ad")
    values = screen.samples.obsm("X_log")
    noise = np.random.default_rng(0).normal(1, 1e-8, values.shape).astype(np.float32)  # no more than rounding
    embeddings = [Embedding(label=f"{name}", kind="obsm", values=each) for name, each in (("a", values), ("b", noise))]
    outcome = run_benchmark(screen, embeddings, InputError("none"), Settings(seeds=(0,), tasks=("ilisi", "pcst")), "s")
    assert {score.embedder for score in outcome.scores} == {"a"}
    (row,) = [row for row in outcome.not_scored if row["embedder"] == "b"]
    assert (row["task"], row["postprocessing"]) == ("all", "all")
    assert "constant" in row["reason"]
    summary = summarise(score_frame(outcome.scores), "none", ("ilisi", "pcst")).set_index(["embedder", "task"])
    assert np.isfinite(summary.loc[("a", AVERAGE), "best"])


def test_a_batch_without_controls_is_told_once(place):
    screen = screen_of(place / "screen.h5ad")
    rows = ~(screen.is_control & (screen.batch == "L1"))
    lacking = Screen(
        samples=screen.samples,
        rows=screen.rows[rows],
        perturbation=screen.perturbation[rows],
        batch=screen.batch[rows],
        is_control=screen.is_control[rows],
        dropped={},
    )
    embeddings = [Embedding(label=f"e{i}", kind="obsm", values=screen.samples.obsm("X_two")) for i in range(2)]
    outcome = run_benchmark(lacking, embeddings, InputError("none"), Settings(seeds=(0,), tasks=("ilisi",)), "s")
    assert sum("no control" in text for text in outcome.warnings) == 1


# --- the cells that are scored


def test_the_order_of_rows_changes_no_draw(place, tmp_path, monkeypatch):
    monkeypatch.setattr("txfm.evaluation.perturbation.tasks.N_NULL_CELLS", 100)
    adata = ad.read_h5ad(place / "screen.h5ad")
    adata[np.random.default_rng(3).permutation(adata.n_obs)].copy().write_h5ad(tmp_path / "permuted.h5ad")
    settings = replace(FAST, tasks=("ilisi", "knn", "pcst"), postprocessings=("centering",), max_ilisi_cells=150)
    frames = []
    for path in (place / "screen.h5ad", tmp_path / "permuted.h5ad"):
        screen = screen_of(path, max_cells=200)
        embeddings = embeddings_of(screen.samples, [], ["X_log"])
        outcome = run_benchmark(screen, embeddings, {}, settings, "screen")
        frames.append(score_frame(outcome.scores))
    assert {0, 1} <= set(frames[0]["seed"].dropna())
    pd.testing.assert_frame_equal(*frames)
    by_name = [
        screen_of(path).expression.log_normalised for path in (place / "screen.h5ad", tmp_path / "permuted.h5ad")
    ]
    assert (by_name[0] != by_name[1]).nnz == 0


def test_cells_that_are_not_scored_are_counted_by_reason(place, tmp_path):
    screen = ad.read_h5ad(place / "screen.h5ad")
    guide, lane = screen.obs["guide"].astype(object), screen.obs["lane"].astype(object)
    guide.iloc[:3], lane.iloc[2:7] = None, None
    screen.obs["guide"], screen.obs["lane"] = guide, lane
    screen.write_h5ad(tmp_path / "screen.h5ad")
    found = screen_of(tmp_path / "screen.h5ad", max_cells=100)
    assert found.dropped == {"no guide": 3, "no lane": 4, "beyond a random 100": 368 - 7 - 100}
    assert len(found) == 100


def test_fewer_cells_are_chosen_by_name_and_they_alone_are_embedded(place, tmp_path, monkeypatch):
    given: list[np.ndarray] = []

    def embeddings(samples, *_, rows, **__):
        given.append(rows)
        return iter([Embedding(label="x", kind="obsm", values=samples.obsm("X_two")[rows], rows=rows)])

    monkeypatch.setattr("txfm.evaluation.embedders.embeddings_of", embeddings)
    screen = ad.read_h5ad(place / "screen.h5ad")
    order = np.random.default_rng(1).permutation(screen.n_obs)
    screen[order].copy().write_h5ad(tmp_path / "permuted.h5ad")
    options = ["--obsm", "X_two", "--tasks", "ilisi", "--postprocessings", "none", "--fixed", "none"]
    for path in (place / "screen.h5ad", tmp_path / "permuted.h5ad"):
        assert main(command(path.parent, tmp_path / "out", *options, "--max-cells", "150", file=path.name)) == 0
    assert len(given[0]) == 150
    np.testing.assert_array_equal(given[0], np.sort(order[given[1]]))
    frame, record = read_scores(tmp_path / "out")
    assert record["screen"]["n_cells"] == 150
    assert set(frame["embedder"]) == {"x"}


def test_controls_come_from_the_label_or_from_the_column(place):
    samples = read_samples(place / "screen.h5ad")
    by_label, by_column = (read_screen(samples, "guide", "lane", labels) for labels in (["ctl"], []))
    np.testing.assert_array_equal(by_label.is_control, by_column.is_control)
    with pytest.raises(InputError, match=r"No cell is labelled control(.|\n)*most frequent are ctl"):
        read_screen(samples, "guide", "lane", ["control"])
    del samples.obs["is_control"]
    with pytest.raises(InputError, match="Nothing says which cells are controls"):
        read_screen(samples, "guide", "lane")
    with pytest.raises(InputError, match="no controls"):
        read_screen(samples, "guide", "lane", sorted(set(samples.labels("guide"))))


@pytest.mark.parametrize("dtype", ["str", "float", "boolean"])
def test_a_column_of_controls_is_read_as_it_is_meant_or_refused(place, dtype):
    samples = read_samples(place / "screen.h5ad")
    expected = samples.obs["is_control"].to_numpy(dtype=bool)
    samples.obs["is_control"] = samples.obs["is_control"].astype(dtype)
    read = read_screen(samples, "guide", "lane")
    np.testing.assert_array_equal(read.is_control, expected[read.rows])
    if dtype != "str":
        samples.obs.loc[samples.obs["guide"] == "G1", "is_control"] = pd.NA if dtype == "boolean" else np.nan
        with pytest.raises(InputError, match="12 of 368 values are missing"):
            read_screen(samples, "guide", "lane")


def test_expression_is_log1p_of_counts_per_ten_thousand_of_the_scored_cells(place):
    screen = screen_of(place / "screen.h5ad", max_cells=50)
    adata = ad.read_h5ad(place / "screen.h5ad")[screen.rows]
    counts = adata.X.toarray()
    expected = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    np.testing.assert_allclose(screen.expression.log_normalised.toarray(), expected, rtol=1e-5)
    assert screen.expression.unexpressed(0.15) == {f"{p}{i}" for p in ("G", "ENSG") for i in range(36, 40)}


# --- choosing and averaging


def score(embedder: str, task: str, metric: str, value: float, postprocessing: str, seed: int | None = None) -> Score:
    return Score(
        benchmark="perturbation",
        dataset="s",
        embedder=embedder,
        kind="obsm",
        task=task,
        metric=metric,
        value=value,
        postprocessing=postprocessing,
        seed=seed,
        primary=metric != "other",
    )


def test_seeds_are_averaged_then_metrics_and_the_best_candidate_is_chosen():
    frame = score_frame(
        [
            score("a", "lin", "top1", 0.2, "none", 0),
            score("a", "lin", "top1", 0.4, "none", 1),
            score("a", "lin", "top5", 0.6, "none", 0),
            score("a", "lin", "top5", 0.8, "none", 1),
            score("a", "lin", "other", 1.0, "none", 1),
            score("a", "lin", "top1", 0.1, "centering", 0),
            score("a", "lin", "top5", 0.2, "centering", 0),
            score("a", "pcst", "pooled", 0.3, ""),
            score("b", "lin", "top1", 0.9, "centering", 0),
        ]
    )
    scores = task_scores(frame).set_index(["embedder", "task", "postprocessing"])
    assert scores.loc[("a", "lin", "none"), "score"] == pytest.approx(50)
    assert scores.loc[("a", "lin", "none"), "sd"] == pytest.approx(100 * np.std([0.4, 0.6], ddof=1))
    assert np.isnan(scores.loc[("a", "pcst", ""), "sd"])
    summary = summarise(frame, "centering", ("lin", "pcst")).set_index(["embedder", "task"])
    assert summary.loc[("a", "lin"), "best_postprocessing"] == "none"
    assert summary.loc[("a", "lin"), "best"] == pytest.approx(50)
    assert summary.loc[("a", "lin"), "fixed"] == pytest.approx(15)
    assert summary.loc[("a", AVERAGE), "best"] == pytest.approx(40)
    assert summary.loc[("a", AVERAGE), "fixed"] == pytest.approx(22.5)
    assert summary.loc[("b", "pcst"), ["best", "fixed"]].isna().all()
    assert np.isnan(summary.loc[("b", AVERAGE), "best"])
    assert summary.loc[("a", SCORED), "best"] == pytest.approx(40)  # what b lacks takes nothing from it
    assert np.isnan(summary.loc[("b", SCORED), "best"])


def test_the_average_is_that_of_table_2():
    tasks = dict(zip(TASKS, (0.706, 0.2593, 0.1314, 0.3247, 0.4526, 0.4440), strict=True))
    frame = score_frame([score("TxFM-B", task, "m", value, "none") for task, value in tasks.items()])
    average = summarise(frame, "none").set_index("task").loc[AVERAGE, "best"]
    assert round(average, 2) == 38.63


# --- refusals


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--obsm", "X_lgo"], "did you mean X_log?"),
        (["--obsm", "X_log", "--perturbation", "gide"], "did you mean guide?"),
        (["--obsm", "X_log", "--batch", "lanes"], "guide, lane, is_control"),
        (["--obsm", "X_log", "--control", "non-targeting"], "No cell is labelled non-targeting"),
        (["--obsm", "X_log", "--relations", "nowhere"], "no such folder of relations"),
        (["--obsm", "X_log", "--tasks", "lin", "nki"], "--tasks cannot be used"),
        (["--obsm", "X_log", "--postprocessings", "none"], "--fixed cannot be used"),
        (["--obsm", "X_log", "--seeds", "1", "1"], "--seeds cannot be used"),
        (["--obsm", "X_log", "--seeds", "-1"], "expected: numbers from 0"),
        (["--obsm", "X_log", "--max-cells", "1"], "--max-cells cannot be used"),
        ([], "There is nothing to compare"),
        (["--models", "nowhere"], "nowhere"),
    ],
)
def test_wrong_input_ends_with_2_and_writes_nothing(place, tmp_path, capsys, options, words):
    assert main(command(place, tmp_path / "out", *options)) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_nothing_scored_is_an_error(tmp_path, capsys):
    write_screen(tmp_path / "screen.h5ad", batches=1)
    assert main(command(tmp_path, tmp_path / "out", "--obsm", "X_log", "--tasks", "lin", "ilisi")) == 2
    assert "Nothing could be scored" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_file_whose_study_is_unknown_is_told(place, tmp_path, tiny_corpus):
    folder = tmp_path / "pca"
    fit = f"baseline pca --corpus {tiny_corpus.folder} --variant tiny --components 4 --out {folder}"
    assert main(fit.split()) == 0
    screen = ad.read_h5ad(place / "screen.h5ad")
    screen.var_names = [f"ENSG{100 + i:011d}" for i in range(N_GENES)]
    screen.write_h5ad(tmp_path / "screen.h5ad")
    options = [
        "--models",
        str(folder),
        "--seeds",
        "0",
        "--tasks",
        "ilisi",
        "--postprocessings",
        "none",
        "--fixed",
        "none",
    ]
    assert main(command(tmp_path, tmp_path / "out", *options)) == 0
    frame, record = read_scores(tmp_path / "out")
    assert any("was not checked" in text for text in record["warnings"])
    assert set(frame["kind"]) == {"pca", "random"}
    assert frame.loc[frame["kind"] == "pca", "variant"].unique().tolist() == ["tiny"]
    assert main(command(tmp_path, tmp_path / "again", *options, "--study", "beta")) == 2
    assert not (tmp_path / "again").exists()
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["embedders"][0]["studies_seen"] == [
        "alpha",
        "beta",
        "gamma",
    ]
