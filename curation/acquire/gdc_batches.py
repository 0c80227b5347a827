"""Thousands of small files from the Genomic Data Commons: a tar.gz a batch, unpacked and verified as it arrives."""

from __future__ import annotations

import errno
import hashlib
import os
import sys
import tarfile
import threading
import zlib
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import requests

from curation.acquire.addresses import GdcAddress
from curation.acquire.disk import require_free
from curation.acquire.failures import GivenUpError, TryAgainError
from curation.acquire.file_check import CHUNK_BYTES
from curation.acquire.gdc import COLUMNS, GdcFile, pinned_listing
from curation.acquire.http import Patience, open_answer, persist, pieces
from curation.acquire.part_file import PartFile
from curation.acquire.progress import Progress
from curation.errors import InputError

DATA_URL = "https://api.gdc.cancer.gov/data"
# A batch ends at this sum of sizes as well: 100 files of 4.2 MB stay together, larger ones are fewer.
BATCH_BYTES = 512 * 2**20
# Verified files take their names in groups of so many bytes: what a kill can cost a connection.
GROUP_BYTES = 64 * 2**20
# Read from the connection, and given to tarfile, at a time
PIECE_BYTES = 2**16
# What an archive may hold beside the files: headers, padding and the notes that the GDC adds
EXTRA_BYTES, EXTRA_BYTES_A_FILE = 2**20, 2**16
# Requests refused one after the other until no more are sent. A batch of 100 with one withdrawn file may be refused 8
# times until that file is alone, and four connections may each be at such a batch.
MAX_REFUSALS = 40
# Missing files and refused members named in a message
NAMED = 10
# Seconds of sleep between two looks whether the user has interrupted
NAP_S = 2.0
_NOTES = ("MANIFEST.txt", "annotations.txt")
# What error pages and messages begin with, and the files of the GDC that begin so, too
_PAGE_STARTS, _LIKE_PAGES = (b"<", b"{"), (".xml", ".json", ".html", ".svg")


def fetch_gdc(
    address: GdcAddress, part: PartFile, pinned: Path, patience: Patience, *, parallel: int = 4, batch: int = 100
) -> dict[str, Any]:
    """Bring every file of a listing to disk and write the receipt, a table of them, into `part`.

    Files lie at <receipt without suffix>/<file_id>/<file_name>. A file takes its name only after size and md5 agree
    with the listing; one that is there is hashed again and not asked for, so an interrupted run goes on where it was.

    Parameters
    ----------
    address : GdcAddress
        Filters of the files endpoint.
    part : PartFile
        Receives the receipt: the columns of the listing, and the path from the receipt's folder.
    pinned : Path
        The pinned listing; made if it does not exist.
    patience : Patience
    parallel : int
        Requests at a time; the host's limit holds as well.
    batch : int
        Files a request.

    Returns
    -------
    dict
        For the provenance: day of the listing, files and bytes.

    Raises
    ------
    GivenUpError
        The listing cannot be had, or files are missing at the end; the others stay.
    InputError
        The disk is too small, or the pinned listing is malformed.
    """
    listing = pinned_listing(address, pinned, patience)
    folder = files_folder(part.out)
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob(".*.part"):
        stale.unlink()  # of a run that was killed; the receipt's lock says that no other is at work
    present = [file for file in listing.files if _size(_path(folder, file)) == file.size]
    for file, what in wrong_files(present, folder):
        print(f"{file.file_id}: {what}; it is fetched again", file=sys.stderr, flush=True)
        _path(folder, file).unlink()
    missing = missing_files(listing.files, folder)
    n_bytes = sum(file.size for file in missing)
    require_free(folder, n_bytes, f"{len(missing):,} files of the GDC")
    if missing:
        with Progress(part.out.name, total_bytes=listing.n_bytes, done=listing.n_bytes - n_bytes) as progress:
            transfer = _Transfer(folder=folder, patience=patience, progress=progress)
            transfer.run(_batches(missing, batch), parallel)
        left = missing_files(listing.files, folder)
        if left:
            raise _incomplete(left, len(listing.files), transfer, source=pinned.name.split(".")[0])
    part.restart()
    part.write(("\t".join((*COLUMNS, "path")) + "\n").encode())
    for file in listing.files:
        part.write(f"{file.row()}\t{folder.name}/{file.file_id}/{file.file_name}\n".encode())
    return {"listed": listing.listed, "n_files": len(listing.files), "n_bytes": listing.n_bytes}


def files_folder(receipt: Path) -> Path:
    """Return the folder of the files that a receipt lists."""
    return receipt.with_suffix("")


def missing_files(files: Iterable[GdcFile], folder: Path) -> list[GdcFile]:
    """Return the files that are not on disk with the size of the listing."""
    return [file for file in files if _size(_path(folder, file)) != file.size]


def wrong_files(files: Iterable[GdcFile], folder: Path) -> Iterator[tuple[GdcFile, str]]:
    """Read every file again and yield those that are not as listed, with what is wrong."""
    for file in files:
        path = _path(folder, file)
        size = _size(path)
        if size is None:
            yield file, "it is not there"
        elif size != file.size:
            yield file, f"{size:,} bytes, the listing says {file.size:,}"
        else:
            with path.open("rb") as handle:
                md5 = hashlib.file_digest(handle, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
            if md5 != file.md5:
                yield file, f"md5 {md5}, the listing says {file.md5}"


def _path(folder: Path, file: GdcFile) -> Path:
    return folder / file.file_id / file.file_name


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None


def _batches(files: Iterable[GdcFile], batch: int) -> Iterator[list[GdcFile]]:
    """Cut by number and by bytes."""
    cut: list[GdcFile] = []
    n_bytes = 0
    for file in files:
        if cut and (len(cut) >= batch or n_bytes + file.size > BATCH_BYTES):
            yield cut
            cut, n_bytes = [], 0
        cut.append(file)
        n_bytes += file.size
    if cut:
        yield cut


def _incomplete(left: list[GdcFile], n_files: int, transfer: _Transfer, source: str) -> GivenUpError:
    named = [f"{file.file_id} ({transfer.reasons.get(file.file_id, 'not asked for')})" for file in left[:NAMED]]
    more = f" and {len(left) - NAMED:,} more" if len(left) > NAMED else ""
    what = f"{len(left):,} of {n_files:,} files are missing: {', '.join(named)}{more}"
    if transfer.given_up:
        what += f"; stopped after {MAX_REFUSALS} refused requests in a row, the last: {transfer.given_up}"
    return GivenUpError(
        what,
        todo=(transfer.given_up.todo if transfer.given_up else "")
        or "run the same command again: only these are asked for. If the GDC has withdrawn or replaced them, list "
        f"anew: python -m curation resolve --refresh {source}",
    )


class _StoppedError(Exception):
    """The user has interrupted, or another thread has failed."""


@dataclass(kw_only=True)
class _Transfer:
    """What the threads of one run share.

    Attributes
    ----------
    arrived : set of str
        file_ids that have their final name.
    reasons : dict of str to str
        file_id -> why it was given up.
    refused : list of str
        Members of archives that were not taken, and why.
    given_up : GivenUpError or None
        The refusal after which no more requests are sent.
    """

    folder: Path
    patience: Patience
    progress: Progress
    arrived: set[str] = field(default_factory=set)
    reasons: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    given_up: GivenUpError | None = None
    _refusals: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self, batches: Iterable[list[GdcFile]], parallel: int) -> None:
        """Fetch the batches; files that did not arrive have their reason in `reasons`."""
        with ThreadPoolExecutor(parallel) as pool:
            waiting = [pool.submit(self._fetch, batch) for batch in batches]
            try:
                for done in as_completed(waiting):
                    done.result()
            except BaseException as error:
                self._stop.set()
                pool.shutdown(cancel_futures=True)
                if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise InputError(
                        "the disk is full",
                        where=str(self.folder),
                        todo="make room and run the same command again; what is complete is kept",
                    ) from None
                raise
        if self.refused:
            names = "; ".join(self.refused[:NAMED])
            print(f"the GDC sent {len(self.refused):,} members that were not taken: {names}", file=sys.stderr)

    def _fetch(self, batch: list[GdcFile]) -> None:
        """Fetch one batch; what fails as a whole is asked for in halves."""
        patience = replace(self.patience, sleep=self._sleep)
        waiting = [batch]
        while waiting and not self.given_up:
            files = waiting.pop()
            try:
                persist(partial(self._ask, files), patience)
            except GivenUpError as error:
                self._count_refusal(error)
                left = self._missing(files)
                half = (len(left) + 1) // 2
                if len(files) > 1:
                    waiting += [some for some in (left[half:], left[:half]) if some]
                elif left:
                    self.reasons[left[0].file_id] = str(error)

    def _missing(self, files: Iterable[GdcFile]) -> list[GdcFile]:
        return [file for file in files if file.file_id not in self.arrived]

    def _count_refusal(self, error: GivenUpError) -> None:
        with self._lock:
            self._refusals += 1
            if self._refusals >= MAX_REFUSALS:
                self.given_up = error

    def _sleep(self, seconds: float) -> None:
        while seconds > 0:
            self.stop_if_told()
            self.patience.sleep(min(seconds, NAP_S))
            seconds -= NAP_S

    def stop_if_told(self) -> None:
        """Leave the thread if the user has interrupted or another thread has failed."""
        if self._stop.is_set():
            raise _StoppedError

    def _ask(self, files: list[GdcFile]) -> None:
        """Ask once for those that have not arrived yet (the others leave the list), and keep every one that is whole.

        Raises
        ------
        TryAgainError
            The answer was cut or had wrong bytes.
        GivenUpError
            The answer was whole, and files are missing in it.
        """
        files[:] = self._missing(files)
        wanted = {file.file_id: file for file in files}
        if not wanted:
            return
        single = next(iter(wanted)) if len(wanted) == 1 else None
        method, url = ("POST", DATA_URL) if single is None else ("GET", f"{DATA_URL}/{single}")
        question = {"ids": list(wanted)} if single is None else None
        arrivals = _Arrivals(self, wanted)
        try:
            with open_answer(method, url, self.patience, json=question) as answer:
                arrivals.take(answer)
        except TryAgainError as error:
            arrivals.settle()
            left = self._missing(wanted.values())
            if left:
                progress = error.progress or len(left) < len(wanted)
                raise TryAgainError(str(error), error.wait_s, progress=progress) from None
            return
        arrivals.settle()
        left = self._missing(wanted.values())
        if not left:
            return
        if arrivals.refused:
            what = "; ".join(arrivals.refused[:NAMED])
            raise TryAgainError(f"the GDC sent wrong bytes: {what}", progress=len(left) < len(wanted))
        raise GivenUpError(f"the GDC's answer lacks {len(left)} of {len(wanted)} files")

    def count(self, group: Collection[GdcFile]) -> None:
        """Note files that have their final name."""
        with self._lock:
            self._refusals = 0
            self.arrived.update(file.file_id for file in group)
            self.progress.add(sum(file.size for file in group))


class _Arrivals:
    """The files of one answer: written under temporary names, verified, and renamed in groups."""

    def __init__(self, transfer: _Transfer, wanted: dict[str, GdcFile]) -> None:
        self.transfer, self.wanted = transfer, wanted
        self.refused: list[str] = []
        self._group: list[GdcFile] = []

    def take(self, answer: requests.Response) -> None:
        """Read the answer: a tar.gz, or the bare file where one was asked for."""
        pieces = _pieces(answer, self.transfer)
        start = next(pieces, b"")
        pieces = chain([start], pieces)
        (file, *others) = self.wanted.values()
        if start.lstrip().startswith(_PAGE_STARTS) and (others or not file.file_name.endswith(_LIKE_PAGES)):
            text = " ".join(start[:80].decode("utf-8", "replace").split())
            raise GivenUpError(f"the GDC sent a page or message instead of files: {text}")
        if not others and (not start.startswith(b"\x1f\x8b") or file.file_name.endswith((".gz", ".tgz"))):
            self._keep(file, pieces)
            return
        limit = sum(file.size + EXTRA_BYTES_A_FILE for file in self.wanted.values()) + EXTRA_BYTES
        unpacked = _Unpacked(pieces, limit)
        try:
            with tarfile.open(fileobj=unpacked, mode="r|", bufsize=PIECE_BYTES) as archive:  # type: ignore[call-overload]
                for member in archive:
                    self._take_member(archive, member)
            unpacked.drain()
        except (tarfile.TarError, zlib.error) as error:
            raise TryAgainError(f"the GDC sent a damaged archive: {error}") from None

    def _take_member(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        file_id, _, name = member.name.partition("/")
        file = self.wanted.get(file_id)
        if member.isdir() or member.name in _NOTES or (file and name in _NOTES and name != file.file_name):
            return
        if not member.isreg() or member.issparse():
            self._refuse(f"{member.name!r} is no plain file")
        elif file is None or name != file.file_name:
            self._refuse(f"{member.name!r} was not asked for")
        elif member.size != file.size:
            self._refuse(f"{member.name} has {member.size:,} bytes, the listing says {file.size:,}")
        else:
            content = archive.extractfile(member)
            assert content is not None  # it is a plain file
            self._keep(file, iter(partial(content.read, CHUNK_BYTES), b""))

    def _keep(self, file: GdcFile, pieces: Iterable[bytes]) -> None:
        """Write the file under its temporary name; refuse it unless size and md5 are those of the listing."""
        if file in self._group or file.file_id in self.transfer.arrived:
            self._refuse(f"{file.file_id} came twice")
            return
        path, whole = self._partial(file), False
        md5, size = hashlib.md5(usedforsecurity=False), 0
        try:
            with path.open("wb", buffering=0) as handle:
                for piece in pieces:
                    size += len(piece)
                    if size > file.size:
                        break
                    md5.update(piece)
                    handle.write(piece)
            if size != file.size:
                more = "more than " if size > file.size else ""
                self._refuse(f"{file.file_id} has {more}{min(size, file.size):,} bytes, the listing says {file.size:,}")
            elif md5.hexdigest() != file.md5:
                self._refuse(f"{file.file_id} has md5 {md5.hexdigest()}, the listing says {file.md5}")
            else:
                whole = True
        finally:
            if not whole:
                path.unlink(missing_ok=True)
        if whole:
            self._group.append(file)
            if sum(kept.size for kept in self._group) >= GROUP_BYTES:
                self.settle()

    def _partial(self, file: GdcFile) -> Path:
        return self.transfer.folder / f".{file.file_id}.part"

    def _refuse(self, what: str) -> None:
        self.refused.append(what)
        self.transfer.refused.append(what)

    def settle(self) -> None:
        """Give the verified files their final names: first all bytes to the disk, then the names, then the folders."""
        group, self._group = self._group, []
        if not group:
            return
        folder = self.transfer.folder
        for file in group:
            _sync(self._partial(file))
        for file in group:
            path = _path(folder, file)
            path.parent.mkdir(exist_ok=True)
            self._partial(file).replace(path)
        for file in group:
            _sync(folder / file.file_id)
        _sync(folder)
        self.transfer.count(group)


class _Unpacked:
    """The bytes within a gzip stream, as a file to read forwards; knows a cut stream from one that ended."""

    def __init__(self, pieces: Iterator[bytes], limit: int) -> None:
        self._pieces, self._room = pieces, limit
        self._inflate = zlib.decompressobj(wbits=31)
        self._waiting = b""

    def read(self, n_bytes: int) -> bytes:
        """Return at most `n_bytes`, and none at the end of the stream."""
        while True:
            if self._inflate.eof:
                self._waiting = self._inflate.unused_data or self._waiting or next(self._pieces, b"")
                if not self._waiting:
                    return b""
                self._inflate = zlib.decompressobj(wbits=31)
            elif not self._waiting:
                self._waiting = next(self._pieces, b"")
                if not self._waiting:
                    raise TryAgainError("the GDC's archive was cut")
            found = self._inflate.decompress(self._waiting, n_bytes)
            self._waiting = self._inflate.unconsumed_tail
            self._room -= len(found)
            if self._room < 0:
                raise TryAgainError("the GDC's archive unpacks to far more than the files that were asked for")
            if found:
                return found

    def drain(self) -> None:
        """Read what follows the archive."""
        while self.read(PIECE_BYTES):
            pass


def _pieces(answer: requests.Response, transfer: _Transfer) -> Iterator[bytes]:
    """Yield the answer as it arrives, unless another thread has ended the work."""
    for piece in pieces(answer, transfer.patience):
        transfer.stop_if_told()
        yield piece


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
