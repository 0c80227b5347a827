"""Read a corpus back and check everything that docs/corpus-format.md promises."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curation.axis import ids_sha256
from curation.corpus import FORMAT_VERSION, TABLES, store_name
from curation.errors import InputError
from curation.file_sums import file_sum
from curation.manifest_check import store_fault
from curation.variant_manifest import manifest_digest
from curation.verify_store import check_store
from curation.verify_variant import variant_problems


def verify_corpus(corpus: Path, *, threads: int | None = None) -> list[str]:
    """Return everything that is wrong with a corpus, one sentence each; empty if nothing is.

    Parameters
    ----------
    corpus : Path
    threads : int, optional
        That read, hash and decode; as many as there are cores by default.

    Raises
    ------
    InputError
        There is no corpus.json, it is damaged or of another format or version.
    """
    manifest = _read_manifest(corpus)
    axis = _read_axis(corpus, manifest)
    ids, symbols = (None, None) if axis is None else (axis["ensembl_id"].to_list(), axis["symbol"].to_list())
    more_columns = str(manifest["format_version"]) != FORMAT_VERSION
    problems = list(_manifest_problems(corpus, manifest, axis))
    measured: dict[str, np.ndarray | None] = {}
    batches: dict[tuple[str, str], dict[str, set[str]]] = {}
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        for entry in _whole_entries(manifest):
            path = str(entry["path"])
            found = check_store(corpus / path, entry, ids, pool, symbols=symbols, more_columns=more_columns)
            problems += [f"{path}: {problem}" for problem in found.problems]
            measured[path] = found.measured
            batches.setdefault((entry["study"], entry["recipe"]), {})[entry["split"]] = found.batches
    for (study, recipe), by_split in batches.items():
        shared = by_split.get("train", set()) & by_split.get("validation", set())
        problems += [f"{study}.{recipe}: batch {batch!r} is in training and in validation" for batch in sorted(shared)]
    whole = manifest | {"stores": _whole_entries(manifest)}
    for variant in sorted((corpus / "variants").glob("*.json")):
        found_here = variant_problems(corpus, variant, whole, measured)
        problems += [f"variants/{variant.name}: {problem}" for problem in found_here]
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
    try:
        manifest: Any = json.loads(path.read_bytes())
        found = (manifest.get("format"), str(manifest.get("format_version", "")).split(".")[0])
    except (ValueError, AttributeError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    if found != ("diverserna-corpus", FORMAT_VERSION.split(".")[0]):
        raise InputError(
            "this corpus is of another format",
            where=str(path),
            expected=f"format diverserna-corpus, version {FORMAT_VERSION}",
            found=f"format {manifest.get('format')}, version {manifest.get('format_version')}",
            todo="use the release of this program that wrote it",
        )
    for name, kind in (("stores", list), ("gene_axis", dict), ("studies", dict), ("sources", dict), ("files", dict)):
        if not isinstance(manifest.get(name), kind):
            raise _damaged(path, f"{name} is {type(manifest.get(name)).__name__}")
    return dict(manifest)


def _damaged(path: Path, found: str) -> InputError:
    return InputError(
        "corpus.json is damaged",
        where=str(path),
        expected="what the assemble step wrote",
        found=found,
        todo="remove the file and run the workflow again; the stores stay",
    )


def _whole_entries(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [entry for entry in manifest["stores"] if not store_fault(entry, in_corpus=True)]


def _read_axis(corpus: Path, manifest: Mapping[str, Any]) -> pl.DataFrame | None:
    """Return the gene axis, None if it is not what was written; that is named where the file's sum is checked.

    A damaged file is not given to Polars, which may end in an error that is no Exception.
    """
    path = corpus / "genes.parquet"
    try:
        if manifest["files"].get(path.name) != file_sum(path):
            return None
        return pl.read_parquet(path, columns=["ensembl_id", "symbol"])
    except (OSError, pl.exceptions.PolarsError):
        return None


def _manifest_problems(corpus: Path, manifest: Mapping[str, Any], axis: pl.DataFrame | None) -> Iterator[str]:
    """Yield what is wrong with corpus.json, without opening a store."""
    axis_sha256 = manifest["gene_axis"].get("sha256")
    ids = [] if axis is None else axis["ensembl_id"].to_list()
    found = {"sha256": ids_sha256(ids), "n_genes": len(ids)}
    if axis is not None and found != {name: manifest["gene_axis"].get(name) for name in found}:
        yield "genes.parquet is not the gene axis that corpus.json names"
    for name in TABLES:
        if not (corpus / name).is_file():
            yield f"{name}: the file is missing"
        elif manifest["files"].get(name) != file_sum(corpus / name):
            yield f"{name}: its bytes and sha256 are not those in corpus.json"
    entries = _whole_entries(manifest)
    if len(entries) < len(manifest["stores"]):
        n_wrong = len(manifest["stores"]) - len(entries)
        yield f"corpus.json: {n_wrong} entries of stores lack a field, or have one of another type"
    if "digest" not in manifest:
        yield "corpus.json: it has no digest"
    elif manifest_digest(axis_sha256, entries) != manifest["digest"]:
        yield "corpus.json: its digest does not fit its list of stores"
    paths = [str(entry["path"]) for entry in entries]
    if paths != sorted(set(paths)):
        yield "corpus.json: its stores are not sorted by path, or one is there twice"
    for entry in entries:
        if entry["path"] != store_name(entry["study"], entry["recipe"], entry["split"]):
            yield f"corpus.json: {entry['path']} is not the name of its study, recipe and split"
    studies = sorted({str(entry["study"]) for entry in entries})
    for name in ("studies", "sources"):
        if sorted(manifest[name]) != studies:
            yield f"corpus.json: {name} has {', '.join(sorted(manifest[name]))}; the stores are of {', '.join(studies)}"
    folder = corpus / "stores"
    present = {f"stores/{path.name}" for path in folder.iterdir() if path.name[0] != "."} if folder.is_dir() else set()
    yield from (f"{path}: the store is not in corpus.json" for path in sorted(present - set(paths)))
