"""Files of a Zenodo record."""

from __future__ import annotations

from urllib.parse import quote

from curation.acquire.http import Patience, get_json
from curation.acquire.repositories.listed_file import ListedFile, md5_of, required, unexpected

HOST = "zenodo.org"


def list_files(record: str, patience: Patience) -> tuple[ListedFile, ...]:
    """Return the files of a record; the id of all versions gives those of the latest.

    Raises
    ------
    GivenUpError
        There is no such record, or the answer is not what the API's documentation says.
    """
    document = get_json(f"https://{HOST}/api/records/{record}", patience)
    version = required(HOST, document, "id", int)
    found = []
    for entry in required(HOST, document, "files", list):
        name = required(HOST, entry, "key", str)
        kind, _, md5 = required(HOST, entry, "checksum", str).partition(":")
        if kind != "md5":
            raise unexpected(HOST, f"the checksum of {name} is of kind {kind!r}, not 'md5'")
        found.append(
            ListedFile(
                name=name,
                urls=(f"https://{HOST}/api/records/{version}/files/{quote(name)}/content",),
                size=required(HOST, entry, "size", int),
                md5=md5_of(HOST, md5),
                note=f"record {version}",
            )
        )
    return tuple(found)
