"""Which samples stay: pure functions from what is known of a sample to "" (keep) or the reason it is dropped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl

from curation.catalog import SampleFilter, Study
from curation.errors import InputError
from curation.recipe import Recipe

FEW_GENES = "below_min_genes_per_sample"
MANY_GENES = "above_max_genes_per_sample"
FEW_COUNTS = "below_min_counts_per_sample"
MITO = "above_max_mito_share"
SMALL_BATCH = "below_min_samples_per_batch"
DUPLICATE = "duplicate_of_another_sample"
OTHER_STUDY = "duplicate_of_another_study"
NOT_CONTROL = "not_a_control"
NO_PHENOPRINT = "perturbation_without_phenoprint"
NO_BATCH = "no_batch"
RARE_GENE = "below_min_samples_per_gene"
NOT_IN_EVERY_PART = "not_in_every_part_of_the_study"
# Names of the mitochondrial chromosome in GENCODE, Ensembl and older tables
MITO_CHROMOSOMES = ("chrM", "MT", "M", "chrMT")
# Kinds whose sum over a sample is a number of molecules or reads; TPM and coverage add up to something else
COUNTING_KINDS = ("umi", "reads", "expected", "mixed")


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
        The table is not there, lacks a column, or holds a p-value that is none, or a perturbation twice.
    """
    if recipe.perturbations != "phenoprint":
        return frozenset()
    if recipe.phenoprints is None:
        raise InputError(
            "a phenoprint recipe needs a table of p-values",
            where="recipe, key phenoprints",
            expected="the path of a table with the columns perturbation and p_value",
            todo="name it, or use the recipe without phenoprints (perturbations: all)",
        )
    path = Path(recipe.phenoprints)
    if not path.exists():
        raise InputError(
            "the phenoprint table is not there",
            where=str(path),
            expected="a table with the columns perturbation and p_value",
            found="nothing",
            todo="compute it from the full screen, or use the recipe without phenoprints (perturbations: all)",
        )
    try:
        # as text: perturbations may be numbers, and a p-value that is none is told with its row
        table = pl.read_csv(path, separator="\t", infer_schema=False).fill_null("")
    except (pl.exceptions.PolarsError, UnicodeError) as error:
        raise InputError(
            "the phenoprint table cannot be read",
            where=str(path),
            expected="a TSV with the columns perturbation and p_value",
            found=str(error).splitlines()[0],
            todo="write the table again (`python -m txfm consistency` does)",
        ) from None
    missing = {"perturbation", "p_value"} - set(table.columns)
    if missing:
        raise InputError(
            f"the phenoprint table lacks {', '.join(sorted(missing))}",
            where=str(path),
            expected="columns perturbation and p_value",
            found=", ".join(table.columns),
            todo="write the table with these columns",
        )
    p_values = table["p_value"].cast(pl.Float64, strict=False)
    # a perturbation of one cell has no p-value, and is in no phenoprint
    wrong = table.filter((table["p_value"] != "") & ~p_values.is_between(0, 1).fill_null(value=False))
    if len(wrong):
        raise InputError(
            f"{len(wrong)} p-values of the phenoprint table are no numbers from 0 to 1",
            where=str(path),
            expected="a number from 0 to 1, or nothing for a perturbation that was not judged",
            found=", ".join(f"{row['perturbation']}: {row['p_value']}" for row in wrong.head(3).to_dicts()),
            todo="correct the column p_value",
        )
    if repeated := table.filter(table["perturbation"].is_duplicated())["perturbation"].unique().sort().to_list():
        raise InputError(
            f"{len(repeated)} perturbations stand twice in the phenoprint table",
            where=str(path),
            expected="one row a perturbation",
            found=", ".join(repeated[:3]),
            todo="keep one row of each, such as that of the smaller p-value times the number of rows",
        )
    return frozenset(table.filter(p_values < recipe.phenoprint_p_max)["perturbation"].to_list())


def kind_reasons(technology: np.ndarray, study: Study, recipe: Recipe) -> np.ndarray:
    """Return "count_kind_<kind>" for samples whose technology gives numbers that the recipe does not take for counts.

    The paper trains on counts (sec. 3); rounded TPM of Smart-seq2 pass every integer test and are none.

    Parameters
    ----------
    technology : ndarray of str, shape (n_samples,)
        The label `technology`, "" where the study does not record it.
    study : Study
        Its `count_kind` holds for technologies that `count_kinds_by_technology` does not name.
    recipe : Recipe
        `count_kinds` lists the kinds that stay.
    """
    reasons = np.full(len(technology), "", dtype=object)
    for kind, samples in _by_value(kinds_of(technology, study)):
        if kind not in recipe.count_kinds:
            reasons[samples] = f"count_kind_{kind}"
    return reasons


def kinds_of(technology: np.ndarray, study: Study) -> np.ndarray:
    """Return the count kind of each sample, of object dtype."""
    kinds = np.full(len(technology), study.count_kind, dtype=object)
    for value, kind in study.count_kinds_by_technology.items():
        kinds[technology == value] = kind
    return kinds


def sample_reasons(
    n_genes: np.ndarray,
    library_size: np.ndarray,
    mito_share: np.ndarray,
    technology: np.ndarray,
    count_kind: np.ndarray,
    recipe: Recipe,
) -> np.ndarray:
    """Return why a sample's counts are too few or too many (paper, sec. 3), the first reason that holds.

    The paper keeps cells with at least 2,000 genes, judged after rare genes are gone. It states no upper limit, no
    number of counts and no mitochondrial share; these are off unless a recipe sets them.

    Parameters
    ----------
    n_genes : ndarray of int, shape (n_samples,)
        Kept genes with a count.
    library_size : ndarray of int, shape (n_samples,)
        Counts on kept genes.
    mito_share : ndarray of float, shape (n_samples,)
        Share of the counts on mapped genes, rare ones too, that is mitochondrial; NaN is unknown and passes.
    technology : ndarray of str, shape (n_samples,)
        Chooses the thresholds of `recipe.per_technology`.
    count_kind : ndarray of str, shape (n_samples,)
        `min_counts_per_sample` is not asked of kinds whose sums are no counts.
    recipe : Recipe
    """
    reasons = np.full(len(n_genes), "", dtype=object)
    for value, samples in _by_value(technology):
        rule = recipe.for_technology(value)
        counting = np.isin(count_kind[samples].astype(str), COUNTING_KINDS)
        failed = [
            # an empty sample has nothing to learn from
            (FEW_GENES, n_genes[samples] < max(1, rule.min_genes_per_sample)),
            (FEW_COUNTS, counting & (library_size[samples] < rule.min_counts_per_sample)),
        ]
        if rule.max_genes_per_sample is not None:
            failed.append((MANY_GENES, n_genes[samples] > rule.max_genes_per_sample))
        if rule.max_mito_share is not None:
            failed.append((MITO, mito_share[samples] > rule.max_mito_share))  # NaN compares false
        found = np.full(len(samples), "", dtype=object)
        for reason, mask in reversed(failed):
            found[mask] = reason
        reasons[samples] = found
    return reasons


def mito_mask(genes: pl.DataFrame) -> np.ndarray:
    """Return which genes of an axis are mitochondrial: by chromosome, or by the symbol MT-... where it is not known.

    Parameters
    ----------
    genes : DataFrame
        Columns symbol and chromosome; "" where the annotation does not say.
    """
    by_symbol = (pl.col("chromosome") == "") & pl.col("symbol").str.starts_with("MT-")
    return genes.select(pl.col("chromosome").is_in(MITO_CHROMOSOMES) | by_symbol).to_series().to_numpy().astype(bool)


def _by_value(values: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Return each distinct value with the positions that hold it."""
    codes, names = pd.factorize(np.asarray(values, dtype=object))
    return [(str(name), np.flatnonzero(codes == code)) for code, name in enumerate(names)]
