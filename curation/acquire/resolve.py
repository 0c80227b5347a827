"""Ask the repositories' APIs where files lie now, and pin the answers in sources.lock.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from curation.acquire.addresses import GdcAddress, ListedAddress, parse_address
from curation.acquire.failures import GivenUpError
from curation.acquire.fetch import kept_path
from curation.acquire.http import Patience
from curation.acquire.lock import Pinned, SourcesLock, today
from curation.acquire.part_file import provenance_path
from curation.acquire.source_files import SourceFile, source_files
from curation.errors import InputError
from curation.schema_check import nearest

if TYPE_CHECKING:
    from curation.plan import Plan


def resolve_sources(
    plan: Plan, folder: Path, lock: SourcesLock, *, refresh: Sequence[str] = (), patience: Patience | None = None
) -> list[str]:
    """Pin every file of a plan whose url an API gives; what is pinned stays, except for the sources to refresh.

    Parameters
    ----------
    plan : Plan
    folder : Path
        Folder of all sources.
    lock : SourcesLock
    refresh : sequence of str
        Sources to look up anew. What is pinned of them stays until their API has answered; sums of files that need no
        API are forgotten, so that the next fetch pins what it finds.
    patience : Patience, optional

    Returns
    -------
    list of str
        A line a file that was looked up or forgotten; printed as well.

    Raises
    ------
    InputError
        A source is unknown, or an API did not name the file; the others are pinned.
    """
    for name in refresh:
        if name not in plan.sources:
            raise InputError(
                f"the config needs no source {name!r}", where="--refresh", todo=nearest(name, plan.sources)
            )
    patience = patience or Patience()
    lines, failures = [], []
    for file in source_files(plan, folder, lock):
        try:
            line = _resolve(file, folder, patience, anew=file.source in refresh)
        except GivenUpError as error:
            failures.append(f"{file.label}: {error}" + (f" ({error.todo})" if error.todo else ""))
            continue
        if line:
            lines.append(f"{file.label}: {line}")
            print(lines[-1], flush=True)
    if failures:
        raise InputError(
            f"{len(failures)} files could not be looked up",
            where=str(lock.path),
            found="".join(f"\n  {failure}" for failure in failures),
            todo="run the same command again later, or correct the addresses in the catalogue",
        )
    return lines


def _resolve(file: SourceFile, folder: Path, patience: Patience, *, anew: bool) -> str:
    """Pin one file, if its first address needs it; return what was done, or ""."""
    text = next(iter(file.remote.addresses), "")  # a member of an archive has none
    address = parse_address(text) if text else None
    if isinstance(address, GdcAddress):
        return _list(file, folder, address, patience, anew=anew)
    if isinstance(address, ListedAddress):
        return _locate(file, folder, text, address, patience, anew=anew)
    if anew and file.pin.get() is not None:
        file.pin.lock.drop(file.source, file.remote.path)
        _fetch_again(file, folder)
        return "forgotten; the next fetch pins what it finds"
    return ""


def _list(file: SourceFile, folder: Path, address: GdcAddress, patience: Patience, *, anew: bool) -> str:
    from curation.acquire.gdc import pinned_listing, read_listing, refresh_listing

    assert file.listing is not None
    if file.listing.exists() and not anew:
        return ""
    before = read_listing(file.listing)
    listing = (refresh_listing if anew else pinned_listing)(address, file.listing, patience)
    if before is not None and before.files != listing.files:
        _fetch_again(file, folder)
    return f"{len(listing.files):,} files pinned in {file.listing}"


def _locate(
    file: SourceFile, folder: Path, text: str, address: ListedAddress, patience: Patience, *, anew: bool
) -> str:
    from curation.acquire.listings import locate

    pinned = file.pin.get()
    if pinned is not None and pinned.address == text and pinned.urls and not anew:
        return ""
    found = locate(address, patience)
    found.refuse_other(file.remote)
    file.pin.put(
        Pinned(
            address=text,
            urls=tuple(found.urls),
            size=found.size,
            md5=found.md5,
            sha256=found.sha256,
            resolved=today(),
            note=found.note,
        )
    )
    if pinned is not None and (pinned.urls, pinned.size, pinned.md5) != (tuple(found.urls), found.size, found.md5):
        _fetch_again(file, folder)
    return found.urls[0]


def _fetch_again(file: SourceFile, folder: Path) -> None:
    """Have the next build fetch the file: take its name away, and the records by which an older copy would pass.

    The bytes stay in sources/.kept until the new ones are there.
    """
    kept = kept_path(folder, file.path)
    if file.listing is None and file.path.exists() and not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        file.path.replace(kept)
    for path in (file.path, provenance_path(file.path), provenance_path(kept)):
        path.unlink(missing_ok=True)
