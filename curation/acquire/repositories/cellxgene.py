"""Datasets of a CELLxGENE collection, by title."""

from __future__ import annotations

from curation.acquire.http import Patience, get_json
from curation.acquire.repositories.listed_file import ListedFile, required

HOST = "api.cellxgene.cziscience.com"


def list_files(collection: str, patience: Patience) -> tuple[ListedFile, ...]:
    """Return the H5AD file of every dataset as it is published now.

    A revision of the collection gives a dataset another url, and perhaps other genes; the old url keeps working. There
    are no checksums.

    Raises
    ------
    GivenUpError
        There is no such collection, or the answer is not what the API's documentation says.
    """
    document = get_json(f"https://{HOST}/curation/v1/collections/{collection}", patience)
    found = []
    for dataset in required(HOST, document, "datasets", list):
        note = f"dataset {required(HOST, dataset, 'dataset_id', str)} "
        note += f"version {required(HOST, dataset, 'dataset_version_id', str)}"
        title = required(HOST, dataset, "title", str)
        for asset in required(HOST, dataset, "assets", list):
            if required(HOST, asset, "filetype", str) == "H5AD":
                url, size = required(HOST, asset, "url", str), required(HOST, asset, "filesize", int)
                found.append(ListedFile(name=title, urls=(url,), size=size, note=note))
    return tuple(found)
