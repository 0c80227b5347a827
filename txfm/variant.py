"""Reading variants/<name>.json: which stores a variant consists of."""

import difflib
import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from txfm.errors import InputError

SUPPORTED_VERSIONS = ("0.1", "0.2")


@dataclass(frozen=True, kw_only=True)
class StoreEntry:
    """One store of a variant, as its manifest states it."""

    path: Path
    study: str
    recipe: str
    split: str
    assay: str
    simulated: bool
    n_samples: int
    nnz: int
    digest: str


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A variant's manifest. `studies` is sorted and fixes the study index of a batch."""

    name: str
    digest: str
    corpus_digest: str | None
    studies: tuple[str, ...]
    stores: tuple[StoreEntry, ...]

    def of_split(self, split: str) -> tuple[StoreEntry, ...]:
        """The stores of one split, in the manifest's order."""
        return tuple(store for store in self.stores if store.split == split)


def read_variant(corpus: Path, name: str) -> Variant:
    """Read and check a variant's manifest.

    Parameters
    ----------
    corpus : Path
        Folder with variants/ and stores/.
    name : str
        The variant's name.

    Raises
    ------
    InputError
        No such corpus or variant, a damaged file, another format version, a held-out study among the stores, or a store
        elsewhere.
    """
    path = corpus / "variants" / f"{name}.json"
    if not path.is_file():
        known = sorted(file.stem for file in (corpus / "variants").glob("*.json"))
        near = difflib.get_close_matches(name, known, n=1)
        raise InputError(
            f"There is no variant {name!r} in this corpus",
            where=str(corpus),
            expected="one of " + ", ".join(known) if known else "a corpus folder with variants/<name>.json",
            todo=f"did you mean {near[0]!r}?" if near else "check the folder and the variant's name",
        )
    manifest = _read_object(path)
    if manifest.get("format") != "diverserna-variant" or manifest.get("format_version") not in SUPPORTED_VERSIONS:
        raise InputError(
            "This variant's format cannot be read",
            where=str(path),
            expected=f"diverserna-variant, version {' or '.join(SUPPORTED_VERSIONS)}",
            found=f"{manifest.get('format')}, version {manifest.get('format_version')}",
            todo="read it with the version of txfm that belongs to it, or build the corpus again",
        )
    try:
        held_out = set(manifest.get("held_out", []))
        stores = tuple(_store_entry(corpus, path, entry, held_out) for entry in manifest["stores"])
        stated_name, digest = manifest["name"], manifest["digest"]
    except (KeyError, TypeError) as error:
        raise _damaged(path, f"a field is missing or of another kind: {error}") from error
    overview = corpus / "corpus.json"
    return Variant(
        name=stated_name,
        digest=digest,
        corpus_digest=_read_object(overview).get("digest") if overview.is_file() else None,
        studies=tuple(sorted({store.study for store in stores})),
        stores=stores,
    )


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # neither JSON nor text
        raise _damaged(path, str(error)) from error
    if not isinstance(content, dict):
        raise _damaged(path, f"a {type(content).__name__}")
    return content


def _damaged(path: Path, found: str) -> InputError:
    return InputError(
        "A file of the corpus is damaged",
        where=str(path),
        expected="a JSON object as the corpus build writes it",
        found=found,
        todo="copy it again, or build the corpus again",
    )


def _store_entry(corpus: Path, manifest_path: Path, entry: dict[str, Any], held_out: set[str]) -> StoreEntry:
    relative = PurePosixPath(entry["path"])
    if len(relative.parts) != 2 or relative.parts[0] != "stores" or relative.parts[1] == "..":
        raise InputError(
            "A variant names a store outside the corpus' stores folder",
            where=str(manifest_path),
            expected="stores/<name>.zarr",
            found=entry["path"],
            todo="build the variant again; stores of held-out studies never belong to a variant",
        )
    if entry["study"] in held_out:
        raise InputError(
            "A variant lists a held-out study",
            where=str(manifest_path),
            expected="no study of " + ", ".join(sorted(held_out)),
            found=entry["study"],
            todo="take it out of the variant's studies, or out of the evaluation",
        )
    return StoreEntry(
        path=corpus / relative,
        study=entry["study"],
        recipe=entry["recipe"],
        split=entry["split"],
        assay=entry["assay"],
        simulated=bool(entry["simulated"]),
        n_samples=int(entry["n_samples"]),
        nnz=int(entry["nnz"]),
        digest=entry["digest"],
    )
