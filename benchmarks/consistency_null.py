"""Why few perturbations of the simulated screen are consistent: what the null distribution is made of.

    snakemake --cores 2 --configfile config/screen.yaml
    python benchmarks/consistency_null.py [--store STORE] [--truth SCREEN.h5ad]

The null of perturbation consistency is the cosine of random cells of the screen with a perturbation's mean. The screen
has six modules and twenty perturbations with an effect, so many of those random cells carry a part of the same effect.
Log counts, centred on the controls of a batch; every cell is in the null, nothing is drawn.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import anndata as ad
import numpy as np

from txfm.evaluation import center_on_controls

BUILD = Path("results/screen/evaluation/held_out_screen.screen.zarr")
SCREEN = Path("sources/held_out_screen/screen.h5ad")
P = 0.01


def directions(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def main() -> None:
    """Print how many perturbations are found under two nulls."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=BUILD)
    parser.add_argument("--truth", type=Path, default=SCREEN, help="h5ad with uns['changed_modules']")
    args = parser.parse_args()
    cells = ad.read_zarr(args.store)
    cells = cells[:, cells.var["measured"].to_numpy(bool)]
    counts = cells.X.toarray().astype(np.float64)
    totals = counts.sum(axis=1, keepdims=True)
    of_cell, batch = (cells.obs[column].astype(str).to_numpy() for column in ("perturbation", "batch"))
    is_control = cells.obs["is_control"].to_numpy(bool)
    embedding = directions(center_on_controls(np.log1p(counts / totals * np.median(totals)), is_control, batch))
    truth = ad.read_h5ad(args.truth, backed="r").uns["changed_modules"]
    modules = {name: {str(text).split()[0] for text in np.atleast_1d(changed)} for name, changed in truth.items()}
    names = np.unique(of_cell[~is_control])
    active = np.array([bool(modules.get(name)) for name in names])

    statistic = []
    for name in names:
        own = embedding[of_cell == name]
        statistic.append((own * directions(own.sum(axis=0) - own)).sum(axis=1).mean())
    means = directions(np.stack([embedding[of_cell == name].mean(axis=0) for name in names]))
    cosines = embedding @ means.T
    is_other = of_cell[:, None] != names
    is_inert = ~np.isin(of_cell, names[active])
    for title, rows in {"all cells": np.ones(len(of_cell), bool), "controls and inert perturbations": is_inert}.items():
        null = cosines[rows][is_other[rows]]
        p = np.array([(null >= value).mean() for value in statistic])
        print(
            f"null of {title}: {(p[active] < P).sum()} of {active.sum()} perturbations with an effect at p < {P}, "
            f"{(p[~active] < P).sum()} of {(~active).sum()} without; largest p with {p[active].max():.3f}, "
            f"smallest without {p[~active].min():.3f}"
        )
    far = np.argwhere((cosines > np.quantile(cosines[is_other], 1 - P)) & is_other)
    shared = [bool(modules.get(of_cell[cell], set()) & modules.get(names[column], set())) for cell, column in far]
    print(f"of the null's top {P:.0%}, {np.mean(shared):.0%} are cells whose perturbation changes a module in common")


if __name__ == "__main__":
    main()
