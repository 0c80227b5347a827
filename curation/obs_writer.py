"""The table of a store's samples, collected row by row on disk, then written column by column."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from curation.labels import LABELS
from curation.shards import CODEC

OBS_COLUMNS = (
    "study",
    "assay",
    "batch",
    "perturbation",
    "is_control",
    "cell_type",
    "cell_line",
    "donor",
    "tissue",
    "technology",
    "library_size",
    "n_genes",
    "source_row",
    "fingerprint",
    "simulated",
)
SAMPLE = np.dtype(
    [
        *((label, "<i4") for label in LABELS),
        ("is_control", "?"),
        ("library_size", "<i8"),
        ("n_genes", "<i4"),
        ("source_row", "<i8"),
        ("fingerprint", "<u8"),
        ("name_bytes", "<u4"),
    ]
)
# Rows a chunk of every column: 64 Ki of them are 4 MB of text, and 22 chunks a column for 1.4 million samples
ROWS_PER_CHUNK = 2**16


class ObsWriter:
    """Collects samples in the order of a store and writes them as AnnData's `obs`.

    Parameters
    ----------
    folder : Path
        Takes the rows until they are written.
    constants : mapping of str to str or bool
        Columns with one value for the whole store: study, assay, simulated.
    """

    def __init__(self, folder: Path, constants: Mapping[str, str | bool]) -> None:
        self._constants = constants
        folder.mkdir(parents=True, exist_ok=True)
        self._rows_path, self._names_path = folder / "obs.rows", folder / "obs.names"
        self._rows_file, self._names_file = self._rows_path.open("wb"), self._names_path.open("wb")
        self.n_samples = 0

    def append(self, rows: np.ndarray, names: list[str]) -> None:
        """Add samples: `rows` of SAMPLE, whose name_bytes are filled in here, and their ids."""
        encoded = [name.encode() for name in names]
        rows["name_bytes"] = [len(name) for name in encoded]
        self._rows_file.write(rows.tobytes())
        self._names_file.write(b"".join(encoded))
        self.n_samples += len(rows)

    def close(self) -> None:
        """Close the files; they go with their folder."""
        self._rows_file.close()
        self._names_file.close()

    def write(self, root: zarr.Group, values: Mapping[str, np.ndarray]) -> str:
        """Write `obs` into `root`; return its digest as docs/corpus-format.md defines it.

        Parameters
        ----------
        root : zarr.Group
        values : mapping of str to ndarray of str
            Label -> its values by number.
        """
        self.close()
        group = root.create_group("obs")
        group.attrs.update(
            {
                "column-order": list(OBS_COLUMNS),
                "_index": "sample_id",
                "encoding-type": "dataframe",
                "encoding-version": "0.2.0",
            }
        )
        digest = hashlib.sha256()
        self._write_column(group, "sample_id", "index", self._names(), "string", digest)
        for column in OBS_COLUMNS:
            if column in LABELS:
                self._write_labels(group, column, values[column].astype(str), digest)
            elif column in self._constants:
                self._write_constant(group, column, self._constants[column], digest)
            else:
                chunks = (rows[column] for rows in self._chunks())
                self._write_column(group, column, column, chunks, _dtype_name(SAMPLE[column]), digest)
        return digest.hexdigest()

    def _chunks(self) -> Iterator[np.ndarray]:
        with self._rows_path.open("rb") as handle:
            while len(rows := np.fromfile(handle, dtype=SAMPLE, count=ROWS_PER_CHUNK)):
                yield rows

    def _names(self) -> Iterator[np.ndarray]:
        with self._names_path.open("rb") as handle:
            for rows in self._chunks():
                text = handle.read(int(rows["name_bytes"].sum()))
                ends = np.cumsum(rows["name_bytes"], dtype=np.int64).tolist()
                pairs = zip([0, *ends[:-1]], ends, strict=True)
                yield np.array([text[start:stop].decode() for start, stop in pairs], dtype=object)

    def _write_labels(self, group: zarr.Group, name: str, values: np.ndarray, digest: Any) -> None:
        """Write a categorical whose categories are the sorted values that occur in this store."""
        occurs = np.zeros(len(values), dtype=bool)
        for rows in self._chunks():
            occurs[rows[name]] = True
        categories, places = np.unique(values[occurs], return_inverse=True)
        codes = np.full(len(values), -1, dtype=np.int64)
        codes[occurs] = places
        self._write_categorical(group, name, categories, (codes[rows[name]] for rows in self._chunks()), digest)

    def _write_constant(self, group: zarr.Group, name: str, value: str | bool, digest: Any) -> None:
        if isinstance(value, bool):
            chunks = (np.full(len(rows), value) for rows in self._chunks())
            self._write_column(group, name, name, chunks, "bool", digest)
            return
        categories = np.array([value] if self.n_samples else [], dtype=str)
        codes = (np.zeros(len(rows), dtype=np.int64) for rows in self._chunks())
        self._write_categorical(group, name, categories, codes, digest)

    def _write_categorical(
        self, group: zarr.Group, name: str, categories: np.ndarray, codes: Iterator[np.ndarray], digest: Any
    ) -> None:
        item = group.create_group(name)
        item.attrs.update({"ordered": False, "encoding-type": "categorical", "encoding-version": "0.2.0"})
        text = categories.astype(object)
        _create(item, "categories", "string", len(text))[:] = text
        dtype = np.min_scalar_type(-max(1, len(categories)))
        array = _create(item, "codes", dtype.name, self.n_samples)
        digest_begin(digest, name)
        for start, chunk in _numbered(codes):
            array[start : start + len(chunk)] = chunk.astype(dtype)
            digest_rows(digest, text[chunk], first=not start)
        digest_end(digest)

    def _write_column(
        self, group: zarr.Group, name: str, title: str, chunks: Iterator[np.ndarray], dtype: str, digest: Any
    ) -> None:
        array = _create(group, name, dtype, self.n_samples)
        digest_begin(digest, title)
        for start, chunk in _numbered(chunks):
            array[start : start + len(chunk)] = chunk
            digest_rows(digest, chunk, first=not start)
        digest_end(digest)


def _create(group: zarr.Group, name: str, dtype: str, length: int) -> zarr.Array:
    array = group.create_array(
        name,
        shape=(length,),
        dtype=dtype,
        chunks=(max(1, min(length, ROWS_PER_CHUNK)),),
        compressors=BloscCodec(**(CODEC | {"shuffle": "noshuffle"} if dtype == "string" else CODEC)),  # type: ignore[arg-type]
    )
    encoding = "string-array" if dtype == "string" else "array"
    array.attrs.update({"encoding-type": encoding, "encoding-version": "0.2.0"})
    return array


def _dtype_name(dtype: np.dtype) -> str:
    return dtype.newbyteorder("=").name


def _numbered(chunks: Iterator[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    start = 0
    for chunk in chunks:
        yield start, chunk
        start += len(chunk)


def digest_begin(digest: Any, name: str) -> None:
    """Begin a column of a table's digest."""
    digest.update(f"{name}\x1f".encode())


def digest_rows(digest: Any, values: np.ndarray, *, first: bool) -> None:
    """Add values of a column; `first` if they are its first."""
    text = "\n".join(map(str, values.tolist()))
    digest.update((text if first else f"\n{text}").encode())


def digest_end(digest: Any) -> None:
    """End a column."""
    digest.update(b"\x1e")
