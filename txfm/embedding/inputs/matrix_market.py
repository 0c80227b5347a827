"""Matrix Market files with lists of features and barcodes beside them, as Cell Ranger and STARsolo write them."""

import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl

from txfm.embedding.inputs.samples import Samples
from txfm.embedding.inputs.tenx_h5 import genes_only
from txfm.embedding.inputs.text_files import open_text, read_lines
from txfm.embedding.inputs.turned_rows import TurnedRows
from txfm.errors import InputError

MATRIX_NAMES = ("matrix.mtx", "matrix.mtx.gz")
FEATURE_NAMES, BARCODE_NAMES = ("features.tsv", "genes.tsv"), ("barcodes.tsv",)
CHUNK_BYTES = 2**24  # of text: some 1.5 million entries
BANNER = ["%%matrixmarket", "matrix", "coordinate"]


def open_matrix_market(path: Path, scratch: Path) -> Samples:
    """Open a matrix with its two lists.

    Parameters
    ----------
    path : Path
        A folder with matrix.mtx, features.tsv (or genes.tsv) and barcodes.tsv, or the matrix itself: PREFIXmatrix.mtx
        goes with PREFIXfeatures.tsv. Each may end in .gz. A list may have a header.
    scratch : Path
        An empty folder; the matrix is turned in it.

    Returns
    -------
    Samples
        var: the index is the first column of the features, `symbol` the second one. Which side of the matrix is genes
        shows in the lengths of the lists. Features of another type than gene expression are left out and counted in a
        note.

    Raises
    ------
    InputError
        A file is missing or damaged, the matrix is of another kind, or its size is not that of the lists.
    """
    matrix = _matrix_of(path)
    features, barcodes = read_lines(_list_of(matrix, FEATURE_NAMES)), read_lines(_list_of(matrix, BARCODE_NAMES))
    n_lines, (n_first, n_second, n_entries), whole = _header(matrix)
    n_genes, n_samples = n_first, n_second
    by_samples = not _fit(features, barcodes, n_genes, n_samples)
    if by_samples:
        n_genes, n_samples = n_second, n_first
    if not _fit(features, barcodes, n_genes, n_samples):
        raise InputError(
            "The matrix does not fit its lists",
            where=str(matrix),
            expected=f"{len(features):,} features x {len(barcodes):,} barcodes",
            found=f"{n_first:,} x {n_second:,}",
            todo="take the three files of one run: filtered and raw matrices have different barcodes",
        )
    rows = TurnedRows((n_samples, n_genes), scratch, values_per_row=n_entries / max(1, n_samples))
    n_read = 0
    for first, second, values in _entries(matrix, n_lines, whole):
        samples, genes = (first, second) if by_samples else (second, first)
        if min(samples.min(), genes.min()) < 0 or samples.max() >= n_samples or genes.max() >= n_genes:
            raise InputError(
                "An entry lies outside the matrix",
                where=str(matrix),
                expected=f"rows 1 to {n_first:,}, columns 1 to {n_second:,}",
                found=f"rows {first.min() + 1:,} to {first.max() + 1:,}, "
                f"columns {second.min() + 1:,} to {second.max() + 1:,}",
                todo="copy or download it again",
            )
        rows.append(samples, genes, values)
        n_read += len(values)
    if n_read != n_entries:
        raise InputError(
            "The file ends early, or goes on after its end",
            where=str(matrix),
            expected=f"{n_entries:,} entries",
            found=f"{n_read:,}",
            todo="copy or download it again",
        )
    var, types = _features(features[len(features) - n_genes :])
    ids = [line.split("\t")[0].strip('"') for line in barcodes[len(barcodes) - n_samples :]]
    obs = pd.DataFrame(index=pd.Index(ids, dtype=object))
    kept, var, notes = genes_only(rows, var, types)
    return Samples(where=str(matrix), rows=kept, var=var, read_obs=lambda: obs, notes=notes)


def _matrix_of(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = [path / name for name in MATRIX_NAMES if (path / name).is_file()]
    if not found:
        raise InputError(
            "There is no matrix in this folder",
            where=str(path),
            expected=" or ".join(MATRIX_NAMES),
            found=", ".join(sorted(each.name for each in path.iterdir())[:8]) or "an empty folder",
        )
    return found[0]


def _list_of(matrix: Path, names: tuple[str, ...]) -> Path:
    """The list that goes with a matrix: that with the same prefix, else that without one."""
    stem = matrix.name.removesuffix(".gz").removesuffix(".mtx")
    prefix = stem.removesuffix("matrix")
    candidates = [
        matrix.with_name(f"{start}{name}{end}") for start in (prefix, "") for name in names for end in ("", ".gz")
    ]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise InputError(
        f"The list of {names[0].removesuffix('.tsv')} is missing",
        where=str(matrix.parent),
        expected=" or ".join(dict.fromkeys(candidate.name for candidate in candidates)),
        todo="put the lists beside the matrix; they name its rows and columns",
    )


def _fit(features: list[str], barcodes: list[str], n_genes: int, n_samples: int) -> bool:
    """Whether the lists have these lengths, with a header or without."""
    return len(features) - n_genes in (0, 1) and len(barcodes) - n_samples in (0, 1)


def _header(path: Path) -> tuple[int, tuple[int, int, int], bool]:
    """Number of header lines, (rows, columns, entries), and whether the values are integers."""
    with open_text(path) as handle:
        banner = handle.readline(200).decode("utf-8", "replace").removeprefix("\ufeff").lower().split()
        if banner[:3] != BANNER or banner[3:4] not in (["integer"], ["real"]) or banner[4:] != ["general"]:
            raise InputError(
                "This is not a Matrix Market file of counts",
                where=f"{path}, line 1",
                expected="%%MatrixMarket matrix coordinate integer (or real) general",
                found=" ".join(banner)[:80] or "an empty line",
            )
        for number, line in enumerate(handle, start=2):
            fields = line.split()
            if fields and not line.startswith(b"%"):
                if len(fields) == 3 and all(field.isdigit() for field in fields):
                    n_rows, n_columns, n_entries = map(int, fields)
                    return number, (n_rows, n_columns, n_entries), banner[3] == "integer"
                break
    raise InputError(
        "The size of the matrix is missing", where=str(path), expected="a line of three numbers after the header"
    )


def _entries(path: Path, n_lines: int, whole: bool) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield (rows, columns, values), the first two from 0."""
    schema: dict[str, type[pl.DataType]] = {
        "row": pl.Int64,
        "column": pl.Int64,
        "value": pl.Int64 if whole else pl.Float64,
    }
    with open_text(path) as handle:
        for _ in range(n_lines):
            handle.readline()
        rest = b""
        while piece := handle.read(CHUNK_BYTES):
            lines, newline, rest = (rest + piece).rpartition(b"\n")
            if lines:
                yield _parse(lines + newline, schema, path)
        if rest.strip():
            yield _parse(rest, schema, path)


def _parse(text: bytes, schema: dict[str, type[pl.DataType]], path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    separator = "\t" if b"\t" in text[: text.find(b"\n")] else " "
    try:
        frame = pl.read_csv(io.BytesIO(text), has_header=False, separator=separator, schema=schema, quote_char=None)
    except pl.exceptions.PolarsError as error:
        raise _no_entry(path, str(error).splitlines()[0]) from error
    if frame.null_count().sum_horizontal().item():
        raise _no_entry(path, "a line with less")
    return frame["row"].to_numpy() - 1, frame["column"].to_numpy() - 1, frame["value"].to_numpy()


def _no_entry(path: Path, found: str) -> InputError:
    return InputError(
        "An entry cannot be read",
        where=str(path),
        expected="row, column and value, separated by a blank or a tab",
        found=found,
        todo="copy or download it again",
    )


def _features(lines: list[str]) -> tuple[pd.DataFrame, list[str] | None]:
    """Names of the features, and their types if the list states them."""
    fields = [[field.strip('"') for field in line.split("\t")] for line in lines]
    widths = Counter(map(len, fields))
    var = pd.DataFrame(index=pd.Index([each[0] for each in fields], dtype=object))
    if min(widths, default=0) >= 2:
        var["symbol"] = [each[1] for each in fields]
    return var, [each[2] for each in fields] if min(widths, default=0) >= 3 else None
