"""Files of public repositories by name: which url, size and checksum stand behind the name that the catalogue has."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence

from curation.acquire.addresses import ListedAddress
from curation.acquire.failures import GivenUpError
from curation.acquire.http import Patience
from curation.acquire.repositories import cellxgene, figshare, geo, zenodo
from curation.acquire.repositories.listed_file import ListedFile

__all__ = ["ListedFile", "listing", "locate"]

_REPOSITORIES: Mapping[str, Callable[[str, Patience], tuple[ListedFile, ...]]] = {
    "figshare": figshare.list_files,
    "zenodo": zenodo.list_files,
    "cellxgene": cellxgene.list_files,
    "geo": geo.list_files,
}
# Names that a message shows
N_SHOWN = 5


def listing(repository: str, container: str, patience: Patience) -> tuple[ListedFile, ...]:
    """Return every file of an article, record, collection or series, in the repository's order.

    Parameters
    ----------
    repository : str
        figshare, zenodo, cellxgene or geo.
    container : str
        Identifier there.
    patience : Patience

    Raises
    ------
    GivenUpError
        The repository does not answer, does not know the identifier, or answers something else than a listing.
    """
    return _REPOSITORIES[repository](container, patience)


def locate(address: ListedAddress, patience: Patience) -> ListedFile:
    """Return the one file that has exactly the address's name.

    Raises
    ------
    GivenUpError
        As of `listing`; or no file or several have the name, with the nearest names.
    """
    files = listing(address.repository, address.container, patience)
    found = [file for file in files if file.name == address.name]
    if len(found) == 1:
        return found[0]
    prefix = f"{address.repository}:{address.container}"
    kind = "datasets" if address.repository == "cellxgene" else "files"
    if found:
        notes = [file.note for file in found if file.note]
        raise GivenUpError(
            f"{prefix} has {len(found)} {kind} named {address.name!r}" + (f" ({'; '.join(notes)})" if notes else ""),
            todo=f"write the https address of one of them in the sheet: {' or '.join(file.urls[0] for file in found)}",
        )
    raise GivenUpError(
        f"{prefix} has no {kind[:-1]} named {address.name!r} among its {len(files)}", _advice(prefix, address, files)
    )


def _advice(prefix: str, address: ListedAddress, files: Sequence[ListedFile]) -> str:
    names = sorted({file.name for file in files})
    same_letters = [name for name in names if name.casefold() == address.name.casefold()]
    close = same_letters or difflib.get_close_matches(address.name, names, n=N_SHOWN, cutoff=0.4)
    if close:
        return f"write {' or '.join(f'{prefix}/{name}' for name in close)} in the sheet"
    shown = ", ".join(names[:N_SHOWN]) + (", ..." if len(names) > N_SHOWN else "")
    return f"write one of its names in the sheet: {shown}" if names else "check the identifier"
