"""Modules compared with those that are known, such as a simulation's."""

from pathlib import Path

import anndata as ad
import h5py
import pandas as pd
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from txfm.embedding.gene_names import KnownGenes
from txfm.errors import InputError
from txfm.evaluation.genes.modules import Modules
from txfm.vocabulary import Vocabulary

COLUMN = "module"
NAMES = ("ensembl_id", "gene_id", "symbol", "gene_name", "gene")


def read_true_modules(path: Path) -> pd.Series:
    """The module of each gene.

    Parameters
    ----------
    path : Path
        .tsv, .csv or .parquet with a column module and one of ensembl_id, gene_id, symbol, gene_name, gene; or .h5ad
        whose var has a column module, the genes in its index.

    Returns
    -------
    pandas.Series
        module by name of gene; genes without a module are left out.

    Raises
    ------
    InputError
        The kind is unknown, it cannot be read, a column is missing, or a gene has two modules.
    """
    readers = {
        ".tsv": lambda: pd.read_csv(path, sep="\t", keep_default_na=False, na_values=[""]),
        ".csv": lambda: pd.read_csv(path, keep_default_na=False, na_values=[""]),
        ".parquet": lambda: pd.read_parquet(path),
        ".h5ad": lambda: _read_var(path),
    }
    if path.suffix not in readers:
        raise InputError("The kind of the true modules is unknown", where=str(path), expected=", ".join(readers))
    try:
        table = readers[path.suffix]()
    except (OSError, ValueError, KeyError) as error:
        raise InputError("The true modules cannot be read", where=str(path), found=str(error)) from error
    name = next((column for column in NAMES if column in table), None)
    if name is None or COLUMN not in table:
        raise InputError(
            "The true modules lack a column",
            where=str(path),
            expected=f"{COLUMN}, and one of {', '.join(NAMES)}",
            found=", ".join(map(str, table.columns)),
        )
    table = table.dropna(subset=[name, COLUMN]).drop_duplicates([name, COLUMN])
    repeated = table[name][table[name].duplicated()]
    if len(repeated):
        raise InputError("A gene has two modules", where=str(path), found=", ".join(map(str, repeated[:5])))
    return table.set_index(table[name].astype(str))[COLUMN]


def _read_var(path: Path) -> pd.DataFrame:
    with h5py.File(path) as file:
        return ad.io.read_elem(file["var"]).rename_axis("ensembl_id").reset_index()


def agreement(modules: Modules, genes: Vocabulary, truth: pd.Series) -> dict[str, float | int]:
    """How well modules recover true ones, over the genes that are in both; a gene without a module counts as alone.

    Returns
    -------
    dict
        nmi (arithmetic mean), ari, n_genes; 1 = recovered, ARI 0 = chance.

    Raises
    ------
    InputError
        Fewer than two genes are in both.
    """
    known = KnownGenes(genes)
    positions = {known.position(str(name)): module for name, module in truth.items()}
    found = {position: module for position, module in positions.items() if position >= 0}
    if len(found) < 2:
        raise InputError(
            "The genes of the true modules are not those of the model",
            expected=f"names such as {genes.symbols[0]} or {genes.ensembl_ids[0]}",
            found=", ".join(map(str, truth.index[:5])),
        )
    rows = list(found)
    labels = [f"alone {row}" if modules.module_of[row] < 0 else str(modules.module_of[row]) for row in rows]
    true_labels = [str(found[row]) for row in rows]
    return {
        "nmi": float(normalized_mutual_info_score(true_labels, labels)),
        "ari": float(adjusted_rand_score(true_labels, labels)),
        "n_genes": len(rows),
    }
