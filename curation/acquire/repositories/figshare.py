"""Files of a figshare article."""

from __future__ import annotations

from typing import Any

from curation.acquire.addresses import figshare_urls
from curation.acquire.failures import GivenUpError
from curation.acquire.http import Patience, get_json
from curation.acquire.repositories.listed_file import ListedFile, md5_of, required, unexpected

HOST = "api.figshare.com"
PAGE_SIZE = 100
# No article has as many files; an API that ignores `page` would answer for ever.
MAX_PAGES = 100


def list_files(article: str, patience: Patience) -> tuple[ListedFile, ...]:
    """Return the files of the article's latest version.

    Files that figshare only links to are left out: their bytes are elsewhere.

    Raises
    ------
    GivenUpError
        There is no such article, or the answer is not what the API's documentation says.
    """
    url = f"https://{HOST}/v2/articles/{article}/files"
    found: dict[int, ListedFile | None] = {}
    for page in range(1, MAX_PAGES + 1):
        entries = get_json(url, patience, params={"page": page, "page_size": PAGE_SIZE})
        if not isinstance(entries, list):
            raise unexpected(HOST, "a list of files was expected")
        for entry in entries:
            file_id = required(HOST, entry, "id", int)
            if file_id in found:
                raise unexpected(HOST, f"page {page} repeats file {file_id}")
            found[file_id] = _listed(file_id, entry)
        if len(entries) < PAGE_SIZE:
            return tuple(file for file in found.values() if file is not None)
    raise GivenUpError(f"{HOST} lists more than {MAX_PAGES * PAGE_SIZE:,} files in article {article}")


def _listed(file_id: int, entry: dict[str, Any]) -> ListedFile | None:
    if entry.get("is_link_only"):
        return None
    md5 = entry.get("computed_md5") or entry.get("supplied_md5") or ""
    return ListedFile(
        name=required(HOST, entry, "name", str),
        urls=figshare_urls(file_id),
        size=required(HOST, entry, "size", int),
        md5=md5_of(HOST, str(md5)) if md5 else None,
        note=f"file {file_id}",
    )
