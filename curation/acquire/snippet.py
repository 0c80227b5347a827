"""What a repository lists, as lines for a sheet of the catalogue."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from curation.acquire.addresses import ListedAddress
from curation.acquire.repositories.listed_file import ListedFile


def files_snippet(address: ListedAddress, files: Sequence[ListedFile]) -> str:
    """Return the `files:` of a sheet's entry for every listed file, with what the repository states as verified.

    Parameters
    ----------
    address : ListedAddress
        Names the repository and the entry there; its file name does not matter.
    files : sequence of ListedFile
    """
    lines = ["files:"]
    for file in files:
        facts = {"size": file.size, "md5": file.md5, "sha256": file.sha256}
        known = {fact: value for fact, value in facts.items() if value is not None}
        entry: dict[str, Any] = {"addresses": [f"{address.repository}:{address.container}/{file.name}"], **known}
        if known:
            entry["status"] = dict.fromkeys(known, "verified")
        text = yaml.safe_dump({_path(address, file.name): entry}, sort_keys=False, allow_unicode=True, width=1000)
        lines.append(f"  # {' '.join([file.note, *file.urls]).strip()}")
        lines += [f"  {line}" for line in text.splitlines()]
    return "\n".join(lines)


def _path(address: ListedAddress, name: str) -> str:
    """Return a path that the catalogue's schema accepts; cellxgene lists titles, not file names."""
    plain = re.sub(r"[^A-Za-z0-9_.+-]+", "_", name).lstrip(".+-") or "file"
    return f"{plain}.h5ad" if address.repository == "cellxgene" else plain
