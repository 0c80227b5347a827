"""The tables of the samples of some stores, as one polars frame."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import polars as pl

from txfm.corpus.store import Store
from txfm.errors import InputError


def read_samples(readers: Sequence[Store], columns: Sequence[str] | None) -> pl.DataFrame:
    """`obs` of all stores, one after another.

    Parameters
    ----------
    readers : sequence of Store
    columns : sequence of str, optional
        None = `sample_id`, every column, `split`.

    Raises
    ------
    InputError
        No store has one of the columns.
    """
    known = list(dict.fromkeys(name for reader in readers for name in reader.obs_names))
    wanted = ["sample_id", *known, "split"] if columns is None else list(columns)
    unknown = [name for name in wanted if name not in ("sample_id", "split", *known)]
    if unknown and readers:
        raise InputError(
            f"The samples have no column {unknown[0]!r}",
            expected=f"some of sample_id, {', '.join(known)}, split",
            found=", ".join(wanted),
        )
    frames = [_frame(reader, wanted) for reader in readers]
    return pl.concat(frames, how="vertical_relaxed") if frames else pl.DataFrame(schema=wanted)


def _frame(reader: Store, wanted: list[str]) -> pl.DataFrame:
    own = set(reader.obs_names)
    series = []
    for name in wanted:
        if name == "sample_id":
            series.append(pl.Series(name, reader.sample_ids.astype(object), dtype=pl.String))
        elif name == "split":
            series.append(pl.repeat(reader.entry.split, reader.entry.n_samples, eager=True).alias(name))
        elif name in own:
            series.append(_series(name, reader.obs_columns(name)[name]))
        else:
            series.append(pl.Series(name, [None] * reader.entry.n_samples))
    return pl.DataFrame(series)


def _series(name: str, column: np.ndarray | pd.Categorical) -> pl.Series:
    if isinstance(column, pd.Categorical):
        codes = pl.Series(column.codes.astype(np.int64))
        categories = pl.Series(name, column.categories.astype(str).to_numpy(dtype=object), dtype=pl.String)
        return categories.gather(codes.set(codes < 0, None))
    return pl.Series(name, np.asarray(column))
