"""Which samples stay: pure functions from what is known of a sample to "" (keep) or the reason it is dropped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl

from curation.catalog import SampleFilter
from curation.errors import InputError
from curation.recipe import Recipe

FEW_GENES = "below_min_genes_per_sample"
MANY_GENES = "above_max_genes_per_sample"
FEW_COUNTS = "below_min_counts_per_sample"
NOT_CONTROL = "not_a_control"
NO_PHENOPRINT = "perturbation_without_phenoprint"
NO_BATCH = "no_batch"
RARE_GENE = "below_min_samples_per_gene"
NOT_IN_EVERY_PART = "not_in_every_part_of_the_study"


def obs_filter_reasons(obs: pd.DataFrame, filters: tuple[SampleFilter, ...], *, where: str) -> np.ndarray:
    """Return the reason of the first filter that a sample fails, "" where it passes all.

    Parameters
    ----------
    obs : DataFrame
        The source's own columns.
    filters : tuple of SampleFilter
        The study's filters: a column and the values to keep, or to drop.

    Raises
    ------
    InputError
        A filter names a column that the source does not have.
    """
    reasons = np.full(len(obs), "", dtype=object)
    for rule in filters:
        require_column(obs, rule.column, where=where, wanted_by="`filters` of the study")
        passes = (
            obs[rule.column].map({value: rule.keeps(value) for value in obs[rule.column].unique()}).to_numpy(dtype=bool)
        )
        reasons[~passes & (reasons == "")] = rule.reason
    return reasons


def require_column(obs: pd.DataFrame, column: str, *, where: str, wanted_by: str) -> None:
    """Raise an InputError that lists the columns there are, if `column` is not one of them."""
    if column not in obs.columns:
        raise InputError(
            f"there is no metadata column {column!r}",
            where=f"{where}, named by {wanted_by}",
            expected=f"a column {column!r}",
            found=", ".join(map(str, obs.columns)) or "no metadata at all",
            todo="correct the study's entry in the catalogue",
        )


def perturbation_reasons(
    perturbation: np.ndarray, is_control: np.ndarray, recipe: Recipe, phenoprints: frozenset[str]
) -> np.ndarray:
    """Return why a sample's perturbation is not wanted (paper C.2): controls only, or phenoprints and controls."""
    reasons = np.full(len(perturbation), "", dtype=object)
    if recipe.perturbations == "controls":
        reasons[~is_control] = NOT_CONTROL
    elif recipe.perturbations == "phenoprint":
        wanted = pd.Series(perturbation).isin(phenoprints).to_numpy()
        reasons[~is_control & ~wanted] = NO_PHENOPRINT
    return reasons


def read_phenoprints(recipe: Recipe) -> frozenset[str]:
    """Return the perturbations with p below the recipe's threshold; empty for recipes that do not ask.

    Raises
    ------
    InputError
        The table is not there or lacks a column.
    """
    if recipe.perturbations != "phenoprint":
        return frozenset()
    path = Path(str(recipe.phenoprints))
    if not path.exists():
        raise InputError(
            "the phenoprint table is not there",
            where=str(path),
            expected="a table with the columns perturbation and p_value",
            found="nothing",
            todo="compute it from the full screen, or use the recipe without phenoprints (perturbations: all)",
        )
    table = pl.read_csv(path, separator="\t")
    missing = {"perturbation", "p_value"} - set(table.columns)
    if missing:
        raise InputError(
            f"the phenoprint table lacks {', '.join(sorted(missing))}",
            where=str(path),
            expected="columns perturbation and p_value",
            found=", ".join(table.columns),
            todo="write the table with these columns",
        )
    return frozenset(table.filter(pl.col("p_value") < recipe.phenoprint_p_max)["perturbation"].to_list())


def count_reasons(n_genes: np.ndarray, library_size: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Return why a sample's counts are too few or too many, judged on the genes that the gene filter kept.

    Parameters
    ----------
    n_genes : ndarray of int, shape (n_samples,)
        Kept genes with a count.
    library_size : ndarray of int, shape (n_samples,)
        Counts on kept genes.
    """
    reasons = np.full(len(n_genes), "", dtype=object)
    reasons[n_genes < max(1, recipe.min_genes_per_sample)] = FEW_GENES  # an empty sample has nothing to learn from
    reasons[(reasons == "") & (library_size < recipe.min_counts_per_sample)] = FEW_COUNTS
    if recipe.max_genes_per_sample is not None:
        reasons[(reasons == "") & (n_genes > recipe.max_genes_per_sample)] = MANY_GENES
    return reasons
