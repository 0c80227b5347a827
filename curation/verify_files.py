"""Every file of a store against the sums in its root metadata, and that against corpus.json: nothing is decoded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from curation.file_sums import ROOT_METADATA, FileSum, file_sum, files_below


def file_problems(store: Path, zarr_json_sha256: str, pool: Executor) -> Iterator[str]:
    """Yield what is wrong with the files of a store, one sentence a file.

    Parameters
    ----------
    store : Path
    zarr_json_sha256 : str
        Of the root metadata, as corpus.json states it.
    pool : Executor
        Threads that read and hash.
    """
    root = store / ROOT_METADATA
    try:
        if file_sum(root)["sha256"] != zarr_json_sha256:
            yield f"{ROOT_METADATA}: its sha256 is not the one in corpus.json"
        stated = _stated(root)
    except OSError as error:
        yield f"{ROOT_METADATA}: cannot be read: {error.strerror}"
        return
    except Exception as error:  # whatever a damaged file leads to is a finding
        yield f"{ROOT_METADATA}: does not name the files of the store: {type(error).__name__}: {error}"
        return
    present = set(files_below(store))
    yield from (f"{path}: the file is not in the store's list of files" for path in sorted(present - stated.keys()))
    yield from (f"{path}: the file is missing" for path in sorted(stated.keys() - present))
    paths = sorted(present & stated.keys())
    for path, problem in zip(paths, pool.map(lambda path: _problem(store / path, stated[path]), paths), strict=True):
        if problem:
            yield f"{path}: {problem}"


def _stated(root: Path) -> Mapping[str, FileSum]:
    metadata: dict[str, Any] = json.loads(root.read_bytes())
    files = metadata["attributes"]["files"]
    return {str(path): {"bytes": int(entry["bytes"]), "sha256": str(entry["sha256"])} for path, entry in files.items()}


def _problem(path: Path, stated: FileSum) -> str:
    try:
        n_bytes = path.stat().st_size
        if n_bytes != stated["bytes"]:
            return f"the file has {n_bytes:,} bytes, {stated['bytes']:,} were written"
        return "" if file_sum(path) == stated else "the content of the file does not have the sha256 that was written"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
