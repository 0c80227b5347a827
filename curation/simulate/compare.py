"""Compare stores and QC reports with the simulated truth, sample by sample."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import zarr
from scipy import sparse

from curation.simulate.candidates import LABELS
from curation.simulate.checksums import Checksums
from curation.simulate.truth import KEPT

BLOCK_ROWS = 4_096
NAMED = 3


def differences(truth: Path, stores: list[Path], report: Path) -> list[str]:
    """Return what differs between the truth of a study under a recipe and what curation made of it.

    Parameters
    ----------
    truth : Path
        truth/<study>.<recipe>.json; the tables of cells and genes lie beside it.
    stores : list of Path
        The train and the validation store.
    report : Path
        The QC report.

    Returns
    -------
    list of str
        One sentence a difference; empty if samples, labels, counts, genes and reasons all agree.
    """
    expected = json.loads(truth.read_text())
    found = json.loads(report.read_text())
    problems = list(_report_differences(expected, found))
    problems += _sample_differences(truth.with_suffix(".cells.tsv.gz"), stores)
    for store in stores:
        var = ad.io.read_elem(zarr.open_group(store, mode="r")["var"])
        ids, measured = var.index, var["measured"].to_numpy(dtype=bool)
        digest = hashlib.sha256("\n".join(ids[measured]).encode()).hexdigest()
        if digest != expected["genes"]["kept_sha256"]:
            problems.append(
                f"{store.name}: other genes are measured ({measured.sum()}) than {expected['genes']['kept']}"
            )
    return problems


def _report_differences(expected: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    for section in ("samples", "genes", "counts"):
        for key, value in expected[section].items():
            if key != "kept_sha256" and found[section].get(key) != value:
                yield f"report, {section}.{key}: {_short(found[section].get(key), value)}"


def _short(found: Any, expected: Any) -> str:
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        keys = sorted({*found, *expected})
        return "; ".join(
            f"{key} {found.get(key, 0)} instead of {expected.get(key, 0)}"
            for key in keys
            if found.get(key, 0) != expected.get(key, 0)
        )
    return f"{found} instead of {expected}"


def _sample_differences(cells: Path, stores: list[Path]) -> list[str]:
    """Compare every sample; the stores shuffle them, so the truth is looked up by sample id."""
    stored = {row[0]: row[1:] for store in stores for row in stored_samples(store)}
    n_stored = sum(zarr.open_group(store, mode="r").attrs["n_samples"] for store in stores)  # type: ignore[misc]
    missing, wrong, kept = [], [], 0
    with gzip.open(cells, "rt", newline="") as handle:
        for row in csv.DictReader(handle, delimiter="\t"):
            if row["outcome"] != KEPT:
                if row["sample_id"] in stored:
                    wrong.append(f"{row['sample_id']} is kept, not {row['outcome']}")
                continue
            kept += 1
            sample = stored.get(row["sample_id"])
            if sample is None:
                missing.append(row["sample_id"])
                continue
            wanted = tuple(row[name] for name in ("library_size", "n_genes", "checksum", *LABELS))
            if sample != wanted:
                wrong.append(f"{row['sample_id']}: {sample} instead of {wanted}")
    problems = [f"{len(missing)} samples are missing: {', '.join(missing[:NAMED])}"] if missing else []
    if n_stored != kept:
        problems.append(f"the stores hold {n_stored} samples instead of {kept}")
    return problems + [f"{len(wrong)} samples differ", *wrong[:NAMED]] * bool(wrong)


def stored_samples(store: Path) -> Iterator[tuple[str, ...]]:
    """Yield sample id, library size, genes, checksum of the counts and labels of every sample of a store, as text."""
    root = zarr.open_group(store, mode="r")
    obs, var = ad.io.read_elem(root["obs"]), ad.io.read_elem(root["var"])
    matrix: Any = root["X"]
    checksums = Checksums(list(var.index))
    indptr = np.asarray(matrix["indptr"][:])
    labels = [obs[name].astype(str).to_numpy() for name in LABELS]
    for first in range(0, len(obs), BLOCK_ROWS):
        bounds = indptr[first : first + BLOCK_ROWS + 1]
        part = slice(bounds[0], bounds[-1])
        counts = sparse.csr_matrix(
            (matrix["data"][part], matrix["indices"][part].astype(np.int32), bounds - bounds[0]),
            shape=(len(bounds) - 1, len(var)),
        )
        sums = np.asarray(counts.sum(axis=1, dtype=np.int64)).ravel()
        for i, checksum in enumerate(checksums.of(counts)):
            row = first + i
            size, n_genes = int(obs["library_size"].iloc[row]), int(obs["n_genes"].iloc[row])
            assert (size, n_genes) == (sums[i], bounds[i + 1] - bounds[i]), "obs states what X holds"
            yield (obs.index[row], str(size), str(n_genes), str(checksum), *(label[row] for label in labels))
