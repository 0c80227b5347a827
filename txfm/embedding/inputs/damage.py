"""Saying of what libraries raise over a broken file that the file is broken."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import zarr.errors

from txfm.errors import InputError

RAISED_BY_LIBRARIES = (KeyError, OSError, RuntimeError, ValueError, zlib.error, zarr.errors.BaseZarrError)


@contextmanager
def damage_told(where: str) -> Iterator[None]:
    """Turn what h5py, Zarr and anndata raise while they read into an InputError; only reading belongs into the context.

    Raises
    ------
    InputError
        The file is damaged.
    """
    try:
        yield
    except InputError:
        raise
    except RAISED_BY_LIBRARIES as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the system: no permission, no space
            raise
        first_line = (str(error).splitlines() or ["no further word"])[0]
        raise InputError(
            "The input cannot be read",
            where=where,
            expected="a whole file in the layout that its kind has",
            found=f"{type(error).__name__}: {first_line}",
            todo="it is damaged, broke off, or lacks a part: write, copy or download it again",
        ) from error
