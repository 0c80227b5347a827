"""`python -m txfm consistency` from every kind of input, and what it refuses."""

import json
import shutil
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import zarr

from txfm.__main__ import main
from txfm.pretrained import load

N_GENES, N_TARGETS = 80, 8
COLUMNS = ["perturbation", "n_cells", "statistic", "p_value", "p_pooled", "p_per_perturbation"]


def write_stores(folder: Path, study: str = "screen", recipe: str = "full", seed: int = 0) -> list[str]:
    """Train and validation stores of a simulated screen; targets t0 to t3 change 20 genes five-fold, t4 to t7 none."""
    rng = np.random.default_rng(seed)
    base = rng.gamma(2.0, 3.0, N_GENES)
    paths = []
    for split, n_cells, n_batches in (("train", 500, 3), ("validation", 120, 1)):
        code = rng.integers(0, N_TARGETS + 3, n_cells)
        means = np.tile(base, (n_cells, 1)) * rng.lognormal(0, 0.2, (n_cells, 1))
        for target in range(N_TARGETS // 2):
            means[np.ix_(code == target, np.arange(20 * target, 20 * target + 20))] *= 5
        counts = rng.poisson(means).astype(np.int32)
        counts[:, -5:] = 0
        obs = pd.DataFrame(index=[f"{study}:{split}{i}" for i in range(n_cells)])
        labels = [f"t{c}" if c < N_TARGETS else "non-targeting" for c in code]
        obs["perturbation"] = pd.Categorical(labels)
        obs["is_control"] = code >= N_TARGETS
        obs["batch"] = pd.Categorical([f"{split}{b}" for b in rng.integers(0, n_batches, n_cells)])
        var = pd.DataFrame(
            {"measured": np.arange(N_GENES) < N_GENES - 5}, index=[f"ENSG{i:011d}" for i in range(N_GENES)]
        )
        path = folder / f"{study}.{recipe}.{split}.zarr"
        matrix = sp.csr_matrix(counts)
        group = zarr.open_group(path, mode="w", zarr_format=3)
        with ad.settings.override(zarr_write_format=3, auto_shard_zarr_v3=True):
            for name, element in {"X": matrix, "obs": obs, "var": var}.items():
                ad.io.write_elem(group, name, element)
        entry = {"study": study, "recipe": recipe, "split": split, "assay": "sc", "simulated": True}
        group.attrs.update({**entry, "n_samples": n_cells, "nnz": int(matrix.nnz), "digest": f"digest-{split}"})
        paths.append(str(path))
    return paths


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_stores(tmp_path_factory.mktemp("stores"))


def consistency(out: Path, *arguments: str) -> pd.DataFrame:
    assert main(["consistency", "--out", str(out), *arguments]) == 0
    return pd.read_csv(out, sep="\t")


def refusal(capsys: pytest.CaptureFixture[str], tmp_path: Path, *arguments: str) -> str:
    capsys.readouterr()
    assert main(["consistency", "--out", str(tmp_path / "refused.tsv"), *arguments]) == 2
    assert not [path for path in tmp_path.rglob("*") if "refused" in path.name]
    return capsys.readouterr().err


def test_pca_of_two_stores_finds_the_effects(stores: list[str], tmp_path: Path) -> None:
    table = consistency(tmp_path / "a" / "p.tsv", "--stores", *stores, "--components", "10")
    assert list(table.columns) == COLUMNS
    assert table["perturbation"].tolist() == [f"t{i}" for i in range(N_TARGETS)]
    assert (table["p_value"][:4] < 0.1).all()
    assert (table["p_value"][4:] >= 0.1).all()
    assert (table["p_value"] == table["p_pooled"]).all()
    record = json.loads((tmp_path / "a" / "p.json").read_text())
    assert record["made_from"].startswith("PCA")
    assert record["stores"] == {
        "screen.full.train.zarr": "digest-train",
        "screen.full.validation.zarr": "digest-validation",
    }
    assert record["simulated"] is True
    assert (record["n_batches"], record["n_cells"], record["null"]) == (4, 620, "pooled")
    assert record["share_below"]["0.1"] == 0.5
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["p.json", "p.tsv"]


def test_the_same_command_writes_the_same_bytes_and_the_other_null_the_other_column(
    stores: list[str], tmp_path: Path
) -> None:
    consistency(tmp_path / "a.tsv", "--stores", *stores, "--null-cells", "200")
    consistency(tmp_path / "b.tsv", "--stores", *stores, "--null-cells", "200")
    assert (tmp_path / "a.tsv").read_bytes() == (tmp_path / "b.tsv").read_bytes()
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    each = consistency(tmp_path / "c.tsv", "--stores", *stores, "--null-cells", "200", "--null", "per_perturbation")
    assert (each["p_value"] == each["p_per_perturbation"]).all()
    assert not (each["p_value"] == each["p_pooled"]).all()


def labels_of(stores: list[str]) -> pd.DataFrame:
    return pd.concat([ad.read_zarr(path).obs for path in stores])


def test_npy_parquet_and_h5ad_of_the_same_embeddings_give_the_same_table(stores: list[str], tmp_path: Path) -> None:
    obs = labels_of(stores)
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((len(obs), 6)).astype(np.float32)
    vectors[(obs["perturbation"] == "t0").to_numpy()] += 3
    np.save(tmp_path / "e.npy", vectors)
    expected = consistency(tmp_path / "npy.tsv", "--stores", *stores, "--embeddings", str(tmp_path / "e.npy"))
    assert expected["p_value"][0] < 0.05

    frame = obs[["perturbation", "batch"]].astype(str).assign(study="screen").reset_index(drop=True)
    frame = pd.concat([frame, pd.DataFrame(vectors, columns=[f"e{i}" for i in range(6)])], axis=1)
    other = frame.iloc[:50].assign(study="other", perturbation="strange")
    pd.concat([other, frame, other]).to_parquet(tmp_path / "e.parquet", row_group_size=100)
    options = ("--controls", "non-targeting", "--study", "screen")
    pd.testing.assert_frame_equal(
        consistency(tmp_path / "parquet.tsv", "--embeddings", str(tmp_path / "e.parquet"), *options), expected
    )
    ad.AnnData(obs=obs.astype({"perturbation": str}), obsm={"X_txfm": vectors}).write_h5ad(tmp_path / "e.h5ad")
    pd.testing.assert_frame_equal(
        consistency(tmp_path / "h5ad.tsv", "--embeddings", str(tmp_path / "e.h5ad")), expected
    )


def test_what_cannot_be_measured_is_refused_and_nothing_is_left(
    stores: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "short.npy", np.zeros((3, 2)))
    pd.DataFrame({"perturbation": ["a"], "batch": ["b"], "study": ["s"], "e0": [1.0]}).to_parquet(
        tmp_path / "e.parquet"
    )
    pd.DataFrame({"perturbation": ["a"], "e0": [1.0]}).to_parquet(tmp_path / "bad.parquet")
    other = write_stores(tmp_path / "other", study="another")
    for arguments, words in (
        ((), "does not say what to measure"),
        (("--stores", stores[0], "--authors", "x.h5ad"), "found: --stores --authors"),
        (("--embeddings", str(tmp_path / "short.npy")), "does not say what to measure"),
        (("--stores", stores[0], "--embeddings", str(tmp_path / "short.npy")), "not those of the stores"),
        (("--stores", str(tmp_path / "none.zarr")), "There is no such store"),
        (("--stores", stores[0], other[0]), "another.full, screen.full"),
        (("--embeddings", str(tmp_path / "e.parquet")), "Nothing says which cells are controls"),
        (("--embeddings", str(tmp_path / "e.parquet"), "--study", "x"), "found: s"),
        (("--embeddings", str(tmp_path / "bad.parquet")), "found: no batch"),
        (("--embeddings", "table.csv"), "kind of the embeddings is unknown"),
        (("--stores", stores[0], "--components", "0"), "at least 1"),
    ):
        assert words in refusal(capsys, tmp_path, *arguments), arguments
    assert main(["consistency", "--out", "p.csv", "--stores", stores[0]]) == 2


def authors_file(path: Path, **changes: Any) -> str:
    """A file as Replogle et al. deposit it: TP53 by two promoters, a symbol with an underscore, controls."""
    index = ["1_TP53_P1_ENSG1", "2_TP53_P2_ENSG1", "3_A_B_P1P2_ENSG2", "4_GATA1_P1P2_ENSG3", "5_MYC_P1_ENSG4"]
    index.append("10752_non-targeting_non-targeting_non-targeting")
    columns: dict[str, Any] = {
        "energy_test_p_value": [0.04, 0.5, 0.9, 0.0001, np.nan, 0.7],
        "anderson_darling_counts": [12, 3, 0, 200, 1, 0],
        "mann_whitney_counts": [10, 2, 0, 180, 1, 0],
        "num_cells_filtered": [40, 60, 30, 100, 5, 500],
    }
    columns |= changes
    obs = pd.DataFrame({name: values for name, values in columns.items() if values is not None}, index=index)
    ad.AnnData(np.zeros((6, 2), np.float32), obs=obs).write_h5ad(path)
    return str(path)


def test_broken_files_and_a_store_that_is_named_twice_are_refused(
    stores: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("e.parquet", "e.h5ad"):
        (tmp_path / name).write_bytes(b"xx")
        text = refusal(capsys, tmp_path, "--embeddings", str(tmp_path / name), "--controls", "non-targeting")
        assert f"This is no .{name.split('.')[1]} file" in text
    np.save(tmp_path / "e.npy", np.zeros((620, 0)))
    text = refusal(capsys, tmp_path, "--stores", *stores, "--embeddings", str(tmp_path / "e.npy"))
    assert "found: float64 of shape (620, 0)" in text
    assert "A store is named twice" in refusal(
        capsys, tmp_path, "--stores", stores[0], f"{stores[0]}/../{Path(stores[0]).name}"
    )


def test_statistics_of_the_authors_become_the_same_table(tmp_path: Path) -> None:
    table = consistency(tmp_path / "p.tsv", "--authors", authors_file(tmp_path / "bulk.h5ad")).set_index("perturbation")
    assert ["perturbation", *table.columns] == COLUMNS
    assert table.index.tolist() == ["A_B", "GATA1", "MYC", "TP53"]
    assert table["p_value"].round(9).tolist()[:2] == [0.9, 0.0001]
    assert np.isnan(table.loc["MYC", "p_value"])
    assert table.loc["TP53"].tolist()[:3] == [100, 12.0, 0.08]  # the smaller of two, twice
    record = json.loads((tmp_path / "p.json").read_text())
    assert (record["n_perturbations"], record["n_without_p_value"]) == (4, 1)


def test_files_without_the_authors_statistics_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    without = authors_file(tmp_path / "a.h5ad", energy_test_p_value=None)
    assert "lacks energy_test_p_value" in refusal(capsys, tmp_path, "--authors", without)
    strange = authors_file(tmp_path / "b.h5ad", energy_test_p_value=[0.1, 0.2, 1.5, 0.1, 0.1, 0.1])
    assert "1.5 of A_B" in refusal(capsys, tmp_path, "--authors", strange)
    (tmp_path / "c.h5ad").write_text("not HDF5")
    assert "no .h5ad file" in refusal(capsys, tmp_path, "--authors", str(tmp_path / "c.h5ad"))


def train_tiny(corpus: Any, folder: Path) -> None:
    """A model of two steps in folder/m."""
    fields = {"width": 16, "n_heads": 2, "n_visible_genes": 8, "samples_seen": 64, "batch_size_samples": 32}
    what = ["--corpus", str(corpus.folder), "--variant", "tiny", "--model", json.dumps({"preset": "nano", **fields})]
    where = ["--out", str(folder / "m"), "--checkpoints", str(folder / "c"), "--device", "cpu"]
    assert main(["train", *what, *where]) == 0


def test_a_model_embeds_a_screen_that_it_never_saw_and_no_other(
    tiny_corpus: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_tiny(tiny_corpus, tmp_path)
    copy = tmp_path / "copy.zarr"
    shutil.copytree(tiny_corpus.folder / "stores" / "alpha.plain.train.zarr", copy)
    group = zarr.open_group(copy, mode="r+")
    group.attrs["nnz"] = int(group["X/data"].shape[0])
    group["obs/is_control"][:] = np.arange(group.attrs["n_samples"]) % 3 == 0
    text = refusal(capsys, tmp_path, "--stores", str(copy), "--model", str(tmp_path / "m"), "--device", "cpu")
    assert "trained on 'alpha', whose phenoprints it would choose" in text
    group.attrs["study"] = "unseen"
    table = consistency(
        tmp_path / "p.tsv", "--stores", str(copy), "--model", str(tmp_path / "m"), "--device", "cpu", "--no-align"
    )
    assert table["perturbation"].tolist() == ["target"]
    record = json.loads((tmp_path / "p.json").read_text())
    assert (record["variant"]["name"], record["training_studies"]) == ("tiny", ["alpha", "beta", "gamma"])

    embeddings = load(tmp_path / "m").embed(ad.read_zarr(copy))
    np.save(tmp_path / "e.npy", embeddings)
    same = consistency(tmp_path / "q.tsv", "--stores", str(copy), "--embeddings", str(tmp_path / "e.npy"), "--no-align")
    np.testing.assert_allclose(same["statistic"], table["statistic"], atol=1e-5)


def test_another_gene_axis_than_the_model_s_is_refused(
    stores: list[str], tiny_corpus: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_tiny(tiny_corpus, tmp_path)
    text = refusal(capsys, tmp_path, "--stores", *stores, "--model", str(tmp_path / "m"), "--device", "cpu")
    assert "another gene axis" in text
