"""Readers: from a file of any of the study formats to blocks of samples, of which a few are in memory at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from curation.blocks import PartReader
from curation.catalog import Part
from curation.errors import InputError
from curation.readers.dense_text import open_dense_text
from curation.readers.gct import open_gct
from curation.readers.h5ad import open_h5ad
from curation.readers.loom import open_loom
from curation.readers.mtx import open_mtx
from curation.readers.star_counts import open_star_counts
from curation.readers.tenx_h5 import open_tenx_h5
from curation.readers.triplets import open_triplets
from curation.readers.zarr_store import open_zarr

READERS: dict[str, Callable[[Part, Path, Path, frozenset[str] | None], PartReader]] = {
    "mtx": open_mtx,
    "triplets": open_triplets,
    "dense_text": open_dense_text,
    "gct": open_gct,
    "h5ad": open_h5ad,
    "zarr": open_zarr,
    "loom": open_loom,
    "10x_h5": open_tenx_h5,
    "star_counts": open_star_counts,
}


def open_part(part: Part, *, sources: Path, scratch: Path, columns: frozenset[str] | None = None) -> PartReader:
    """Open one part of a study.

    Parameters
    ----------
    part : Part
        The catalogue's words on it: format, files, where the counts are.
    sources : Path
        The study's folder of fetched files.
    scratch : Path
        A folder for temporary runs, on a disk with room for the part's non-zeros (8 bytes each, 12 of fractions).
    columns : frozenset of str or None
        Metadata columns that blocks shall have; None for all. One that the source lacks is absent from blocks.

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
    return READERS[part.format](part, sources, scratch, columns)
