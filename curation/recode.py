"""Copy a corpus, or the stores of one variant, under another codec: to a folder or to a bucket (`curation recode`).

Content does not change, and the copy proves it: every file that is read must have the sum that its store names, the
elements that are read and those that were written must both have the digests of the store.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from curation.acquire.disk import require_free
from curation.acquire.progress import Progress
from curation.checked_store import AGAIN, compare_digest, damaged_file, decoding, stated_files
from curation.corpus import write_links
from curation.destination import Destination, Folder, as_json, foreign, open_destination
from curation.digest import ArrayDigest, combined_digest
from curation.errors import InputError
from curation.file_sums import ROOT_METADATA, FileSum, file_sum
from curation.manifests import (
    MANIFEST,
    Selection,
    check_tables,
    open_selection,
    read_json,
    read_variant,
    root_attributes,
    variant_names,
)
from curation.obs_digest import table_digest
from curation.shards import CODEC, ShardedArray
from curation.sizes import human_size
from curation.variant_manifest import manifest_digest

CODECS = ("lz4", "zstd", "keep")
# zstd as the writer of a corpus has it. lz4: level 5 decodes as fast as 1 and is 5% smaller, measured on negative
# binomial counts of 2,000 genes a cell (1.90 bytes per non-zero; zstd has 1.48).
DEFAULT_LEVELS = {"lz4": 5, "zstd": int(str(CODEC["clevel"]))}
LEVELS = range(1, 10)
ARRAYS = ("indptr", "indices", "data")
# 32 chunks: 16 MB of indices or counts
READ_ELEMENTS = 4 * 2**20
COPY_BYTES = 2**22
# What lies beside the stores and the manifests, if it is there
BESIDE = ("genes.parquet", "gene_names.parquet", "NOTICE")
AT_MOST_LARGER = 1.6  # lz4 beside zstd: 1.3 to 1.4 times the bytes


@dataclass(frozen=True, kw_only=True)
class Codec:
    """Settings of Blosc for a copy; None keeps the chunks as they are."""

    settings: Mapping[str, Any] | None

    @classmethod
    def named(cls, name: str, level: int | None) -> Codec:
        """Return a codec by its name on the command line.

        Raises
        ------
        InputError
            The level is none of Blosc's, or is given for chunks that are kept.
        """
        if name == "keep":
            if level is not None:
                raise InputError("--level does not go with --codec keep", todo="leave --level out, or name a codec")
            return cls(settings=None)
        chosen = DEFAULT_LEVELS[name] if level is None else level
        if chosen not in LEVELS:
            raise InputError("no level of compression", where="--level", expected="1 to 9", found=str(chosen))
        return cls(settings={"cname": name, "clevel": chosen, "shuffle": "shuffle"})


def recode(
    folder: Path, out: str, *, codec: Codec, variant: str | None = None, threads: int = 2
) -> list[tuple[str, int, int]]:
    """Copy a corpus; return path, bytes before and bytes after of every store.

    Parameters
    ----------
    folder : Path
        The corpus.
    out : str
        A folder, file:///FOLDER, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX. Stores that an earlier call of the same
        command finished there are left as they are.
    codec : Codec
    variant : str, optional
        Copy the stores and the manifest of this variant only.
    threads : int
        That compress.

    Raises
    ------
    InputError
        Source or destination are not what they should be, or the copy does not have the content of the source.
    """
    source = open_selection(folder, variant, majors=("1",))
    target = open_destination(out)
    _refuse_inside(folder, target)
    check_tables(source)
    for name in variant_names(folder) if variant is None else [variant]:
        read_variant(folder, name)
    known = {entry["path"]: entry for entry in source.manifest["stores"]}
    entries = [known.get(entry["path"], entry) for entry in source.stores]
    files = {entry["path"]: stated_files(folder, entry) for entry in entries}
    finished = _finished(target, entries, codec, folder)
    n_bytes = {path: sum(known["bytes"] for known in sums.values()) for path, sums in files.items()}
    todo = [entry for entry in entries if entry["path"] not in finished]
    if isinstance(target, Folder):
        existing = next(path for path in (target.path, *target.path.absolute().parents) if path.exists())
        require_free(existing, int(AT_MOST_LARGER * sum(n_bytes[entry["path"]] for entry in todo)), f"a copy in {out}")
    if todo:
        target.remove(MANIFEST)  # a corpus.json over stores that are being replaced would be a lie
    sums: dict[str, tuple[str, int]] = dict(finished)
    zarr.config.set({"threading.max_workers": threads})
    with (
        Progress(f"recode to {out}", sum(n_bytes[entry["path"]] for entry in todo)) as progress,
        ThreadPoolExecutor(threads) as pool,
        ThreadPoolExecutor(1) as hasher,
    ):
        for entry in todo:
            copy = _StoreCopy(folder, entry, files[entry["path"]], target, codec, progress)
            sums[entry["path"]] = copy.make(pool, hasher)
    _write_manifests(source, target, entries, {path: sha256 for path, (sha256, _) in sums.items()})
    return [(entry["path"], n_bytes[entry["path"]], sums[entry["path"]][1]) for entry in entries]


def _refuse_inside(folder: Path, target: Destination) -> None:
    if not isinstance(target, Folder):
        return
    here, there = folder.resolve(), target.path.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise InputError(
            "a copy goes beside its corpus, not into it or around it",
            where=str(target),
            expected=f"a folder outside {here}",
            todo=f"for example {here.with_name(here.name + '-lz4')}",
        )


def _finished(
    target: Destination, entries: list[dict[str, Any]], codec: Codec, folder: Path
) -> dict[str, tuple[str, int]]:
    """Return path -> (sum of the root metadata, bytes) of the stores that are there already, whole and as wanted.

    Raises
    ------
    InputError
        The destination holds something else.
    """
    allowed = {"stores", "variants", MANIFEST, *BESIDE}
    strange = foreign(target.names(), allowed)
    names = {Path(path).parts[0] for path in target.sizes("stores")}
    strange += [
        f"stores/{name}"
        for name in foreign(names, (Path(entry["path"]).name for entry in entries))
        if not name.startswith(".")
    ]
    if strange:
        raise InputError(
            "the destination holds something else",
            where=str(target),
            expected="an empty place, or what an earlier call of this command left",
            found=", ".join(strange[:5]),
            todo="name another place, or empty this one",
        )
    found = {}
    for entry in entries:
        text = target.read(f"{entry['path']}/{ROOT_METADATA}")
        if text is None:
            continue
        try:
            attributes = json.loads(text)["attributes"]
            sums = {path: int(known["bytes"]) for path, known in attributes["files"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        sizes = target.sizes(entry["path"])
        sizes.pop(ROOT_METADATA, None)
        metadata = target.read(f"{entry['path']}/X/data/{ROOT_METADATA}") or b""
        if attributes.get("digest") == entry["digest"] and sizes == sums and _has_codec(metadata, codec, folder, entry):
            found[entry["path"]] = hashlib.sha256(text).hexdigest(), sum(sums.values())
    return found


def _has_codec(metadata: bytes, codec: Codec, folder: Path, entry: Mapping[str, Any]) -> bool:
    """Return whether an array is compressed as wanted."""
    if codec.settings is None:
        return metadata == (folder / entry["path"] / "X" / "data" / ROOT_METADATA).read_bytes()
    try:
        sharding = json.loads(metadata)["codecs"][0]["configuration"]
        blosc = next(one["configuration"] for one in sharding["codecs"] if one["name"] == "blosc")
    except (ValueError, KeyError, IndexError, TypeError, StopIteration):
        return False
    return all(blosc.get(name) == value for name, value in codec.settings.items())


def _shard_elements(array: zarr.Array) -> int:
    """Return how many elements lie in a file of an array."""
    return int((array.shards or array.chunks)[0])


@dataclass
class _StoreCopy:
    """One store on its way."""

    folder: Path
    entry: Mapping[str, Any]
    files: Mapping[str, FileSum]
    target: Destination
    codec: Codec
    progress: Progress

    @property
    def path(self) -> str:
        return str(self.entry["path"])

    @property
    def source(self) -> Path:
        return self.folder / self.path

    def make(self, pool: ThreadPoolExecutor, hasher: ThreadPoolExecutor) -> tuple[str, int]:
        """Copy the store; return the sum of its root metadata, and its bytes."""
        partial = self.target.begin_store(self.path)
        begun = time.monotonic()
        try:
            claimed = self._claimed()
            sums = self._copy_others(partial)
            digests = {}
            for name in ARRAYS:
                if self.codec.settings is None:
                    digests[f"X/{name}"] = self._keep_array(name, partial, sums)
                else:
                    digests[f"X/{name}"] = self._recode_array(name, partial, sums, pool, hasher)
                self._compare(f"X/{name}", digests[f"X/{name}"], claimed)
            for name in ("obs", "var"):
                with decoding(self.folder, self.entry, name):
                    digests[name] = table_digest(zarr.open_group(self.source / name, mode="r"))
                self._compare(name, digests[name], claimed)
            self._compare("", combined_digest(digests), {"": str(self.entry["digest"])})
            metadata = self._metadata(sums)
            self.target.finish_store(self.path, partial, metadata, sums)
        finally:
            self.target.abandon_store(partial)
        n_bytes = sum(known["bytes"] for known in sums.values())
        before = sum(known["bytes"] for known in self.files.values())
        seconds = time.monotonic() - begun
        print(f"{self.path}: {human_size(before)} -> {human_size(n_bytes)} in {seconds:.1f} s", flush=True)
        return hashlib.sha256(metadata).hexdigest(), n_bytes

    def _copy_others(self, partial: Path) -> dict[str, FileSum]:
        """Copy every file that is no shard and no metadata of X's arrays, byte for byte."""
        arrays = tuple(f"X/{name}/" for name in ARRAYS)
        sums = {}
        for file in self.files:
            if not file.startswith(arrays):
                self._copy(file, partial)
                sums[file] = self.files[file]
        for file in sums:
            # the group of X stays until its arrays are made below it
            if file != f"X/{ROOT_METADATA}":
                self.target.take(self.path, partial, file)
        return sums

    def _copy(self, file: str, partial: Path) -> None:
        copy = partial / file
        copy.parent.mkdir(parents=True, exist_ok=True)
        total, n_bytes = hashlib.sha256(), 0
        with self._opened(file) as reader, copy.open("wb") as writer:
            while piece := reader.read(COPY_BYTES):
                total.update(piece)
                writer.write(piece)
                n_bytes += len(piece)
                self.progress.add(len(piece))
        self._check(file, {"bytes": n_bytes, "sha256": total.hexdigest()})

    def _opened(self, file: str) -> Any:
        if file not in self.files:
            raise self._not_named(file)
        try:
            return (self.source / file).open("rb")
        except FileNotFoundError:
            raise self._damaged(file, "no such file") from None

    def _check(self, file: str, found: FileSum) -> None:
        if found != self.files[file]:
            raise self._damaged(file, found)

    def _damaged(self, file: str, found: str | FileSum) -> InputError:
        return damaged_file(self.folder, self.entry, file, self.files[file], found)

    def _claimed(self) -> dict[str, str]:
        """Return the digests that the store states."""
        with decoding(self.folder, self.entry, ROOT_METADATA):
            return dict(root_attributes(self.folder, self.entry)["digests"])

    def _array(self, folder: Path, name: str) -> zarr.Array:
        """Open an array of X, in the source or in the copy."""
        with decoding(self.folder, self.entry, f"X/{name}/{ROOT_METADATA}"):
            return zarr.open_array(folder / "X" / name, mode="r")

    def _shards(self, name: str, array: zarr.Array) -> list[str]:
        """Return the files of an array's shards in their order."""
        files = [f"X/{name}/c/{shard}" for shard in range(-(-array.shape[0] // _shard_elements(array)))]
        for file in files:
            if file not in self.files:
                raise self._not_named(file)
        return files

    def _not_named(self, file: str) -> InputError:
        return InputError(
            "a store does not name all of its files, and nothing of it was copied",
            where=f"store {self.path}, in {self.folder}",
            expected=f"{file} in the attribute `files`",
            todo=AGAIN,
        )

    def _keep_array(self, name: str, partial: Path, sums: dict[str, FileSum]) -> str:
        """Copy an array byte for byte; return the digest of the elements of the copy."""
        metadata = f"X/{name}/{ROOT_METADATA}"
        self._copy(metadata, partial)
        sums[metadata] = self.files[metadata]
        array = self._array(partial, name)
        written = ArrayDigest(array.dtype)
        for shard, file in enumerate(self._shards(name, array)):
            self._copy(file, partial)
            sums[file] = self.files[file]
            self._digest_shard(written, array, shard, file)
            self.target.take(self.path, partial, file)
        self._take_metadata(name, partial)
        return written.hexdigest()

    def _recode_array(
        self, name: str, partial: Path, sums: dict[str, FileSum], pool: ThreadPoolExecutor, hasher: ThreadPoolExecutor
    ) -> str:
        """Compress an array anew; return the digest of the elements that were written."""
        assert self.codec.settings is not None
        metadata = f"X/{name}/{ROOT_METADATA}"
        with self._opened(metadata):
            self._check(metadata, file_sum(self.source / metadata))
        source = self._array(self.source, name)
        group = zarr.open_group(partial / "X", mode="r+")
        copy = ShardedArray(
            group,
            partial / "X",
            name,
            length=source.shape[0],
            dtype=source.dtype,
            pool=pool,
            hasher=hasher,
            codec=self.codec.settings,
        )
        array = self._array(partial, name)
        written = ArrayDigest(array.dtype)
        n_taken = 0

        def take_shards() -> None:
            nonlocal n_taken
            for shard, file in list(enumerate(copy.files))[n_taken:]:
                self._digest_shard(written, array, shard, f"X/{file} of the copy")
                sums[f"X/{file}"] = copy.files[file]
                self.target.take(self.path, partial, f"X/{file}")
                n_taken += 1

        for shard, file in enumerate(self._shards(name, source)):
            with self._opened(file):
                self._check(file, file_sum(self.source / file))
            for values in self._elements(source, shard, file):
                copy.append(values)
                take_shards()
            self.progress.add(self.files[file]["bytes"])
        digest = copy.close()
        take_shards()
        self._compare(f"X/{name}", digest, self._claimed())
        sums[metadata] = file_sum(partial / metadata)
        self.progress.add(self.files[metadata]["bytes"])
        self._take_metadata(name, partial)
        return written.hexdigest()

    def _take_metadata(self, name: str, partial: Path) -> None:
        self.target.take(self.path, partial, f"X/{name}/{ROOT_METADATA}")
        if name == ARRAYS[-1]:
            self.target.take(self.path, partial, f"X/{ROOT_METADATA}")

    def _digest_shard(self, digest: ArrayDigest, array: zarr.Array, shard: int, file: str) -> None:
        for values in self._elements(array, shard, file):
            digest.update(values)

    def _elements(self, array: zarr.Array, shard: int, file: str) -> Iterator[np.ndarray]:
        """Yield the elements of one shard."""
        per_shard = _shard_elements(array)
        stop = min((shard + 1) * per_shard, array.shape[0])
        for start in range(shard * per_shard, stop, READ_ELEMENTS):
            with decoding(self.folder, self.entry, file):  # a checksum of a chunk or of the index, or Blosc
                values = np.asarray(array[start : min(start + READ_ELEMENTS, stop)])
            yield values

    def _compare(self, part: str, found: str, claimed: Mapping[str, str]) -> None:
        compare_digest(self.folder, self.entry, part, found, claimed.get(part))

    def _metadata(self, sums: Mapping[str, FileSum]) -> bytes:
        """Return the root metadata of the copy: that of the source with the sums of the copy's files."""
        if self.codec.settings is None:
            return (self.source / ROOT_METADATA).read_bytes()
        metadata = read_json(self.source / ROOT_METADATA)
        metadata["attributes"]["files"] = dict(sorted(sums.items()))
        metadata.pop("consolidated_metadata", None)  # it would repeat the codecs of the source
        return json.dumps(metadata, indent=2).encode()


def _write_manifests(
    source: Selection, target: Destination, entries: list[dict[str, Any]], sums: Mapping[str, str]
) -> None:
    """Write what lies beside the stores, then variants, and corpus.json last of all."""
    manifest = dict(source.manifest)
    names = [source.variant] if source.variant else variant_names(source.folder)
    for name in BESIDE:
        path = source.folder / name
        if path.is_file():
            target.write(name, path.read_bytes())
    for name in names:
        variant = read_json(source.folder / "variants" / f"{name}.json")
        if isinstance(target, Folder):
            (target.path / "variants").mkdir(parents=True, exist_ok=True)
            write_links(target.path, name, variant["stores"])
        target.write(f"variants/{name}.json", (source.folder / "variants" / f"{name}.json").read_bytes())
    stores = [entry | {"zarr_json_sha256": sums[entry["path"]]} for entry in entries]
    manifest["stores"] = stores
    if source.variant:
        studies = {entry["study"] for entry in stores}
        manifest["digest"] = manifest_digest(manifest["gene_axis"]["sha256"], stores)
        for field in ("studies", "sources"):
            manifest[field] = {name: known for name, known in manifest[field].items() if name in studies}
    target.write(MANIFEST, as_json(manifest))
