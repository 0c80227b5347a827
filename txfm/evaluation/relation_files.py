"""Databases of related genes: text files with the columns entity1 and entity2, as EFAAR ships them.

CORUM and SIGNOR are CC BY-NC: they are read where the user has them, never copied.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv

from txfm.errors import InputError

COLUMNS = ("entity1", "entity2")
PACKAGE, PACKAGE_FOLDER = "efaar_benchmarking", "benchmark_annotations"


def read_relations(folder: Path | None = None, databases: Sequence[str] | None = None) -> dict[str, pd.DataFrame]:
    """Read databases of related genes.

    Parameters
    ----------
    folder, databases
        As for `relation_paths`.

    Returns
    -------
    dict of str to pandas.DataFrame
        entity1, entity2 (categorical), rows as they are in the file: self pairs and repeats included.

    Raises
    ------
    InputError
        As for `relation_paths`; or a row is torn.
    """
    return {name: _read(path) for name, path in relation_paths(folder, databases).items()}


def find_relations(folder: Path | None, *, may_lack: bool) -> dict[str, pd.DataFrame] | InputError:
    """Read databases of related genes, or say why there are none.

    Parameters
    ----------
    folder : Path, optional
        As for `relation_paths`.
    may_lack : bool
        A folder that was named may be missing or without databases, as the package may that stands in for it.

    Raises
    ------
    InputError
        A folder that was named has to be right and is not; or a row is torn.
    """
    lack = lack_of_relations(folder)
    if lack is None:
        return read_relations(folder)
    if folder is None or may_lack:
        return lack
    raise lack


def lack_of_relations(folder: Path | None = None, databases: Sequence[str] | None = None) -> InputError | None:
    """Why `relation_paths` finds no databases; None where it finds them."""
    try:
        relation_paths(folder, databases)
    except InputError as error:
        return error
    return None


def relation_paths(folder: Path | None = None, databases: Sequence[str] | None = None) -> dict[str, Path]:
    """Find the files of databases.

    Parameters
    ----------
    folder : Path, optional
        With ``<database>.txt`` files: comma-separated, a header with entity1 and entity2. A .txt file without these
        columns, such as a licence, is passed over. None: the files of the installed package efaar-benchmarking.
    databases : sequence of str, optional
        Only these, in this order; None = all, by name.

    Raises
    ------
    InputError
        No such folder or database, none in it, or the package is not installed.
    """
    folder = _package_folder() if folder is None else folder
    if not folder.is_dir():
        raise InputError("There is no such folder of relations", found=str(folder), expected="<database>.txt files")
    files = {path.stem: path for path in sorted(folder.glob("*.txt")) if set(COLUMNS) <= set(_header(path))}
    if not files:
        raise InputError(
            "No database of relations is in this folder",
            where=str(folder),
            expected=f".txt files whose first line names {' and '.join(COLUMNS)}, separated by a comma",
            found=", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "nothing",
            todo="use benchmark_annotations/ of the package efaar-benchmarking, or files like it",
        )
    missing = [name for name in databases or () if name not in files]
    if missing:
        raise InputError(
            "There is no such database of relations",
            where=str(folder),
            expected="of " + ", ".join(files),
            found=", ".join(missing),
        )
    return {name: files[name] for name in (files if databases is None else databases)}


def _package_folder() -> Path:
    spec = importlib.util.find_spec(PACKAGE)  # the package itself is not run: it would import scvi-tools
    if spec is None or spec.origin is None:
        raise InputError(
            "There are no relations: no folder was named, and efaar-benchmarking is not installed",
            todo="name a folder of relation files, or: pip install --no-deps efaar-benchmarking",
        )
    return Path(spec.origin).parent / PACKAGE_FOLDER


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8", errors="replace") as lines:
        return lines.readline().strip().split(",")


def _read(path: Path) -> pd.DataFrame:
    text = pa.dictionary(pa.int32(), pa.string())  # few names, many rows
    options = pa.csv.ConvertOptions(column_types=dict.fromkeys(COLUMNS, text), include_columns=list(COLUMNS))
    try:
        return pa.csv.read_csv(path, convert_options=options).to_pandas()
    except pa.ArrowInvalid as error:
        raise InputError("A database of relations cannot be read", where=str(path), found=str(error)) from error
