"""What text tells of samples: their ids in order, and a table of metadata joined to them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import polars as pl

from curation.blocks import NO_METADATA
from curation.errors import InputError
from curation.readers.read_ahead import read_ahead
from curation.readers.text import header_of, line_chunks, separator_of

# Name of the id column while tables are joined; no header can hold it, as a line ends there
_ID = "\n"


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """A table of metadata.

    Attributes
    ----------
    ids : Series
        Sample ids.
    columns : tuple of str
        Names of all columns of the source's table.
    frame : polars DataFrame
        The wanted ones as strings, "" where nothing is known.
    """

    ids: pl.Series
    columns: tuple[str, ...]
    frame: pl.DataFrame


class SampleTable:
    """Ids and metadata of a part's samples, held as Arrow strings (`curation.readers.matrix_reader.Samples`)."""

    def __init__(self, ids: pl.Series, columns: tuple[str, ...], frame: pl.DataFrame) -> None:
        self.columns = columns
        self._ids = ids
        self._frame = frame

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._ids)

    def frame(self, first: int, last: int) -> pd.DataFrame:
        """Return the wanted columns of samples `first` to `last` - 1, indexed by sample id."""
        index = pd.Index(self._ids[first:last].to_list(), dtype=object)
        columns = {
            column.name: column.to_numpy() if column.dtype == pl.Boolean else column.to_list()
            for column in self._frame[first:last].iter_columns()
        }
        return pd.DataFrame(columns, index=index)


def read_metadata(path: Path, columns: frozenset[str] | None = None) -> Metadata:
    """Return a table of sample metadata indexed by its first column; empty fields and NA become "".

    Parameters
    ----------
    path : Path
        csv, tsv or a table separated by blanks, plain or gz, with a header.
    columns : frozenset of str or None
        Columns to keep; None for all. Of two with one name the first counts.

    Raises
    ------
    InputError
        It is damaged, or not a table.
    """
    separator = separator_of(path, among="\t,; ")
    names = header_of(path, separator)
    chosen = [i for i, name in enumerate(names) if (columns is None or name in columns) and name not in names[:i]]
    schema = {str(i): pl.String for i in range(len(names) + 1)}
    frames = []
    for chunk in read_ahead(line_chunks(path, skip=1, quoted=True)):
        try:
            frame = pl.read_csv(
                io.BytesIO(chunk),
                has_header=False,
                separator=separator,
                schema=schema,
                null_values=["NA"],
                encoding="utf8-lossy",
            )
        except pl.exceptions.PolarsError as error:
            raise InputError(
                "this is not a table",
                where=str(path),
                expected=f"rows of {len(schema)} fields, as in the header and its first row",
                found=str(error).splitlines()[0],
                todo="check that the file is whole, and its format in the catalogue",
            ) from error
        frames.append(frame.select("0", *(str(i + 1) for i in chosen)).fill_null(""))
    table = pl.concat(frames, rechunk=True)
    kept = table.drop("0").rename({str(i + 1): names[i] for i in chosen})
    return Metadata(ids=table["0"], columns=tuple(dict.fromkeys(names)), frame=kept)


def sample_table(ids: pl.Series | Sequence[str], metadata: Metadata | None, *, where: str) -> SampleTable:
    """Return the samples with their metadata; a sample without a row gets "" and is marked NO_METADATA.

    Parameters
    ----------
    ids : Series or sequence of str
        Sample ids in the order of the matrix.
    metadata : Metadata or None
        In any order, of more samples or fewer; rows for one id agree in the columns that were asked for.
    where : str
        For messages.

    Raises
    ------
    InputError
        Not one of the samples has metadata, or two rows say different things of one.
    """
    ids = pl.Series(ids, dtype=pl.String)
    if metadata is None:
        return SampleTable(ids, (), pl.DataFrame())
    table = metadata.frame.with_columns(metadata.ids.alias(_ID), pl.lit(value=False).alias(NO_METADATA))
    table = table.unique(maintain_order=True)
    if repeated := table.filter(table[_ID].is_duplicated() & table[_ID].is_in(ids.implode()))[_ID].unique().to_list():
        raise InputError(
            f"the metadata says different things of {len(repeated):,} samples",
            where=where,
            expected="one row a sample, or rows that agree",
            found=f"two rows or more of {', '.join(sorted(repeated)[:3])}",
            todo="give each file its own metadata, or split the study into parts whose ids are unique",
        )
    joined = pl.DataFrame({_ID: ids}).join(
        table.unique(_ID, keep="first", maintain_order=True), on=_ID, how="left", maintain_order="left"
    )
    unknown = joined[NO_METADATA].is_null()
    if len(ids) and unknown.all():
        raise InputError(
            "no sample has a row in the metadata",
            where=where,
            expected=f"ids like {ids[0]!r} in the first column of the metadata",
            found=", ".join(repr(name) for name in metadata.ids[:3]),
            todo="check that the metadata file belongs to this part",
        )
    frame = joined.drop(_ID, NO_METADATA).fill_null("").rechunk()
    if unknown.any():
        frame = frame.with_columns(unknown.alias(NO_METADATA))
    return SampleTable(ids, metadata.columns, frame)
