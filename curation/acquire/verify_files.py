"""Hash the files on disk again: what was right when it came may have changed since."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.acquire.failures import WrongBytesError
from curation.acquire.file_check import CHUNK_BYTES, FileCheck
from curation.acquire.lock import SourcesLock
from curation.acquire.part_file import provenance_path
from curation.acquire.source_files import SourceFile, source_files
from curation.errors import InputError

if TYPE_CHECKING:
    from curation.plan import Plan

# Files that are hashed at a time: what a disk and a few processor cores keep up with
HASHES = 4
# Wrong or unknown files of one source that a message names
NAMED = 20


def verify_sources(plan: Plan, folder: Path, lock: SourcesLock) -> str:
    """Hash every file of a plan again, against catalogue, lock and provenance.

    Parameters
    ----------
    plan : Plan
    folder : Path
        Folder of all sources.
    lock : SourcesLock

    Returns
    -------
    str
        What was found right.

    Raises
    ------
    InputError
        A file is missing or wrong, or one lies there that nothing describes; names each.
    """
    files = source_files(plan, folder, lock)
    with ThreadPoolExecutor(HASHES) as pool:
        found = list(pool.map(_problems, files))
    problems = [f"{file.label}: {what}" for file, wrong in zip(files, found, strict=True) for what in wrong]
    unknown = [str(path.relative_to(folder)) for path in _unknown(files, folder)]
    problems += [f"{name}: nothing describes this file" for name in unknown[:NAMED]]
    problems += [f"and {len(unknown) - NAMED:,} more that nothing describes"] if len(unknown) > NAMED else []
    n_right = sum(not wrong for wrong in found)
    if problems:
        raise InputError(
            f"{n_right} of {len(files)} files are right; {len(files) - n_right} are not, {len(unknown)} are unknown",
            where=str(folder),
            expected="the files of the catalogue, and no others",
            found="".join(f"\n  {problem}" for problem in problems),
            todo="remove what is wrong or unknown, and run `python -m curation fetch`; it gets only what is missing",
        )
    return f"{folder}: {n_right} files are as the catalogue, the lock and their provenance say"


def _problems(file: SourceFile) -> list[str]:
    """Return what is wrong with a file, one sentence each."""
    try:
        record = json.loads(provenance_path(file.path).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        record = {}
    if not file.path.is_file():
        return ["missing"]
    check = FileCheck(file.remote)
    try:
        with file.path.open("rb") as handle:
            while chunk := handle.read(CHUNK_BYTES):
                check.take(chunk)
        check.check(file.path)
        problems = list(_contradictions(check, file, record))
    except WrongBytesError as error:
        return [str(error)]
    finally:
        check.close()
    return problems + (_problems_of_listing(file) if file.listing is not None else [])


def _contradictions(check: FileCheck, file: SourceFile, record: dict[str, Any]) -> Iterator[str]:
    pinned = file.pin.get()
    for by, sha256, size in (
        ("the lock", pinned.sha256 if pinned else None, pinned.size if pinned else None),
        ("its provenance", record.get("sha256"), record.get("size")),
    ):
        if size is not None and size != check.size:
            yield f"{check.size:,} bytes, {by} says {size:,}"
        elif sha256 and sha256 != check.sha256:
            yield f"sha256 {check.sha256}, {by} says {sha256}"
    if not record:
        yield "it has no provenance, so it is not known where it came from"


def _problems_of_listing(file: SourceFile) -> list[str]:
    """Hash every file of a receipt again."""
    from curation.acquire.gdc import read_listing
    from curation.acquire.gdc_batches import files_folder, wrong_files

    assert file.listing is not None
    listing = read_listing(file.listing)
    if listing is None:
        return [f"its listing is not pinned at {file.listing}"]
    entries = listing.files
    slices = [entries[start::HASHES] for start in range(HASHES)]
    with ThreadPoolExecutor(HASHES) as pool:
        found = pool.map(lambda some: list(wrong_files(some, files_folder(file.path))), slices)
        wrong = sorted(f"{entry.file_id}: {what}" for some in found for entry, what in some)
    return wrong[:NAMED] + ([f"and {len(wrong) - NAMED:,} more"] if len(wrong) > NAMED else [])


def _unknown(files: Iterable[SourceFile], folder: Path) -> list[Path]:
    """Return files in the sources' folders that no entry describes; what downloads leave on the way is known."""
    known: set[Path] = set()
    sources = set()
    for file in files:
        known |= {file.path, provenance_path(file.path)}
        known |= {file.path.with_name(f"{file.path.name}{suffix}") for suffix in (".part", ".part.json")}
        sources.add(folder / file.source)
        if file.listing is not None:
            known |= _listed_paths(file)
    found = (path for source in sorted(sources) for path in source.rglob("*") if path.is_file())
    return sorted(path for path in found if path not in known and not path.name.startswith("."))


def _listed_paths(file: SourceFile) -> set[Path]:
    from curation.acquire.gdc import read_listing
    from curation.acquire.gdc_batches import files_folder

    assert file.listing is not None
    listing = read_listing(file.listing)
    folder = files_folder(file.path)
    return {folder / entry.file_id / entry.file_name for entry in listing.files} if listing else set()
