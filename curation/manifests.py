"""A corpus as its JSON files describe it: corpus.json, variants and the metadata of stores, never a count."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.errors import InputError
from curation.file_sums import ROOT_METADATA, file_sum
from curation.manifest_check import corpus_fault, variant_fault
from curation.schema_check import nearest
from curation.variant_manifest import STORE_FIELDS

MANIFEST = "corpus.json"
# Major versions whose manifests these commands understand
KNOWN_MAJORS = ("0", "1")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """A corpus, or one variant of it.

    Attributes
    ----------
    folder : Path
        Of the corpus.
    manifest : mapping
        corpus.json.
    variant : str or None
        None for all stores of the corpus.
    described : mapping
        The variant's JSON; corpus.json where no variant is chosen.
    """

    folder: Path
    manifest: Mapping[str, Any]
    variant: str | None
    described: Mapping[str, Any]

    @property
    def stores(self) -> list[dict[str, Any]]:
        """Entries of the stores, in the order of their paths; with the sums of corpus.json, which a variant has not."""
        known = {store["path"]: store for store in self.manifest["stores"]}
        sums = {
            path: {"zarr_json_sha256": store["zarr_json_sha256"]}
            for path, store in known.items()
            if "zarr_json_sha256" in store
        }
        stores = [store | sums.get(store["path"], {}) for store in self.described["stores"]]
        return sorted(stores, key=lambda store: str(store["path"]))

    @property
    def title(self) -> str:
        """Folder, and variant if there is one, as a user names them."""
        return str(self.folder) if self.variant is None else f"{self.folder}:{self.variant}"

    @property
    def variants(self) -> dict[str, dict[str, Any]]:
        """All variants of the corpus, by name."""
        return {name: read_variant(self.folder, name) for name in variant_names(self.folder)}


def open_selection(folder: Path, variant: str | None = None, *, majors: tuple[str, ...] = KNOWN_MAJORS) -> Selection:
    """Read the manifests of a corpus, or of one variant.

    Raises
    ------
    InputError
        There is no corpus or no such variant, or a manifest is damaged or of an unknown version.
    """
    manifest = read_manifest(folder, majors=majors)
    described = manifest if variant is None else read_variant(folder, variant)
    strange = {store["path"] for store in described["stores"]} - {store["path"] for store in manifest["stores"]}
    if strange:
        raise InputError(
            "the variant has a store that is not in the corpus",
            where=str(folder / "variants" / f"{variant}.json"),
            expected=f"stores of {folder / MANIFEST}",
            found=", ".join(sorted(strange)[:5]),
            todo="run the workflow again: a manifest is stale",
        )
    return Selection(folder=folder, manifest=manifest, variant=variant, described=described)


def parse_selection(text: str) -> Selection:
    """Return what CORPUS or CORPUS:VARIANT names; a folder of that very name comes first.

    Raises
    ------
    InputError
        As `open_selection` does.
    """
    folder, colon, variant = text.rpartition(":")
    if colon and folder and not Path(text).exists():
        return open_selection(Path(folder), variant)
    return open_selection(Path(text))


def read_manifest(folder: Path, *, majors: tuple[str, ...] = KNOWN_MAJORS) -> dict[str, Any]:
    """Return corpus.json of a folder.

    Raises
    ------
    InputError
        It is not there, is no JSON, or is of another format or an unknown major version.
    """
    _refuse_address(folder)
    path = folder / MANIFEST
    if not path.is_file():
        raise InputError(
            "there is no corpus here",
            where=str(folder),
            expected=f"a folder that holds {MANIFEST}",
            found=_found_instead(folder),
            todo=_advice(folder),
        )
    manifest = read_json(path)
    _refuse_format(path, manifest, "corpus", majors)
    if fault := corpus_fault(manifest):
        raise _damaged(path, fault)
    return manifest


def variant_names(folder: Path) -> list[str]:
    """Return the names of a corpus's variants."""
    return sorted(path.stem for path in (folder / "variants").glob("*.json") if not path.name.startswith("."))


def read_variant(folder: Path, name: str) -> dict[str, Any]:
    """Return variants/<name>.json of a corpus.

    Raises
    ------
    InputError
        There is no such variant, or its JSON is damaged or of an unknown major version.
    """
    names = variant_names(folder)
    if name not in names:
        raise InputError(
            f"there is no variant {name!r} in this corpus",
            where=str(folder / "variants"),
            expected=", ".join(names) or "no variant: this corpus has none",
            found=name,
            todo=nearest(name, names) if names else "leave the variant out",
        )
    path = folder / "variants" / f"{name}.json"
    variant = read_json(path)
    _refuse_format(path, variant, "variant", KNOWN_MAJORS)
    if fault := variant_fault(variant):
        raise _damaged(path, fault)
    return variant


def _refuse_format(path: Path, manifest: dict[str, Any], kind: str, majors: tuple[str, ...]) -> None:
    version = str(manifest.get("format_version", ""))
    if manifest.get("format") != f"diverserna-{kind}" or version.split(".")[0] not in majors:
        raise InputError(
            f"this {kind} is of a format that this command does not read",
            where=str(path),
            expected=f"format diverserna-{kind}, major version {' or '.join(majors)}",
            found=f"format {manifest.get('format')}, version {version or 'not stated'}",
            todo="use the release of this program that wrote it, or build the corpus again with this one",
        )


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object of a file.

    Raises
    ------
    InputError
        It holds none.
    """
    content: Any
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            "a file of the corpus is missing",
            where=str(path),
            todo="run `python -m curation verify` on the corpus: it lists all that is wrong",
        ) from None
    except (ValueError, RecursionError) as error:  # not UTF-8, or not JSON
        raise _damaged(path, str(error), expected="a JSON object") from error
    if not isinstance(content, dict):
        raise _damaged(path, str(content)[:300], expected="a JSON object")
    return content


def _damaged(path: Path, found: str, *, expected: str = "what the workflow wrote") -> InputError:
    return InputError(
        "this file is damaged",
        where=str(path),
        expected=expected,
        found=found,
        todo="copy the file once more, or run the workflow again; it writes only what is missing",
    )


def root_attributes(folder: Path, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of a store, once they agree with its entry.

    Raises
    ------
    InputError
        The store is missing, or is another one than the entry says.
    """
    path = folder / entry["path"] / ROOT_METADATA
    attributes = read_json(path).get("attributes", {})
    if not isinstance(attributes, dict):
        raise _damaged(path, f"attributes are {attributes!r}"[:300])
    for name in ("digest", *STORE_FIELDS):
        if attributes.get(name) != entry[name]:
            raise InputError(
                "the store is another one than its entry says",
                where=str(path),
                expected=f"{name} {entry[name]}",
                found=f"{name} {attributes.get(name)}",
                todo="run the workflow again: a manifest is stale, or the store was replaced",
            )
    found = file_sum(path)["sha256"]
    if entry.get("zarr_json_sha256", found) != found:
        raise InputError(
            "the metadata of a store is not what corpus.json names",
            where=str(path),
            expected=f"sha256 {entry['zarr_json_sha256']}",
            found=f"sha256 {found}",
            todo="run the workflow again; it writes only what is missing",
        )
    return attributes


def check_tables(selection: Selection) -> None:
    """Compare the tables beside the stores with their sums in corpus.json; formats before 1.0 state none.

    Raises
    ------
    InputError
        One is missing or not what was written.
    """
    for name, known in selection.manifest.get("files", {}).items():
        path = selection.folder / name
        found = file_sum(path) if path.is_file() else None
        if found != known:
            raise _damaged(path, "no such file" if found is None else str(found), expected=str(known))


def choose_study(
    entries: Iterable[Mapping[str, Any]], study: str, recipe: str | None, *, where: str
) -> tuple[str, str]:
    """Return study and recipe once they are known to be there; the only recipe where none is named.

    Raises
    ------
    InputError
        There is no such study or recipe, or there are several recipes and none is named.
    """
    recipes: dict[str, set[str]] = {}
    for entry in entries:
        recipes.setdefault(str(entry["study"]), set()).add(str(entry["recipe"]))
    if study not in recipes:
        raise InputError(
            f"there is no study {study!r} in this corpus",
            where=where,
            expected=", ".join(sorted(recipes)),
            found=study,
            todo=nearest(study, recipes),
        )
    known = sorted(recipes[study])
    if recipe is None and len(known) == 1:
        return study, known[0]
    if recipe not in known:
        raise InputError(
            f"there is no recipe {recipe!r} of {study}" if recipe else f"{study} is here under several recipes",
            where=where,
            expected=f"--recipe with one of: {', '.join(known)}",
            found=recipe or "no --recipe",
            todo=nearest(recipe, known) if recipe else f"add --recipe {known[0]}, or another one",
        )
    return study, recipe


def _refuse_address(folder: Path) -> None:
    scheme = str(folder).partition(":/")[0]
    if scheme in ("s3", "gs", "http", "https"):
        raise InputError(
            "this command reads a corpus from a folder of this machine",
            where=str(folder),
            expected="a folder",
            todo="copy the corpus here first; `txfm.open_corpus` reads a remote one in place",
        )


def _found_instead(folder: Path) -> str:
    if not folder.exists():
        return "no such folder"
    if not folder.is_dir():
        return "a file"
    names = sorted(path.name for path in folder.iterdir())
    return f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''}" if names else "an empty folder"


def _advice(folder: Path) -> str:
    """Name the nearest folder that is a corpus: below this one, above it, or beside it."""
    below = [path.parent for pattern in ("*", "*/*") for path in sorted(folder.glob(f"{pattern}/{MANIFEST}"))]
    above = [parent for parent in (folder, *folder.parents) if (parent / MANIFEST).is_file()]
    if below or above:
        return f"did you mean {(below + above)[0]}?"
    parent = folder.parent
    beside = {path.name: path for path in parent.iterdir() if path.is_dir()} if parent.is_dir() else {}
    if not folder.exists() and beside:
        return nearest(folder.name, beside)
    return "name the corpus folder, e.g. results/demo/corpus"
