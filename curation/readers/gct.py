"""GCT 1.2 and 1.3 tables (GTEx): version line, size line, header, then genes by samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from curation.blocks import Block
from curation.catalog import Part
from curation.errors import InputError
from curation.readers.dense_text import DenseTextReader
from curation.readers.text import read_lines


class GctReader:
    """`matrix`: GCT file, plain or gz, columns Name and Description before the samples; `metadata`: optional table."""

    def __init__(self, part: Part, sources: Path, scratch: Path) -> None:
        path = sources / part.files["matrix"]
        version, sizes = read_lines(path, 2)
        if version not in ("#1.2", "#1.3") or len(sizes.split("\t")) < 2:
            raise InputError(
                "this is not a GCT file",
                where=f"{path}, lines 1 and 2",
                expected="#1.2 or #1.3, then the numbers of rows and columns",
                found=f"{version[:40]!r}, {sizes[:40]!r}",
                todo="check the format in the catalogue",
            )
        n_rows, n_columns = (int(field) for field in sizes.split("\t")[:2])
        self._table = DenseTextReader(
            replace(part, orientation="genes_by_samples"), sources, scratch, skip=2, n_labels=2
        )
        found = (len(self._table.gene_ids), self._table.n_samples)
        if found != (n_rows, n_columns):
            self._table.close()
            raise InputError(
                "the size line does not fit the table",
                where=f"{path}, line 2",
                expected=f"{n_rows} genes x {n_columns} samples",
                found=f"{found[0]} genes x {found[1]} samples",
                todo="the file is cut or was edited: fetch the original",
            )
        self.gene_ids = self._table.gene_ids

    @property
    def n_samples(self) -> int:
        """Samples of the table."""
        return self._table.n_samples

    def blocks(self) -> Iterator[Block]:
        """Yield the samples in file order."""
        return self._table.blocks()

    def close(self) -> None:
        """Remove the temporary runs."""
        self._table.close()
