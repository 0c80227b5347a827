"""Fetch one file of the catalogue: the right bytes under the final name, or a clear error and no file."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.acquire.addresses import (
    DATA_VARIABLE,
    Address,
    BucketAddress,
    GdcAddress,
    ListedAddress,
    LocalAddress,
    RunTableAddress,
    WebAddress,
    WheelAddress,
    needs_listing,
    parse_address,
)
from curation.acquire.failures import GivenUpError, WrongBytesError
from curation.acquire.file_check import CHUNK_BYTES, FileCheck, has_sum
from curation.acquire.http import Patience
from curation.acquire.part_file import PartFile, provenance_path, write_atomically
from curation.acquire.web import download
from curation.acquire.wheels import extract_member
from curation.errors import InputError
from curation.remote_file import RemoteFile

if TYPE_CHECKING:
    from curation.acquire.lock import Pin, Pinned

# Second names of fetched files, below the folder of all sources
KEPT = ".kept"


def fetch(
    remote: RemoteFile, out: Path, *, pin: Pin | None = None, patience: Patience | None = None, offline: bool = False
) -> dict[str, Any]:
    """Place a verified file at `out`, with its provenance beside it.

    Bytes go to `<out>.part`, are hashed while they are written, and take the final name only after size, checksums and
    first bytes agree with the catalogue. An interrupted download is resumed by the next call. Without a checksum in the
    catalogue the file is accepted and its sha256 recorded; with a lock it is pinned there and enforced from then on.

    Parameters
    ----------
    remote : RemoteFile
        The file's entry. Addresses are tried in order.
    out : Path
        Final name; sources/<source>/<remote.path> in the workflow. Wheels are cached in sources/.wheels.
    pin : Pin, optional
        The file's place in sources.lock.yaml. What is pinned there is not looked up again. With a pin the file also
        gets a second name in sources/.kept, because Snakemake removes an output before it runs a step again.
    patience : Patience, optional
        Retries and waits; the default suits public servers.
    offline : bool
        Ask no server: only what lies on this machine already.

    Returns
    -------
    dict
        The provenance: file, address, sha256, size, and the wheel where there was one. Also at `<out>.provenance.json`.

    Raises
    ------
    InputError
        No address gave the file (the message has the reason for each), or the lock and the catalogue disagree.
    """
    addresses = [(text, parse_address(text)) for text in remote.addresses]
    # An address that the catalogue no longer has makes what was pinned from it void.
    pinned = pin.get() if pin else None
    pinned = pinned if pinned is not None and pinned.address in remote.addresses else None
    remote = _with_pinned(remote, pinned, pin)
    # A receipt says nothing of the files that it lists, so it is never taken for done.
    is_receipt = any(isinstance(address, GdcAddress) for _, address in addresses)
    kept = None if is_receipt else _kept_path(remote, out, pin)
    failures: list[str] = []
    todo = ""
    with PartFile(remote, out) as part:
        filling = _Filling(part=part, pin=pin, pinned=pinned, patience=patience or Patience(), offline=offline)
        done = None if is_receipt else _already_there(remote, out) or _taken_back(remote, out, kept)
        if done is not None:
            filling.pin_result(done)
            return done
        for text, address in addresses:
            try:
                extra = filling.fill(text, address)
                part.check()
            except (GivenUpError, WrongBytesError) as error:
                failures.append(f"{text}: {error}")
                todo = getattr(error, "todo", "") or todo
                if isinstance(error, WrongBytesError):
                    part.reject()
                continue
            provenance = {"file": remote.path, "address": text, "sha256": part.sha256, "size": part.size, **extra}
            if is_receipt and out.is_file() and out.read_bytes() == part.path.read_bytes():
                part.reject()  # the same list: a new date would only make later steps run again
                return provenance
            part.commit(provenance)
            _keep(out, kept)
            filling.pin_result(provenance)
            return provenance
    raise InputError(
        f"could not get {remote.path}",
        where=str(out),
        expected=_description(remote),
        found="\n  ".join(failures) if len(failures) == 1 else "\n  ".join(["", *failures]),
        todo=todo or _advice(pin if pinned is not None else None),
    )


@dataclasses.dataclass(kw_only=True)
class _Filling:
    """Fills a part file from one address after another."""

    part: PartFile
    pin: Pin | None
    pinned: Pinned | None
    patience: Patience
    offline: bool
    urls: tuple[str, ...] = ()
    note: str = ""

    def fill(self, text: str, address: Address) -> dict[str, Any]:
        """Write the file's bytes; return what the provenance should say of them."""
        self.urls, self.note = (), ""
        if isinstance(address, LocalAddress):
            return _copy(address.path, self.part)
        if isinstance(address, WheelAddress):
            return extract_member(address, self.part, _wheels_folder(self.part), offline=self.offline)
        if self.offline:
            raise GivenUpError("not asked (--offline)", todo="run the same command without --offline")
        if isinstance(address, WebAddress):
            self._download(address.urls)
            return {}
        if isinstance(address, ListedAddress):
            self.urls, self.note = self._locate(text, address)
            self._download(self.urls)
            return {"url": self.urls[0], "version": self.note} if self.note else {"url": self.urls[0]}
        if isinstance(address, GdcAddress):
            from curation.acquire.gdc_batches import fetch_gdc

            return fetch_gdc(address, self.part, self._listing_path(), self.patience)
        if isinstance(address, RunTableAddress):
            from curation.acquire.run_tables import run_table

            table = run_table(address.study, self.patience)
            self.part.restart()
            self.part.write(table)
            return {}
        assert isinstance(address, BucketAddress)
        from curation.acquire.buckets import download_object

        download_object(address, self.part, self.patience)
        return {}

    def _locate(self, text: str, address: ListedAddress) -> tuple[tuple[str, ...], str]:
        """Return a listed file's urls and version: from the lock, or else from the repository's API."""
        if self.pinned is not None and self.pinned.urls and self.pinned.address == text:
            return self.pinned.urls, self.pinned.note
        # A file pinned by its sum alone is safe to look up: the sum decides.
        if self.pinned is not None and needs_listing(self.pinned.address) and self.pinned.address != text:
            raise GivenUpError("not looked up, because the lock holds the file from another address")
        from curation.acquire.listings import locate

        listed = locate(address, self.patience)
        entry = self.part.remote
        listed.refuse_other(entry)
        self.part.expect(
            dataclasses.replace(
                entry,
                size=entry.size or listed.size,
                md5=entry.md5 or listed.md5,
                sha256=entry.sha256 or listed.sha256,
            )
        )
        return listed.urls, listed.note

    def _download(self, urls: tuple[str, ...]) -> None:
        """Try the urls in order; all of them serve the same file."""
        failures = []
        for url in urls:
            try:
                download(url, self.part, self.patience)
                return
            except GivenUpError as error:
                failures.append((url, error))
        if len(failures) == 1:
            raise failures[0][1]
        raise GivenUpError("; ".join(f"{url}: {error}" for url, error in failures), todo=failures[-1][1].todo)

    def _listing_path(self) -> Path:
        """Return where the listing of a set of files is pinned: beside the lock, or beside the file without one."""
        out = self.part.out
        return self.pin.listing if self.pin is not None else out.with_name(f"{out.stem}.listing.tsv")

    def pin_result(self, provenance: Mapping[str, Any]) -> None:
        """Pin what the catalogue does not say: the url that an API gave, and the sha256."""
        text, remote = provenance["address"], self.part.remote
        if self.pin is None or text.startswith("gdc:") or text not in remote.addresses:
            return
        if self.pinned is not None and self.pinned.sha256:
            return
        if self.pinned is not None:
            self.pin.put(dataclasses.replace(self.pinned, size=provenance["size"], sha256=provenance["sha256"]))
            return
        # Without urls nothing was looked up: a file that was there already is pinned by its sum alone.
        if remote.sha256 and not (self.urls and needs_listing(text)):
            return
        from curation.acquire.lock import Pinned, today

        self.pin.put(
            Pinned(
                address=text,
                urls=self.urls,
                size=provenance["size"],
                md5=remote.md5,
                sha256=provenance["sha256"],
                resolved=today(),
                note=self.note,
            )
        )


def _with_pinned(remote: RemoteFile, pinned: Pinned | None, pin: Pin | None) -> RemoteFile:
    """Add what the lock knows of a file to its entry.

    Raises
    ------
    InputError
        The two contradict each other.
    """
    if pinned is None or pin is None:
        return remote
    refresh = f"see which is right; then correct the catalogue, or: python -m curation resolve --refresh {pin.source}"
    where = f"{pin.lock.path}, key {pin.source}.{pin.file}"
    for fact in ("size", "md5", "sha256"):
        catalogue, locked = getattr(remote, fact), getattr(pinned, fact)
        if catalogue and locked and catalogue != locked:
            raise InputError(
                f"the lock and the catalogue disagree about the {fact} of {remote.path}",
                where=where,
                expected=f"{catalogue} (the catalogue)",
                found=str(locked),
                todo=refresh,
            )
    return dataclasses.replace(
        remote,
        size=remote.size or pinned.size,
        md5=remote.md5 or pinned.md5,
        sha256=remote.sha256 or pinned.sha256,
    )


def _copy(path: Path, part: PartFile) -> dict[str, Any]:
    part.restart()
    try:
        with path.open("rb") as handle:
            part.require_room(os.fstat(handle.fileno()).st_size)
            while chunk := handle.read(CHUNK_BYTES):
                part.write(chunk)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        raise GivenUpError(
            f"{error.strerror}: {path.resolve()}",
            todo=f"set {DATA_VARIABLE} to the folder that holds the data, or correct the address in the catalogue",
        ) from None
    return {}


def _already_there(remote: RemoteFile, out: Path) -> dict[str, Any] | None:
    """Return the provenance of a finished file that this entry describes; the file is hashed again, not trusted.

    A file without provenance, that a person placed there, is one if the catalogue has a checksum of it.
    """
    try:
        provenance: dict[str, Any] | None = json.loads(provenance_path(out).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        provenance = None
    described = provenance is not None and provenance.get("address") in remote.addresses
    if not out.is_file() or not (has_sum(remote) or described):
        return None
    found = FileCheck(remote)
    try:
        with out.open("rb") as handle:
            while chunk := handle.read(CHUNK_BYTES):
                found.take(chunk)
        found.check(out)
        sha256 = found.sha256
    except WrongBytesError:
        return None
    finally:
        found.close()
    if provenance is None:
        provenance = {"file": remote.path, "address": "placed by hand", "sha256": sha256, "size": found.size}
        write_atomically(provenance_path(out), provenance)
    return provenance if sha256 == provenance.get("sha256") else None


def _taken_back(remote: RemoteFile, out: Path, kept: Path | None) -> dict[str, Any] | None:
    """Give a kept file its name again, if it is the one that this entry describes."""
    if kept is None or out.exists() or not kept.exists():
        return None
    done = _already_there(remote, kept)
    if done is not None:
        write_atomically(provenance_path(out), done)
        os.link(kept, out)
    return done


def _keep(out: Path, kept: Path | None) -> None:
    """Give a finished file a second name, which costs no room; file systems without hard links do without."""
    if kept is None:
        return
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.unlink(missing_ok=True)
    try:
        os.link(out, kept)
    except OSError:
        return
    write_atomically(provenance_path(kept), json.loads(provenance_path(out).read_text(encoding="utf-8")))


def _kept_path(remote: RemoteFile, out: Path, pin: Pin | None) -> Path | None:
    """Return where a file of the workflow has its second name; None for a file elsewhere."""
    sources = _sources_folder(remote, out)
    return kept_path(sources, out) if pin is not None and sources is not None else None


def kept_path(sources: Path, out: Path) -> Path:
    """Return sources/.kept/<source>/<path> for sources/<source>/<path>."""
    return sources / KEPT / out.relative_to(sources)


def _wheels_folder(part: PartFile) -> Path:
    """Return sources/.wheels; for an `out` elsewhere a folder beside it."""
    return (_sources_folder(part.remote, part.out) or part.out.parent) / ".wheels"


def _sources_folder(remote: RemoteFile, out: Path) -> Path | None:
    """Return the folder of all sources if `out` is <folder>/<source>/<remote.path>."""
    parts = Path(remote.path).parts
    return out.parents[len(parts)] if out.parts[-len(parts) :] == parts and len(out.parts) > len(parts) + 1 else None


def _advice(pin: Pin | None) -> str:
    again = "run the same command again later; if it fails again, correct the addresses or sums in the catalogue"
    if pin is None:
        return again
    refresh = f"python -m curation resolve --refresh {pin.source}"
    return f"{again}. If its owners replaced the file, and you want the new one: {refresh}"


def _description(remote: RemoteFile) -> str:
    known = {"size": f"{remote.size:,} bytes" if remote.size else "", "md5": remote.md5, "sha256": remote.sha256}
    return (
        ", ".join(f"{name} {value}" for name, value in known.items() if value)
        or "any file (the catalogue has no checksum)"
    )
