"""Which genes code for a protein, and what they were called before: from HGNC or from a corpus' gene axis."""

import gzip
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from txfm.errors import InputError
from txfm.vocabulary import Vocabulary

CODING = ("protein-coding gene", "protein_coding")  # HGNC's word, GENCODE's and Ensembl's
# Columns of id, symbol, type and earlier symbols in the kinds of tables that are known
KINDS: Mapping[str, tuple[str, str, str, str | None]] = {
    "HGNC complete set": ("ensembl_gene_id", "symbol", "locus_group", "prev_symbol"),
    "gene axis of a corpus (genes.parquet)": ("ensembl_id", "symbol", "biotype", None),
    "gene table of Ensembl": ("gene_id", "gene_name", "biotype", None),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class GeneTypes:
    """What a reference table says of genes.

    Attributes
    ----------
    source : str
        Kind of the table.
    coding_ids, coding_symbols : frozenset of str
        Of protein-coding genes; ids without version.
    id_of_name : mapping of str to str
        Approved symbols, and earlier ones that only one gene had and none has now, to Ensembl ids.
    """

    source: str
    coding_ids: frozenset[str]
    coding_symbols: frozenset[str]
    id_of_name: Mapping[str, str]

    def is_coding(self, vocabulary: Vocabulary) -> np.ndarray:
        """Which genes (G,) of a vocabulary code for a protein, by their id or by their symbol."""
        pairs = zip(vocabulary.ensembl_ids, vocabulary.symbols, strict=True)
        return np.array([gene in self.coding_ids or symbol in self.coding_symbols for gene, symbol in pairs])


def read_gene_types(path: Path) -> GeneTypes:
    """Read HGNC's complete set, a corpus' genes.parquet, or a gene table of Ensembl.

    Parameters
    ----------
    path : Path
        .parquet, or text separated by tabs or commas, also gzipped.

    Raises
    ------
    InputError
        It cannot be read, has none of the known sets of columns, or names no protein-coding gene.
    """
    table = _read(path)
    kind = next((kind for kind, columns in KINDS.items() if set(filter(None, columns)) <= set(table.columns)), None)
    if kind is None:
        raise InputError(
            "The table of gene types has none of the known sets of columns",
            where=str(path),
            expected="; or ".join(f"{', '.join(filter(None, columns))} ({kind})" for kind, columns in KINDS.items()),
            found=", ".join(table.columns[:20]),
        )
    gene_id, symbol, gene_type, earlier = KINDS[kind]
    table = table.with_columns(pl.col(gene_id).str.replace(r"\.\d+$", ""))
    coding = table.filter(pl.col(gene_type).is_in(CODING))
    if coding.is_empty():
        raise InputError(
            "The table of gene types names no protein-coding gene",
            where=f"{path}, column {gene_type}",
            expected=" or ".join(CODING),
            found=", ".join(map(repr, table[gene_type].unique().sort().to_list()[:8])) or "no rows",
            todo="use HGNC's complete set, or leave --gene-types out: then every gene of the vocabulary counts",
        )
    approved = dict(table.filter((pl.col(symbol) != "") & (pl.col(gene_id) != "")).select(symbol, gene_id).iter_rows())
    return GeneTypes(
        source=kind,
        coding_ids=frozenset(coding[gene_id]) - {""},
        coding_symbols=frozenset(coding[symbol]) - {""},
        id_of_name=(_earlier_symbols(table, earlier, gene_id) if earlier else {}) | approved,
    )


def _earlier_symbols(table: pl.DataFrame, column: str, gene_id: str) -> dict[str, str]:
    rows = table.filter(pl.col(gene_id) != "").select(pl.col(column).str.split("|"), gene_id).explode(column)
    rows = rows.filter(pl.col(column).fill_null("") != "")
    genes_of = Counter(rows[column])
    return {name: gene for name, gene in rows.iter_rows() if genes_of[name] == 1}


def _read(path: Path) -> pl.DataFrame:
    try:
        if path.suffix == ".parquet":
            table = pl.read_parquet(path)
        else:
            with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
                separator = "\t" if "\t" in lines.readline() else ","
            table = pl.read_csv(path, separator=separator, infer_schema=False)
    except (OSError, EOFError, UnicodeDecodeError, pl.exceptions.PolarsError) as error:
        raise InputError("The table of gene types cannot be read", where=str(path), found=str(error)) from error
    return table.with_columns(pl.col(pl.String).fill_null(""))
