"""The table of a grid: which differences to the default are real, and what they cost."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency, kstest, t, ttest_ind

from txfm.__main__ import main
from txfm.ablation.comparison import T_TEST, Z_TEST, adjust, compare, spread_of_difference, two_sided_p
from txfm.ablation.grid import Cell, Run, TrainedCell
from txfm.evaluation.scores import Score, score_frame, write_scores

GOLDEN = Path(__file__).parents[1] / "golden" / "models" / "1.0" / "txfm"
RNG = np.random.default_rng(11)


def values(*found: float) -> pd.DataFrame:
    return pd.DataFrame({"value": found, "hits": None, "trials": None})


def counts(hits: int, trials: int, n_seeds: int = 1) -> pd.DataFrame:
    return pd.DataFrame({"value": hits / trials, "hits": [hits] * n_seeds, "trials": [trials] * n_seeds})


# --- statistics


def test_seeds_are_compared_by_welchs_test() -> None:
    one, other = RNG.normal(size=4), RNG.normal(1, 2, size=3)
    name, p = two_sided_p(values(*one), values(*other))
    variance = one.var(ddof=1) / 4 + other.var(ddof=1) / 3
    degrees = variance**2 / ((one.var(ddof=1) / 4) ** 2 / 3 + (other.var(ddof=1) / 3) ** 2 / 2)
    assert name == T_TEST
    assert p == pytest.approx(2 * t.sf(abs(one.mean() - other.mean()) / np.sqrt(variance), degrees), rel=1e-12)
    assert p == pytest.approx(ttest_ind(one, other, equal_var=False).pvalue)


def test_shares_are_compared_by_the_two_proportion_z_test() -> None:
    name, p = two_sided_p(counts(30, 120), counts(48, 110))
    # The square of z is the chi-square of the two by two table
    assert name == Z_TEST
    assert p == pytest.approx(chi2_contingency([[30, 90], [48, 62]], correction=False).pvalue, rel=1e-10)


def test_the_interval_of_a_difference_excludes_zero_where_welchs_test_is_significant() -> None:
    one, other = RNG.normal(size=4), RNG.normal(1, 2, size=3)
    sd, low, high = spread_of_difference(values(*one), values(*other))
    difference = one.mean() - other.mean()
    assert sd == pytest.approx(np.sqrt(one.var(ddof=1) / 4 + other.var(ddof=1) / 3), rel=1e-12)
    assert (low + high) / 2 == pytest.approx(difference)
    # Moved by an end of the interval, the difference is just at the limit
    assert two_sided_p(values(*(one - low)), values(*other))[1] == pytest.approx(0.05)
    assert two_sided_p(values(*(one - high)), values(*other))[1] == pytest.approx(0.05)


def test_the_interval_of_a_difference_of_shares_is_that_of_two_binomials() -> None:
    sd, low, high = spread_of_difference(counts(30, 120), counts(48, 110, 3))
    assert sd == pytest.approx(np.sqrt(0.25 * 0.75 / 120 + 48 / 110 * 62 / 110 / 110), rel=1e-12)
    assert (low, high) == pytest.approx((30 / 120 - 48 / 110 - 1.959964 * sd, 30 / 120 - 48 / 110 + 1.959964 * sd))


def test_one_seed_a_cell_has_no_interval() -> None:
    assert np.isnan(spread_of_difference(values(0.5), values(0.7))).all()


def test_the_same_perturbations_scored_with_more_seeds_are_no_more_perturbations() -> None:
    assert two_sided_p(counts(30, 120, 3), counts(48, 110, 3))[1] == two_sided_p(counts(30, 120), counts(48, 110))[1]


@pytest.mark.parametrize(
    ("own", "default", "p"),
    [
        (values(0.5), values(0.7), np.nan),
        (values(0.5, 0.5), values(0.7, 0.7), np.nan),
        (counts(0, 50), counts(0, 50), 1.0),
        (counts(50, 50), counts(50, 50), 1.0),
    ],
)
def test_without_spread_there_is_no_small_p(own: pd.DataFrame, default: pd.DataFrame, p: float) -> None:
    np.testing.assert_equal(two_sided_p(own, default)[1], p)


def test_p_values_are_adjusted_by_benjamini_and_hochberg() -> None:
    assert adjust([0.01, np.nan, 0.04, 0.03]).tolist() == pytest.approx([0.03, np.nan, 0.04, 0.04], nan_ok=True)
    assert np.isnan(adjust([np.nan])).all()


def grid_of(n_seeds: int, alternatives: int) -> tuple[TrainedCell, ...]:
    cells = [Cell(factor="", alternative="", variant="v", model="m")]
    cells += [Cell(factor="f", alternative=str(i), variant="v", model=f"m{i}") for i in range(alternatives)]
    return tuple(
        TrainedCell(
            cell=cell,
            runs=tuple(Run(name=f"{cell.model}.s{s}", card={}, n_genes=1, hours=None) for s in range(n_seeds)),
        )
        for cell in cells
    )


def frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    about = {"benchmark": "b", "dataset": "d", "task": "t", "metric": "m", "postprocessing": "", "hits": None}
    found = pd.DataFrame([about | {"trials": None} | row for row in rows])
    return found.astype({"hits": float, "trials": float})


def test_equal_cells_have_uniform_p_values_and_a_difference_is_found() -> None:
    grid = grid_of(5, 300)
    rows = [{"run": run.name, "value": RNG.normal()} for cell in grid for run in cell.runs]
    one_default = {row["run"]: row["value"] for row in rows[:5]}
    # Fresh values for both sides each time: comparisons with one default would not be independent
    p = [two_sided_p(values(*RNG.normal(size=5)), values(*RNG.normal(size=5)))[1] for _ in range(300)]
    assert kstest(p, "uniform").pvalue > 0.01
    table = compare(grid, frame(rows))
    assert len(table) == 301
    assert table["significant"].sum() <= 3
    shifted = [row | {"value": row["value"] + 50 * row["run"].startswith("m7.")} for row in rows]
    found = compare(grid, frame(shifted))
    (different,) = found[found["alternative"] == "7"].to_dict("records")
    assert different["significant"]
    assert different["difference"] == pytest.approx(different["mean"] - np.mean(list(one_default.values())))


def test_counts_of_several_data_sets_are_pooled_as_well() -> None:
    grid = grid_of(1, 1)
    rows = [
        {"run": run, "task": "pcst", "dataset": dataset, "value": hits / trials, "hits": hits, "trials": trials}
        for run, dataset, hits, trials in [
            ("m.s0", "x", 10, 100),
            ("m.s0", "y", 10, 50),
            ("m0.s0", "x", 20, 100),
            ("m0.s0", "y", 30, 50),
        ]
    ]
    table = compare(grid, frame(rows)).set_index(["dataset", "alternative"])
    assert table.loc[("all", "0"), "mean"] == pytest.approx(50 / 150)
    assert table.loc[("all", ""), "mean"] == pytest.approx(20 / 150)
    expected = chi2_contingency([[20, 130], [50, 100]], correction=False).pvalue
    assert table.loc[("all", "0"), "p"] == pytest.approx(expected)


@pytest.mark.parametrize(("task", "test"), [("pcst", Z_TEST), ("lin", T_TEST), ("bmdb", T_TEST)])
def test_only_perturbations_are_counted_as_independent(task: str, test: str) -> None:
    """Two equal cells whose seeds differ by 1 %: 50,000 cells would make that a tiny p of the z-test."""
    accuracies = {"m": (0.59, 0.60, 0.62), "m0": (0.60, 0.61, 0.62)}
    rows = [
        {"run": f"{name}.s{seed}", "task": task, "value": value, "hits": 50_000 * value, "trials": 50_000}
        for name, values in accuracies.items()
        for seed, value in enumerate(values)
    ]
    (row,) = compare(grid_of(3, 1), frame(rows)).query("alternative == '0'").to_dict("records")
    assert row["test"] == test
    assert (row["p"] < 0.05) == (test == Z_TEST)


# --- the command


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Path]:
    """Two cells with two seeds each, of 640 and 1,280 samples seen."""
    folders = {}
    for model, samples_seen in (("nano", 640), ("nano__loss_mse", 1280)):
        for seed in (0, 1):
            folder = tmp_path / f"all.{model}.s{seed}"
            shutil.copytree(GOLDEN, folder)
            card = json.loads((folder / "model.json").read_text())
            card |= {"seed": seed, "samples_seen": samples_seen}
            card["final_metrics"] = {"validation": {"explained_deviance": 0.2 + 0.01 * seed}}
            (folder / "model.json").write_text(json.dumps(card))
            lines = [{"kind": "train", "samples_seen": n, "samples_per_s": 10.0} for n in (320, 640)]
            (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
            folders[folder.name] = folder
    return folders


CELLS = [
    {"factor": "", "alternative": "", "variant": "all", "model": "nano"},
    {"factor": "loss", "alternative": "mse", "variant": "all", "model": "nano__loss_mse"},
]


def command(models: dict[str, Path], out: Path, *scores: Path, cells: object = CELLS) -> int:
    arguments = ["ablation", "--cells", json.dumps(cells), "--models", *map(str, models.values())]
    return main([*arguments, "--out", str(out), *(["--scores", *map(str, scores)] if scores else [])])


def scores_of(folder: Path, models: dict[str, Path]) -> Path:
    about = {"benchmark": "perturbation", "dataset": "screen", "kind": "txfm", "task": "pcst", "primary": True}
    found = [
        Score(**about, embedder=name, metric="share", seed=seed, value=hits / 40, hits=hits, trials=40)  # type: ignore[arg-type]
        for name in models
        for seed, hits in enumerate((4, 6) if "mse" in name else (30, 32))
    ]
    write_scores(folder, score_frame(found), {"not_scored": []}, "")
    return folder


def test_the_table_has_differences_p_values_and_costs(models, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    out = tmp_path / "out" / "grid.json"
    assert command(models, out, scores_of(tmp_path / "scores", models)) == 0
    printed = capsys.readouterr().out
    assert "loss: mse saw 1,280 samples, the default 640: not equal compute" in printed
    table = json.loads(out.read_text())
    (share,) = [row for row in table["rows"] if row["metric"] == "share" and row["factor"]]
    assert share["mean"] == 5 / 40
    assert share["difference"] == pytest.approx(-26 / 40)
    assert share["test"] == Z_TEST
    assert share["significant"]
    cell = table["cells"][1]
    assert (cell["samples"], cell["samples_seen"], cell["genes"]) == (30, 1280, 24)
    assert cell["hours"] == pytest.approx(64 / 3600)
    frame = pd.read_parquet(out.with_suffix(".parquet"))
    assert len(frame) == len(table["rows"]) == 4
    from_text = pd.read_csv(out.with_suffix(".tsv"), sep="\t", keep_default_na=False, na_values=[""])
    np.testing.assert_allclose(from_text["difference"], frame["difference"])
    text = out.with_suffix(".md").read_text()
    assert "| pcst: share | loss: mse | 0.1250 |" in text
    assert "not equal compute" in text
    assert sorted(path.name for path in out.parent.iterdir()) == ["grid.json", "grid.md", "grid.parquet", "grid.tsv"]


def test_scores_with_and_without_counts_stand_in_one_table_and_a_benchmark_without_any_is_told(
    models, tmp_path: Path, capsys
) -> None:  # type: ignore[no-untyped-def]
    about = {"benchmark": "cell_types", "dataset": "cells", "kind": "txfm", "task": "linear", "primary": True}
    found = [
        Score(**about, embedder=name, metric=metric, seed=seed, value=(30 + seed) / 40, **counts)  # type: ignore[arg-type]
        for name in models
        for seed in (0, 1)
        for metric, counts in (("accuracy", {"hits": 30 + seed, "trials": 40}), ("macro_f1", {}))
    ]
    write_scores(tmp_path / "cells", score_frame(found), {"not_scored": []}, "")
    reason = [{"embedder": "all", "task": "all", "reason": "There are no relations"}]
    write_scores(tmp_path / "genes", score_frame([]), {"not_scored": reason}, "")
    out = tmp_path / "out" / "grid.json"
    assert command(models, out, tmp_path / "cells", tmp_path / "genes") == 0
    assert "genes has no scores: There are no relations" in capsys.readouterr().out
    table = json.loads(out.read_text())
    tests = {row["metric"]: row["test"] for row in table["rows"] if row["benchmark"] == "cell_types" and row["factor"]}
    assert tests == {"accuracy": "", "macro_f1": ""}  # no perturbations, and the two seeds have no spread


def refused(capsys) -> str:  # type: ignore[no-untyped-def]
    return capsys.readouterr().err


def test_a_grid_of_which_nothing_was_measured_is_refused(models, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    for folder in models.values():
        card = json.loads((folder / "model.json").read_text())
        (folder / "model.json").write_text(json.dumps(card | {"final_metrics": {}}))
    out = tmp_path / "out" / "grid.json"
    assert command(models, out) == 2
    message = refused(capsys)
    assert "Nothing was measured" in message
    assert "--scores" in message
    reason = [{"embedder": "all", "task": "all", "reason": "There are no relations"}]
    write_scores(tmp_path / "genes", score_frame([]), {"not_scored": reason}, "")
    assert command(models, out, tmp_path / "genes") == 2
    assert "There are no relations" in refused(capsys)
    assert not out.parent.exists()


def test_models_and_scores_that_do_not_fit_the_grid_are_refused(models, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    out = tmp_path / "out" / "grid.json"
    default = {name: path for name, path in models.items() if "mse" not in name}
    assert command(default, out) == 2
    assert "all.nano__loss_mse" in refused(capsys)
    assert command({name: path for name, path in models.items() if name != "all.nano__loss_mse.s1"}, out) == 2
    message = refused(capsys)
    assert "do not have the same seeds" in message
    assert "all.nano__loss_mse: 0" in message
    assert command(models | {"again": models["all.nano.s0"]}, out) == 2
    assert "all.nano: 0, 0, 1" in refused(capsys)
    assert command(models, out, cells=CELLS[1:]) == 2
    assert "--cells is no grid" in refused(capsys)
    assert command(models, out, cells="x") == 2
    assert command(models, out, cells=[*CELLS, CELLS[1] | {"alternative": "squared"}]) == 2
    assert "have the same models" in refused(capsys)
    assert command(models, out, cells=[*CELLS, CELLS[1] | {"model": "other"}]) == 2
    assert "have one name" in refused(capsys)
    assert command(models, out.with_suffix(".csv")) == 2
    capsys.readouterr()
    assert command(models, out, scores_of(tmp_path / "scores", default)) == 2
    message = refused(capsys)
    assert "lacks models of the grid" in message
    assert "all.nano__loss_mse.s0" in message
    (tmp_path / "other.json").write_text("{}")
    assert command(models, out, tmp_path / "other.json") == 2
    assert "holds no scores" in refused(capsys)
    assert not out.parent.exists()
