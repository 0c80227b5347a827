"""Readers: from a file of any of the study formats to blocks of samples, in memory that does not grow with rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from curation.blocks import PartReader
from curation.catalog import Part
from curation.errors import InputError
from curation.readers.dense_text import DenseTextReader
from curation.readers.gct import GctReader
from curation.readers.h5ad import H5adReader
from curation.readers.mtx import MtxReader

READERS: dict[str, Callable[[Part, Path, Path], PartReader]] = {
    "mtx": MtxReader,
    "dense_text": DenseTextReader,
    "gct": GctReader,
    "h5ad": H5adReader,
}


def open_part(part: Part, *, sources: Path, scratch: Path) -> PartReader:
    """Open one part of a study.

    Parameters
    ----------
    part : Part
        The catalogue's words on it: format, files, where the counts are.
    sources : Path
        The study's folder of fetched files.
    scratch : Path
        A folder for temporary runs, on a disk with room for the part's non-zeros (16 bytes each).

    Raises
    ------
    InputError
        The format has no reader, or a file is missing or not what its format says.
    """
    if part.format not in READERS:
        raise InputError(
            f"there is no reader for format {part.format!r}",
            where=f"part {part.name!r}",
            expected=f"one of {', '.join(sorted(READERS))}",
            found=part.format,
            todo="leave the study out of the variant, or add a reader under curation/readers/",
        )
    for role, name in part.files.items():
        if not (sources / name).exists():
            raise InputError(
                f"the {role} file of part {part.name!r} is not there",
                where=str(sources / name),
                expected="a file that the fetch step put there",
                found="nothing",
                todo="run the fetch step of this study (`snakemake` does)",
            )
    return READERS[part.format](part, sources, scratch)
