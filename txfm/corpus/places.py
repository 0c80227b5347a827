"""Where a corpus lies: a local folder, a bucket, or a web server. All are read by the same few calls."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from txfm.corpus.buffers import BUFFERS
from txfm.errors import InputError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

REMOTE_SCHEMES = ("s3", "s3a", "gs", "az", "http", "https")


class Place(ABC):
    """A folder of files that are only read. Paths are relative, with forward slashes.

    Reading a file that is not there raises FileNotFoundError; a server that does not answer, InputError.
    """

    remote: bool

    @abstractmethod
    def name(self, path: str = "") -> str:
        """The full address of a file, for messages."""

    @abstractmethod
    def below(self, path: str) -> Place:
        """A folder of this folder."""

    @abstractmethod
    def read(self, path: str) -> bytes:
        """A whole file."""

    @abstractmethod
    def read_range(self, path: str, start: int, length: int) -> np.ndarray:
        """Part of a file as uint8; shorter than `length` where the file ends before."""

    @abstractmethod
    def size(self, path: str) -> int:
        """Bytes of a file."""

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """Names of the files in a folder; none where they cannot be listed."""

    @abstractmethod
    def zarr_group(self) -> zarr.Group:
        """This folder as Zarr's library opens it."""


class LocalPlace(Place):
    """A folder of this machine."""

    remote = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def name(self, path: str = "") -> str:
        return str(self.folder / path)

    def below(self, path: str) -> LocalPlace:
        return LocalPlace(self.folder / path)

    def read(self, path: str) -> bytes:
        return (self.folder / path).read_bytes()

    def read_range(self, path: str, start: int, length: int) -> np.ndarray:
        return read_file_range(self.folder / path, start, length)

    def size(self, path: str) -> int:
        return (self.folder / path).stat().st_size

    def names(self, folder: str) -> list[str]:
        path = self.folder / folder
        return sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []

    def zarr_group(self) -> zarr.Group:
        return zarr.open_group(self.folder, mode="r")


class RemotePlace(Place):
    """A prefix of a bucket, or a folder of a web server, through obstore."""

    remote = True

    def __init__(self, address: str, store: ObjectStore, prefix: str = "") -> None:
        self._address, self._store, self._prefix = address.rstrip("/"), store, prefix.strip("/")

    def name(self, path: str = "") -> str:
        return "/".join(part for part in (self._address, self._prefix, path) if part)

    def below(self, path: str) -> RemotePlace:
        return RemotePlace(self._address, self._store, self._key(path))

    def read(self, path: str) -> bytes:
        return self._asked(path, lambda obstore, key: bytes(obstore.get(self._store, key).bytes()))

    def read_range(self, path: str, start: int, length: int) -> np.ndarray:
        def ask(obstore: Any, key: str) -> np.ndarray:
            return np.frombuffer(obstore.get_range(self._store, key, start=start, length=length), np.uint8)

        return self._asked(path, ask)

    def size(self, path: str) -> int:
        return self._asked(path, lambda obstore, key: int(obstore.head(self._store, key)["size"]))

    def names(self, folder: str) -> list[str]:
        if self._address.startswith("http"):  # web servers have no list
            return []
        try:
            found = self._asked(folder, lambda obstore, key: obstore.list_with_delimiter(self._store, key))
        except (InputError, FileNotFoundError):
            return []
        return sorted(PurePosixPath(item["path"]).name for item in found["objects"])

    def zarr_group(self) -> zarr.Group:
        from zarr.storage import ObjectStore as ZarrStore

        # A store of this folder: anndata opens elements again by their store and their path within it.
        return zarr.open_group(ZarrStore(_object_store(self.name()), read_only=True), mode="r")

    def _key(self, path: str) -> str:
        return "/".join(part for part in (self._prefix, path) if part)

    def _asked(self, path: str, ask: Any) -> Any:
        import obstore
        from obstore.exceptions import BaseError, NotFoundError

        try:
            return ask(obstore, self._key(path))
        except (NotFoundError, FileNotFoundError) as error:
            raise FileNotFoundError(self.name(path)) from error
        except BaseError as error:
            raise InputError(
                "A file of the corpus could not be read",
                where=self.name(path),
                found=" ".join(str(error).split())[:500],
                todo="check the address, the credentials (AWS_* or GOOGLE_* variables) and the network; the state "
                "of the reader lets it go on where it stopped",
            ) from error


def read_file_range(path: Path, start: int, length: int) -> np.ndarray:
    """Part of a local file as uint8; shorter than `length` where the file ends before."""
    out = BUFFERS.empty(length, np.dtype(np.uint8))
    handle = os.open(path, os.O_RDONLY)
    try:
        n_read = 0
        while n_read < length and (n := os.preadv(handle, [out[n_read:].data], start + n_read)):
            n_read += n
    finally:
        os.close(handle)
    return out[:n_read]


def place_of(corpus: str | Path) -> Place:
    """Where a corpus lies, from a path or an address such as ``s3://bucket/corpora/mini``.

    Buckets take credentials and endpoint from the usual environment variables (AWS_ENDPOINT_URL, AWS_REGION, ...).

    Raises
    ------
    InputError
        The address is remote and obstore is not installed, or it is of an unknown kind.
    """
    text = str(corpus)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return LocalPlace(Path(corpus))
    if scheme == "file":
        return LocalPlace(Path(f"/{rest.lstrip('/')}"))
    if scheme not in REMOTE_SCHEMES:
        raise InputError(
            "This kind of address is not known",
            where=text,
            expected=f"a folder, or an address with {', '.join(REMOTE_SCHEMES)}",
            found=f"{scheme}://",
        )
    bucket, _, prefix = rest.partition("/")
    address = f"{scheme}://{bucket}"
    return RemotePlace(address, _object_store(address), prefix)


def _object_store(address: str) -> ObjectStore:
    try:
        from obstore.store import from_url
    except ImportError as error:
        raise InputError(
            "Remote corpora need the package obstore", where=address, todo='pip install "diverserna[remote]"'
        ) from error
    from obstore.exceptions import BaseError

    try:
        if address.startswith("http://"):
            return from_url(address, client_options={"allow_http": True})
        return from_url(address)  # AWS_ALLOW_HTTP and the like are the user's affair
    except (BaseError, ValueError) as error:
        raise InputError(
            "This address cannot be used",
            where=address,
            found=" ".join(str(error).split()),
            todo="check it, and the variables that such an address needs (AWS_*, GOOGLE_*, AZURE_*)",
        ) from error
