"""Embeddings of cells as blocks of rows that are read from disk, and what is known of each cell."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.lib import format as npy

from txfm.embedding.outputs import npy_file
from txfm.errors import InputError

BLOCK_BYTES = 2**24  # of one block in float64; larger blocks are no faster
NO_PERTURBATION = -1


class Embeddings(Protocol):
    """Vectors of all cells, in a fixed order, readable any number of times."""

    @property
    def shape(self) -> tuple[int, int]:
        """Cells, dimensions."""

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (first row, float64 block) from the first cell to the last. A block is the caller's to change."""


def rows_per_block(width: int) -> int:
    """Rows of a block of `width` numbers."""
    return max(1, BLOCK_BYTES // (8 * max(1, width)))


@dataclass(frozen=True, eq=False)
class ArrayEmbeddings:
    """Embeddings in memory."""

    values: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Cells, dimensions."""
        return self.values.shape[0], self.values.shape[1]

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (first row, float64 block)."""
        n_rows = rows_per_block(self.values.shape[1])
        for start in range(0, len(self.values), n_rows):
            yield start, self.values[start : start + n_rows].astype(np.float64)


class NpyEmbeddings:
    """Embeddings in a .npy file, read in blocks and never mapped: pages of a map would count as memory of the process.

    Raises
    ------
    InputError
        The file is not a matrix of floating-point numbers in rows, or is shorter than it says.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.is_file():
            raise InputError("There are no embeddings", where=str(path))
        try:
            with path.open("rb") as stream:
                version = npy.read_magic(stream)
                read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                shape, by_columns, self._dtype = read_header(stream)
                self._offset = stream.tell()
        except ValueError as error:
            raise InputError("These embeddings cannot be read", where=str(path), found=str(error)) from error
        if len(shape) != 2 or not shape[1] or by_columns or self._dtype.kind != "f":
            raise InputError(
                "These embeddings cannot be used",
                where=str(path),
                expected="a matrix of floating-point numbers, a cell a row, in C order",
                found=f"{self._dtype} of shape {shape}" + (", in Fortran order" if by_columns else ""),
            )
        self._shape = (int(shape[0]), int(shape[1]))
        expected = self._offset + self._shape[0] * self._shape[1] * self._dtype.itemsize
        if path.stat().st_size != expected:
            raise InputError(
                "The file of the embeddings is damaged",
                where=str(path),
                expected=f"{expected:,} bytes",
                found=f"{path.stat().st_size:,} bytes",
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Cells, dimensions."""
        return self._shape

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (first row, float64 block)."""
        n_cells, width = self._shape
        n_rows = rows_per_block(width)
        with self._path.open("rb") as stream:
            stream.seek(self._offset)
            for start in range(0, n_cells, n_rows):
                count = min(n_rows, n_cells - start) * width
                yield start, np.fromfile(stream, self._dtype, count).astype(np.float64).reshape(-1, width)


def write_npy(path: Path, blocks: Iterable[np.ndarray], n_cells: int, width: int) -> NpyEmbeddings:
    """Write float32 blocks of rows into one .npy file and open it.

    Raises
    ------
    AssertionError
        The blocks do not come to `n_cells` rows.
    """
    npy_file.write_npy(path, blocks, n_cells, width)
    return NpyEmbeddings(path)


@dataclass(frozen=True, kw_only=True, eq=False)
class Cells:
    """Labels of all cells, in the order of their embeddings.

    Attributes
    ----------
    perturbations : tuple of str
        Names, sorted. Controls are none of them.
    perturbation : numpy.ndarray (n_cells,), int32
        Position in `perturbations`; -1 for controls and for cells without a label.
    is_control : numpy.ndarray (n_cells,), bool
    batch : numpy.ndarray (n_cells,), int32
        0, 1, ...
    """

    perturbations: tuple[str, ...]
    perturbation: np.ndarray
    is_control: np.ndarray
    batch: np.ndarray

    def __len__(self) -> int:
        return len(self.perturbation)

    @classmethod
    def from_labels(cls, perturbation: np.ndarray, is_control: np.ndarray, batch: np.ndarray) -> "Cells":
        """Labels of cells from arrays of strings; an empty perturbation is none."""
        labels, codes = np.unique(np.asarray(perturbation, dtype=str), return_inverse=True)
        return cls.from_codes(
            codes, [str(label) for label in labels], is_control, np.unique(batch, return_inverse=True)[1]
        )

    @classmethod
    def from_codes(cls, codes: np.ndarray, labels: list[str], is_control: np.ndarray, batch: np.ndarray) -> "Cells":
        """Labels of cells from positions in `labels` (-1: none) and from whole numbers that stand for batches."""
        is_control = np.asarray(is_control, dtype=bool)
        codes = np.asarray(codes, dtype=np.int32)
        unlabelled = np.array([label == "" for label in [*labels, ""]])  # the last one is that of code -1
        scored = ~is_control & ~unlabelled[codes]
        present = np.unique(codes[scored])
        names = sorted({labels[code] for code in present})  # stores repeat labels
        place = {name: position for position, name in enumerate(names)}
        position = np.array([place.get(label, NO_PERTURBATION) for label in [*labels, ""]], dtype=np.int32)
        return cls(
            perturbations=tuple(names),
            perturbation=np.where(scored, position[codes], NO_PERTURBATION).astype(np.int32),
            is_control=is_control,
            batch=np.unique(batch, return_inverse=True)[1].astype(np.int32),
        )
