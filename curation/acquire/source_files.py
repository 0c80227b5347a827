"""The files of a config, one by one: where each lies, what the lock holds of it, and which host it loads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from curation.acquire.addresses import WebAddress, parse_address
from curation.acquire.host_limits import LIMITS, limit_of
from curation.acquire.lock import Pin, SourcesLock
from curation.errors import InputError
from curation.remote_file import RemoteFile
from curation.schema_check import nearest

if TYPE_CHECKING:
    from curation.plan import Plan

# Word for a public host -> the domain under which its limit stands. The words are Snakemake's resources.
HOSTS = {"zenodo": "zenodo.org", "figshare": "figshare.com", "gdc": "gdc.cancer.gov", "ncbi": "ncbi.nlm.nih.gov"}
_HOST_OF_SCHEME = {"zenodo": "zenodo", "figshare": "figshare", "gdc": "gdc", "geo": "ncbi", "sra": "ncbi"}


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One file that a config needs.

    Attributes
    ----------
    source : str
        Study or annotation entry.
    remote : RemoteFile
        The catalogue's entry.
    path : Path
        Final name: <folder>/<source>/<remote.path>.
    pin : Pin
        Its place in sources.lock.yaml.
    """

    source: str
    remote: RemoteFile
    path: Path
    pin: Pin

    @property
    def label(self) -> str:
        """Name for people: source/path."""
        return f"{self.source}/{self.remote.path}"

    @property
    def archive(self) -> Path | None:
        """Where the archive lies that the file is a member of; None for a file with addresses."""
        if self.remote.archive is None:
            return None
        return self.path.parents[len(Path(self.remote.path).parts) - 1] / self.remote.archive

    @property
    def listing(self) -> Path | None:
        """Where the listing of a `gdc:` address is pinned; None for any other file."""
        if not any(address.startswith("gdc:") for address in self.remote.addresses):
            return None
        return self.pin.listing

    @property
    def size(self) -> int | None:
        """Bytes, by the catalogue or else the lock."""
        pinned = self.pin.get()
        return self.remote.size or (pinned.size if pinned else None)


def source_files(
    plan: Plan, folder: Path, lock: SourcesLock, only: Sequence[str] = (), *, whole: bool = False
) -> tuple[SourceFile, ...]:
    """Return the files that a plan fetches, in the plan's order; simulated studies have none.

    Parameters
    ----------
    plan : Plan
    folder : Path
        Folder of all sources.
    lock : SourcesLock
    only : sequence of str
        Names of sources; all if empty.
    whole : bool
        Every source of the plan's sheets, not only those that it needs.

    Raises
    ------
    InputError
        The plan has no source of such a name.
    """
    sources = _all_sources(plan) if whole else _needed_sources(plan)
    for name in only:
        if name not in plan.sources:
            raise InputError(f"no source {name!r} in this config", where="--only", todo=nearest(name, plan.sources))
    return tuple(
        SourceFile(source=source, remote=remote, path=folder / source / remote.path, pin=lock.pin(source, remote.path))
        for source, files in sources.items()
        if not only or source in only
        for remote in files
    )


def _needed_sources(plan: Plan) -> dict[str, tuple[RemoteFile, ...]]:
    return {name: tuple(files.values()) for name, files in plan.sources.items() if name not in plan.simulated}


def _all_sources(plan: Plan) -> dict[str, tuple[RemoteFile, ...]]:
    from curation.sources import chosen_sources

    return {source.name: source.on_disk for source in chosen_sources(plan, whole=True)}


def host_load(remote: RemoteFile) -> tuple[str, int]:
    """Return the word for the host of a file's first address and the connections that it takes; ("", 0) elsewhere.

    A `gdc:` address fetches batches in parallel, up to the host's limit.
    """
    if not remote.addresses:
        return "", 0
    first = remote.addresses[0]
    scheme = first.partition(":")[0]
    if scheme in _HOST_OF_SCHEME:
        host = _HOST_OF_SCHEME[scheme]
        return host, LIMITS[HOSTS[host]].parallel if scheme == "gdc" else 1
    if scheme not in ("http", "https"):
        return "", 0
    address = parse_address(first)
    assert isinstance(address, WebAddress)
    domain, _ = limit_of(address.urls[0])
    return next(((word, 1) for word, name in HOSTS.items() if name == domain), ("", 0))


def aligned(rows: Iterable[Sequence[str]]) -> str:
    """Return rows of text as a table with columns of equal width."""
    rows = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
