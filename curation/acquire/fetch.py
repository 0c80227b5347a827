"""Fetch one file of the catalogue: the right bytes under the final name, or a clear error and no file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curation.acquire.addresses import DATA_VARIABLE, Address, LocalAddress, WebAddress, parse_address
from curation.acquire.file_check import CHUNK_BYTES, FileCheck, WrongBytesError
from curation.acquire.part_file import GivenUpError, PartFile, provenance_path
from curation.acquire.web import Patience, download
from curation.acquire.wheels import extract_member
from curation.catalog import RemoteFile
from curation.errors import InputError


def fetch(remote: RemoteFile, out: Path, *, patience: Patience | None = None) -> dict[str, Any]:
    """Place a verified file at `out`, with its provenance beside it.

    Bytes go to `<out>.part`, are hashed while they are written, and take the final name only after size, checksums and
    first bytes agree with the catalogue. An interrupted download is resumed by the next call. Without a checksum in the
    catalogue the file is accepted and its sha256 recorded.

    Parameters
    ----------
    remote : RemoteFile
        The file's entry. Addresses are tried in order.
    out : Path
        Final name; sources/<source>/<remote.path> in the workflow. Wheels are cached in sources/.wheels.
    patience : Patience, optional
        Retries and waits; the default suits public servers.

    Returns
    -------
    dict
        The provenance: file, address, sha256, size, and the wheel where there was one. Also at `<out>.provenance.json`.

    Raises
    ------
    InputError
        No address gave the file; the message has the reason for each.
    """
    addresses = [(text, parse_address(text)) for text in remote.addresses]
    failures: list[str] = []
    todo = ""
    with PartFile(remote, out) as part:
        done = _already_there(remote, out)
        if done is not None:
            return done
        for text, address in addresses:
            try:
                extra = _fill(address, part, patience or Patience(), _wheels_folder(remote, out))
                part.check()
            except (GivenUpError, WrongBytesError) as error:
                failures.append(f"{text}: {error}")
                todo = getattr(error, "todo", "") or todo
                if isinstance(error, WrongBytesError):
                    part.restart()
                continue
            provenance = {"file": remote.path, "address": text, "sha256": part.sha256, "size": part.size, **extra}
            part.commit(provenance)
            return provenance
    raise InputError(
        f"could not get {remote.path}",
        where=str(out),
        expected=_description(remote),
        found="\n  ".join(failures) if len(failures) == 1 else "\n  ".join(["", *failures]),
        todo=todo
        or "run the same command again later; if it fails again, correct the addresses or sums in the catalogue",
    )


def _fill(address: Address, part: PartFile, patience: Patience, wheels: Path) -> dict[str, str]:
    if isinstance(address, WebAddress):
        download(address.url, part, patience)
        return {}
    if isinstance(address, LocalAddress):
        return _copy(address.path, part)
    return extract_member(address, part, wheels)


def _copy(path: Path, part: PartFile) -> dict[str, str]:
    part.restart()
    try:
        with path.open("rb") as handle:
            while chunk := handle.read(CHUNK_BYTES):
                part.write(chunk)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        raise GivenUpError(
            f"{error.strerror}: {path.resolve()}",
            todo=f"set {DATA_VARIABLE} to the folder that holds the data, or correct the address in the catalogue",
        ) from None
    return {}


def _already_there(remote: RemoteFile, out: Path) -> dict[str, Any] | None:
    """Return the provenance of a finished file that this entry describes; the file is hashed again, not trusted."""
    try:
        provenance: Mapping[str, Any] = json.loads(provenance_path(out).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    if not out.exists() or provenance.get("address") not in remote.addresses:
        return None
    found = FileCheck(remote)
    try:
        with out.open("rb") as handle:
            while chunk := handle.read(CHUNK_BYTES):
                found.take(chunk)
        found.check()
    except WrongBytesError:
        return None
    return dict(provenance) if found.sha256 == provenance.get("sha256") else None


def _wheels_folder(remote: RemoteFile, out: Path) -> Path:
    """Return sources/.wheels for sources/<source>/<remote.path>; beside any other `out`."""
    folder, parts = out, Path(remote.path).parts
    if out.parts[-len(parts) :] != parts:
        return out.parent / ".wheels"
    for _ in parts:
        folder = folder.parent
    return folder.parent / ".wheels"


def _description(remote: RemoteFile) -> str:
    known = {"size": f"{remote.size:,} bytes" if remote.size else "", "md5": remote.md5, "sha256": remote.sha256}
    return (
        ", ".join(f"{name} {value}" for name, value in known.items() if value)
        or "any file (the catalogue has no checksum)"
    )
