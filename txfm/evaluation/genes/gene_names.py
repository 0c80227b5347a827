"""Names of genes in relation databases, matched to a vocabulary, with a reason for each that is not."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from txfm.embedding.gene_names import KnownGenes
from txfm.vocabulary import Vocabulary

NOT_CODING = "in the vocabulary, but not protein-coding"
BY_NAME, BY_REFERENCE = "id or symbol of the vocabulary", "approved or earlier symbol (HGNC)"


@dataclass(frozen=True, kw_only=True, eq=False)
class NameMatch:
    """Which gene each name is.

    Attributes
    ----------
    table : pandas.DataFrame
        A row a name: name; ensembl_id, "" for none; matched_by, "" for none; reason, "" for a gene that is used;
        databases, joined by commas.
    """

    table: pd.DataFrame

    @property
    def misses(self) -> pd.DataFrame:
        """The names without a gene that is used: name, reason, databases."""
        return self.table.loc[self.table["reason"] != "", ["name", "reason", "databases"]].reset_index(drop=True)

    def as_mapping(self) -> dict[str, object]:
        """Counts for scores.json."""
        used = self.table["reason"] == ""
        return {
            "names": len(self.table),
            "used": int(used.sum()),
            "used_by": self.table["matched_by"][used].value_counts().to_dict(),
            "left_out_by_reason": self.table["reason"][~used].value_counts().to_dict(),
        }


def match_names(
    relations: Mapping[str, pd.DataFrame],
    vocabulary: Vocabulary,
    is_used: np.ndarray,
    id_of_name: Mapping[str, str] | None = None,
) -> tuple[dict[str, pd.DataFrame], NameMatch]:
    """Name the genes of relations as a vocabulary does.

    Parameters
    ----------
    relations : mapping of str to pandas.DataFrame
        As `read_relations` gives them: pairs of symbols, or of Ensembl ids.
    vocabulary : Vocabulary
    is_used : numpy.ndarray (G,), bool
        Genes that are compared.
    id_of_name : mapping of str to str, optional
        Further symbols to Ensembl ids, asked for names that the vocabulary does not know.

    Returns
    -------
    relations : dict of str to pandas.DataFrame
        The same rows with Ensembl ids of the vocabulary; a name without one stays.
    match : NameMatch
    """
    known = KnownGenes(vocabulary)
    databases: dict[str, list[str]] = {}
    for database, frame in relations.items():
        for name in sorted(_names(frame)):
            databases.setdefault(name, []).append(database)
    rows, renamed = [], {}
    for name, of in databases.items():
        position, matched_by = known.position(name), BY_NAME
        if position < 0 and id_of_name and name in id_of_name:
            position, matched_by = known.position(id_of_name[name]), BY_REFERENCE
        if position < 0:
            rows.append((name, "", "", known.reason_of_miss(name), ",".join(of)))
            continue
        renamed[name] = vocabulary.ensembl_ids[position]
        reason = "" if is_used[position] else NOT_CODING
        rows.append((name, renamed[name], matched_by, reason, ",".join(of)))
    table = pd.DataFrame(rows, columns=["name", "ensembl_id", "matched_by", "reason", "databases"])
    translated = {
        database: pd.DataFrame({column: _renamed(frame[column], renamed) for column in frame})
        for database, frame in relations.items()
    }
    return translated, NameMatch(table=table)


def _names(frame: pd.DataFrame) -> set[str]:
    return {name for column in frame for name in frame[column].astype("category").cat.categories}


def _renamed(column: pd.Series, renamed: Mapping[str, str]) -> pd.Series:
    """Two names may become one gene, so the result has categories of its own."""
    categories: Iterable[str] = column.astype("category").cat.categories
    new = pd.Index([renamed.get(name, name) for name in categories])
    codes, unique = pd.factorize(new)
    old_codes = column.astype("category").cat.codes.to_numpy()
    return pd.Series(pd.Categorical.from_codes(np.append(codes, -1)[old_codes].tolist(), unique))


def match_name_sets(sets: Mapping[str, Iterable[str]], vocabulary: Vocabulary) -> dict[str, int]:
    """Positions in a vocabulary of all names of some sets that it knows."""
    known = KnownGenes(vocabulary)
    names = {name for genes in sets.values() for name in genes}
    return {name: position for name in names if (position := known.position(name)) >= 0}
