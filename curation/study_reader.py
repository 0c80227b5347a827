"""A study opened for curation: its parts, their gene maps, and the proof that its numbers are counts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from curation.axis import GeneAxis
from curation.blocks import PartReader
from curation.catalog import Part, Study
from curation.copies import CopyFinder
from curation.count_kind import check_count_kind
from curation.counts import RAW_MATRIX
from curation.errors import InputError
from curation.genes import GeneMap, GeneNames
from curation.labels import wanted_columns
from curation.readers import open_part


@dataclass(frozen=True, kw_only=True)
class OpenPart:
    """A part with its reader, its gene map, and what it finds out about repeated rows."""

    part: Part
    reader: PartReader
    genes: GeneMap
    copies: CopyFinder


class StudyReader:
    """The parts of a study, one after the other.

    Raises
    ------
    InputError
        A file is missing or not what its format says, a column that the catalogue names is not there, or the numbers
        are not the counts that the catalogue promises.
    """

    def __init__(self, study: Study, axis: GeneAxis, sources: Path, scratch: Path) -> None:
        self.study = study
        self.axis = axis
        self.sources = sources
        self._stack = ExitStack()
        self.names = GeneNames(axis)
        wanted = wanted_columns(study)
        self.parts: Sequence[OpenPart] = []
        with ExitStack() as stack:
            parts = []
            for part in study.parts:
                reader = open_part(part, sources=sources, scratch=scratch, columns=frozenset(wanted))
                stack.enter_context(closing(reader))
                _require_genes_and_numbers(reader)
                _require_columns(part, reader, wanted)
                check_count_kind(reader, study, part.name)
                genes = self.names.map(reader.gene_ids, study.gene_ids, keep_prefix=study.gene_prefix_keep)
                parts.append(OpenPart(part=part, reader=reader, genes=genes, copies=CopyFinder(reader.gene_ids)))
            self.parts = parts
            if not self.n_samples:
                raise InputError(
                    "there is no sample in the files of this study",
                    where=", ".join(part.reader.where for part in parts),
                    expected="at least one sample",
                    found="0 samples",
                    todo="fetch the files again, or correct the study's entry in the catalogue",
                )
            self._stack = stack.pop_all()

    @property
    def n_samples(self) -> int:
        """Samples of all parts."""
        return sum(part.reader.n_samples for part in self.parts)

    def mean_nnz(self) -> float:
        """Return about how many non-zeros a sample has, from some samples of each part."""
        blocks = [block.counts for part in self.parts for block in part.reader.some_blocks(8, 8)]
        return sum(counts.nnz for counts in blocks) / max(1, sum(counts.shape[0] for counts in blocks))

    def close(self) -> None:
        """Close every part."""
        self._stack.close()


def _require_genes_and_numbers(reader: PartReader) -> None:
    """Raise an InputError if the table has no genes, or its values are of no numeric type."""
    if not reader.gene_ids:
        left_out = ", ".join(f"{n:,} {kind}" for kind, n in sorted(reader.left_out.items()))
        raise InputError(
            "there is no gene in this table",
            where=reader.where,
            expected="at least one gene",
            found=f"0 genes; no genes are {left_out}" if left_out else "0 genes",
            todo="fetch the file again, or correct the part's entry in the catalogue",
        )
    for block in reader.some_blocks(1, 1):
        if block.counts.dtype.kind not in "iufb":
            raise InputError(
                "the values of the matrix are no numbers",
                where=reader.where,
                expected="integers or floating-point numbers",
                found=f"values of type {block.counts.dtype}",
                todo=RAW_MATRIX,
            )


def _require_columns(part: Part, reader: PartReader, wanted: dict[str, str]) -> None:
    known = {*reader.obs_columns, *part.constants}
    for column, wanted_by in wanted.items():
        if column not in known:
            raise InputError(
                f"there is no metadata column {column!r}",
                where=f"{reader.where}, named by {wanted_by}",
                expected=f"a column {column!r}",
                found=", ".join(sorted(known)) or "no metadata at all",
                todo="correct the study's entry in the catalogue",
            )
