"""The files of a store against the list in its attributes: what is read was written so, or the file is named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from txfm.corpus.places import Place
from txfm.errors import InputError


class DamagedStoreError(InputError):
    """Bytes of a store are not those that were written."""

    def __init__(self, file: str, found: str, *, expected: str = "the bytes that were written") -> None:
        super().__init__(
            "A store is damaged",
            where=file,
            expected=expected,
            found=found,
            todo="copy or build this store again; python -m curation verify CORPUS lists everything that is damaged",
        )


def root_attributes(place: Place, root: bytes) -> dict[str, Any]:
    """The attributes that a store's root zarr.json holds.

    Raises
    ------
    DamagedStoreError
        It is not one.
    """
    try:
        attributes = json.loads(root)["attributes"]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedStoreError(place.name("zarr.json"), str(error)) from error
    if not isinstance(attributes, dict) or not isinstance(attributes.get("files", {}), dict):
        raise DamagedStoreError(place.name("zarr.json"), "no attributes of a store")
    return attributes


class StoreFiles:
    """Files of a store, each compared with the list before anything else reads it.

    Parameters
    ----------
    place : Place
        The store.
    listed : mapping
        Attribute `files` of the store: path -> bytes and sha256. Empty for a format before 1.0: nothing is compared.
    """

    def __init__(self, place: Place, listed: Mapping[str, Mapping[str, Any]]) -> None:
        self.listed = listed
        self._place = place
        self._proven: set[str] = set()

    def read(self, path: str) -> bytes:
        """A whole file.

        Raises
        ------
        DamagedStoreError
            It is missing, or its sha256 is another one.
        """
        try:
            content = self._place.read(path)
        except FileNotFoundError:
            raise DamagedStoreError(self._place.name(path), "no such file", expected="a file of this store") from None
        if path in self.listed:
            self.compare(path, content, str(self.listed[path]["sha256"]))
        return content

    def compare(self, path: str, content: bytes, sha256: str) -> None:
        """Refuse content with another sum."""
        if hashlib.sha256(content).hexdigest() != sha256:
            raise DamagedStoreError(
                self._place.name(path), "a file with another sha256", expected=f"the file with sha256 {sha256}"
            )

    def prove(self, element: str) -> None:
        """Read and compare all files of an element, once."""
        for path in self._of(element):
            if path not in self._proven:
                self.read(path)
                self._proven.add(path)

    def prove_sizes(self, element: str) -> None:
        """Compare the sizes of all files of an element: none is missing or cut; their bytes are not read."""
        for path in self._of(element):
            try:
                found = self._place.size(path)
            except FileNotFoundError:
                raise DamagedStoreError(
                    self._place.name(path), "no such file", expected="a file of this store"
                ) from None
            if found != self.listed[path]["bytes"]:
                expected = f"{self.listed[path]['bytes']:,} bytes"
                raise DamagedStoreError(self._place.name(path), f"{found:,} bytes", expected=expected)

    def _of(self, element: str) -> list[str]:
        return [path for path in self.listed if path.startswith(f"{element}/")]
