"""All files of a config at once: parallel within the hosts' limits, and one failure does not stop the others."""

from __future__ import annotations

import queue
import shutil
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from curation.acquire.archives import extract_member
from curation.acquire.disk import RESERVE_BYTES
from curation.acquire.fetch import fetch
from curation.acquire.host_limits import LIMITS
from curation.acquire.http import Patience
from curation.acquire.lock import SourcesLock
from curation.acquire.part_file import provenance_path
from curation.acquire.source_files import HOSTS, SourceFile, aligned, host_load, source_files
from curation.errors import InputError, refusal_of_system
from curation.sizes import human_size

if TYPE_CHECKING:
    from curation.plan import Plan

# Files at a time; each public host has its own, lower limit.
JOBS = 4
# Seconds until Ctrl-C is noticed
WAKE_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one file went; `size` in bytes, `error` None where it is in its place."""

    file: SourceFile
    size: int = 0
    was_there: bool = False
    error: Exception | None = None

    def line(self) -> str:
        """Return it for the log."""
        if self.error is not None:
            return f"{self.file.label}: {getattr(self.error, 'what', '') or repr(self.error)}"
        return f"{self.file.label}: {human_size(self.size)}{', was there already' if self.was_there else ''}"


def fetch_sources(
    plan: Plan,
    folder: Path,
    lock: SourcesLock,
    *,
    only: Sequence[str] = (),
    jobs: int = JOBS,
    offline: bool = False,
    patience: Patience | None = None,
) -> list[Outcome]:
    """Place every file of a plan that is not simulated: archives before their members.

    Parameters
    ----------
    plan : Plan
    folder : Path
        Folder of all sources.
    lock : SourcesLock
    only : sequence of str
        Names of sources; all if empty.
    jobs : int
        Files at a time.
    offline : bool
        Ask no server; files that are here are verified, all others are missing.
    patience : Patience, optional

    Returns
    -------
    list of Outcome
        In the order in which files were done; printed one by one as well.

    Raises
    ------
    InputError
        Some files failed; names each with its reasons. The others are in their places.
    """
    files = source_files(plan, folder, lock, only)
    for name in plan.simulated:
        if not only or name in only:
            print(f"{name}: simulated; the workflow writes it, there is nothing to fetch", flush=True)
    run = _Run(files=files, jobs=jobs, offline=offline, patience=patience)
    outcomes = []
    for outcome in run.outcomes():
        outcomes.append(outcome)
        print(f"[{len(outcomes)} of {len(files)}] {outcome.line()}", flush=True)
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    if failed:
        refused = InputError(
            f"{len(failed)} of {len(files)} files {'are not here' if offline else 'could not be fetched'}",
            where=str(folder),
            found="".join(f"\n  {_indented(outcome)}" for outcome in failed),
            todo="the same command takes up where this one ended" + ("; without --offline" if offline else ""),
        )
        for outcome in failed:
            if outcome.error is not None and not isinstance(outcome.error, InputError):
                outcome.error.add_note(str(refused))
                raise outcome.error
        raise refused
    return outcomes


def _indented(outcome: Outcome) -> str:
    return f"{outcome.file.label}\n{outcome.error}".replace("\n", "\n    ")


class _Run:
    """Starts a thread a file as soon as its host and its archive allow.

    The threads are daemons: an interrupted command ends at once, and every part file can be taken up.
    """

    def __init__(self, *, files: Sequence[SourceFile], jobs: int, offline: bool, patience: Patience | None) -> None:
        self.jobs, self.offline, self.patience = jobs, offline, patience
        self._waiting = list(files)
        self._running: list[SourceFile] = []
        self._load: Counter[str] = Counter()
        self._done: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._open = {file.path for file in files}
        self._failed: set[Path] = set()

    def outcomes(self) -> Iterator[Outcome]:
        """Yield what becomes of each file."""
        while self._waiting or self._running:
            for file in [file for file in self._waiting if self._may_start(file)]:
                if self._may_start(file):
                    self._start(file)
            assert self._running, "no archive is a member of itself"
            outcome = self._next_outcome()
            self._running.remove(outcome.file)
            host, n_connections = host_load(outcome.file.remote)
            self._load[host] -= n_connections
            self._open.discard(outcome.file.path)
            if outcome.error is not None:
                self._failed.add(outcome.file.path)
            yield outcome

    def _next_outcome(self) -> Outcome:
        while True:
            with suppress(queue.Empty):
                # Not without an end: Ctrl-C may wake another thread than this one, which has to act on it.
                return self._done.get(timeout=WAKE_S)

    def _may_start(self, file: SourceFile) -> bool:
        host, n_connections = host_load(file.remote)
        limit = LIMITS[HOSTS[host]].parallel if host and not self.offline else self.jobs
        fits = not self._load[host] or self._load[host] + n_connections <= limit
        return len(self._running) < self.jobs and fits and file.archive not in self._open

    def _start(self, file: SourceFile) -> None:
        self._waiting.remove(file)
        self._running.append(file)
        host, n_connections = host_load(file.remote)
        self._load[host] += n_connections
        threading.Thread(target=self._get, args=(file,), daemon=True).start()

    def _get(self, file: SourceFile) -> None:
        try:
            before = _identity(file.path)
            if file.archive is None:
                record = fetch(file.remote, file.path, pin=file.pin, patience=self.patience, offline=self.offline)
            elif file.archive in self._failed:
                raise InputError(f"its archive {file.remote.archive} could not be fetched")
            else:
                record = extract_member(file.archive, file.remote, file.path)
            was_there = before is not None and before == _identity(file.path)
            self._done.put(Outcome(file=file, size=int(record["size"]), was_there=was_there))
        except OSError as error:
            self._done.put(Outcome(file=file, error=refusal_of_system(error)))
        except Exception as error:  # the thread that prints it decides what it means
            self._done.put(Outcome(file=file, error=error))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


@dataclass(frozen=True, kw_only=True)
class Need:
    """What a fetch would still have to get: `n_bytes` of the files whose size is known, `n_unknown` others.

    `about` says that some of the sizes are only expected.
    """

    n_files: int
    n_there: int
    n_bytes: int
    n_unknown: int
    about: bool


def dry_run(plan: Plan, folder: Path, lock: SourcesLock, only: Sequence[str] = ()) -> str:
    """Return a table of what `fetch_sources` would get, and whether the disk will hold it. Asks no server.

    A file counts as there by its name, provenance and size; its bytes are not read.
    """
    groups: dict[str, list[SourceFile]] = {}
    for file in source_files(plan, folder, lock, only):
        groups.setdefault(file.source, []).append(file)
    needs = {source: _need(files) for source, files in groups.items()}
    total = Need(
        n_files=sum(need.n_files for need in needs.values()),
        n_there=sum(need.n_there for need in needs.values()),
        n_bytes=sum(need.n_bytes for need in needs.values()),
        n_unknown=sum(need.n_unknown for need in needs.values()),
        about=any(need.about for need in needs.values()),
    )
    rows: list[tuple[str, ...]] = [("source", "files", "there", "to get", "bytes to get", "size unknown")]
    rows += [_row(source, need) for source, need in needs.items()]
    rows += [(name, "-", "-", "-", "-", "simulated") for name in plan.simulated if not only or name in only]
    rows.append(_row("total", total))
    free = shutil.disk_usage(_existing(folder)).free
    unknown = f", and {total.n_unknown} files of unknown size" if total.n_unknown else ""
    needed = f"{'about ' if total.about else ''}{human_size(total.n_bytes)}{unknown}"
    lines = [aligned(rows), "", f"needed: {needed}; free in {folder}: {human_size(free)}"]
    if total.n_bytes + RESERVE_BYTES > free:
        lines.append(f"the disk will not hold it: {human_size(total.n_bytes + RESERVE_BYTES - free)} are lacking")
    return "\n".join(lines)


def _need(files: Sequence[SourceFile]) -> Need:
    missing = [_missing_bytes(file) for file in files]
    to_get = [n_bytes for n_bytes in missing if n_bytes != 0]
    return Need(
        n_files=len(files),
        n_there=len(files) - len(to_get),
        n_bytes=sum(n_bytes for n_bytes in to_get if n_bytes is not None),
        n_unknown=to_get.count(None),
        about=any(file.size is None and n_bytes for file, n_bytes in zip(files, missing, strict=True)),
    )


def _missing_bytes(file: SourceFile) -> int | None:
    """Return the bytes that have to be got and stored, 0 for a file that is there, None for an unknown size."""
    if file.listing is not None:
        return _missing_bytes_of_listing(file)
    size = file.size
    if file.path.is_file() and provenance_path(file.path).exists() and size in (None, file.path.stat().st_size):
        return 0
    size = size or file.remote.size_about
    if size is None:
        return None
    part = file.path.with_name(f"{file.path.name}.part")
    done = part.stat().st_size if part.exists() and file.archive is None else 0
    return max(size - done, 1)


def _missing_bytes_of_listing(file: SourceFile) -> int | None:
    from curation.acquire.gdc import read_listing
    from curation.acquire.gdc_batches import files_folder, missing_files

    assert file.listing is not None
    listing = read_listing(file.listing)
    if listing is None:
        return file.size or file.remote.size_about
    n_bytes = sum(entry.size for entry in missing_files(listing.files, files_folder(file.path)))
    return n_bytes if n_bytes or file.path.exists() else 1


def _row(name: str, need: Need) -> tuple[str, ...]:
    n_missing = need.n_files - need.n_there
    n_bytes = human_size(need.n_bytes) if need.n_bytes or not need.n_unknown else "?"
    n_bytes = f"about {n_bytes}" if need.about else n_bytes
    return name, str(need.n_files), str(need.n_there), str(n_missing), n_bytes, str(need.n_unknown)


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    folder = folder.resolve()
    return next(path for path in (folder, *folder.parents) if path.exists())
