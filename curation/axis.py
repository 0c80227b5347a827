"""The gene axis: the frozen reference list that every store of a corpus shares, and the other names of its genes."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from curation.errors import InputError
from curation.readers.text import read_table, whole_file

AXIS_COLUMNS = ("ensembl_id", "symbol", "biotype", "chromosome")
ALIAS_COLUMNS = ("name", "ensembl_id", "kind")
# HGNC column -> kind of name, in the order in which `curation.genes` trusts them
HGNC_NAMES = {"symbol": "approved", "prev_symbol": "previous", "alias_symbol": "alias", "entrez_id": "entrez"}


@dataclass(frozen=True, kw_only=True)
class GeneAxis:
    """The genes in axis order and their names.

    Attributes
    ----------
    genes : DataFrame
        Columns `AXIS_COLUMNS`, all strings, "" where the source table does not say.
    names : DataFrame
        Columns `ALIAS_COLUMNS`: HGNC's approved, previous and alias symbols and Entrez ids, also of genes off the axis;
        and retired Ensembl ids, see `curation.gene_history`.
    """

    genes: pl.DataFrame
    names: pl.DataFrame

    @cached_property
    def ensembl_ids(self) -> list[str]:
        """Ensembl ids without version, in axis order."""
        return self.genes["ensembl_id"].to_list()

    @cached_property
    def position(self) -> Mapping[str, int]:
        """Axis position of each Ensembl id."""
        return {gene: i for i, gene in enumerate(self.ensembl_ids)}

    @property
    def sha256(self) -> str:
        """Digest of the ids in order: two corpora with the same digest have interchangeable stores."""
        return ids_sha256(self.ensembl_ids)

    @classmethod
    def read(cls, path: Path) -> GeneAxis:
        """Read what `write` wrote.

        Raises
        ------
        InputError
            A file is not there, or is no table of the genes step.
        """
        frames = []
        for file, columns in ((path, AXIS_COLUMNS), (names_path(path), ALIAS_COLUMNS)):
            try:
                frame = pl.read_parquet(file)
                found = ", ".join(frame.columns) or "no columns"
            except (OSError, pl.exceptions.PolarsError) as error:
                frame, found = pl.DataFrame(), str(error)
            if not set(columns) <= set(frame.columns):
                raise InputError(
                    "the gene axis cannot be read",
                    where=str(file),
                    expected=f"a Parquet table with the columns {', '.join(columns)}",
                    found=found,
                    todo="run the genes step, which writes genes.parquet and gene_names.parquet (`snakemake` does)",
                )
            frames.append(frame)
        return cls(genes=frames[0], names=frames[1])

    def write(self, path: Path) -> None:
        """Write genes.parquet and, beside it, gene_names.parquet; each appears whole or not at all."""
        for frame, target in ((self.names, names_path(path)), (self.genes, path)):
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(target.name + ".part")
            frame.write_parquet(partial)
            partial.replace(target)


def ids_sha256(ensembl_ids: Sequence[str]) -> str:
    """Return the sha256 of ids joined with line feeds."""
    return hashlib.sha256("\n".join(ensembl_ids).encode()).hexdigest()


def names_path(genes_path: Path) -> Path:
    """Return where the other names of an axis lie."""
    return genes_path.with_name("gene_names.parquet")


def build_axis(table: Path, table_format: str, *, hgnc: Path | None) -> tuple[GeneAxis, dict[str, int]]:
    """Read a reference gene table into an axis.

    Parameters
    ----------
    table : Path
        GENCODE's or Ensembl's gene list.
    table_format : str
        `gencode_gtf`, `gene_table_csv` (gene_id, gene_name, biotype, chromosome with a header) or `id_name_csv` (no
        header).
    hgnc : Path or None
        HGNC's complete set; without it only the table's own symbols are known.

    Returns
    -------
    GeneAxis
        In the order of the table.
    dict
        How many rows were left out, by reason.

    Raises
    ------
    InputError
        The format is unknown or the table has no gene.
    """
    tables = {"gencode_gtf": _read_gtf, "gene_table_csv": _read_gene_table, "id_name_csv": _read_id_name}
    if table_format not in tables:
        raise InputError(
            f"unknown gene table format {table_format!r}",
            where="annotation of the catalogue",
            expected=", ".join(tables),
            found=table_format,
            todo="correct `format` of the annotation entry",
        )
    rows = tables[table_format](table)
    par_y = pl.col("ensembl_id").str.ends_with("_PAR_Y") | pl.col("ensembl_id").str.starts_with("ENSGR")
    no_gene_id = ~par_y & ~pl.col("ensembl_id").str.contains(r"^ENSG\d{11}(\.\d+)?$")
    left_out = {"par_y": rows.filter(par_y).height, "not_an_ensembl_gene_id": rows.filter(no_gene_id).height}
    rows = rows.filter(~par_y & ~no_gene_id).with_columns(pl.col("ensembl_id").str.replace(r"\.\d+$", ""))
    genes = rows.unique("ensembl_id", keep="first", maintain_order=True)
    left_out["duplicate_id"] = rows.height - genes.height
    if not genes.height:
        raise InputError(
            "the gene table has no human gene",
            where=str(table),
            expected="rows with ids like ENSG00000141510 or ENSG00000141510.18",
            found=f"{sum(left_out.values())} other rows",
            todo="check file and format of the annotation entry",
        )
    genes = genes.with_columns(
        pl.when(pl.col("symbol").str.starts_with("ENSG")).then(pl.lit("")).otherwise("symbol").alias("symbol")
    )
    return GeneAxis(genes=genes, names=_hgnc_names(hgnc)), left_out


def _axis_frame(frame: pl.DataFrame) -> pl.DataFrame:
    missing = [pl.lit("").alias(name) for name in AXIS_COLUMNS if name not in frame.columns]
    return frame.with_columns(missing).select(pl.col(name).cast(pl.String).fill_null("") for name in AXIS_COLUMNS)


def _read_id_name(path: Path) -> pl.DataFrame:
    frame = read_table(path, has_header=False)
    return _axis_frame(frame.rename({frame.columns[0]: "ensembl_id", frame.columns[1]: "symbol"}))


def _read_gene_table(path: Path) -> pl.DataFrame:
    frame = read_table(path)
    return _axis_frame(frame.rename({"gene_id": "ensembl_id", "gene_name": "symbol"}))


def _read_gtf(path: Path) -> pl.DataFrame:
    attribute = re.compile(r'(gene_id|gene_name|gene_type) "([^"]*)"')
    rows = []
    with whole_file(path) as handle:
        for line in io.TextIOWrapper(handle, encoding="utf-8"):
            fields = line.split("\t", 8)
            if len(fields) == 9 and fields[2] == "gene":
                found = dict(attribute.findall(fields[8]))
                rows.append((found.get("gene_id"), found.get("gene_name"), found.get("gene_type"), fields[0]))
    return _axis_frame(pl.DataFrame(rows, schema=dict.fromkeys(AXIS_COLUMNS, pl.String), orient="row"))


def _hgnc_names(path: Path | None) -> pl.DataFrame:
    """Return HGNC's names, one row a (name, gene), also of genes that are not on the axis.

    A name of a gene off the axis must not pass for the alias of another gene on it. A gene without Ensembl id goes
    by its HGNC id.
    """
    empty = pl.DataFrame(schema=dict.fromkeys(ALIAS_COLUMNS, pl.String))
    if path is None:
        return empty
    frame = read_table(path, separator="\t", quote_char='"')
    gene = pl.coalesce("ensembl_gene_id", "hgnc_id")
    names = [
        frame.select(
            pl.col(column).str.split("|").alias("name"),
            gene.alias("ensembl_id"),
            pl.lit(kind).alias("kind"),
        )
        .explode("name")
        .drop_nulls("name")
        for column, kind in HGNC_NAMES.items()
    ]
    return pl.concat([empty, *names]).unique(maintain_order=True)
