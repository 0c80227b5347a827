from dataclasses import replace

import anndata as ad
import numpy as np
import polars as pl
import pytest

from curation.axis import ALIAS_COLUMNS, GeneAxis
from curation.errors import InputError
from curation.simulate import CONTROL, Screen, simulate_screen, write_screen

SCREEN = Screen(n_cells=900, n_genes=200, n_perturbations=6, n_controls=300, n_batches=3)


@pytest.fixture(scope="module")
def wide_axis() -> GeneAxis:
    genes = pl.DataFrame(
        {
            "ensembl_id": [f"ENSG{i:011d}" for i in range(300)],
            "symbol": [f"G{i}" if i % 5 else "" for i in range(300)],
            "biotype": "protein_coding",
            "chromosome": "1",
        }
    )
    return GeneAxis(genes=genes, names=pl.DataFrame(schema=dict.fromkeys(ALIAS_COLUMNS, pl.String)))


@pytest.fixture(scope="module")
def screen(wide_axis) -> ad.AnnData:
    return simulate_screen(SCREEN, wide_axis)


def test_a_screen_has_the_asked_size_and_says_that_it_is_simulated(screen) -> None:
    assert screen.shape == (900, 200)
    assert (screen.obs["gene"] == CONTROL).sum() == 300
    assert screen.obs["gene"].nunique() == 7
    assert screen.obs["gem_group"].nunique() == 3
    assert screen.obs["simulated"].all()
    assert screen.uns["simulated"]
    assert (screen.var["gene_name"] != "").all()


def test_values_are_counts(screen) -> None:
    np.testing.assert_array_equal(screen.X.data, np.rint(screen.X.data))
    assert screen.X.data.min() > 0


def test_a_target_is_knocked_down_in_its_cells(screen) -> None:
    for target in screen.uns["truth"]:
        column = screen[:, (screen.var["gene_name"] == target).to_numpy()].X.toarray().ravel()
        cells = (screen.obs["gene"] == target).to_numpy()
        assert column[cells].mean() < 0.6 * column[~cells].mean()


def test_only_perturbations_with_an_effect_change_the_other_genes(screen) -> None:
    controls = np.log1p(screen[screen.obs["gene"] == CONTROL].X.toarray()).mean(0)
    shift = {}
    for target, effect in screen.uns["truth"].items():
        others = (screen.var["gene_name"] != target).to_numpy()
        cells = np.log1p(screen[screen.obs["gene"] == target].X.toarray()).mean(0)
        shift.setdefault(effect, []).append(np.abs(cells - controls)[others].mean())
    assert len(shift[True]) == len(shift[False]) == 3
    assert min(shift[True]) > max(shift[False])


def test_the_same_seed_gives_the_same_screen(screen, wide_axis) -> None:
    again = simulate_screen(SCREEN, wide_axis)
    assert (again.X != screen.X).nnz == 0
    assert again.obs.equals(screen.obs)


def test_another_experiment_has_the_same_modules_and_other_targets(screen, wide_axis) -> None:
    other = simulate_screen(replace(SCREEN, experiment=1), wide_axis)
    assert other.var.equals(screen.var)
    assert set(other.uns["truth"]) != set(screen.uns["truth"])
    assert (other.X != screen.X).nnz > 0
    levels = [np.log(np.asarray(part.X.mean(axis=0)).ravel() + 0.1) for part in (screen, other)]
    assert np.corrcoef(levels)[0, 1] > 0.95  # the base expression is the seed's


def test_a_written_screen_reads_back(wide_axis, tmp_path) -> None:
    wide_axis.write(tmp_path / "genes.parquet")
    write_screen(SCREEN, tmp_path / "genes.parquet", tmp_path / "screen.h5ad")
    assert ad.read_h5ad(tmp_path / "screen.h5ad").shape == (900, 200)
    assert not list(tmp_path.glob(".*"))


def test_a_screen_larger_than_the_axis_is_refused(wide_axis) -> None:
    with pytest.raises(InputError, match="does not fit the gene axis"):
        simulate_screen(Screen(n_genes=290), wide_axis)


def test_a_mistyped_key_is_refused() -> None:
    with pytest.raises(InputError, match="unknown key 'n_cell'"):
        Screen.from_json({"n_cell": 5})
