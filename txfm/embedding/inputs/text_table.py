"""Tables of counts as text, csv or tsv, either way round."""

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from txfm.embedding.gene_names import ADVICE_ON_ORGANISM, KnownGenes
from txfm.embedding.inputs.samples import BLOCK_VALUES, Samples
from txfm.embedding.inputs.text_files import first_field, open_text, separator_of
from txfm.embedding.inputs.turned_rows import TurnedRows
from txfm.errors import InputError


def open_text_table(path: Path, scratch: Path, known: KnownGenes) -> Samples:
    """Open a table with one header line and names in its first column.

    Parameters
    ----------
    path : Path
        Separated by tabs, commas or semicolons, plain or gzip. The header may lack the field above the names, as R
        writes it.
    scratch : Path
        An empty folder, in which a table that lists genes is turned.
    known : KnownGenes
        The side with more of them is genes; a note says which.

    Returns
    -------
    Samples

    Raises
    ------
    InputError
        The file is empty or damaged, neither side names a known gene, or a row has another number of fields than the
        header or a field that is no number.
    """
    header, separator = _first_line(path)
    row_names, line_of_width = _scan(path, separator)
    columns = _column_names(path, header, separator, line_of_width)
    known_columns, known_rows = known.count(columns), known.count(row_names)
    if known_columns == known_rows == 0:
        organism = known.other_organism(columns) or known.other_organism(row_names)
        raise InputError(
            "Neither the rows nor the columns of the table are genes that the model knows",
            where=str(path),
            expected="human Ensembl ids or gene symbols in the first line or in the first column",
            found=f"columns {', '.join(columns[:3])}; rows {', '.join(row_names[:3])}"
            + (f"; looks like {organism}" if organism else ""),
            todo=ADVICE_ON_ORGANISM if organism else "check the organism, the header and the separator of the table",
        )
    by_samples = known_columns >= known_rows
    side, n_known, names = ("columns", known_columns, columns) if by_samples else ("rows", known_rows, row_names)
    note = f"table: genes are the {side} ({n_known:,} of {len(names):,} names are known genes), samples the other side"
    genes, samples = (columns, row_names) if by_samples else (row_names, columns)
    rows: TextRows | TurnedRows = TextRows(path, separator, (len(samples), len(genes)))
    if not by_samples:
        rows = _turned(TextRows(path, separator, (len(genes), len(samples))), scratch)
    obs, var = (pd.DataFrame(index=pd.Index(each, dtype=object)) for each in (samples, genes))
    return Samples(where=str(path), rows=rows, var=var, read_obs=lambda: obs, notes=(note,))


class TextRows:
    """The numbers of a table, row by row (`txfm.embedding.inputs.samples.Rows`)."""

    def __init__(self, path: Path, separator: str, shape: tuple[int, int]) -> None:
        self.shape = shape
        self._path = path
        self._separator = separator

    def blocks(self) -> Iterator[sp.csr_matrix]:
        """Yield blocks of at most `BLOCK_VALUES` fields.

        Raises
        ------
        InputError
            A field is no number, or a row has too few or too many.
        """
        n_rows = max(1, BLOCK_VALUES // max(1, self.shape[1]))
        with open_text(self._path) as handle:
            handle.readline()
            first = 1
            while lines := list(islice(_filled(handle), n_rows)):
                yield sp.csr_matrix(self._numbers(lines, first))
                first += len(lines)

    def _numbers(self, lines: list[str], first: int) -> np.ndarray:
        fields = [first_field(line, self._separator)[1] for line in lines]
        try:
            numbers = np.loadtxt(fields, delimiter=self._separator, quotechar='"', comments=None, ndmin=2)
        except ValueError as error:
            raise InputError(
                "A row of the table cannot be read",
                where=f"{self._path}, rows {first:,} to {first + len(lines) - 1:,} after the header",
                expected=f"a name and {self.shape[1]:,} numbers",
                found=str(error),
                todo="a table of counts has no missing value and no column of labels: take those out, or pass an .h5ad",
            ) from error
        assert numbers.shape == (len(lines), self.shape[1]), "the scan compared the number of fields"
        return numbers


def _turned(rows: TextRows, scratch: Path) -> TurnedRows:
    n_genes, n_samples = rows.shape
    turned = TurnedRows((n_samples, n_genes), scratch, values_per_row=n_genes)
    first = 0
    for block in rows.blocks():
        entries = block.tocoo()
        turned.append(entries.col, entries.row + first, entries.data)
        first += block.shape[0]
    return turned


def _first_line(path: Path) -> tuple[str, str]:
    with open_text(path) as handle:
        line = handle.readline().decode("utf-8", "replace").removeprefix("\ufeff").rstrip("\r\n")
    return line, separator_of(line)


def _filled(handle: Iterator[bytes]) -> Iterator[str]:
    for line in handle:
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if text:
            yield text


def _scan(path: Path, separator: str) -> tuple[list[str], dict[int, int]]:
    """Names of all rows, and for each number of fields that a row has, the first line with it."""
    names: list[str] = []
    line_of_width: dict[int, int] = {}
    with open_text(path) as handle:
        handle.readline()
        for number, line in enumerate(_filled(handle), start=2):
            name, rest = first_field(line, separator)
            names.append(name)
            line_of_width.setdefault(2 + rest.count(separator) if rest else 1, number)
    if not names:
        raise InputError("The table has no row", where=str(path), expected="a header and a row for each sample or gene")
    return names, line_of_width


def _column_names(path: Path, header: str, separator: str, line_of_width: dict[int, int]) -> list[str]:
    """Names of the value columns; the header may or may not have a field above the row names."""
    names = next(csv.reader([header], delimiter=separator))
    width = next(iter(line_of_width))
    if len(line_of_width) > 1 or width < 2 or len(names) not in (width, width - 1):
        found = [f"line {line:,} has {width:,} fields" for width, line in line_of_width.items()]
        raise InputError(
            "The header does not fit the rows",
            where=str(path),
            expected=f"{len(names):,} fields in every row, as in the header, or one more: R leaves out the first name",
            found=f"{', '.join(found[:4])} (separator {separator!r})",
            todo="check that the file is whole, has one header line and one separator",
        )
    return names[1:] if len(names) == width else names
