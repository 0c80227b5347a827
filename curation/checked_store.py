"""A store that a command is about to read: its files against their sums, and what libraries raise in our own words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from curation.errors import InputError
from curation.file_sums import ROOT_METADATA, FileSum, file_sum
from curation.manifests import root_attributes

AGAIN = "remove this store and run the workflow again; it writes only what is missing"
VERIFY = "run `python -m curation verify` on the corpus; remove what it names and run the workflow again"


def stated_files(folder: Path, entry: Mapping[str, Any]) -> dict[str, FileSum]:
    """Return the sums of a store's files, from the root metadata that corpus.json names.

    Raises
    ------
    InputError
        The root metadata is missing, is another one, or does not name the files.
    """
    attributes = root_attributes(folder, entry)
    with decoding(folder, entry, ROOT_METADATA):
        files = attributes["files"]
        return {str(name): {"bytes": int(s["bytes"]), "sha256": str(s["sha256"])} for name, s in files.items()}


def check_files(folder: Path, entry: Mapping[str, Any], below: Iterable[str] = ("",)) -> None:
    """Compare files of a store with their sums; corpora before 1.0 state none.

    Parameters
    ----------
    folder : Path
        Of the corpus.
    entry : mapping
        Of the store.
    below : iterable of str
        Beginnings of the paths that are compared; all files by default.

    Raises
    ------
    InputError
        The root metadata is another one than corpus.json names, or a file is missing or not what was written.
    """
    if "zarr_json_sha256" not in entry:
        root_attributes(folder, entry)
        return
    for file, known in stated_files(folder, entry).items():
        if file.startswith(tuple(below)):
            try:
                found = file_sum(folder / entry["path"] / file)
            except OSError as error:
                reason = "no such file" if isinstance(error, FileNotFoundError) else str(error.strerror)
                raise damaged_file(folder, entry, file, known, reason) from None
            if found != known:
                raise damaged_file(folder, entry, file, known, _words(found))


def damaged_file(folder: Path, entry: Mapping[str, Any], file: str, known: FileSum, found: str | FileSum) -> InputError:
    """Return the error for a file that is not what was written."""
    return InputError(
        "a file of the corpus is damaged, and nothing of its store was written",
        where=f"store {entry['path']}, file {file}, in {folder}",
        expected=_words(known),
        found=found if isinstance(found, str) else _words(found),
        todo=AGAIN,
    )


def _words(known: FileSum) -> str:
    return f"{known['bytes']:,} bytes, sha256 {known['sha256']}"


@contextmanager
def decoding(folder: Path, entry: Mapping[str, Any], file: str) -> Iterator[None]:
    """Turn whatever is raised for a damaged file of a store into an error that names both."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # Zarr, its codecs and AnnData raise nearly anything for a damaged file
        raise InputError(
            "a file of a store cannot be decoded",
            where=f"store {entry['path']}, file {file}, in {folder}",
            found=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}",
            todo=AGAIN,
        ) from error


def compare_digest(folder: Path, entry: Mapping[str, Any], part: str, found: str, claimed: Any) -> None:
    """Compare the digest of a part of a store with what the store says.

    Raises
    ------
    InputError
        They differ.
    """
    if found != claimed:
        raise InputError(
            "the content is not what the store's digest says, and nothing of the store was written",
            where=f"store {entry['path']}{', ' if part else ''}{part}, in {folder}",
            expected=f"digest {claimed}",
            found=f"digest {found}",
            todo=VERIFY,
        )
