"""Embeddings and labels of a screen out of a file that `txfm embed` wrote."""

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import ArrowInvalid

from txfm.booleans import strict_booleans
from txfm.consistency.cells import Cells, NpyEmbeddings, rows_per_block, write_npy
from txfm.errors import InputError

LABELS = ("perturbation", "batch")


def read_parquet(
    path: Path, controls: tuple[str, ...], study: str | None, scratch: Path
) -> tuple[NpyEmbeddings, Cells]:
    """Read embeddings and labels as `txfm embed` writes them: perturbation, batch, study, e0, e1, ...

    Parameters
    ----------
    path : Path
    controls : tuple of str
        Labels of controls.
    study : str, optional
        Leave the rows of other studies out.
    scratch : Path
        Where the vectors go, as .npy.

    Raises
    ------
    InputError
        A column is missing, or no row is of that study.
    """
    if not path.is_file():
        raise InputError("There are no embeddings", where=str(path))
    try:
        file = pq.ParquetFile(path)
    except ArrowInvalid as error:
        raise InputError(
            "This is no .parquet file", where=str(path), found=str(error), todo="write it again (`txfm embed`)"
        ) from error
    names = set(file.schema_arrow.names)
    vectors = [f"e{i}" for i in range(sum(name[:1] == "e" and name[1:].isdecimal() for name in names))]
    wanted = [*LABELS, *(["study"] if study else []), *(vectors or ["e0"])]
    if missing := [name for name in wanted if name not in names]:
        raise InputError(
            "The embeddings lack a column", where=str(path), expected=", ".join(wanted[:5]), found=f"no {missing[0]}"
        )
    labels = file.read(wanted[: -len(vectors)]).to_pandas()
    kept = labels[labels["study"].astype(str) == study] if study else labels
    if kept.empty:
        found = ", ".join(sorted(set(labels["study"].astype(str)))) if study else "no row"
        raise InputError(
            "There is no cell of this screen", where=str(path), expected=str(study or "cells"), found=found
        )

    def blocks() -> Iterator[np.ndarray]:
        for batch in file.iter_batches(rows_per_block(len(vectors)), columns=wanted):
            rows = batch.filter(pc.equal(pc.cast(batch["study"], "string"), study)) if study else batch
            yield np.column_stack([rows[name].to_numpy(zero_copy_only=False) for name in vectors])

    return write_npy(scratch, blocks(), len(kept), len(vectors)), _cells(kept, controls, path)


def read_h5ad(path: Path, controls: tuple[str, ...], scratch: Path) -> tuple[NpyEmbeddings, Cells]:
    """Read what `txfm embed` writes: obs with perturbation and batch, and obsm["X_txfm"].

    Raises
    ------
    InputError
        There is no such file, or something is missing in it.
    """
    from anndata.io import read_elem

    from txfm.embedding.outputs.embedded import EMBEDDING_KEY

    if not path.is_file():
        raise InputError("There are no embeddings", where=str(path))
    try:
        opened = h5py.File(path, "r")
    except OSError as error:
        raise InputError(
            "This is no .h5ad file", where=str(path), found=str(error), todo="write it again (`txfm embed`)"
        ) from error
    with opened as file:
        if f"obsm/{EMBEDDING_KEY}" not in file:
            raise InputError("There are no embeddings in this file", where=str(path), expected=f"obsm/{EMBEDDING_KEY}")
        labels = read_elem(file["obs"])
        if missing := [name for name in LABELS if name not in labels]:
            raise InputError(
                "The metadata lacks a column",
                where=f"{path}, obs",
                expected=" and ".join(LABELS),
                found=f"no {missing[0]}",
            )
        matrix = file[f"obsm/{EMBEDDING_KEY}"]
        n_cells, width = matrix.shape
        step = rows_per_block(width)
        blocks = (matrix[start : start + step] for start in range(0, n_cells, step))
        return write_npy(scratch, blocks, n_cells, width), _cells(labels, controls, path)


def _cells(labels: pd.DataFrame, controls: tuple[str, ...], path: Path) -> Cells:
    perturbation = labels["perturbation"].astype(str).to_numpy()
    if controls:
        is_control = np.isin(perturbation, controls)
    elif "is_control" in labels:
        is_control = strict_booleans(labels["is_control"], f"{path}, column is_control")
    else:
        raise InputError(
            "Nothing says which cells are controls",
            where=str(path),
            expected="a column is_control, or their labels",
            todo="add --controls non-targeting, or what this screen calls them",
        )
    return Cells.from_labels(perturbation, is_control, labels["batch"].astype(str).to_numpy())
