"""Opening a file of labelled samples, and the names in it: columns of obs, keys of obsm; nothing heavy is imported."""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import zarr

from txfm.embedding.inputs.damage import damage_told
from txfm.errors import InputError

NAMED_LABELS = 20


@contextmanager
def open_file(path: Path) -> Iterator[Any]:
    """The group of an .h5ad or .zarr.

    Raises
    ------
    InputError
        There is no such file, it is of another kind, or damaged; it has no obs.
    """
    expected = "an .h5ad file, or a .zarr folder of this project or of anndata"
    if not path.exists():
        raise InputError("There is no such file", where=str(path), expected=expected)
    is_zarr = path.is_dir() and any((path / name).is_file() for name in ("zarr.json", ".zgroup"))
    if not is_zarr and not h5py.is_hdf5(path):
        raise InputError("This file cannot be evaluated on", where=str(path), expected=expected)
    with damage_told(str(path)):
        if is_zarr:
            yield _with_obs(zarr.open_group(path, mode="r"), path)
        else:
            with h5py.File(path, "r") as file:
                yield _with_obs(file, path)


def _with_obs(group: Any, path: Path) -> Any:
    if "obs" not in group:
        raise InputError(
            "This file has no table of samples", where=str(path), expected="obs", found=", ".join(group) or "nothing"
        )
    return group


def require_column(column: str, existing: Iterable[object], where: str) -> None:
    """Refuse a column that obs does not have.

    Raises
    ------
    InputError
        The message lists the columns that exist.
    """
    names = [str(name) for name in existing]
    if column not in names:
        raise InputError(
            f"There is no column {column!r} in obs",
            where=where,
            expected="one of " + (", ".join(names) or "no column: obs is empty"),
            found=column,
            todo=_closest(column, names),
        )


def require_key(key: str, existing: Sequence[str], where: str) -> None:
    """Refuse a key that obsm does not have.

    Raises
    ------
    InputError
        The message lists the keys that exist.
    """
    if key not in existing:
        raise InputError(
            f"There is no {key!r} in obsm",
            where=where,
            expected="one of " + ", ".join(existing) if existing else "a file with embeddings in obsm",
            found=key,
            todo=_closest(key, existing),
        )


def obsm_keys(group: Any) -> tuple[str, ...]:
    """Names of a file's own embeddings; before anndata 0.7 they were fields of a compound dataset."""
    obsm = group.get("obsm", ())
    return tuple(obsm.dtype.names or ()) if isinstance(obsm, h5py.Dataset) else tuple(obsm)


def check_names(
    path: Path,
    columns: Mapping[str, str],
    obsm: Sequence[str],
    where: str,
    labels: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Refuse a file without what a benchmark will read of it; only names are read, so that it takes no time.

    Parameters
    ----------
    path : Path
    columns : mapping of str to str
        What names a column -> the column of obs.
    obsm : sequence of str
    where : str
        What names the file, such as a key of a config.
    labels : mapping of str to sequence of str, optional
        Column -> labels that some cell has; looked up where the column is categorical, as anndata writes text.

    Raises
    ------
    InputError
        There is no such file, column, key or label.
    """
    with open_file(path) as group:
        existing, keys = _columns(group["obs"]), obsm_keys(group)
        categories = {column: _categories(group["obs"], column) for column in labels or {} if column in existing}
    for key, column in columns.items():
        require_column(column, existing, f"{path} ({where}.{key})")
    for key in obsm:
        require_key(key, keys, f"{path} ({where}.obsm)")
    for column, known in categories.items():
        if known is not None:
            _require_labels((labels or {})[column], known, f"{path}, obs[{column!r}] ({where})")


def _require_labels(labels: Sequence[str], existing: Sequence[str], where: str) -> None:
    missing = [label for label in labels if label not in existing]
    if missing:
        more = ["..."] if len(existing) > NAMED_LABELS else []
        raise InputError(
            f"No cell is labelled {', '.join(missing)}",
            where=where,
            expected="one of " + ", ".join([*existing[:NAMED_LABELS], *more]),
            found=", ".join(missing),
            todo=_closest(missing[0], existing),
        )


def _columns(obs: Any) -> list[str]:
    """Names of a table's columns, the index aside; before anndata 0.7 it was a compound dataset."""
    if isinstance(obs, h5py.Dataset):
        return [name for name in obs.dtype.names or () if name != "index"]
    return [str(name) for name in obs.attrs.get("column-order", ())]


def _categories(obs: Any, column: str) -> list[str] | None:
    """Labels of a categorical column; None of another one, which would have to be read."""
    element = None if isinstance(obs, h5py.Dataset) else obs[column]
    if element is None or not hasattr(element, "keys") or "categories" not in element:
        return None
    categories = element["categories"]
    is_bytes = isinstance(categories, h5py.Dataset) and h5py.check_string_dtype(categories.dtype)
    return [str(value) for value in (categories.asstr() if is_bytes else categories)[:]]


def _closest(name: str, existing: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, existing, n=1)
    return f"did you mean {close[0]}?" if close else ""
