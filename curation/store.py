"""Write one store of the corpus: plain AnnData in sharded Zarr v3, whole or not at all (docs/corpus-format.md)."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import zarr
from scipy import sparse

from curation.digest import combined_digest, frame_digest
from curation.file_sums import sums_below
from curation.obs_writer import ObsWriter
from curation.shards import ShardedArray

COUNT_DTYPE = np.dtype("int32")
INDPTR_DTYPE = np.dtype("int64")
# Codes of up to 65,535 columns fit in uint16, which halves the larger half of a store
UINT16_COLUMNS = 2**16
VAR_COLUMNS = ("symbol", "measured", "n_detected")


@dataclass(frozen=True, kw_only=True)
class StoreRecord:
    """What a written store holds."""

    n_samples: int
    nnz: int
    digest: str


@dataclass(frozen=True, kw_only=True)
class StoreIdentity:
    """What is known of a store before its first sample.

    Attributes
    ----------
    path : Path
        Where the store appears.
    study, recipe, split, assay : str
    simulated : bool
    var : DataFrame
        Index ensembl_id over the whole axis; columns symbol and measured. `n_detected` is counted while writing.
    n_samples, nnz : int
        Samples and non-zeros that will be appended.
    attributes : mapping
        Further attributes of the root group.
    """

    path: Path
    study: str
    recipe: str
    split: str
    assay: str
    simulated: bool
    var: pd.DataFrame
    n_samples: int
    nnz: int
    attributes: Mapping[str, Any]


def index_dtype(n_genes: int) -> np.dtype:
    """Return the dtype of column indices for an axis of `n_genes` genes."""
    return np.dtype("uint16") if n_genes < UINT16_COLUMNS else np.dtype("int32")


class StoreWriter:
    """Fills a temporary folder beside the store's path; `finish` renames it, `discard` removes it.

    Parameters
    ----------
    identity : StoreIdentity
    scratch : Path
        Takes the table of samples until it is written.
    pool : Executor
        Threads that compress.
    hasher : Executor
        One thread that digests and counts.
    """

    def __init__(self, identity: StoreIdentity, *, scratch: Path, pool: Executor, hasher: Executor) -> None:
        self._identity = identity
        path = identity.path
        self._partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
        self._partial.parent.mkdir(parents=True, exist_ok=True)
        for leftover in path.parent.glob(f".{path.name}.*"):
            shutil.rmtree(leftover, ignore_errors=True)
        constants: dict[str, str | bool] = {"study": identity.study, "assay": identity.assay}
        constants["simulated"] = identity.simulated
        self._obs = ObsWriter(scratch / f"obs.{identity.split}", constants)
        self._root = zarr.open_group(self._partial, mode="w", zarr_format=3)
        n_genes = len(identity.var)
        matrix = self._root.create_group("X")
        shape = [identity.n_samples, n_genes]
        matrix.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": shape})

        def array(name: str, length: int, dtype: np.dtype) -> ShardedArray:
            return ShardedArray(matrix, self._partial / "X", name, length=length, dtype=dtype, pool=pool, hasher=hasher)

        self._indices = array("indices", identity.nnz, index_dtype(n_genes))
        self._values = array("data", identity.nnz, COUNT_DTYPE)
        self._indptr = array("indptr", identity.n_samples + 1, INDPTR_DTYPE)
        self._indptr.append(np.zeros(1, dtype=INDPTR_DTYPE))
        self._n_detected = np.zeros(n_genes, dtype=np.int64)
        self._hasher = hasher
        self._counted: Future[None] | None = None
        self._written = 0

    def append(self, counts: sparse.csr_matrix, samples: np.ndarray, names: list[str]) -> None:
        """Add samples in the order of the store.

        Parameters
        ----------
        counts : csr_matrix, int32, shape (n, n_axis_genes)
            Columns sorted, no explicit zeros.
        samples : ndarray of curation.obs_writer.SAMPLE, shape (n,)
        names : list of str
            Sample ids.
        """
        self._indices.append(counts.indices)
        self._values.append(counts.data)
        self._indptr.append(counts.indptr[1:].astype(INDPTR_DTYPE) + self._written)
        self._written += counts.nnz
        if self._counted is not None:
            self._counted.result()
        self._counted = self._hasher.submit(self._count, counts.indices)
        self._obs.append(samples, names)

    def _count(self, indices: np.ndarray) -> None:
        self._n_detected += np.bincount(indices, minlength=len(self._n_detected))

    def finish(self, labels: Mapping[str, np.ndarray], curation: Mapping[str, Any]) -> StoreRecord:
        """Write what is left and let the store appear.

        Parameters
        ----------
        labels : mapping of str to ndarray of str
            Label -> its values by number.
        curation : mapping
            Provenance, stored as JSON in uns/curation.
        """
        identity, root = self._identity, self._root
        arrays = {"indptr": self._indptr, "indices": self._indices, "data": self._values}
        matrix = {f"X/{name}": array.close() for name, array in arrays.items()}
        if self._counted is not None:
            self._counted.result()
        var = identity.var.assign(n_detected=self._n_detected)[list(VAR_COLUMNS)]
        parts = matrix | {"obs": self._obs.write(root, labels), "var": frame_digest(var)}
        record = StoreRecord(n_samples=identity.n_samples, nnz=identity.nnz, digest=combined_digest(parts))
        with ad.settings.override(auto_shard_zarr_v3=False):
            ad.io.write_elem(root, "var", var)
            ad.io.write_elem(root, "uns", {"curation": json.dumps(curation, sort_keys=True)})
            for name in ("layers", "obsm", "obsp", "varm", "varp"):
                ad.io.write_elem(root, name, {})
        shards = {f"X/{path}": known for array in arrays.values() for path, known in array.files.items()}
        root.attrs.update(
            {"encoding-type": "anndata", "encoding-version": "0.1.0"}
            | {"study": identity.study, "recipe": identity.recipe, "split": identity.split}
            | {"assay": identity.assay, "simulated": identity.simulated, **identity.attributes}
            | {"n_samples": record.n_samples, "nnz": record.nnz, "digest": record.digest, "digests": parts}
            | {"files": sums_below(self._partial, shards)}
        )
        path = identity.path
        if path.exists():  # an orphan of a killed run came first; the same inputs gave it the same content
            path.rename(path.with_name(f"{self._partial.name}.replaced"))
        self._partial.rename(path)
        self.discard()
        return record

    def discard(self) -> None:
        """Remove what is not the store."""
        self._obs.close()
        for leftover in (self._partial, self._partial.with_name(f"{self._partial.name}.replaced")):
            shutil.rmtree(leftover, ignore_errors=True)
