"""Vectors as tables: sample_id, the labels, e0, e1, ..."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from txfm.embedding.outputs.embedded import RECORDS_KEY, Embedded

GROUP_ROWS = 4096  # least rows of a row group: thousands of small groups make a slow file
VECTOR_NAME = re.compile(r"^e\d+$")


def write_parquet(path: Path, embedded: Embedded) -> None:
    """Write a .parquet; its metadata hold the record as JSON under the key "txfm"."""
    labels = labels_table(embedded.labels())
    writer = pq.ParquetWriter(path, _schema(labels, embedded.width))
    with writer:
        for table in _tables(labels, embedded):
            writer.write_table(table)
        writer.add_key_value_metadata({RECORDS_KEY: json.dumps(embedded.record())})


def write_csv(path: Path, embedded: Embedded) -> None:
    """Write a .csv; numbers have as many digits as float32 needs to be read back the same."""
    labels = labels_table(embedded.labels())
    with pyarrow.csv.CSVWriter(path, _schema(labels, embedded.width)) as writer:
        for table in _tables(labels, embedded):
            writer.write_table(table)


def labels_table(obs: pd.DataFrame) -> pa.Table:
    """obs as Arrow: the index as `sample_id`; categories as what they stand for; a column of mixed types as text.

    A column that has a name of ours (sample_id, e0, e1, ...) gets the prefix obs_.
    """
    columns = {"sample_id": pa.array(obs.index.astype(str), type=pa.string())}
    for name in obs.columns:
        ours = str(name) == "sample_id" or VECTOR_NAME.match(str(name))
        columns[f"obs_{name}" if ours else str(name)] = _array(obs[name])
    return pa.table(columns)


def _array(column: pd.Series) -> pa.Array:
    try:
        array = pa.Array.from_pandas(column)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        array = pa.array(
            [None if missing else str(value) for value, missing in zip(column, column.isna(), strict=True)]
        )
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    return array.dictionary_decode() if isinstance(array, pa.DictionaryArray) else array


def _schema(labels: pa.Table, width: int) -> pa.Schema:
    return pa.schema([*labels.schema, *(pa.field(f"e{i}", pa.float32()) for i in range(width))])


def _tables(labels: pa.Table, embedded: Embedded) -> Iterator[pa.Table]:
    schema = _schema(labels, embedded.width)
    for first, vectors in _grouped(embedded):
        rows = labels.slice(first, len(vectors))
        yield pa.table(
            [*rows.columns, *(pa.array(np.ascontiguousarray(column)) for column in vectors.T)], schema=schema
        )


def _grouped(embedded: Embedded) -> Iterator[tuple[int, np.ndarray]]:
    held: list[np.ndarray] = []
    start = 0
    for first, vectors in embedded.placed():
        held.append(vectors)
        stop = first + len(vectors)
        if stop - start >= GROUP_ROWS or stop == embedded.n_samples:
            yield start, np.concatenate(held)
            held, start = [], stop
