"""Reading variants/<name>.json: which stores a variant consists of."""

import base64
import difflib
import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from txfm.corpus.places import Place
from txfm.errors import InputError

# Minor versions add what a reader may ignore; before 1.0 each was a format of its own
SUPPORTED_MAJOR = "1"
SUPPORTED_BEFORE = ("0.1", "0.2")
SPLITS = ("train", "validation")
ASSAYS = ("sc", "bulk")


@dataclass(frozen=True, kw_only=True)
class StoreEntry:
    """One store of a variant, as its manifest states it; `path` is relative to the corpus.

    `zarr_json_sha256` is that of the store's root zarr.json, which has the sums of all other files; None where unknown.
    """

    path: str
    study: str
    recipe: str
    split: str
    assay: str
    simulated: bool
    n_samples: int
    nnz: int
    digest: str
    zarr_json_sha256: str | None = None

    @property
    def name(self) -> str:
        """The store's folder."""
        return PurePosixPath(self.path).name


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A variant's manifest. `studies` is sorted and fixes the study index of a batch.

    `measured` has a mask over the gene axis for each study; None for a format before 1.0, where only the stores know.
    `held_out` are the studies that no variant of the corpus may hold; `about` has title, citation and licence of each
    study, as far as corpus.json states them.
    """

    name: str
    digest: str
    corpus_digest: str | None
    studies: tuple[str, ...]
    stores: tuple[StoreEntry, ...]
    measured: Mapping[str, np.ndarray] | None
    held_out: tuple[str, ...]
    about: Mapping[str, Mapping[str, Any]]

    def of_split(self, split: str) -> tuple[StoreEntry, ...]:
        """The stores of one split, in the manifest's order."""
        return tuple(store for store in self.stores if store.split == split)


def read_variant(corpus: Place, name: str) -> Variant:
    """Read and check a variant's manifest.

    Parameters
    ----------
    corpus : Place
        With variants/ and stores/.
    name : str
        The variant's name.

    Raises
    ------
    InputError
        No such corpus or variant, a damaged file, another format version, a held-out study among the stores, or a store
        elsewhere.
    """
    path = f"variants/{name}.json"
    try:
        manifest = _read_object(corpus, path)
    except FileNotFoundError:
        known = [file.removesuffix(".json") for file in corpus.names("variants") if file.endswith(".json")]
        near = difflib.get_close_matches(name, known, n=1)
        raise InputError(
            f"There is no variant {name!r} in this corpus",
            where=corpus.name(),
            expected="one of " + ", ".join(known) if known else "a corpus folder with variants/<name>.json",
            todo=f"did you mean {near[0]!r}?" if near else "check the folder and the variant's name",
        ) from None
    version = str(manifest.get("format_version"))
    known_version = version.split(".")[0] == SUPPORTED_MAJOR or version in SUPPORTED_BEFORE
    if manifest.get("format") != "diverserna-variant" or not known_version:
        raise InputError(
            "This variant's format cannot be read",
            where=corpus.name(path),
            expected=f"diverserna-variant, version {SUPPORTED_MAJOR}.x or {' or '.join(SUPPORTED_BEFORE)}",
            found=f"{manifest.get('format')}, version {version}",
            todo="read it with the version of txfm that belongs to it, or build the corpus again",
        )
    try:
        overview = _read_object(corpus, "corpus.json")
    except FileNotFoundError:  # a model that finds phenoprints is trained before there is one
        overview = {}
    try:
        held_out = set(manifest.get("held_out", []))
        # By path and digest: of another build's store nothing is known here
        sums = {(store["path"], store["digest"]): store.get("zarr_json_sha256") for store in overview.get("stores", [])}
        stores = tuple(_store_entry(corpus.name(path), entry, held_out, sums) for entry in manifest["stores"])
        stated_name, digest = manifest["name"], manifest["digest"]
        measured = _masks(manifest) if "measured" in manifest else None
        if measured is not None:
            _check_sums(corpus.name(path), manifest, stores, measured)
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise _damaged(corpus.name(path), f"a field is missing or of another kind: {error}") from error
    return Variant(
        name=stated_name,
        digest=digest,
        corpus_digest=overview.get("digest"),
        studies=tuple(sorted({store.study for store in stores})),
        stores=stores,
        measured=measured,
        held_out=tuple(sorted(held_out)),
        about=overview.get("studies", {}),
    )


def _check_sums(
    path: str, manifest: Mapping[str, Any], stores: tuple[StoreEntry, ...], measured: Mapping[str, np.ndarray]
) -> None:
    """Compare what a manifest says twice (docs/corpus-format.md): its digest, totals, vocabulary and studies."""
    axis = manifest["gene_axis"]["sha256"]
    content = json.dumps({"axis": axis} | {store.path: store.digest for store in stores}, sort_keys=True)
    positions = np.flatnonzero(np.any(list(measured.values()), axis=0)).tolist()
    found = {
        "digest": hashlib.sha256(content.encode()).hexdigest(),
        "studies": {store.study: store.recipe for store in stores},
        "measured": sorted(measured),
        "vocabulary": hashlib.sha256("\n".join(map(str, positions)).encode()).hexdigest(),
        "totals": {
            split: {
                field: sum(getattr(store, field) for store in stores if store.split == split)
                for field in ("n_samples", "nnz")
            }
            for split in SPLITS
        },
    }
    stated = {
        "digest": manifest["digest"],
        "studies": manifest["studies"],
        "measured": sorted(manifest["studies"]),
        "vocabulary": manifest["vocabulary"]["axis_positions_sha256"],
        "totals": {
            split: {field: manifest["totals"][split][field] for field in ("n_samples", "nnz")} for split in SPLITS
        },
    }
    wrong = [name for name in found if found[name] != stated[name]]
    if wrong:
        raise _damaged(path, f"its {' and its '.join(wrong)} do not fit its list of stores")


def _masks(manifest: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Measured genes of each study, bool over the axis."""
    n_genes = int(manifest["gene_axis"]["n_genes"])
    masks = {}
    for study, text in manifest["measured"].items():
        packed = np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), dtype=np.uint8)
        if len(packed) != -(-n_genes // 8):
            raise ValueError(f"the mask of {study} has {len(packed)} bytes for {n_genes} genes")
        masks[study] = np.unpackbits(packed, count=n_genes, bitorder="little").astype(bool)
    return masks


def _read_object(corpus: Place, path: str) -> dict[str, Any]:
    text = corpus.read(path)
    try:
        content = json.loads(text.decode("utf-8"))
    except ValueError as error:  # neither JSON nor text
        raise _damaged(corpus.name(path), str(error)) from error
    if not isinstance(content, dict):
        raise _damaged(corpus.name(path), f"a {type(content).__name__}")
    return content


def _damaged(path: str, found: str) -> InputError:
    return InputError(
        "A file of the corpus is damaged",
        where=path,
        expected="a JSON object as the corpus build writes it",
        found=found,
        todo="copy it again, or build the corpus again",
    )


def _store_entry(
    manifest_path: str, entry: dict[str, Any], held_out: set[str], sums: Mapping[tuple[str, str], str | None]
) -> StoreEntry:
    relative = PurePosixPath(entry["path"])
    if len(relative.parts) != 2 or relative.parts[0] != "stores" or relative.parts[1] == "..":
        raise InputError(
            "A variant names a store outside the corpus' stores folder",
            where=manifest_path,
            expected="stores/<name>.zarr",
            found=entry["path"],
            todo="build the variant again; stores of held-out studies never belong to a variant",
        )
    if entry["study"] in held_out:
        raise InputError(
            "A variant lists a held-out study",
            where=manifest_path,
            expected="no study of " + ", ".join(sorted(held_out)),
            found=entry["study"],
            todo="take it out of the variant's studies, or out of the evaluation",
        )
    if entry["split"] not in SPLITS or entry["assay"] not in ASSAYS:
        raise _damaged(manifest_path, f"split {entry['split']!r}, assay {entry['assay']!r} of {entry['path']}")
    return StoreEntry(
        path=str(relative),
        study=entry["study"],
        recipe=entry["recipe"],
        split=entry["split"],
        assay=entry["assay"],
        simulated=bool(entry["simulated"]),
        n_samples=int(entry["n_samples"]),
        nnz=int(entry["nnz"]),
        digest=entry["digest"],
        zarr_json_sha256=sums.get((entry["path"], entry["digest"])),
    )
