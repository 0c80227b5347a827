"""What is compared: learned vectors of genes, of a model, of a baseline, or of a table that anybody made."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from txfm.errors import InputError
from txfm.loading import load
from txfm.vocabulary import Vocabulary

TABLE_FILES = (".parquet", ".csv")
TABLE_KIND = "table"
OF_GENES = re.compile(r"^(encoder|decoder)\d+$")  # columns of `txfm genes`
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
    """

    label: str
    kind: str
    vocabulary: Vocabulary
    tables: Mapping[str, np.ndarray]
    card: dict[str, Any]
    source: str

    @property
    def identity(self) -> dict[str, Any]:
        """What says exactly which vectors these are, for scores.json."""
        known: dict[str, Any] = {name: self.card[name] for name in IDENTITY if name in self.card}
        shapes = {name: list(table.shape) for name, table in self.tables.items()}
        return {"label": self.label, "kind": self.kind, "source": self.source, "tables": shapes, **known}


def read_gene_embedder(source: str, label: str | None = None) -> GeneEmbedder:
    """Read the vectors of a model folder, a baseline's, a model of the Hub, or a table.

    Parameters
    ----------
    source : str
        Folder or hf:// address; or .parquet or .csv with a column ensembl_id or symbol, or both, and the numbers: in
        columns encoder0, ..., decoder0, ... as `txfm genes` writes them, or in any others.
    label : str, optional
        None = the name of the folder or file.

    Raises
    ------
    InputError
        There is no model, or the table has no names, no numbers, a gene twice or a value that is not finite.
    """
    path = Path(source)
    label = label or path.stem if path.suffix in TABLE_FILES else label or source.rstrip("/").rsplit("/", 1)[-1]
    if path.suffix in TABLE_FILES:
        vocabulary, tables = _read_table(path)
        return GeneEmbedder(label=label, kind=TABLE_KIND, vocabulary=vocabulary, tables=tables, card={}, source=source)
    model = load(source)
    return GeneEmbedder(
        label=label,
        kind=model.card["kind"],
        vocabulary=model.vocabulary,
        tables=model.gene_tables(),
        card=model.card,
        source=source,
    )


def _read_table(path: Path) -> tuple[Vocabulary, dict[str, np.ndarray]]:
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
    columns_of: dict[str, list[str]] = {}
    for column in map(str, numbers):
        match = OF_GENES.match(column)
        columns_of.setdefault(match.group(1) if match else WHOLE, []).append(column)
    return vocabulary, {name: numbers[columns].to_numpy(dtype=np.float64) for name, columns in columns_of.items()}
