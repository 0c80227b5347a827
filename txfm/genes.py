"""Matching a user's genes to a model's vocabulary."""

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd

from txfm.errors import InputError
from txfm.vocabulary import Vocabulary

# Columns that public files use; the index and these are tried, and the one that matches most genes is taken.
KNOWN_COLUMNS = (
    "ensembl_id ensembl_ids ensembl gene_id gene_ids feature_id symbol symbols gene_symbol gene_symbols gene_name "
    "gene_names gene_short_name feature_name"
).split()
# A version is ".<digits>" and nothing else: ENSG00000002586.20_PAR_Y is the Y copy, never merged into its X twin.
VERSIONED_ID = re.compile(r"^(ENSG\d{11})\.\d+$")
DEFAULT_MIN_SHARE = 0.3  # below it, embeddings of held-out cells lose their meaning: most of the input is absent


@dataclass(frozen=True, kw_only=True, eq=False)
class GeneMatch:
    """Which vocabulary gene each input gene is.

    Attributes
    ----------
    positions : numpy.ndarray (n_input_genes,), int32
        Vocabulary position, -1 = not in the vocabulary.
    measured : numpy.ndarray (G,), bool
        Vocabulary genes that the input has.
    source : str
        "index" or the name of the column that was used.
    misses : tuple of str
        Vocabulary genes that the input lacks, as "id (symbol)".
    n_merged : int
        Input genes that share their vocabulary gene with an earlier one; their counts are summed.
    """

    positions: np.ndarray
    measured: np.ndarray
    source: str
    misses: tuple[str, ...]
    n_merged: int

    @property
    def matched_share(self) -> float:
        """Share of the vocabulary that the input has."""
        return float(self.measured.mean())

    def __str__(self) -> str:
        n_known, n_found = int((self.positions >= 0).sum()), int(self.measured.sum())
        text = f"genes: {n_found:,} of the model's {len(self.measured):,} found ({self.matched_share:.0%}) "
        text += f"by {self.source}; {n_known:,} of {len(self.positions):,} input genes used"
        text += f", {self.n_merged:,} duplicates summed" if self.n_merged else ""
        return text + (f"; missing for example {', '.join(self.misses[:5])}" if self.misses else "")


def match_genes(
    var: pd.DataFrame, vocabulary: Vocabulary, column: str | None = None, min_share: float = DEFAULT_MIN_SHARE
) -> GeneMatch:
    """Find the model's genes among an AnnData's.

    Parameters
    ----------
    var : pandas.DataFrame
        Its index or a column holds Ensembl ids (versioned or not) or symbols. A boolean column `measured`, as in our
        stores, restricts the match to measured genes.
    vocabulary : Vocabulary
    column : str, optional
        Column of `var` to use, or "index"; None tries the index and the usual names.
    min_share : float
        Least share of the vocabulary that must be found.

    Returns
    -------
    GeneMatch

    Raises
    ------
    InputError
        The column does not exist, `measured` is not boolean, or fewer genes than `min_share` are found.
    """
    if column is not None and column != "index" and column not in var.columns:
        raise InputError("There is no such gene column", expected=", ".join(map(str, var.columns)), found=column)
    candidates = (
        [column] if column else ["index", *(name for name in var.columns if str(name).lower() in KNOWN_COLUMNS)]
    )
    known = _names_of(vocabulary)
    usable = _measured(var)
    best_source, best = candidates[0], np.full(len(var), -1, dtype=np.int32)
    for source in candidates:
        names = (var.index if source == "index" else var[source]).astype(str)
        positions = np.array([known.get(_unversioned(name), -1) for name in names], dtype=np.int32)
        positions[~usable] = -1
        if len(np.unique(positions[positions >= 0])) > len(np.unique(best[best >= 0])):
            best_source, best = source, positions
    measured = np.zeros(len(vocabulary), dtype=bool)
    measured[best[best >= 0]] = True
    missing = np.flatnonzero(~measured)
    match = GeneMatch(
        positions=best,
        measured=measured,
        source=best_source,
        misses=tuple(f"{vocabulary.ensembl_ids[i]} ({vocabulary.symbols[i]})" for i in missing),
        n_merged=int((best >= 0).sum() - measured.sum()),
    )
    if match.matched_share < min_share:
        raise InputError(
            "Too few of the model's genes are in this data",
            expected=f"at least {min_share:.0%} of {len(vocabulary):,} genes, such as {vocabulary.ensembl_ids[0]} "
            f"({vocabulary.symbols[0]})",
            found=f"{match.matched_share:.1%}; the data's names begin with {', '.join(map(str, var.index[:3]))}",
            todo="name the column of var with human Ensembl ids or gene symbols (gene_column, --gene-column); for data "
            "with few genes on purpose, lower min_matched_share (--min-matched-share)",
        )
    return match


def _measured(var: pd.DataFrame) -> np.ndarray:
    if "measured" not in var:
        return np.ones(len(var), dtype=bool)
    column = var["measured"]
    if not pd.api.types.is_bool_dtype(column) or column.isna().any():  # bool("False") is True
        raise InputError(
            "The column `measured` of var cannot be used",
            expected="True or False for each gene (dtype bool)",
            found=f"dtype {column.dtype}, such as {', '.join(map(repr, column.head(3).tolist()))}",
            todo="convert it to bool, or rename it if it does not state which genes the study measured",
        )
    return column.to_numpy(dtype=bool)


def _unversioned(name: str) -> str:
    versioned = VERSIONED_ID.match(name)
    return versioned.group(1) if versioned else name


def _names_of(vocabulary: Vocabulary) -> dict[str, int]:
    """Ensembl ids, and symbols that only one gene of the vocabulary has."""
    uses = Counter(vocabulary.symbols)
    known = {symbol: i for i, symbol in enumerate(vocabulary.symbols) if symbol and uses[symbol] == 1}
    return known | {ensembl_id: i for i, ensembl_id in enumerate(vocabulary.ensembl_ids)}
