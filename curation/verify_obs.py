"""The samples of a store, column by column: the digest as docs/corpus-format.md defines it, and what must hold."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import zarr

from curation.labels import LABELS
from curation.obs_writer import OBS_COLUMNS, ROWS_PER_CHUNK, SAMPLE, digest_begin, digest_end, digest_rows
from curation.verify_matrix import MatrixFindings

CATEGORICAL = ("study", "assay", *LABELS)
# Every value of these is the store's own, as corpus.json has it
CONSTANTS = ("study", "assay", "simulated")


@dataclass(kw_only=True)
class ObsFindings:
    """What was found in obs.

    Attributes
    ----------
    problems : list of str
    digest : str
        Empty if a column cannot be read.
    batches : set of str
    """

    problems: list[str] = field(default_factory=list)
    digest: str = ""
    batches: set[str] = field(default_factory=set)


def check_obs(root: zarr.Group, entry: Mapping[str, Any], matrix: MatrixFindings, *, more_columns: bool) -> ObsFindings:
    """Read the table of samples, one column at a time.

    Parameters
    ----------
    root : zarr.Group
        Of the store.
    entry : mapping
        Of the store in corpus.json.
    matrix : MatrixFindings
    more_columns : bool
        A later minor version wrote the corpus, so that columns may be there that are not known here.
    """
    found = ObsFindings()
    try:
        group: Any = root["obs"]
        columns, index = [str(name) for name in group.attrs["column-order"]], str(group.attrs["_index"])
    except Exception as error:  # whatever a library raises for a damaged file is a finding
        found.problems.append(f"obs: cannot be read: {type(error).__name__}: {error}")
        return found
    known = [column for column in columns if column in OBS_COLUMNS] if more_columns else columns
    if known != list(OBS_COLUMNS) or index != "sample_id":
        found.problems.append(f"obs: the columns are {index}, {', '.join(columns)}")
        return found
    digest, complete = hashlib.sha256(), True
    for column in (index, *OBS_COLUMNS):
        try:
            values = ad.io.read_elem(group[column])
            if matrix.n_samples not in (-1, len(values)):
                found.problems.append(f"obs/{column}: has {len(values)} values, X has {matrix.n_samples} rows")
                complete = False
                continue
            problems = _column_problems(column, values, entry, matrix)
            _digest_column(digest, "index" if column == index else column, values)
            if column == "batch":
                found.batches = {str(batch) for batch in pd.unique(np.asarray(values))}
        except Exception as error:  # as above
            found.problems.append(f"obs/{column}: cannot be read: {type(error).__name__}: {error}")
            complete = False
            continue
        found.problems += [f"obs/{column}: {problem}" for problem in problems]
    found.digest = digest.hexdigest() if complete else ""
    return found


def _digest_column(digest: Any, name: str, values: Any) -> None:
    digest_begin(digest, name)
    for start in range(0, len(values), ROWS_PER_CHUNK):
        digest_rows(digest, np.asarray(values[start : start + ROWS_PER_CHUNK]), first=not start)
    digest_end(digest)


def _column_problems(column: str, values: Any, entry: Mapping[str, Any], matrix: MatrixFindings) -> list[str]:
    wanted = "string" if column == "sample_id" else "categorical" if column in CATEGORICAL else _number(column)
    kind = _kind(values)
    if kind != wanted:
        return [f"is {kind}, not {wanted}"]
    problems = []
    if column == "sample_id":
        if not all(str(name).startswith(f"{entry['study']}:") for name in values):
            problems.append(f"an id does not begin with {entry['study']}:")
        if not pd.Index(values).is_unique:
            problems.append("an id occurs twice")
    elif column in CONSTANTS and set(pd.unique(np.asarray(values)).tolist()) - {entry[column]}:
        problems.append(f"a sample has another value than the store, {entry[column]!r}")
    elif column == "source_row" and (len(np.unique(values)) < len(values) or (values < 0).any()):
        problems.append("a row of the source occurs twice, or lies before its first")
    elif matrix.n_samples != -1 and column in ("library_size", "n_genes"):
        truth = matrix.row_sums if column == "library_size" else matrix.row_lengths
        wrong = np.flatnonzero((truth != values) & (matrix.known_rows | (column == "n_genes")))
        if len(wrong):
            i = int(wrong[0])
            problems.append(f"does not agree with X in {len(wrong)} rows; row {i} has {values[i]}, X has {truth[i]}")
    return problems


def _number(column: str) -> str:
    return "bool" if column == "simulated" else str(SAMPLE[column].newbyteorder("=").name)


def _kind(values: Any) -> str:
    if isinstance(values, pd.Categorical | pd.Series) and isinstance(values.dtype, pd.CategoricalDtype):
        return "categorical"
    dtype = np.asarray(values).dtype
    return "string" if dtype.kind in "UOT" else str(dtype.name)
