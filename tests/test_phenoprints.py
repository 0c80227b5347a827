"""Phenoprints of simulated screens with known truth, from counts to the table, as the workflow finds them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import polars as pl
import pytest
import yaml
import zarr
from scipy import sparse

from curation.axis import ALIAS_COLUMNS, GeneAxis
from curation.simulate import CONTROL, Screen, simulate_screen
from txfm.__main__ import main

N_AXIS_GENES = 1_500


def axis() -> GeneAxis:
    ids = [f"ENSG{i:011d}" for i in range(N_AXIS_GENES)]
    genes = pl.DataFrame(
        {"ensembl_id": ids, "symbol": [f"G{i}A" for i in range(N_AXIS_GENES)], "biotype": "", "chromosome": ""}
    )
    return GeneAxis(genes=genes, names=pl.DataFrame(schema=dict.fromkeys(ALIAS_COLUMNS, pl.String)))


def write_store(screen: ad.AnnData, path: Path) -> None:
    obs = pd.DataFrame(index=screen.obs_names)
    obs["batch"] = pd.Categorical(screen.obs["gem_group"])
    obs["perturbation"] = pd.Categorical(screen.obs["gene"])
    obs["is_control"] = (screen.obs["gene"] == CONTROL).to_numpy()
    counts = sparse.csr_matrix(screen.X).astype(np.int32)
    elements = {"X": counts, "obs": obs, "var": pd.DataFrame({"measured": True}, index=screen.var_names)}
    group = zarr.open_group(path, mode="w", zarr_format=3)
    with ad.settings.override(zarr_write_format=3, auto_shard_zarr_v3=True):
        for name, element in elements.items():
            ad.io.write_elem(group, name, element)
    entry = {"study": "screen", "recipe": "full", "split": "train", "assay": "sc", "simulated": True}
    group.attrs.update({**entry, "n_samples": counts.shape[0], "nnz": int(counts.nnz), "digest": "d"})


@pytest.mark.parametrize("seed", range(4))
def test_strong_effects_are_kept_and_at_most_an_eighth_of_the_rest(seed: int, tmp_path: Path) -> None:
    # Every effect is at least 2.9 standard deviations of a cell's own state; docs/phenoprints.md has the weaker ones.
    screen = simulate_screen(Screen(n_genes=1_000, module_sd=0.3, seed=seed), axis())
    write_store(screen, tmp_path / "s.zarr")
    assert main(["consistency", "--stores", str(tmp_path / "s.zarr"), "--out", str(tmp_path / "p.tsv")]) == 0
    table = pd.read_csv(tmp_path / "p.tsv", sep="\t").set_index("perturbation")
    has_effect = pd.Series(screen.uns["truth"]).reindex(table.index).to_numpy(dtype=bool)
    assert len(table) == 40
    assert has_effect.sum() == 20
    for reading in ("p_pooled", "p_per_perturbation"):
        kept = table[reading].to_numpy() < 0.1
        assert kept[has_effect].all()
        assert kept[~has_effect].mean() <= 0.12


def test_a_model_that_finds_phenoprints_does_not_wait_for_the_corpus_that_waits_for_them(
    workflow: Callable[..., Any], tmp_path: Path
) -> None:
    entry = {"embedding": "txfm", "variant": "minus_k562", "model": "B"}
    (tmp_path / "txfm.yaml").write_text(yaml.safe_dump({"phenoprints": {"replogle_k562": entry}}))
    jobs = workflow(tmp_path / "txfm.yaml").plan("all")
    assert (jobs["phenoprints"], jobs["curate"], jobs["train"]) == (1, 11, 6)
    (tmp_path / "circle.yaml").write_text(
        yaml.safe_dump({"phenoprints": {"replogle_k562": {**entry, "variant": "k562_controls"}}})
    )
    code, output = workflow(tmp_path / "circle.yaml").run("-n")
    assert code != 0
    assert output.count("variant 'k562_controls' is trained on 'replogle_k562'") == 1, output
