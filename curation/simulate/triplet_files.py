"""Write archives of sparse tables: MixSeq's zips, one a condition, and the tar.gz of the breast atlas."""

from __future__ import annotations

import csv
import gzip
import io
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from curation.simulate.study import MISSING, SimulatedPart

# The same bytes for the same seed, whenever they are written: archives state a day that means nothing
_ZIP_DATE = (2020, 1, 1, 0, 0, 0)


def write_mixseq_zip(part: SimulatedPart, path: Path) -> None:
    """Write one condition: matrix.mtx, barcodes.tsv, genes.tsv and classifications.csv in a folder."""
    with _tables(part, path.parent) as folder:
        _write_lines(
            folder / "genes.tsv",
            (f"{gene}\t{label}" for gene, label in zip(part.genes.ids, part.genes.labels, strict=True)),
        )
        partial = path.with_name(f"{path.name}.part")
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for member, source in (
                ("matrix.mtx", "matrix.mtx"),
                ("barcodes.tsv", "barcodes.tsv"),
                ("genes.tsv", "genes.tsv"),
                ("classifications.csv", "metadata.csv"),
            ):
                info = zipfile.ZipInfo(f"{path.stem}/{member}", date_time=_ZIP_DATE)
                info.compress_type = zipfile.ZIP_DEFLATED
                with (folder / source).open("rb") as text, archive.open(info, "w", force_zip64=True) as target:
                    shutil.copyfileobj(text, target)
        partial.replace(path)


def write_wu_archive(part: SimulatedPart, path: Path, name: str) -> None:
    """Write the breast atlas: four files in the folder `name` of a tar.gz; the list of genes has one column."""
    with _tables(part, path.parent) as folder:
        _write_lines(folder / "genes.tsv", part.genes.ids)
        partial = path.with_name(f"{path.name}.part")
        with (
            partial.open("wb") as raw,
            gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w") as archive,
        ):
            for member, source in (
                ("count_matrix_barcodes.tsv", "barcodes.tsv"),
                ("count_matrix_genes.tsv", "genes.tsv"),
                ("count_matrix_sparse.mtx", "matrix.mtx"),
                ("metadata.csv", "metadata.csv"),
            ):
                info = tarfile.TarInfo(f"{name}/{member}")
                info.size = (folder / source).stat().st_size
                with (folder / source).open("rb") as text:
                    archive.addfile(info, text)
        partial.replace(path)


@contextmanager
def _tables(part: SimulatedPart, parent: Path) -> Iterator[Path]:
    """Give a temporary folder with matrix.mtx (genes x cells), barcodes.tsv and metadata.csv."""
    with tempfile.TemporaryDirectory(dir=parent, prefix=".mtx") as name:
        folder = Path(name)
        n_entries = 0
        with (
            (folder / "entries").open("wb") as entries,
            (folder / "barcodes.tsv").open("w") as ids,
            (folder / "metadata.csv").open("w", newline="") as metadata,
        ):
            table = csv.writer(metadata, lineterminator="\n")
            for samples in part.blocks():
                if not samples.first:
                    table.writerow(["", *samples.obs])
                n_entries += samples.counts.nnz
                cells = samples.counts.tocoo()
                pl.DataFrame(
                    {"gene": cells.col + 1, "cell": cells.row.astype("int64") + samples.first + 1, "n": cells.data}
                ).write_csv(entries, include_header=False, separator=" ")
                ids.writelines(f"{sample}\n" for sample in samples.ids)
                for i, sample in enumerate(samples.ids):
                    if samples.has_metadata[i]:
                        row = [values[i] for values in samples.obs.values()]
                        table.writerow([sample, *("NA" if value == MISSING else value for value in row)])
        header = "%%MatrixMarket matrix coordinate integer general\n%\n"
        with (folder / "matrix.mtx").open("wb") as matrix, (folder / "entries").open("rb") as entries:
            matrix.write(f"{header}{len(part.genes)} {part.n_samples} {n_entries}\n".encode())
            shutil.copyfileobj(entries, matrix, io.DEFAULT_BUFFER_SIZE * 128)
        (folder / "entries").unlink()
        yield folder


def _write_lines(path: Path, lines: Iterator[str] | tuple[str, ...]) -> None:
    with path.open("w") as handle:
        handle.writelines(f"{line}\n" for line in lines)
