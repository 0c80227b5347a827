"""What a schema cannot say of a sheet's files: addresses that parse, archives that are there, no address to avoid."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from curation.acquire.addresses import SIMULATE, WebAddress, parse_address
from curation.errors import InputError
from curation.remote_file import RemoteFile
from curation.schema_check import nearest


def check_files(files: Mapping[str, RemoteFile], *, where: str, simulated: bool = False) -> None:
    """Check the files of an entry.

    Parameters
    ----------
    files : mapping of str to RemoteFile
        By `RemoteFile.path`.
    where : str
        Sheet and key of the entry, for messages.
    simulated : bool
        Whether `curation simulate` writes the files, so that `simulate:` is an address.

    Raises
    ------
    InputError
        An address is malformed, or an archive is not a file with addresses of the same entry.
    """
    for path, file in files.items():
        for i, address in enumerate(file.addresses):
            if not (simulated and address.startswith(f"{SIMULATE}:")):
                _check_address(address, where=f"{where}.files.{path}.addresses[{i}]")
        fetched = [name for name, other in files.items() if other.addresses]
        if file.archive is not None and file.archive not in fetched:
            raise InputError(
                "this file's archive is not among the files of the entry that have addresses",
                where=f"{where}.files.{path}.archive",
                found=file.archive,
                todo=nearest(file.archive, fetched),
            )


def check_alternatives(alternatives: Iterable[Mapping[str, Any]], *, where: str) -> None:
    """Raise `InputError` for a malformed address among an entry's other copies."""
    for i, other in enumerate(alternatives):
        if "address" in other:
            _check_address(other["address"], where=f"{where}.alternatives[{i}].address")


def check_pattern(pattern: str, *, where: str) -> None:
    """Raise `InputError` for a pattern that gives no value: no regular expression, or one without a group."""
    try:
        n_groups, found = re.compile(pattern).groups, f"no group in {pattern}"
    except re.error as error:
        n_groups, found = 0, f"{pattern}: {error}"
    if not n_groups:
        raise InputError(
            "this pattern gives no value",
            where=where,
            expected="a regular expression whose first group, in parentheses, is the value: ^(TCGA-..-....)",
            found=found,
            todo="correct the pattern in the catalogue",
        )


def check_do_not_use(files: Mapping[str, RemoteFile], do_not_use: Iterable[Mapping[str, Any]], *, where: str) -> None:
    """Raise `InputError` where a file has the address, or one of the urls, of an entry that must not be used."""
    for i, refused in enumerate(do_not_use):
        if "address" not in refused:
            continue
        _check_address(refused["address"], where=f"{where}.do_not_use[{i}].address")
        for path, file in files.items():
            for k, address in enumerate(file.addresses):
                if not _places(address).isdisjoint(_places(refused["address"])):
                    raise InputError(
                        "this is the address of a file that must not be used",
                        where=f"{where}.files.{path}.addresses[{k}]",
                        expected=f"another file than {refused['name']}",
                        found=f"{address}: {refused['why']}",
                        todo="correct the address",
                    )


def _check_address(address: str, *, where: str) -> None:
    try:
        parse_address(address)
    except InputError as error:
        raise InputError(error.what, where=where, expected=error.expected, found=address, todo=error.todo) from None


def _places(address: str) -> set[str]:
    """Return every url that an address means, or itself where an API has to be asked."""
    if address.startswith(f"{SIMULATE}:"):
        return {address}
    parsed = parse_address(address)
    return set(parsed.urls) if isinstance(parsed, WebAddress) else {address}
