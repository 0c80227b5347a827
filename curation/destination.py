"""Where a copy of a corpus goes: a folder of this machine, or a prefix of a bucket through obstore.

Both take files in the same order, so that a reader never sees half a store or half a corpus: the root metadata of a
store after all its other files, corpus.json last of all.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from curation.errors import InputError
from curation.file_sums import ROOT_METADATA, FileSum

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

# Files above are sent in parts of this size: below 10,000 parts, the limit of S3, up to 160 GB a shard
PART_BYTES = 16 * 2**20
# Parts of one file that are under way at once: 128 MB in memory at most
PARTS_AT_ONCE = 8
# With doubling pauses up to 15 s: about half a minute in which a server may be away
RETRIES = 8
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


class Destination(Protocol):
    """A place for the files of a corpus, by their paths within it."""

    def __str__(self) -> str:
        """Return the place as the user named it."""

    def names(self) -> set[str]:
        """Return the first parts of the paths that are there."""

    def read(self, path: str) -> bytes | None:
        """Return a small file; None if it is not there."""

    def sizes(self, prefix: str) -> dict[str, int]:
        """Return path -> bytes of the files below a prefix, by their paths below it."""

    def write(self, path: str, content: bytes) -> None:
        """Let a small file appear, whole."""

    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""

    def begin_store(self, path: str) -> Path:
        """Return a new local folder for the files of a store."""

    def take(self, path: str, folder: Path, file: str) -> None:
        """Take over a finished file of a store that `begin_store` began."""

    def finish_store(self, path: str, folder: Path, metadata: bytes, files: Mapping[str, FileSum]) -> None:
        """Let a store appear: `metadata` is its root metadata, `files` all others."""

    def abandon_store(self, folder: Path) -> None:
        """Remove what is left of a store that did not become one."""


def open_destination(text: str) -> Destination:
    """Return the place that OUT names: a folder, file:///FOLDER, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX.

    Raises
    ------
    InputError
        It names none of these.
    """
    scheme, mark, rest = text.partition("://")
    if not mark:
        return Folder(Path(text))
    if scheme == "file" and rest.startswith("/"):
        return Folder(Path(rest))
    if scheme in ("s3", "gs") and re.fullmatch(r"[a-z0-9][a-z0-9._-]+(/[^/]+)+/?", rest):
        return Bucket(scheme, *rest.rstrip("/").split("/", 1))
    raise InputError(
        "this is no place for a corpus",
        where=text,
        expected="a folder, file:///FOLDER, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX",
        todo="give the bucket and a prefix of its own for the corpus" if scheme in ("s3", "gs") else "",
    )


class Folder:
    """A folder of this machine. A store is filled beside its place and renamed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def names(self) -> set[str]:
        if not self.path.exists():
            return set()
        return {path.name for path in self.path.iterdir() if not path.name.startswith(".")}

    def read(self, path: str) -> bytes | None:
        try:
            return (self.path / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def sizes(self, prefix: str) -> dict[str, int]:
        root = self.path / prefix
        found = (Path(folder, name) for folder, _, names in os.walk(root) for name in names)
        return {path.relative_to(root).as_posix(): path.stat().st_size for path in found}

    def write(self, path: str, content: bytes) -> None:
        target = self.path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.part")
        partial.write_bytes(content)
        partial.replace(target)

    def remove(self, path: str) -> None:
        (self.path / path).unlink(missing_ok=True)

    def begin_store(self, path: str) -> Path:
        target = self.path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        for leftover in target.parent.glob(f".{target.name}.*"):
            shutil.rmtree(leftover, ignore_errors=True)
        partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
        partial.mkdir()
        return partial

    def take(self, path: str, folder: Path, file: str) -> None:
        """Leave the file where it is: the folder becomes the store."""

    def finish_store(self, path: str, folder: Path, metadata: bytes, files: Mapping[str, FileSum]) -> None:
        (folder / ROOT_METADATA).write_bytes(metadata)
        target = self.path / path
        replaced = folder.with_name(f"{folder.name}.replaced")
        if target.exists():
            target.rename(replaced)
        folder.rename(target)
        shutil.rmtree(replaced, ignore_errors=True)

    def abandon_store(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)


class Bucket:
    """A prefix of a bucket. Shards are made in a local scratch folder, sent, and removed there one by one.

    Credentials, region and endpoint are those of the environment: the AWS_* variables that every S3 program reads
    (AWS_ENDPOINT_URL for a server of your own), GOOGLE_APPLICATION_CREDENTIALS for gs.
    """

    def __init__(self, scheme: str, bucket: str, prefix: str) -> None:
        self._url = f"{scheme}://{bucket}/{prefix}"
        with self._failures():
            self._store = _object_store(scheme, bucket, prefix)

    def __str__(self) -> str:
        return self._url

    def names(self) -> set[str]:
        import obstore

        with self._failures():
            found = obstore.list_with_delimiter(self._store)
        paths = [*found["common_prefixes"], *(item["path"] for item in found["objects"])]
        return {path.strip("/").split("/")[-1] for path in paths}

    def read(self, path: str) -> bytes | None:
        import obstore

        try:
            with self._failures(path):
                return bytes(obstore.get(self._store, path).bytes())
        except FileNotFoundError:
            return None

    def sizes(self, prefix: str) -> dict[str, int]:
        import obstore

        with self._failures(prefix):
            found = [item for batch in obstore.list(self._store, prefix) for item in batch]
        return {item["path"].removeprefix(f"{prefix}/"): item["size"] for item in found}

    def write(self, path: str, content: bytes) -> None:
        import obstore

        with self._failures(path):
            obstore.put(self._store, path, content)

    def remove(self, path: str) -> None:
        import obstore

        with suppress(FileNotFoundError), self._failures(path):
            obstore.delete(self._store, path)

    def begin_store(self, path: str) -> Path:
        self.remove(f"{path}/{ROOT_METADATA}")  # without it, what is there is no store any more
        return Path(tempfile.mkdtemp(prefix="recode-"))

    def take(self, path: str, folder: Path, file: str) -> None:
        import obstore

        with self._failures(f"{path}/{file}"):
            obstore.put(
                self._store,
                f"{path}/{file}",
                folder / file,
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )
        (folder / file).unlink()

    def finish_store(self, path: str, folder: Path, metadata: bytes, files: Mapping[str, FileSum]) -> None:
        there = self.sizes(path)
        for file in sorted(there.keys() - files.keys() - {ROOT_METADATA}):
            self.remove(f"{path}/{file}")  # of another copy, whose chunks lay elsewhere
        for file, known in files.items():
            if there.get(file) != known["bytes"]:
                raise InputError(
                    "an object has not arrived whole",
                    where=f"{self._url}/{path}/{file}",
                    expected=f"{known['bytes']:,} bytes",
                    found="no such object" if file not in there else f"{there[file]:,} bytes",
                    todo="run the same command again; it sends this store once more",
                )
        self.write(f"{path}/{ROOT_METADATA}", metadata)
        shutil.rmtree(folder, ignore_errors=True)

    def abandon_store(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)

    def _no_bucket(self) -> InputError:
        return InputError("there is no such bucket", where=self._url, todo="make it first, or correct the name")

    @contextmanager
    def _failures(self, path: str = "") -> Iterator[None]:
        """Turn obstore's errors into the form in which users see their mistakes; a missing object stays what it is."""
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

        where = f"{self._url}/{path}" if path else self._url
        try:
            yield
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise self._no_bucket() from None
            raise FileNotFoundError(where) from None
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise InputError(
                "the object store refuses access",
                where=where,
                found=_first_line(error),
                todo="set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, or what your store needs",
            ) from None
        except BaseError as error:
            if "NoSuchBucket" in str(error):
                raise self._no_bucket() from None
            raise InputError(
                "the object store does not answer as it should",
                where=where,
                found=_first_line(error),
                todo="check the network and AWS_ENDPOINT_URL, then run the same command again; finished stores stay",
            ) from None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _object_store(scheme: str, bucket: str, prefix: str) -> ObjectStore:
    from obstore.store import GCSStore, S3Store

    # A part on a slow line: 16 MB at 50 kB/s take five minutes
    client: ClientConfig = {"timeout": timedelta(minutes=6), "connect_timeout": timedelta(seconds=20)}
    if any(os.environ.get(name, "").startswith("http://") for name in ENDPOINTS):
        client["allow_http"] = True
    retries: RetryConfig = {"max_retries": RETRIES, "retry_timeout": timedelta(minutes=5)}
    if scheme == "gs":
        return GCSStore(bucket, prefix=prefix, client_options=client, retry_config=retries)
    return S3Store(bucket, prefix=prefix, client_options=client, retry_config=retries)


def as_json(content: Mapping[str, Any]) -> bytes:
    """Return JSON as the manifests of a corpus are written."""
    return (json.dumps(content, indent=1) + "\n").encode()


def foreign(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return the names that do not belong to a corpus, sorted."""
    return sorted(set(names) - set(known))
