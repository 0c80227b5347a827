"""The verbs of `python -m curation` that get and check files. Nothing heavy is imported before a verb runs."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from curation.errors import InputError

if TYPE_CHECKING:
    from curation.acquire.lock import SourcesLock
    from curation.plan import Plan
    from curation.remote_file import RemoteFile

Command = Callable[[argparse.Namespace], int | None]
AddVerb = Callable[[str, Command], argparse.ArgumentParser]

# The three ways to call fetch -> the options that go with each
MODES = {
    "--file": {"file", "out", "source", "lock", "offline"},
    "--url": {"url", "out", "sha256", "md5", "size", "offline"},
    "CONFIG": {"configs", "sources_folder", "lock", "dry_run", "offline", "only", "jobs"},
}
CONFIG_HELP = "config files, merged in this order over config.yaml, which is read first"
DIGITS = {"md5": 32, "sha256": 64}


def sources(args: argparse.Namespace) -> int:
    """Print the studies of a config, their files, sizes, licences and how far each fact is trusted."""
    if not args.check:
        from curation.sources import print_sources

        print_sources(args.configs, whole=args.all)
        return 0
    from curation.acquire.health import all_well, check_addresses, findings_table

    findings = check_addresses(_plan(args), args.sources_folder, _lock(args), whole=args.all)
    print(findings_table(findings))
    return 0 if all_well(findings) else 1


def fetch(args: argparse.Namespace) -> None:
    """Get files: all of a config, one by hand (--url), or one of the workflow (--file)."""
    mode = _mode(args)
    if mode == "CONFIG":
        _fetch_config(args)
    elif mode == "--url":
        _fetch_by_hand(args)
    else:
        _fetch_entry(args)


def _mode(args: argparse.Namespace) -> str:
    """Return which of the three ways is meant.

    Raises
    ------
    InputError
        Options of two ways are mixed, or one that is needed is missing.
    """
    if args.file and args.url:
        raise InputError("--file and --url are two ways to name a file", expected="one of them")
    mode = "--file" if args.file else "--url" if args.url else "CONFIG"
    given = {name for name, value in vars(args).items() if value is not None and value is not False and value != []}
    wrong = sorted(given - MODES[mode] - {"verb", "command"})
    if wrong:
        names = ", ".join("CONFIG" if name == "configs" else f"--{name.replace('_', '-')}" for name in wrong)
        raise InputError(
            f"{names} does not go with {mode}" if mode != "CONFIG" else f"{names} needs --file or --url",
            where="python -m curation fetch",
            expected="; ".join(_usage(name) for name in MODES),
        )
    if mode != "CONFIG" and args.out is None:
        raise InputError(f"{mode} needs --out, the file to write", where="python -m curation fetch")
    if mode == "--file" and bool(args.source) != bool(args.lock):
        raise InputError("--source and --lock go together", where="python -m curation fetch --file")
    return mode


def _usage(mode: str) -> str:
    """Return one way to call fetch in short."""
    names = sorted(MODES[mode] - {mode.removeprefix("--"), "configs"})
    return f"{mode} with {', '.join('--' + name.replace('_', '-') for name in names)}"


def _fetch_config(args: argparse.Namespace) -> None:
    from curation.acquire.study import JOBS, dry_run, fetch_sources

    plan, folder, lock = _plan(args), args.sources_folder or Path("sources"), _lock(args)
    if args.dry_run:
        print(dry_run(plan, folder, lock, args.only))
        return
    jobs = JOBS if args.jobs is None else args.jobs
    if jobs < 1:
        raise InputError("no files at a time", where="--jobs", expected="1 or more", found=str(jobs))
    fetch_sources(plan, folder, lock, only=args.only, jobs=jobs, offline=args.offline)


def _fetch_entry(args: argparse.Namespace) -> None:
    from curation.acquire.fetch import fetch as fetch_file
    from curation.acquire.lock import SourcesLock

    remote = _remote_file(args.file)
    pin = SourcesLock(args.lock).pin(args.source, remote.path) if args.lock else None
    record = fetch_file(remote, args.out, pin=pin, offline=args.offline)
    print(f"{args.out}: {record['size']:,} bytes, sha256 {record['sha256']}")


def _remote_file(text: str) -> RemoteFile:
    """Return the entry that `--file` gives."""
    import json

    from curation.remote_file import RemoteFile

    wrong = InputError(
        "this is no entry of a file",
        where="--file",
        expected='JSON with path and addresses, as {"path": "a.tsv", "addresses": ["https://example.org/a.tsv"]}',
        found=text,
    )
    try:
        fields = json.loads(text)
        addresses = fields.get("addresses", [])
        if not isinstance(fields["path"], str) or not isinstance(addresses, list):
            raise wrong
        if not all(isinstance(address, str) for address in addresses):
            raise wrong
        return RemoteFile.from_mapping(fields)
    except (json.JSONDecodeError, AttributeError, KeyError, TypeError):
        raise wrong from None


def _fetch_by_hand(args: argparse.Namespace) -> None:
    from curation.acquire.fetch import fetch as fetch_file
    from curation.remote_file import RemoteFile

    if args.size is not None and args.size < 1:
        raise InputError("no file has this size", where="--size", expected="bytes, 1 or more", found=str(args.size))
    if args.out.is_dir() or not args.out.name:
        raise InputError("this is a folder", where=f"--out {args.out}", expected="the name of a file")
    md5, sha256 = (_checked_sum(kind, getattr(args, kind)) for kind in ("md5", "sha256"))
    remote = RemoteFile(path=args.out.name, addresses=tuple(args.url), size=args.size, md5=md5, sha256=sha256)
    if args.out.exists():
        _require_same(remote, args.out)
        print(f"{args.out}: already there")
        return
    record = fetch_file(remote, args.out, offline=args.offline)
    print(f"{args.out}: {record['size']:,} bytes, sha256 {record['sha256']}, from {record['address']}")


def _checked_sum(kind: str, text: str | None) -> str | None:
    if text is None:
        return None
    if not re.fullmatch(rf"[0-9a-f]{{{DIGITS[kind]}}}", text.lower()):
        raise InputError(f"no {kind} sum", where=f"--{kind}", expected=f"{DIGITS[kind]} hex digits", found=text)
    return text.lower()


def _require_same(remote: RemoteFile, out: Path) -> None:
    """Raise `InputError` unless `out` is the file that is asked for: by its sums, or without any by its provenance."""
    import json

    from curation.acquire.failures import WrongBytesError
    from curation.acquire.file_check import CHUNK_BYTES, FileCheck, has_sum
    from curation.acquire.part_file import provenance_path

    check = FileCheck(remote)
    try:
        with out.open("rb") as handle:
            while chunk := handle.read(CHUNK_BYTES):
                check.take(chunk)
        check.check(out)
        record = {} if has_sum(remote) else json.loads(provenance_path(out).read_text(encoding="utf-8"))
        if not has_sum(remote) and (record["sha256"], record["address"] in remote.addresses) != (check.sha256, True):
            raise WrongBytesError("its provenance is that of other bytes, or of another address")
    except (WrongBytesError, FileNotFoundError, json.JSONDecodeError, KeyError) as error:
        known = isinstance(error, WrongBytesError)
        raise InputError(
            "there is another file by this name, and it is not overwritten",
            where=str(out),
            found=str(error) if known else "a file without provenance, and no sum to recognise it by",
            todo="give another --out, or remove the file",
        ) from None
    finally:
        check.close()


def extract(args: argparse.Namespace) -> None:
    """Take one member out of a fetched archive."""
    from curation.acquire.archives import extract_member

    record = extract_member(args.archive, _remote_file(args.file), args.out)
    print(f"{args.out}: {record['size']:,} bytes, sha256 {record['sha256']}")


def resolve(args: argparse.Namespace) -> None:
    """Ask the repositories' APIs where files lie, and pin the answers in sources.lock.yaml."""
    from curation.acquire.resolve import resolve_sources

    lines = resolve_sources(_plan(args), args.sources_folder, _lock(args), refresh=args.refresh)
    if not lines:
        print("everything is pinned already; --refresh SOURCE looks a source up anew")


def listing(args: argparse.Namespace) -> None:
    """Print the files of a repository's entry as a sheet's `files:`."""
    from curation.acquire.addresses import ListedAddress, parse_address
    from curation.acquire.failures import GivenUpError
    from curation.acquire.http import Patience
    from curation.acquire.listings import listing as list_files
    from curation.acquire.snippet import files_snippet

    forms = "figshare:ARTICLE, zenodo:RECORD, cellxgene:COLLECTION_ID or geo:GSE000000"
    try:
        address = parse_address(f"{args.address.rstrip('/')}/x")
    except InputError:
        address = None
    if not isinstance(address, ListedAddress) or address.name != "x":
        raise InputError("this is no entry of a repository", where=args.address, expected=forms)
    try:
        files = list_files(address.repository, address.container, Patience())
    except GivenUpError as error:
        raise InputError("no listing", where=args.address, found=str(error), todo=error.todo) from None
    print(files_snippet(address, files))


def verify_sources(args: argparse.Namespace) -> None:
    """Hash every file on disk again, against catalogue, lock and provenance."""
    from curation.acquire.verify_files import verify_sources as verify

    print(verify(_plan(args), args.sources_folder, _lock(args)))


def notice(args: argparse.Namespace) -> None:
    """Write the citation and licence of every source into a file NOTICE."""
    from curation.notice import write_notice, write_text

    if args.text is None:
        write_notice(args.configs, args.out)
    else:
        write_text(args.text, args.out)


def _plan(args: argparse.Namespace) -> Plan:
    from curation.config import read_project
    from curation.plan import read_plan

    return read_plan(read_project(args.configs), Path.cwd())


def _lock(args: argparse.Namespace) -> SourcesLock:
    from curation.acquire.lock import SourcesLock

    return SourcesLock(args.lock or Path("sources.lock.yaml"))


def register(verb: AddVerb) -> None:
    """Add the verbs of this module to a command line."""
    sub = _with_configs(verb("sources", sources))
    sub.add_argument("--all", action="store_true", help="everything in the sheets, not only what the config selects")
    sub.add_argument(
        "--check", action="store_true", help="ask for every address; exit code 1 unless all answer as before"
    )

    sub = verb("fetch", fetch)
    sub.add_argument("configs", type=Path, nargs="*", metavar="CONFIG", help=f"{CONFIG_HELP}; gets all of its files")
    sub.add_argument("--dry-run", action="store_true", help="with CONFIG: only say what would be fetched")
    sub.add_argument("--only", action="append", default=[], metavar="SOURCE", help="with CONFIG: only this; repeatable")
    sub.add_argument("--jobs", type=int, help="with CONFIG: files at a time (default 4)")
    sub.add_argument("--sources-folder", type=Path, help="with CONFIG: folder of all sources (default sources)")
    sub.add_argument(
        "--url", action="append", default=[], metavar="ADDRESS", help="address of one file; mirrors follow"
    )
    sub.add_argument("--sha256", help="with --url: sum of the file")
    sub.add_argument("--md5", help="with --url: sum of the file")
    sub.add_argument("--size", type=int, metavar="BYTES", help="with --url: size of the file")
    sub.add_argument("--file", metavar="JSON", help="a file's entry in the catalogue, as the workflow gives it")
    sub.add_argument("--source", help="with --file: study or annotation entry")
    sub.add_argument("--lock", type=Path, metavar="FILE", help="sources.lock.yaml; with --file no lock without it")
    sub.add_argument("--out", type=Path, help="with --url or --file: the file to write")
    sub.add_argument("--offline", action="store_true", help="ask no server")

    sub = verb("extract", extract)
    sub.add_argument("--file", required=True, metavar="JSON", help="the member's entry in the catalogue")
    sub.add_argument("--archive", type=Path, required=True)
    sub.add_argument("--out", type=Path, required=True)

    sub = _with_configs(verb("resolve", resolve))
    sub.add_argument("--refresh", action="append", default=[], metavar="SOURCE", help="look this up anew; repeatable")

    sub = verb("listing", listing)
    sub.add_argument("address", help="figshare:ARTICLE, zenodo:RECORD, cellxgene:COLLECTION_ID or geo:GSE000000")

    _with_configs(verb("verify-sources", verify_sources))

    sub = verb("notice", notice)
    sub.add_argument("configs", type=Path, nargs="*", metavar="CONFIG", help=CONFIG_HELP)
    sub.add_argument("--text", help="the text itself instead of configs, as the workflow gives it")
    sub.add_argument("--out", type=Path, required=True)


def _with_configs(sub: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add what names a config, the folder of its files and its lock."""
    sub.add_argument("configs", type=Path, nargs="*", metavar="CONFIG", help=CONFIG_HELP)
    sub.add_argument("--sources-folder", type=Path, default=Path("sources"), help="folder of all sources")
    sub.add_argument("--lock", type=Path, default=Path("sources.lock.yaml"), help="default sources.lock.yaml")
    return sub
