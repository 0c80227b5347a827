"""Read a corpus back and check everything that docs/corpus-format.md promises."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import zarr

from curation.axis import GeneAxis
from curation.corpus import FORMAT_VERSION, manifest_digest
from curation.digest import ArrayDigest, combined_digest, frame_digest
from curation.errors import InputError
from curation.obs_writer import OBS_COLUMNS
from curation.store import COUNT_DTYPE, INDPTR_DTYPE, VAR_COLUMNS, index_dtype

# Elements read at a time: 32 chunks
READ_ELEMENTS = 4 * 2**20


def verify_corpus(corpus: Path) -> list[str]:
    """Return everything that is wrong with a corpus, one sentence each; empty if nothing is.

    Raises
    ------
    InputError
        There is no corpus.json, or it is of another format or version.
    """
    manifest = _read_manifest(corpus)
    axis = GeneAxis.read(corpus / "genes.parquet")
    problems: list[str] = []
    if axis.sha256 != manifest["gene_axis"]["sha256"]:
        problems.append("genes.parquet is not the gene axis that corpus.json names")
    if manifest_digest(axis.sha256, manifest["stores"]) != manifest["digest"]:
        problems.append("corpus.json: its digest does not fit its list of stores")
    batches: dict[tuple[str, str], dict[str, set[str]]] = {}
    for entry in manifest["stores"]:
        problems += [f"{entry['path']}: {problem}" for problem in _store_problems(corpus, entry, axis, batches)]
    for (study, recipe), by_split in batches.items():
        shared = by_split.get("train", set()) & by_split.get("validation", set())
        problems += [f"{study}.{recipe}: batch {batch!r} is in training and in validation" for batch in sorted(shared)]
    for path in sorted((corpus / "variants").glob("*.json")):
        problems += [f"{path.name}: {problem}" for problem in _variant_problems(json.loads(path.read_text()), manifest)]
    return problems


def _read_manifest(corpus: Path) -> dict[str, Any]:
    path = corpus / "corpus.json"
    if not path.exists():
        raise InputError(
            "there is no corpus here",
            where=str(path),
            expected="the folder that holds corpus.json",
            found="no such file",
            todo="name the corpus folder, e.g. results/demo/corpus",
        )
    manifest: dict[str, Any] = json.loads(path.read_text())
    found = (manifest.get("format"), str(manifest.get("format_version", "")).split(".")[0])
    if found != ("diverserna-corpus", FORMAT_VERSION.split(".")[0]):
        raise InputError(
            "this corpus is of another format",
            where=str(path),
            expected=f"format diverserna-corpus, version {FORMAT_VERSION}",
            found=f"format {manifest.get('format')}, version {manifest.get('format_version')}",
            todo="use the release of this program that wrote it",
        )
    return manifest


def _store_problems(
    corpus: Path, entry: Mapping[str, Any], axis: GeneAxis, batches: dict[tuple[str, str], dict[str, set[str]]]
) -> Iterator[str]:
    path = corpus / entry["path"]
    if not path.is_dir():
        yield "the store is missing"
        return
    try:
        root = zarr.open_group(path, mode="r")
        obs, var = ad.io.read_elem(root["obs"]), ad.io.read_elem(root["var"])
        digests, problems = _matrix_problems(root, obs, var)
    except Exception as error:  # any failure to read is a finding here, whatever the library raises for it
        yield f"cannot be read: {type(error).__name__}: {error}"
        return
    yield from problems
    if list(obs.columns) != list(OBS_COLUMNS) or list(var.columns) != list(VAR_COLUMNS):
        yield f"the columns are {list(obs.columns)} and {list(var.columns)}"
        return
    if list(var.index) != axis.ensembl_ids:
        yield "var is not the gene axis"
    digest = combined_digest(digests | {"obs": frame_digest(obs), "var": frame_digest(var)})
    for name, claimed in (("its attributes", root.attrs["digest"]), ("corpus.json", entry["digest"])):
        if digest != claimed:
            yield f"the content does not have the digest that {name} names"
    if set(obs["study"].astype(str)) - {entry["study"]}:
        yield "holds samples of another study"
    by_split = batches.setdefault((entry["study"], entry["recipe"]), {})
    by_split[entry["split"]] = set(obs["batch"].astype(str))


def _matrix_problems(root: zarr.Group, obs: pd.DataFrame, var: pd.DataFrame) -> tuple[dict[str, str], list[str]]:
    """Return the digests of the three arrays of X and what is wrong with them."""
    matrix: Any = root["X"]
    problems: list[str] = []
    wanted = {"indptr": INDPTR_DTYPE, "indices": index_dtype(len(var)), "data": COUNT_DTYPE}
    problems += [f"X/{name} is {matrix[name].dtype}" for name, dtype in wanted.items() if matrix[name].dtype != dtype]
    indptr = matrix["indptr"][:]
    nnz = int(indptr[-1])
    if len(indptr) != len(obs) + 1 or indptr[0] != 0 or (np.diff(indptr) < 0).any() or nnz != matrix["data"].shape[0]:
        return {}, [*problems, "X/indptr does not fit obs and data"]
    hashes = {name: ArrayDigest(dtype) for name, dtype in wanted.items()}
    hashes["indptr"].update(indptr)
    measured = var["measured"].to_numpy()
    library_size = np.zeros(len(obs), dtype=np.int64)
    last_index, starts = -1, np.zeros(0, dtype=np.int64)
    for start in range(0, nnz, READ_ELEMENTS):
        stop = min(start + READ_ELEMENTS, nnz)
        indices, values = matrix["indices"][start:stop], matrix["data"][start:stop]
        hashes["indices"].update(indices)
        hashes["data"].update(values)
        columns = indices.astype(np.int64)
        if columns.max() >= len(var):
            return {}, [*problems, "an index lies outside the gene axis"]
        rows = np.searchsorted(indptr, np.arange(start, stop), side="right") - 1
        starts = indptr[rows[0] : rows[-1] + 1]
        steps = np.diff(columns, prepend=last_index)
        first_of_row = np.isin(np.arange(start, stop), starts)
        if (steps[~first_of_row] <= 0).any():
            problems.append("indices are not sorted within a row")
        if not measured[columns].all():
            problems.append("a gene that the study did not measure has counts")
        if values.min() <= 0:
            problems.append("a stored count is not above 0")
        library_size += np.bincount(rows, weights=values, minlength=len(obs)).astype(np.int64)
        last_index = int(columns[-1])
    if not np.array_equal(library_size, obs["library_size"].to_numpy()):
        problems.append("library_size does not agree with X")
    if not np.array_equal(np.diff(indptr), obs["n_genes"].to_numpy()):
        problems.append("n_genes does not agree with X")
    return {f"X/{name}": digest.hexdigest() for name, digest in hashes.items()}, problems


def _variant_problems(variant: Mapping[str, Any], manifest: Mapping[str, Any]) -> Iterator[str]:
    stores = {store["path"]: store for store in manifest["stores"]}
    for store in variant["stores"]:
        if store["study"] in variant["held_out"]:
            yield f"{store['study']} is held out and still a member"
        if store["path"] not in stores:
            yield f"{store['path']} is not in corpus.json"
        elif store["digest"] != stores[store["path"]]["digest"]:
            yield f"{store['path']} has another digest than in corpus.json"
    if manifest_digest(manifest["gene_axis"]["sha256"], variant["stores"]) != variant["digest"]:
        yield "its digest does not fit its list of stores"
