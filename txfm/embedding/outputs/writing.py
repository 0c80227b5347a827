"""From vectors to a file of the kind that its name says."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from txfm.embedding.outputs.anndata_files import write_h5ad, write_zarr
from txfm.embedding.outputs.destination import atomic
from txfm.embedding.outputs.embedded import Embedded
from txfm.embedding.outputs.npy_file import write_npy
from txfm.embedding.outputs.tables import write_csv, write_parquet

WRITERS: Mapping[str, Callable[[Path, Embedded], None]] = MappingProxyType(
    {
        ".h5ad": write_h5ad,
        ".zarr": write_zarr,
        ".parquet": write_parquet,
        ".csv": write_csv,
        ".npy": lambda path, embedded: write_npy(path, embedded.blocks, embedded.n_samples, embedded.width),
    }
)


def write(out: Path, embedded: Embedded) -> None:
    """Write an output that `check_destination` passed; it appears whole, or not at all."""
    with atomic(out) as temporary:
        WRITERS[out.suffix](temporary, embedded)
