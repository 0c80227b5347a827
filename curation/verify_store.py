"""One store against docs/corpus-format.md: its files, its metadata, its counts, its tables, its digests."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import zarr

from curation.digest import combined_digest, frame_digest
from curation.store import VAR_COLUMNS
from curation.variant_manifest import STORE_FIELDS
from curation.verify_files import file_problems
from curation.verify_matrix import MatrixFindings, check_matrix
from curation.verify_obs import check_obs

VAR_DTYPES = {"symbol": "object", "measured": "bool", "n_detected": "int64"}


@dataclass(frozen=True, kw_only=True)
class StoreFindings:
    """What was found in a store.

    Attributes
    ----------
    problems : list of str
    batches : set of str
        That its samples are of.
    measured : ndarray of bool or None
        None if var cannot be read.
    """

    problems: list[str]
    batches: set[str]
    measured: np.ndarray | None


def check_store(
    store: Path,
    entry: Mapping[str, Any],
    ensembl_ids: list[str] | None,
    pool: Executor,
    *,
    symbols: list[str] | None = None,
    more_columns: bool = False,
) -> StoreFindings:
    """Check a store's files and, whatever these say, all of its content that can be read.

    Parameters
    ----------
    store : Path
    entry : mapping
        Of the store in corpus.json.
    ensembl_ids : list of str or None
        The gene axis; None if it cannot be read.
    pool : Executor
        Threads that read, hash and decode.
    symbols : list of str, optional
        Of the gene axis, in its order; not compared by default.
    more_columns : bool
        A later minor version wrote the corpus.
    """
    if not store.is_dir():
        return StoreFindings(problems=["the store is missing"], batches=set(), measured=None)
    problems = list(file_problems(store, str(entry["zarr_json_sha256"]), pool))
    content = check_content(store, entry, ensembl_ids, pool, symbols=symbols, more_columns=more_columns)
    return StoreFindings(problems=problems + content.problems, batches=content.batches, measured=content.measured)


def check_content(
    store: Path,
    entry: Mapping[str, Any],
    ensembl_ids: list[str] | None,
    pool: Executor,
    *,
    symbols: list[str] | None = None,
    more_columns: bool = False,
) -> StoreFindings:
    """Check everything but the sums of the files; arguments as of `check_store`."""
    try:
        return _content(store, entry, (ensembl_ids, symbols), pool, more_columns=more_columns)
    except Exception as error:  # of a damage that nobody has thought of
        problem = f"the check of its content broke off: {_words(error)}"
        return StoreFindings(problems=[problem], batches=set(), measured=None)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _content(
    store: Path,
    entry: Mapping[str, Any],
    axis: tuple[list[str] | None, list[str] | None],
    pool: Executor,
    *,
    more_columns: bool,
) -> StoreFindings:
    try:
        root = zarr.open_group(store, mode="r")
        attributes = root.attrs.asdict()
    except Exception as error:  # whatever a library raises for a damaged file is a finding
        problem = f"the root metadata cannot be read: {_words(error)}"
        return StoreFindings(problems=[problem], batches=set(), measured=None)
    problems = list(_attribute_problems(attributes, entry))
    var, var_problems = _read_var(root, *axis)
    problems += var_problems
    measured = None if var is None else var["measured"].to_numpy()
    matrix = MatrixFindings(problems=["X: not checked, var cannot be read"])
    if measured is not None:
        try:
            matrix = check_matrix(store / "X", measured, pool)
        except Exception as error:  # as above
            matrix = MatrixFindings(problems=[f"X: cannot be read: {_words(error)}"])
        problems += _shape_problems(root, matrix, entry, measured)
    problems += matrix.problems
    obs = check_obs(root, entry, matrix, more_columns=more_columns)
    problems += obs.problems
    if var is not None and matrix.n_detected is not None:
        wrong = np.flatnonzero(var["n_detected"].to_numpy() != matrix.n_detected)
        if len(wrong):
            problems.append(f"var/n_detected: does not agree with X at {len(wrong)} genes")
    digests = {
        **{name: matrix.digests.get(name, "") for name in ("X/data", "X/indices", "X/indptr")},
        "obs": obs.digest,
        "var": "" if var is None else frame_digest(var[list(VAR_COLUMNS)]),
    }
    problems += _digest_problems(digests, attributes, entry)
    problems += _curation_problems(root)
    return StoreFindings(problems=problems, batches=obs.batches, measured=measured)


def _attribute_problems(attributes: Mapping[str, Any], entry: Mapping[str, Any]) -> Iterator[str]:
    if attributes.get("encoding-type") != "anndata":
        yield f"the attribute encoding-type is {attributes.get('encoding-type')!r}, not 'anndata'"
    for name in STORE_FIELDS:
        if attributes.get(name) != entry.get(name):
            yield f"the attribute {name} is {attributes.get(name)!r}, corpus.json has {entry.get(name)!r}"


def _read_var(
    root: zarr.Group, ensembl_ids: list[str] | None, symbols: list[str] | None
) -> tuple[pd.DataFrame | None, list[str]]:
    try:
        var: Any = ad.io.read_elem(root["var"])
        if not isinstance(var, pd.DataFrame):
            return None, [f"var: is no table, but {type(var).__name__}"]
        if not set(VAR_COLUMNS) <= set(var.columns):
            return None, [f"var: the columns are {', '.join(map(str, var.columns))}"]
        found = {name: str(var[name].dtype) for name in VAR_COLUMNS}
        if found["measured"] != "bool":
            return None, [f"var/measured: is {found['measured']}, not bool"]
        problems = [
            f"var/{name}: is {found[name]}, not {kind}" for name, kind in VAR_DTYPES.items() if found[name] != kind
        ]
        if ensembl_ids is not None and list(var.index) != ensembl_ids:
            problems.append("var: is not the gene axis")
        elif symbols is not None:
            problems += _symbol_problems(var, symbols)
    except Exception as error:  # as above
        return None, [f"var: cannot be read: {_words(error)}"]
    return var, problems


def _symbol_problems(var: pd.DataFrame, symbols: list[str]) -> Iterator[str]:
    wrong = [i for i, (mine, known) in enumerate(zip(var["symbol"], symbols, strict=True)) if mine != known]
    if wrong:
        i = wrong[0]
        yield (
            f"var/symbol: does not agree with genes.parquet at {len(wrong)} genes; {var.index[i]} has "
            f"{var['symbol'].iloc[i]!r}, genes.parquet has {symbols[i]!r}"
        )


def _shape_problems(
    root: zarr.Group, matrix: MatrixFindings, entry: Mapping[str, Any], measured: np.ndarray
) -> Iterator[str]:
    try:
        stated = root["X"].attrs.asdict()
    except Exception as error:  # as above
        yield f"X: the metadata cannot be read: {_words(error)}"
    else:
        if stated.get("encoding-type") != "csr_matrix" or stated.get("shape") != [entry["n_samples"], len(measured)]:
            yield f"X: is a {stated.get('encoding-type')} of shape {stated.get('shape')}"
    if int(measured.sum()) != entry["n_genes_measured"]:
        yield f"var/measured: {measured.sum()} genes, corpus.json has {entry['n_genes_measured']}"
    if matrix.n_samples != -1:
        nnz = int(matrix.row_lengths.sum())
        if (matrix.n_samples, nnz) != (entry["n_samples"], entry["nnz"]):
            yield (
                f"X: has {matrix.n_samples} rows and {nnz} non-zeros, corpus.json has {entry['n_samples']} and "
                f"{entry['nnz']}"
            )


def _digest_problems(
    digests: Mapping[str, str], attributes: Mapping[str, Any], entry: Mapping[str, Any]
) -> Iterator[str]:
    """Compare what could be read with what is stated; what could not be read has been named before."""
    stated = attributes.get("digests")
    if not isinstance(stated, dict) or combined_digest(stated) != attributes.get("digest"):
        yield "the attribute digest does not fit the attribute digests"
        stated = {}
    for name, digest in digests.items():
        if digest and name in stated and digest != stated[name]:
            yield f"{name}: the content does not have the digest that the attributes name"
    if all(digests.values()) and combined_digest(digests) != entry["digest"]:
        yield "the content does not have the digest that corpus.json names"


def _curation_problems(root: zarr.Group) -> Iterator[str]:
    try:
        json.loads(str(ad.io.read_elem(root["uns/curation"])))
    except Exception as error:  # as above
        yield f"uns/curation: is not JSON: {_words(error)}"
