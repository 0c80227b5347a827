"""Opening any input: which kind of file it is, and what is refused before a byte of it is read."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import anndata
import h5py
import zarr

from txfm.embedding.gene_names import KnownGenes
from txfm.embedding.inputs.anndata_layout import open_anndata_layout
from txfm.embedding.inputs.damage import damage_told
from txfm.embedding.inputs.in_memory import open_in_memory
from txfm.embedding.inputs.matrix_market import MATRIX_NAMES, open_matrix_market
from txfm.embedding.inputs.samples import Samples
from txfm.embedding.inputs.tenx_h5 import is_tenx, open_tenx
from txfm.embedding.inputs.text_table import open_text_table
from txfm.errors import InputError

KINDS = ".h5ad, .zarr, .h5 of Cell Ranger, .mtx or a folder with one, .csv, .tsv (the last three also as .gz)"
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
TEXT_SUFFIXES = (".csv", ".tsv", ".txt")
ZARR_FILES = ("zarr.json", ".zgroup")


@contextmanager
def open_samples(
    source: Path | anndata.AnnData,
    *,
    known: KnownGenes,
    counts: str = "X",
    genome: str | None = None,
) -> Iterator[Samples]:
    """Open an input for as long as the context lasts.

    Parameters
    ----------
    source : Path or anndata.AnnData
        See `KINDS`. What a file is shows in its first bytes and in its content; its name tells text tables from each
        other.
    known : KnownGenes
        Tells which side of a text table is genes.
    counts : str
        The matrix with raw counts, of an input that may hold several: "X", "raw" or "layers/NAME".
    genome : str, optional
        Which genome to read of a Cell Ranger file with several.

    Yields
    ------
    Samples

    Raises
    ------
    InputError
        There is no such input, it is of an unknown kind, or damaged; damage may show while the rows are read.
    """
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="txfm-embed-")))
        if not isinstance(source, Path):
            yield open_in_memory(source, scratch, counts)
            return
        with damage_told(str(source)):
            samples = _open_path(source, scratch, stack, known, counts, genome)
        yield samples


def _open_path(
    path: Path,
    scratch: Path,
    stack: ExitStack,
    known: KnownGenes,
    counts: str,
    genome: str | None,
) -> Samples:
    if not path.exists():
        raise InputError("There is no such input", where=str(path))
    if path.is_dir():
        if any((path / name).is_file() for name in ZARR_FILES):
            return open_anndata_layout(zarr.open_group(path, mode="r"), str(path), scratch, counts)
        if any((path / name).is_file() for name in MATRIX_NAMES):
            _only_x(path, counts)
            return open_matrix_market(path, scratch)
        found = ", ".join(sorted(each.name for each in path.iterdir())[:8]) or "an empty folder"
        expected = f"a .zarr store (with {' or '.join(ZARR_FILES)}), or {' or '.join(MATRIX_NAMES)} with its lists"
        raise InputError("The folder holds no input", where=str(path), expected=expected, found=found)
    with path.open("rb") as handle:
        magic = handle.read(len(HDF5_MAGIC))
    if not magic:
        raise InputError(
            "The input is empty", where=str(path), expected=KINDS, found="0 bytes", todo="write or copy it again"
        )
    name = path.name.removesuffix(".gz")
    if magic == HDF5_MAGIC:
        file = stack.enter_context(h5py.File(path, "r"))
        if is_tenx(file):
            _only_x(path, counts)
            return open_tenx(file, str(path), genome)
        return open_anndata_layout(file, str(path), scratch, counts)
    _only_x(path, counts)
    if name.endswith(".mtx"):
        return open_matrix_market(path, scratch)
    if name.endswith(TEXT_SUFFIXES):
        return open_text_table(path, scratch, known)
    if path.suffix in (".h5ad", ".h5"):
        raise InputError(
            "This is not an HDF5 file",
            where=str(path),
            expected="a whole HDF5 file",
            found=f"a file that begins with {magic!r}",
            todo="copy or download it again; a page of an error may have been saved in its place",
        )
    raise InputError("The input's kind is unknown", where=str(path), expected=KINDS, found=path.suffix or "no suffix")


def _only_x(path: Path, counts: str) -> None:
    if counts != "X":
        raise InputError(
            f"There is no {counts} in this input",
            where=str(path),
            expected="X: a file of this kind holds one matrix",
            found=counts,
            todo="leave out counts (--counts)",
        )
