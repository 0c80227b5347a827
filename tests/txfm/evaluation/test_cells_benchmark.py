"""The benchmarks of cell types and of layers, from files: what is scored, drawn, refused, reported with a reason."""

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import txfm
from txfm.__main__ import main
from txfm.evaluation.cells.cells import read_cells
from txfm.evaluation.samples import read_samples
from txfm.evaluation.scores import read_scores

N_CELLS, N_GENES = 120, 60
LABELS = np.array(["B cell", "T cell", "NK cell"])


def write_cells(path: Path, *, seed: int = 0, order: np.ndarray | None = None, study: str = "omega") -> Path:
    """Cells of three types in six batches, four of them without a label; X_type separates the types."""
    rng = np.random.default_rng(seed)
    code = np.arange(N_CELLS) % 3
    means = np.full((N_CELLS, N_GENES), 3.0)
    for number in range(3):
        means[code == number, number::6] *= 6
    labels = LABELS[code].astype(object)
    labels[:4] = None
    obs = pd.DataFrame(
        {"cell_type": labels, "plate": [f"p{i}" for i in rng.permutation(N_CELLS) % 6], "study": study},
        index=[f"cell{i}" for i in range(N_CELLS)],
    )
    obs["guide"] = np.where(np.arange(N_CELLS) % 2 == 0, "ctl", [f"G{i % 8}" for i in range(N_CELLS)])
    separated = (5 * np.eye(3)[code] + rng.standard_normal((N_CELLS, 3))).astype(np.float32)
    counts = sp.csr_matrix(rng.poisson(means).astype(np.float32))
    var = pd.DataFrame(index=[f"ENSG{100 + i:011d}" for i in range(N_GENES)])
    adata = ad.AnnData(counts, obs=obs, var=var, obsm={"X_type": separated})
    (adata if order is None else adata[order].copy()).write_h5ad(path)
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return write_cells(tmp_path_factory.mktemp("cells") / "cells.h5ad")


@pytest.fixture(scope="module")
def model_folder(tiny_corpus, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    entry = {"preset": "nano", "width": 16, "n_visible_genes": 12, "samples_seen": 64, "batch_size_samples": 16}
    entry |= {"n_decoder_blocks": 1}
    options = ["--corpus", str(tiny_corpus.folder), "--variant", "tiny", "--model", json.dumps(entry), "--seed", "0"]
    options += ["--out", str(folder / "tiny.nano.s0"), "--checkpoints", str(folder / "checkpoints"), "--threads", "1"]
    assert main(["train", *options, "--device", "cpu"]) == 0
    return folder / "tiny.nano.s0"


def score(file: Path, out: Path, *options: str, label: str = "cell_type") -> int:
    return main(
        [
            "evaluate",
            "cells",
            str(file),
            "--label",
            label,
            "--out",
            str(out),
            "--device",
            "cpu",
            "--threads",
            "1",
            *options,
        ]
    )


@pytest.fixture(scope="module")
def scored(file, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("scored") / "out"
    options = ["--batch", "plate", "--obsm", "X_type", "--seeds", "0", "1", "--max-cells", "90"]
    assert score(file, out, *options, "--tasks", "clusters", "silhouettes", "linear") == 0
    return out


def test_every_embedder_metric_and_seed_has_a_number(scored):
    frame, record = read_scores(scored)
    assert set(frame["benchmark"]) == {"cell_types"}
    primary = frame[frame["primary"]]
    counts = primary.groupby(["embedder", "task", "metric"]).size()
    expected = {("clusters", "nmi"): 2, ("clusters", "ari"): 2, ("silhouettes", "asw_label"): 2}
    expected |= {("silhouettes", "asw_batch"): 2, ("linear", "accuracy"): 3, ("linear", "macro_f1"): 3}
    assert counts.to_dict() == {(name, *key): n for name in ("X_type", "random") for key, n in expected.items()}
    accuracy = frame[frame["metric"] == "accuracy"]
    np.testing.assert_allclose(accuracy["hits"] / accuracy["trials"], accuracy["value"])
    assert record["dropped"] == {"no label": 4}
    assert record["cells"]["n_cells"] == N_CELLS - 4
    assert not record["warnings"]
    assert record["software"]["igraph"]
    assert record["constants"]["clusters"]["n_neighbours"] == 15


def test_the_embedding_that_separates_types_is_above_random_numbers(scored):
    summary = pd.read_parquet(scored / "summary.parquet").set_index(["embedder", "task", "metric"])
    for task, metric in (
        ("clusters", "nmi"),
        ("clusters", "ari"),
        ("silhouettes", "asw_label"),
        ("linear", "accuracy"),
    ):
        assert summary.loc["X_type", task, metric]["mean"] > summary.loc["random", task, metric]["mean"] + 0.2
    assert summary.loc["random", "silhouettes", "asw_label"]["mean"] == pytest.approx(0.5, abs=0.03)
    page = (scored / "scores.md").read_text()
    assert "| X_type |" in page
    assert "4 no label" in page


def test_draws_are_other_cells_for_each_seed_and_splits_are_the_same_for_all_embedders(scored):
    frame, _ = read_scores(scored)
    asw = frame[(frame["embedder"] == "X_type") & (frame["metric"] == "asw_label")]["value"]
    assert asw.nunique() == 2
    probes = pd.read_parquet(scored / "probes.parquet")
    assert probes["by_batch"].all()
    assert (probes.groupby("seed")["n_test"].nunique() == 1).all()
    clusterings = pd.read_parquet(scored / "clusterings.parquet")
    assert (clusterings.groupby(["embedder", "seed"])["resolution"].nunique() == 10).all()


def test_the_order_of_rows_changes_nothing(scored, tmp_path):
    order = np.random.default_rng(5).permutation(N_CELLS)
    other = write_cells(tmp_path / "cells.h5ad", order=order)
    options = ["--batch", "plate", "--obsm", "X_type", "--seeds", "0", "1", "--max-cells", "90", "--no-random"]
    assert score(other, tmp_path / "out", *options, "--tasks", "clusters", "silhouettes", "linear") == 0
    frame, _ = read_scores(scored)
    permuted, _ = read_scores(tmp_path / "out")
    pd.testing.assert_frame_equal(frame[frame["embedder"] == "X_type"].reset_index(drop=True), permuted)


def test_an_mlp_that_sees_components_is_told_once_and_recorded(file, tmp_path, capsys):
    adata = ad.read_h5ad(file)
    adata.obsm["X_wide"] = np.tile(adata.obsm["X_type"], 683)
    adata.write_h5ad(tmp_path / "wide.h5ad")
    options = ["--obsm", "X_wide", "--no-random", "--split-seeds", "0", "--tasks", "mlp"]
    assert score(tmp_path / "wide.h5ad", tmp_path / "out", *options) == 0
    _, record = read_scores(tmp_path / "out")
    assert record["warnings"][1:] == ["The MLP of X_wide saw principal components of its 2,049 dimensions, at most 512"]
    assert pd.read_parquet(tmp_path / "out" / "probes.parquet")["n_inputs"].item() <= N_CELLS
    assert record["settings"]["probe"]["mlp_components"] == 512
    assert "saw principal components" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:Observation names are not unique")
def test_cells_of_one_name_are_put_in_order_by_label_and_batch_and_told_where_these_agree(file, tmp_path, capsys):
    cells = ad.read_h5ad(file)
    cells.obs["cell_type"] = np.where(np.arange(N_CELLS) < 4, None, [f"t{i % 20}" for i in range(N_CELLS)])

    def written(name: str, order: np.ndarray, n_plates: int) -> Path:
        cells.obs["plate"] = [f"p{i // 20 % n_plates}" for i in range(N_CELLS)]
        permuted = cells[order].copy()
        permuted.obs_names = ["x"] * N_CELLS
        permuted.write_h5ad(tmp_path / name)
        return tmp_path / name

    in_file, permuted = np.arange(N_CELLS), np.random.default_rng(5).permutation(N_CELLS)
    one, other = (  # a cell for each label and plate
        read_cells(read_samples(written(name, order, 6)), "cell_type", "plate")
        for name, order in (("one.h5ad", in_file), ("other.h5ad", permuted))
    )
    assert one.n_alike == other.n_alike == 0
    np.testing.assert_array_equal(in_file[one.rows], permuted[other.rows])
    same = written("same.h5ad", in_file, 1)
    options = ["--obsm", "X_type", "--no-random", "--tasks", "silhouettes", "--seeds", "0", "--batch", "plate"]
    assert score(same, tmp_path / "out", *options) == 0
    assert "116 cells share name, label and batch" in capsys.readouterr().err


def test_a_small_file_is_drawn_whole_and_one_batch_is_said(file, tmp_path, capsys):
    assert (
        score(file, tmp_path / "out", "--obsm", "X_type", "--seeds", "0", "1", "--tasks", "silhouettes", "linear") == 0
    )
    frame, record = read_scores(tmp_path / "out")
    widths = frame[frame["task"] == "silhouettes"]
    assert widths["seed"].isna().all()
    assert set(widths["metric"]) == {"asw_label"}
    assert "no column of batches is named" in record["warnings"][0]
    assert "random cells of every label" in capsys.readouterr().err


def test_a_constant_embedding_is_not_scored_and_the_page_shows_the_number_of_clusters(tmp_path):
    file = write_cells(tmp_path / "cells.h5ad")
    cells = ad.read_h5ad(file)
    cells.obsm["X_same"] = np.zeros((N_CELLS, 4), dtype=np.float32)
    cells.write_h5ad(file)
    options = ["--obsm", "X_type", "X_same", "--no-random", "--seeds", "0", "--tasks", "clusters", "silhouettes"]
    assert score(file, tmp_path / "out", *options) == 0
    frame, record = read_scores(tmp_path / "out")
    assert set(frame["embedder"]) == {"X_type"}
    (row,) = record["not_scored"]
    assert (row["embedder"], row["task"]) == ("X_same", "all")
    assert "constant" in row["reason"]
    n_clusters = frame.loc[frame["metric"] == "n_clusters", "value"].item()
    page = (tmp_path / "out" / "scores.md").read_text()
    assert "| NMI | ARI | clusters |" in page
    assert f"| {n_clusters:.1f} |" in page


def test_an_embedder_with_a_nan_is_not_scored_and_the_others_are(tmp_path, capsys):
    file = write_cells(tmp_path / "cells.h5ad")
    cells = ad.read_h5ad(file)
    for key, row in (("X_unlabelled", 2), ("X_scored", 60)):  # the first four cells have no label
        cells.obsm[key] = cells.obsm["X_type"].copy()
        cells.obsm[key][row, 0] = np.nan
    cells.write_h5ad(file)
    options = ["--no-random", "--seeds", "0", "--tasks", "silhouettes"]
    assert score(file, tmp_path / "out", "--obsm", "X_scored", "X_unlabelled", *options) == 0
    frame, record = read_scores(tmp_path / "out")
    assert set(frame["embedder"]) == {"X_unlabelled"}
    (row,) = record["not_scored"]
    assert (row["embedder"], row["task"]) == ("X_scored", "all")
    assert "1 such rows of 116" in row["reason"]
    assert score(file, tmp_path / "none", "--obsm", "X_scored", *options) == 2
    assert "Nothing could be scored" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "label", "message"),
    [
        ((), "celltype", "cell_type"),
        (("--batch", "plates"), "cell_type", "did you mean plate?"),
        (("--tasks", "nmi"), "cell_type", "--tasks cannot be used"),
        (("--seeds", "1", "1"), "cell_type", "--seeds cannot be used"),
        (("--max-cells", "2"), "cell_type", "--max-cells cannot be used"),
        ((), "study", "There are no labels to tell apart"),
    ],
)
def test_what_cannot_be_used_is_refused_and_nothing_is_written(file, tmp_path, capsys, options, label, message):
    assert score(file, tmp_path / "out", "--obsm", "X_type", *options, label=label) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# --- layers


def layers(file: Path, out: Path, *options: str) -> int:
    return main(["evaluate", "layers", str(file), "--out", str(out), "--device", "cpu", "--threads", "1", *options])


@pytest.fixture(scope="module")
def by_layer(file, model_folder, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("layers") / "out"
    options = ["--label", "cell_type", "--batch", "plate", "--tasks", "clusters", "silhouettes", "--seeds", "0"]
    options += ["--perturbation", "guide", "--control", "ctl", "--perturbation-tasks", "pcst"]
    assert layers(file, out, str(model_folder), *options) == 0
    return out


def test_every_layer_is_scored_in_order_of_depth(by_layer, model_folder):
    names = list(txfm.load(model_folder).config.layer_names)
    assert names[-1] == "decoder1"
    frame, record = read_scores(by_layer)
    assert set(frame["benchmark"]) == {"layers"}
    assert list(dict.fromkeys(frame["embedder"])) == [f"tiny.nano.s0:{name}" for name in names]
    table = pd.read_parquet(by_layer / "layers.parquet")
    nmi = table[table["metric"] == "nmi"]
    assert nmi["layer"].tolist() == names
    assert nmi["depth"].tolist() == list(range(len(names)))
    assert {"clusters", "silhouettes", "pcst"} <= set(table["task"])
    assert record["dropped"]["cells: no label"] == 4
    assert "| decoder1 |" in (by_layer / "scores.md").read_text()


def test_a_layers_vectors_are_those_that_embed_gives(file, model_folder):
    from txfm.evaluation.layers.run import layer_embeddings

    model = txfm.load(model_folder)
    (found,) = layer_embeddings(read_samples(file), [model_folder])
    assert [each.identity["layer"] for each in found] == list(model.config.layer_names)
    for each in found:
        expected = model.embed(file, model_layer=each.identity["layer"], verbose=False)
        np.testing.assert_allclose(each.values, expected, atol=1e-6)


def test_the_scores_of_the_embedding_are_those_of_the_benchmark(by_layer, file, model_folder, tmp_path):
    options = ["--batch", "plate", "--models", str(model_folder), "--seeds", "0", "--tasks", "clusters", "silhouettes"]
    assert score(file, tmp_path / "out", *options, "--no-random") == 0
    ours, theirs = read_scores(by_layer)[0], read_scores(tmp_path / "out")[0]
    ours = ours[(ours["embedder"] == "tiny.nano.s0:cls") & ours["task"].isin(["clusters", "silhouettes"])]
    assert ours["metric"].tolist() == theirs["metric"].tolist()
    np.testing.assert_allclose(ours["value"], theirs["value"], atol=1e-5)


def test_layers_are_scored_by_something_that_exists(file, model_folder, tmp_path, capsys):
    for options, message in (
        ((), "nothing to score layers by"),
        (("--perturbation", "guide"), "needs a column of batches"),
        (("--label", "cell_type", "--layers", "block99"), "block1, "),
        (("--label", "cell_type", "--study", "alpha"), "trained on alpha"),
    ):
        assert layers(file, tmp_path / "out", str(model_folder), *options) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_baseline_has_no_layers(file, tiny_corpus, tmp_path, capsys):
    fitted = ["--corpus", str(tiny_corpus.folder), "--variant", "tiny", "--components", "4"]
    assert main(["baseline", "pca", *fitted, "--out", str(tmp_path / "tiny.pca")]) == 0
    assert layers(file, tmp_path / "out", str(tmp_path / "tiny.pca"), "--label", "cell_type") == 2
    assert "has no layers" in capsys.readouterr().err
