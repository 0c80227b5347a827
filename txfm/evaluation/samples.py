"""The file that a benchmark scores embedders on: its labels, its own embeddings, and what identifies it."""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

from txfm.booleans import strict_booleans
from txfm.embedding.inputs.anndata_layout import open_anndata_layout, read_table
from txfm.errors import InputError
from txfm.evaluation.sample_file import obsm_keys, open_file, require_column, require_key


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledSamples:
    """Samples of an .h5ad or of a .zarr (one of our stores, or of anndata); counts are read when asked for.

    Attributes
    ----------
    path : Path
    obs : pandas.DataFrame
        All rows.
    obsm_keys : tuple of str
    identity : dict
        path (the name), n_samples, simulated, and digest (of a store) or sha256 (of a file).
    """

    path: Path
    obs: pd.DataFrame
    obsm_keys: tuple[str, ...]
    identity: dict[str, Any]

    def __len__(self) -> int:
        return len(self.obs)

    @property
    def studies(self) -> tuple[str, ...]:
        """Studies that obs names, for the check of leakage; none if it names none."""
        return tuple(sorted(set(self.labels("study")) - {""})) if "study" in self.obs else ()

    def labels(self, column: str) -> np.ndarray:
        """A column of obs as strings (n_samples,), empty where missing.

        Raises
        ------
        InputError
            There is no such column; the message lists those that exist.
        """
        require_column(column, self.obs.columns, str(self.path))
        values = self.obs[column]
        return np.where(values.isna(), "", values.astype(str)).astype(str)

    def in_order(self, rows: np.ndarray, *columns: np.ndarray) -> tuple[np.ndarray, int]:
        """Put rows in the order of the samples' names, so that the order of the file says nothing.

        Parameters
        ----------
        rows : numpy.ndarray (n,), int64
        columns : numpy.ndarray (n_samples,), str
            What else is known of the samples: those of one name are put in order by it.

        Returns
        -------
        numpy.ndarray (n,), int64
        int
            Samples among them that agree with another in name and columns: these are in the order of the file.
        """
        names = self.obs.index.to_numpy()[rows].astype(str)
        keys = [names, *(column[rows] for column in columns)]
        alike = pd.DataFrame(dict(enumerate(keys))).duplicated(keep=False)
        return rows[np.lexsort(keys[::-1])], int(alike.sum())

    def counts(self, rows: np.ndarray, counts: str = "X") -> tuple[sp.csr_matrix, pd.DataFrame]:
        """Raw counts of some rows, of the genes that were measured.

        Parameters
        ----------
        rows : numpy.ndarray, int64
            Ascending.
        counts : str
            Where they are: "X", "raw" or "layers/NAME".

        Returns
        -------
        scipy.sparse.csr_matrix (number of rows, g), float32
        pandas.DataFrame (g)
            Their part of var.

        Raises
        ------
        InputError
            There is no such matrix, or it holds no raw counts.
        """
        blocks, first = [], 0
        with open_file(self.path) as group, tempfile.TemporaryDirectory(prefix="txfm-evaluate-") as scratch:
            samples = open_anndata_layout(group, str(self.path), Path(scratch), counts)
            var = samples.var
            measured = np.ones(len(var), dtype=bool)
            if "measured" in var:
                measured = strict_booleans(var["measured"], f"{self.path}, var['measured']")
            for block in samples.counts():
                inside = rows[np.searchsorted(rows, first) : np.searchsorted(rows, first + block.shape[0])] - first
                blocks.append(sp.csr_matrix(block[inside][:, np.flatnonzero(measured)], dtype=np.float32))
                first += block.shape[0]
        return sp.vstack(blocks, format="csr"), var[measured]

    def obsm(self, key: str) -> np.ndarray:
        """An embedding of the file itself: float32 (n_samples, d).

        Raises
        ------
        InputError
            There is no such key (the message lists those that exist), or it holds no matrix of numbers. Values that are
            not finite in float32 are left as they are: rows with them may not be scored at all.
        """
        require_key(key, self.obsm_keys, str(self.path))
        with open_file(self.path) as group:
            stored = group["obsm"][key]
            values = stored if isinstance(stored, np.ndarray) else anndata.io.read_elem(stored)
        values = values.toarray() if hasattr(values, "toarray") else np.asarray(values)
        if values.ndim != 2 or values.dtype.kind not in "fiu" or not values.shape[1]:
            raise InputError(
                "This is no embedding",
                where=f"{self.path}, obsm[{key!r}]",
                expected="a matrix of numbers, a row a sample",
                found=f"{values.dtype} of shape {values.shape}",
            )
        with np.errstate(over="ignore"):  # beyond float32 is infinity, which is told where it is scored
            return values.astype(np.float32)


def read_samples(path: Path) -> LabelledSamples:
    """Open a file for a benchmark.

    Raises
    ------
    InputError
        There is no such file, it is of another kind, or damaged.
    """
    with open_file(path) as group:
        obs = read_table(group["obs"])
        keys = obsm_keys(group)
        digest = group.attrs.get("digest") if path.is_dir() else None
    simulated = (
        bool(strict_booleans(obs["simulated"], f"{path}, obs['simulated']").any()) if "simulated" in obs else False
    )
    identity: dict[str, Any] = {"path": path.name, "n_samples": len(obs), "simulated": simulated}
    if digest:
        identity["digest"] = str(digest)
    elif path.is_file():
        with path.open("rb") as handle:
            identity["sha256"] = hashlib.file_digest(handle, "sha256").hexdigest()
    return LabelledSamples(path=path, obs=obs, obsm_keys=keys, identity=identity)
