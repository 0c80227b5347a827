"""Matching an input's genes to a vocabulary."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from txfm.embedding.gene_names import ADVICE_ON_ORGANISM, NOT_OF_THE_MODEL, KnownGenes
from txfm.errors import InputError
from txfm.vocabulary import Vocabulary

# Columns that public files use; the index and these are tried, and the one that matches most genes is taken.
KNOWN_COLUMNS = (
    "ensembl_id ensembl_ids ensembl gene_id gene_ids feature_id symbol symbols gene_symbol gene_symbols gene_name "
    "gene_names gene_short_name feature_name"
).split()
DEFAULT_MIN_SHARE = 0.3  # below it, embeddings of held-out cells lose their meaning: most of the input is absent
FEW_KNOWN = 0.1  # of the input's names: then they are looked at for another organism


@dataclass(frozen=True, kw_only=True, eq=False)
class GeneMatch:
    """Which vocabulary gene each input gene is.

    Attributes
    ----------
    names : tuple of str (n_input_genes,)
        As the input has them.
    positions : numpy.ndarray (n_input_genes,), int32
        Vocabulary position, -1 = not used.
    measured : numpy.ndarray (G,), bool
        Vocabulary genes that the input has.
    source : str
        "index" or the name of the column that was used.
    reasons : dict of int to str
        Input genes that are not used, and why.
    misses : tuple of str
        Vocabulary genes that the input lacks, as "id (symbol)".
    """

    names: tuple[str, ...]
    positions: np.ndarray
    measured: np.ndarray
    source: str
    reasons: dict[int, str]
    misses: tuple[str, ...]

    @property
    def matched_share(self) -> float:
        """Share of the vocabulary that the input has."""
        return float(self.measured.mean())

    @property
    def n_merged(self) -> int:
        """Input genes that share their vocabulary gene with an earlier one; their counts are added up."""
        return int((self.positions >= 0).sum() - self.measured.sum())

    def without_copies(self, copies: np.ndarray) -> "GeneMatch":
        """The same match, but columns (int64) that repeat another one are not used."""
        positions = self.positions.copy()
        positions[copies] = -1
        reasons = self.reasons | dict.fromkeys(copies.tolist(), "repeats an earlier column of the same name")
        return GeneMatch(
            names=self.names,
            positions=positions,
            measured=self.measured,
            source=self.source,
            reasons=reasons,
            misses=self.misses,
        )

    def __str__(self) -> str:
        n_known, n_found = int((self.positions >= 0).sum()), int(self.measured.sum())
        text = f"genes: {n_found:,} of the model's {len(self.measured):,} found ({self.matched_share:.0%}) "
        text += f"by {self.source}; {n_known:,} of {len(self.positions):,} input genes used"
        text += f", {self.n_merged:,} duplicates summed" if self.n_merged else ""
        for reason, number in Counter(self.reasons.values()).most_common():
            if reason != NOT_OF_THE_MODEL:
                text += f"; {number:,} left out: {reason}"
        return text + (f"; missing for example {', '.join(self.misses[:5])}" if self.misses else "")


def match_genes(
    var: pd.DataFrame, vocabulary: Vocabulary, column: str | None = None, min_share: float | None = None
) -> GeneMatch:
    """Find the vocabulary's genes among an input's.

    Parameters
    ----------
    var : pandas.DataFrame
        Its index or a column holds human Ensembl ids (versioned or not) or symbols. A boolean column `measured`, as in
        our stores, restricts the match to measured genes.
    vocabulary : Vocabulary
    column : str, optional
        Column of `var` to use, or "index"; None tries the index and the usual names, and takes the one that finds most
        genes.
    min_share : float, optional
        Least share of the vocabulary that must be found, from 0 to 1. None: `DEFAULT_MIN_SHARE`, and any share where
        `measured` declares that a study measured few genes.

    Returns
    -------
    GeneMatch

    Raises
    ------
    InputError
        The column does not exist, `measured` is not boolean, the names are another organism's, or fewer genes than
        `min_share` are found.
    """
    if min_share is None:
        min_share = 0.0 if "measured" in var else DEFAULT_MIN_SHARE
    if not 0 <= min_share <= 1:
        raise InputError("The least share of genes cannot be used", expected="from 0 to 1", found=str(min_share))
    if column is not None and column != "index" and column not in var.columns:
        raise InputError(
            "There is no such gene column",
            expected=", ".join(["index", *map(str, var.columns)]),
            found=column,
            todo="name one of these (gene_column, --gene-column), or leave it out",
        )
    usual = ["index", *(name for name in var.columns if str(name).lower() in KNOWN_COLUMNS)]
    known = KnownGenes(vocabulary)
    usable = _measured(var)
    names_of = {source: _names(var, source) for source in ([column] if column else usual)}
    positions_of = {source: _positions(names, known, usable) for source, names in names_of.items()}
    source = max(positions_of, key=lambda name: len(np.unique(positions_of[name][positions_of[name] >= 0])))
    names, positions = names_of[source], positions_of[source]
    measured = np.zeros(len(vocabulary), dtype=bool)
    measured[positions[positions >= 0]] = True
    if (positions >= 0).sum() < FEW_KNOWN * len(names):
        _refuse_other_organisms(names_of, known)
    match = GeneMatch(
        names=names,
        positions=positions,
        measured=measured,
        source=source,
        reasons={
            int(i): known.reason_of_miss(names[i]) if usable[i] else "not measured, as var says"
            for i in np.flatnonzero(positions < 0)
        },
        misses=tuple(f"{vocabulary.ensembl_ids[i]} ({vocabulary.symbols[i]})" for i in np.flatnonzero(~measured)),
    )
    if match.matched_share < min_share or not measured.any():
        raise InputError(
            "Too few of the model's genes are in this data",
            expected=f"at least {max(min_share, 1 / len(vocabulary)):.1%} of {len(vocabulary):,} genes, such as "
            f"{vocabulary.ensembl_ids[0]} ({vocabulary.symbols[0]})",
            found=f"{match.matched_share:.1%}; the data's names begin with {', '.join(names[:3])} ({source})",
            todo="name the column of var with human Ensembl ids or gene symbols (gene_column, --gene-column); for data "
            "with few genes on purpose, lower min_matched_share (--min-matched-share)",
        )
    return match


def _names(var: pd.DataFrame, source: str) -> tuple[str, ...]:
    return tuple((var.index if source == "index" else var[source]).astype(str))


def _positions(names: Sequence[str], known: KnownGenes, usable: np.ndarray) -> np.ndarray:
    positions = np.array([known.position(name) for name in names], dtype=np.int32)
    positions[~usable] = -1
    return positions


def _refuse_other_organisms(names_of: dict[str, tuple[str, ...]], known: KnownGenes) -> None:
    for source, names in names_of.items():
        if looks := known.other_organism(names):
            raise InputError(
                "The genes are not human",
                where=f"names in {source}: {', '.join(names[:3])}",
                expected="human Ensembl ids (ENSG...) or symbols (ACTB)",
                found=f"looks like {looks}",
                todo=ADVICE_ON_ORGANISM,
            )


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
