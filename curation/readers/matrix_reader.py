"""The parts that every reader is made of: rows of a matrix, and what is known of their samples."""

from __future__ import annotations

import errno
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Protocol

import pandas as pd
from scipy import sparse

from curation.blocks import Block
from curation.errors import InputError
from curation.readers.read_ahead import read_ahead

# What reads and unpacks files; a ValueError from elsewhere is a fault of this program, not of the file
FILE_LIBRARIES = frozenset(("h5py", "zarr", "numcodecs", "gzip", "zipfile", "zlib", "lzma", "bz2", "_compression"))


class Rows(Protocol):
    """A matrix with samples as rows."""

    n_rows: int

    def blocks(self) -> Iterator[tuple[int, sparse.csr_matrix]]:
        """Yield (first row, CSR block) over all rows in order."""

    def rows(self, first: int, last: int) -> sparse.csr_matrix:
        """Return rows `first` to `last` - 1."""


class Samples(Protocol):
    """Ids and metadata of the samples."""

    columns: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of samples."""

    def frame(self, first: int, last: int) -> pd.DataFrame:
        """Return the wanted columns of samples `first` to `last` - 1 as strings, indexed by sample id."""


class MatrixReader:
    """A part of a study (`curation.blocks.PartReader`), made of rows and samples.

    Parameters
    ----------
    where : str
        File, and the place in it, for messages.
    gene_ids : list of str
    rows : Rows
    samples : Samples
    closing : ExitStack
        What to let go of in the end.
    left_out : mapping of str to int
        Kind of feature (Antibody Capture, N_unmapped) -> features of that kind in the source that are no genes.
    others : callable or None
        Looks for other matrices of the source.
    """

    def __init__(
        self,
        *,
        where: str,
        gene_ids: list[str],
        rows: Rows,
        samples: Samples,
        closing: ExitStack,
        left_out: Mapping[str, int] | None = None,
        others: Callable[[], list[tuple[str, bool]]] | None = None,
    ) -> None:
        self.where = where
        self.gene_ids = gene_ids
        self.left_out = dict(left_out or {})
        self._rows = rows
        self._samples = samples
        self._closing = closing
        self._others = others

    @property
    def n_samples(self) -> int:
        """Samples of the part."""
        return len(self._samples)

    @property
    def obs_columns(self) -> tuple[str, ...]:
        """Names of all columns of the metadata."""
        return self._samples.columns

    def other_matrices(self) -> list[tuple[str, bool]]:
        """Return (name, whether its first values look like counts) of the source's matrices that are not read."""
        return self._others() if self._others else []

    def blocks(self) -> Iterator[Block]:
        """Yield every sample once, in the order of the source.

        Raises
        ------
        InputError
            The file is damaged.
        """
        yield from read_ahead(self._blocks())

    def _blocks(self) -> Generator[Block, None, None]:
        with damage_told(self.where):
            for first, counts in self._rows.blocks():
                yield Block(counts=counts, obs=self._samples.frame(first, first + counts.shape[0]))

    def some_blocks(self, n_blocks: int, n_rows: int) -> Iterator[Block]:
        """Yield up to `n_blocks` blocks of up to `n_rows` rows, spread evenly from the first sample to the last."""
        with damage_told(self.where):
            for first in spread_evenly(self.n_samples, n_blocks, n_rows):
                last = min(first + n_rows, self.n_samples)
                yield Block(counts=self._rows.rows(first, last), obs=self._samples.frame(first, last))

    def close(self) -> None:
        """Let go of files and temporary folders."""
        self._closing.close()


def spread_evenly(n_samples: int, n_blocks: int, n_rows: int) -> list[int]:
    """Return the first rows of blocks that do not overlap, the last of which ends with the last sample."""
    if n_samples <= n_blocks * n_rows:
        return list(range(0, n_samples, n_rows))
    if n_blocks == 1:
        return [0]
    return [i * (n_samples - n_rows) // (n_blocks - 1) for i in range(n_blocks)]


@contextmanager
def damage_told(where: str) -> Iterator[None]:
    """Turn what libraries raise on a damaged file into an InputError; an error of the system passes as it is.

    RuntimeError, ValueError and KeyError tell of damage only if they passed through a library that reads files; others
    pass with a note of the place. An InputError that knows no place gets this one.
    """
    try:
        yield
    except InputError as error:
        if error.where:
            raise
        raise InputError(
            error.what, where=where, expected=error.expected, found=error.found, todo=error.todo
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, zlib.error, zipfile.BadZipFile) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        if isinstance(error, RuntimeError | ValueError | KeyError) and not _of_a_file(error.__traceback__):
            error.add_note(f"while reading {where}")
            raise
        raise InputError(
            "the file ends early or is damaged",
            where=where,
            expected="a file that can be read to its end",
            found=": ".join([type(error).__name__, *str(error).splitlines()[:1]]),
            todo="compare it with its checksum (`python -m curation verify-sources`): if it differs, delete it and "
            "fetch it again; if not, it was published so, or the reader does not know its layout",
        ) from error


def _of_a_file(place: TracebackType | None) -> bool:
    """Return whether an error passed through a library that reads files."""
    while place is not None:
        if str(place.tb_frame.f_globals.get("__name__", "")).partition(".")[0] in FILE_LIBRARIES:
            return True
        place = place.tb_next
    return False
