"""The cells of one or several stores: their labels, and their counts in blocks of rows."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import zarr

from txfm.consistency.cells import Cells
from txfm.corpus.gene_map import GeneMap
from txfm.corpus.places import LocalPlace
from txfm.corpus.store import StoreReader
from txfm.corpus.variant import StoreEntry
from txfm.errors import InputError

BLOCK_CELLS = 2048
ATTRIBUTES = ("study", "recipe", "split", "assay", "simulated", "n_samples", "nnz", "digest")


class Screen:
    """Stores of one study under one recipe, one after another.

    Parameters
    ----------
    paths : sequence of Path
        Stores (.zarr) of a corpus.

    Raises
    ------
    InputError
        A path is no store, the stores are of several studies or recipes, or they measured different genes.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        repeated = [path for i, path in enumerate(paths) if path.resolve() in {other.resolve() for other in paths[:i]}]
        if repeated:
            raise InputError(
                "A store is named twice, so that its cells would count twice",
                where=str(repeated[0]),
                expected="each store once, such as the train and the validation store",
                todo="name it once",
            )
        self.readers = [StoreReader(LocalPlace(path.parent), _entry(path)) for path in paths]
        self.entries = [reader.entry for reader in self.readers]
        owners = sorted({f"{entry.study}.{entry.recipe}" for entry in self.entries})
        if len(owners) > 1:
            raise InputError(
                "The stores are not of one screen",
                expected="stores of one study under one recipe, such as its train and validation stores",
                found=", ".join(owners),
            )
        measured = [reader.measured for reader in self.readers]
        if any(not np.array_equal(other, measured[0]) for other in measured[1:]):
            raise InputError("The stores of the screen measured different genes", where=str(paths[0]))
        self.measured = np.flatnonzero(measured[0])
        self._genes = GeneMap(self.measured, len(measured[0]))

    @property
    def n_cells(self) -> int:
        """Cells of all stores."""
        return sum(entry.n_samples for entry in self.entries)

    @property
    def study(self) -> str:
        """The screen's study."""
        return self.entries[0].study

    @property
    def axis_ids(self) -> np.ndarray:
        """Ensembl ids of the gene axis."""
        return self.readers[0].var.index.to_numpy()

    def cells(self) -> Cells:
        """Labels of all cells; only codes and categories are read, no sample id."""
        labels: list[str] = []
        codes, controls, batches = [], [], []
        batch_names: dict[str, int] = {}
        for reader in self.readers:
            obs = reader.obs_columns("perturbation", "is_control", "batch")
            own, names = obs["perturbation"], list(obs["perturbation"].categories)
            codes.append(np.where(own.codes >= 0, own.codes.astype(np.int32) + len(labels), -1))
            labels += names
            controls.append(np.asarray(obs["is_control"], dtype=bool))
            numbers = [batch_names.setdefault(name, len(batch_names)) for name in obs["batch"].categories]
            batches.append(np.array([*numbers, -1], dtype=np.int32)[obs["batch"].codes])
        return Cells.from_codes(np.concatenate(codes), labels, np.concatenate(controls), np.concatenate(batches))

    def blocks(self) -> Iterator[tuple[int, sp.csr_matrix]]:
        """Yield (first cell, counts over the measured genes)."""
        offset = 0
        for reader in self.readers:
            for start in range(0, reader.entry.n_samples, BLOCK_CELLS):
                stop = min(start + BLOCK_CELLS, reader.entry.n_samples)
                rows = reader.read_rows(start, stop, self._genes, drops=False)
                shape = (len(rows), len(self.measured))
                counts, positions = rows.counts.astype(np.int32), rows.positions.astype(np.int32)
                yield offset + start, sp.csr_matrix((counts, positions, rows.indptr), shape=shape)
            offset += reader.entry.n_samples


def _entry(path: Path) -> StoreEntry:
    """What a store's own attributes say of it."""
    if not (path / "zarr.json").is_file():
        raise InputError("There is no such store", where=str(path), expected="a folder NAME.zarr of a corpus")
    attributes: dict[str, Any] = dict(zarr.open_group(path, mode="r").attrs)
    missing = [name for name in ATTRIBUTES if name not in attributes]
    if missing:
        raise InputError(
            "This is not a store of a corpus",
            where=str(path),
            expected=f"the attributes {', '.join(ATTRIBUTES)}",
            found=f"no {', '.join(missing)}",
        )
    return StoreEntry(path=path.name, **{name: attributes[name] for name in ATTRIBUTES})
