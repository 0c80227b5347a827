"""The fall-back: the statistics that a screen's authors deposited, one row a guide pair, as a table of perturbations.

Replogle et al. 2022 give, in obs of their pseudobulk files (K562_gwps_raw_bulk_01.h5ad), a permuted energy-distance
test and the numbers of genes that differ from controls by two tests. Neither is the statistic of sec. C.2: see
docs/phenoprints.md.
"""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from txfm.consistency.table import ConsistencyTable
from txfm.errors import InputError

P_VALUE = "energy_test_p_value"
N_CELLS = "num_cells_filtered"
GENES_CHANGED = ("anderson_darling_counts", "mann_whitney_counts")
CONTROL = "non-targeting"


def read_authors_table(path: Path, column: str = P_VALUE) -> ConsistencyTable:
    """Read the authors' statistics.

    Parameters
    ----------
    path : Path
        .h5ad whose obs index looks like 10005_ZC3H15_P1P2_ENSG00000065548.
    column : str
        Column with p-values.

    Returns
    -------
    ConsistencyTable
        A gene with several promoters keeps its smallest p-value times their number (Bonferroni), at most 1, and the sum
        of their cells. `statistic` is the largest number of genes changed by the Anderson-Darling test.

    Raises
    ------
    InputError
        A column is missing, a p-value is outside [0, 1], or the index does not name genes.
    """
    from anndata.io import read_elem

    if not path.is_file():
        raise InputError("There is no such file", where=str(path))
    try:
        with h5py.File(path, "r") as file:
            obs = read_elem(file["obs"])
    except (OSError, KeyError) as error:
        raise InputError("This is no .h5ad file", where=str(path), found=str(error)) from error
    missing = [name for name in (column, N_CELLS, GENES_CHANGED[0]) if name not in obs]
    if missing:
        raise InputError(
            f"The authors' table lacks {', '.join(missing)}",
            where=f"{path}, obs",
            expected=f"columns {column}, {N_CELLS} and {GENES_CHANGED[0]}",
            found=", ".join(map(str, obs.columns)) or "no column",
            todo="take a file with statistics, such as K562_gwps_raw_bulk_01.h5ad, or name the column with --column",
        )
    fields = [str(name).split("_") for name in obs.index]
    if strange := [name for name, parts in zip(obs.index, fields, strict=True) if len(parts) < 4]:
        raise InputError(
            "An index of obs names no gene",
            where=f"{path}, obs",
            expected="NUMBER_GENE_PROMOTER_ENSEMBL, such as 10005_ZC3H15_P1P2_ENSG00000065548",
            found=str(strange[0]),
        )
    # A symbol may hold an underscore; number, promoter and Ensembl id do not.
    frame = pd.DataFrame(
        {
            "gene": ["_".join(parts[1:-2]) for parts in fields],
            "p": pd.to_numeric(obs[column]).to_numpy(dtype=np.float64),
            "cells": pd.to_numeric(obs[N_CELLS]).to_numpy(dtype=np.float64),
            "changed": pd.to_numeric(obs[GENES_CHANGED[0]]).to_numpy(dtype=np.float64),
        }
    )
    outside = frame[(frame["p"] < 0) | (frame["p"] > 1)]
    if len(outside):
        raise InputError(
            "A p-value is outside 0 to 1",
            where=f"{path}, obs[{column!r}]",
            found=f"{outside['p'].iloc[0]} of {outside['gene'].iloc[0]}",
        )
    frame = frame[frame["gene"] != CONTROL]
    groups = frame.groupby("gene", sort=True)
    p_value = (groups["p"].min() * groups["p"].count()).clip(upper=1.0)
    unknown = np.full(len(p_value), np.nan)
    return ConsistencyTable(
        perturbations=tuple(p_value.index),
        n_cells=groups["cells"].sum().to_numpy().astype(np.int64),
        statistic=groups["changed"].max().to_numpy(),
        p_value=p_value.to_numpy(),
        p_pooled=unknown,
        p_per_perturbation=unknown,
        parameters={
            "made_from": "statistics of the screen's authors",
            "file": path.name,
            "p_value": f"{column}, the smallest of a gene's promoters times their number",
            "statistic": GENES_CHANGED[0],
        },
    )
