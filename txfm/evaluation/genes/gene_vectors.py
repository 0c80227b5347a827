"""What is compared: learned vectors of genes, of a model, of a baseline, or of a table that anybody made."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from txfm.errors import InputError
from txfm.loading import load
from txfm.vocabulary import Vocabulary

TABLE_FILES = (".parquet", ".csv")
TABLE_KIND = "table"
OF_GENES = {"encoder", "decoder"}  # stems of the columns of `txfm genes`
NUMBERED = re.compile(r"^(.*?)\d+$")  # a dimension: a stem and a number
IDENTITY = ("variant", "corpus_digest", "seed", "samples_seen", "steps", "files")  # of model.json
WHOLE = "vectors"  # what a table is called that does not say


@dataclass(frozen=True, kw_only=True, eq=False)
class GeneEmbedder:
    """Vectors of the same genes by name.

    Attributes
    ----------
    label : str
        Shown; unique in a comparison.
    kind : str
        That of the artifact, or "table".
    vocabulary : Vocabulary
    tables : mapping of str to numpy.ndarray (G, n)
        "encoder" and "decoder"; of a table without these words, "vectors"; empty for a model without any.
    card : dict
        model.json without the vocabulary; empty for a table.
    source : str
        Where it was read.
    columns : mapping of str to str
        Of a table: the first and last column of each of `tables`.
    """

    label: str
    kind: str
    vocabulary: Vocabulary
    tables: Mapping[str, np.ndarray]
    card: dict[str, Any]
    source: str
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> dict[str, Any]:
        """What says exactly which vectors these are, for scores.json."""
        known: dict[str, Any] = {name: self.card[name] for name in IDENTITY if name in self.card}
        columns = {"columns": dict(self.columns)} if self.columns else {}
        shapes = {name: list(table.shape) for name, table in self.tables.items()}
        return {"label": self.label, "kind": self.kind, "source": self.source, "tables": shapes, **columns, **known}


def read_gene_embedder(source: str, label: str | None = None) -> GeneEmbedder:
    """Read the vectors of a model folder, a baseline's, a model of the Hub, or a table.

    Parameters
    ----------
    source : str
        Folder or hf:// address; or .parquet or .csv with a column ensembl_id or symbol, or both, and the numbers: in
        columns encoder0, ..., decoder0, ... as `txfm genes` writes them, or in columns of one other name and a number.
    label : str, optional
        None = the name of the folder or file.

    Raises
    ------
    InputError
        There is no model, or the table has no names, no numbers, numbers that are no dimension, a gene twice or a value
        that is not finite.
    """
    path = Path(source)
    label = label or path.stem if path.suffix in TABLE_FILES else label or source.rstrip("/").rsplit("/", 1)[-1]
    if path.suffix in TABLE_FILES:
        vocabulary, numbers = _read_table(path)
        columns = _dimensions([str(name) for name in numbers], str(path))
        return GeneEmbedder(
            label=label,
            kind=TABLE_KIND,
            vocabulary=vocabulary,
            tables={name: numbers[of_table].to_numpy(dtype=np.float64) for name, of_table in columns.items()},
            card={},
            source=source,
            columns={name: _range(of_table) for name, of_table in columns.items()},
        )
    model = load(source)
    return GeneEmbedder(
        label=label,
        kind=model.card["kind"],
        vocabulary=model.vocabulary,
        tables=model.gene_tables(),
        card=model.card,
        source=source,
    )


def _read_table(path: Path) -> tuple[Vocabulary, pd.DataFrame]:
    """Genes of a table, and its columns of numbers."""
    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, keep_default_na=False)
    except (OSError, ValueError) as error:  # pyarrow's and pandas' errors are ValueErrors
        raise InputError("The table of gene vectors cannot be read", where=str(path), found=str(error)) from error
    frame = frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index()
    names = [name for name in ("ensembl_id", "symbol") if name in frame]
    frame.columns = frame.columns.astype(str)
    numbers = frame.select_dtypes("number")
    if not names or not numbers.shape[1] or not len(frame):
        raise InputError(
            "The table of gene vectors cannot be used",
            where=str(path),
            expected="a column ensembl_id or symbol, and columns of numbers",
            found=f"{len(frame):,} rows of {', '.join(map(str, frame.columns[:10])) or 'no columns'}",
        )
    ids = frame[names[0]].astype(str)
    if ids.duplicated().any():
        raise InputError(
            "The table of gene vectors has a gene twice",
            where=f"{path}, column {names[0]}",
            found=", ".join(ids[ids.duplicated()].unique()[:5]),
        )
    if not np.isfinite(numbers.to_numpy()).all():
        raise InputError("The table of gene vectors holds values that are not finite numbers", where=str(path))
    vocabulary = Vocabulary(
        axis_positions=np.arange(len(frame)),
        ensembl_ids=tuple(ids),
        symbols=tuple(frame[names[-1]].astype(str)),
    )
    return vocabulary, numbers


def _dimensions(columns: list[str], where: str) -> dict[str, list[str]]:
    """Columns of each table of vectors; a number that is no dimension, such as a chromosome, is refused."""
    by_stem: dict[str, list[str]] = {}
    others = []
    for column in columns:
        if match := NUMBERED.match(column):
            by_stem.setdefault(match.group(1), []).append(column)
        else:
            others.append(column)
    if not others and set(by_stem) <= OF_GENES:
        return by_stem
    if not others and len(by_stem) == 1:
        return {WHOLE: columns}
    raise InputError(
        "The table of gene vectors has numbers that are no dimensions",
        where=where,
        expected="columns encoder0, ... and decoder0, ..., or columns of one name and a number, such as x0, x1, ...",
        found=", ".join([*map(_range, by_stem.values()), *others]),
        todo="leave out the columns that are no dimension, or rename those that are",
    )


def _range(columns: list[str]) -> str:
    return columns[0] if len(columns) == 1 else f"{columns[0]} to {columns[-1]}"
