"""loom files: HDF5 with genes as rows and samples as columns."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import h5py

from curation.catalog import Part
from curation.errors import InputError
from curation.readers.dense_rows import DenseRows
from curation.readers.frames import AnnDataFrame
from curation.readers.h5ad import open_hdf5
from curation.readers.matrix_reader import MatrixReader, damage_told

# Attributes that hold ids, in the order in which they are looked for: anndata's name, then loompy's and its users'
GENE_ATTRIBUTES = ("var_names", "Gene", "gene_names", "Accession")
SAMPLE_ATTRIBUTES = ("obs_names", "CellID", "cell_names", "Barcode")


def open_loom(part: Part, sources: Path, scratch: Path, columns: frozenset[str] | None) -> MatrixReader:
    """Open `matrix`: one loom file; counts in `part.matrix`: X or auto (the main matrix) or layers/NAME.

    `gene_column` names the row attribute with the gene ids; column attributes are the metadata.
    """
    path = sources / part.files["matrix"]
    with ExitStack() as stack, damage_told(str(path)):
        file = stack.enter_context(open_hdf5(path))
        layers = file.get("layers", {})
        matrices = {"X": "matrix"} | {f"layers/{name}": f"layers/{name}" for name in layers}
        name = "X" if part.matrix == "auto" else part.matrix
        if name not in matrices or matrices[name] not in file:
            raise InputError(
                f"there is no {name}",
                where=str(path),
                expected=f"a matrix of raw counts at {name}",
                found=", ".join(other for other, place in matrices.items() if place in file) or "no matrix at all",
                todo="name one of these as `matrix` of this part in the catalogue",
            )
        matrix = file[matrices[name]]
        genes = _attributes(file["row_attrs"], part.gene_column, GENE_ATTRIBUTES, f"{path}, row_attrs", frozenset())
        samples = _attributes(file["col_attrs"], None, SAMPLE_ATTRIBUTES, f"{path}, col_attrs", columns)
        if matrix.shape != (len(genes), len(samples)):
            raise InputError(
                "the matrix does not fit its attributes",
                where=f"{path}, {matrices[name]}",
                expected=f"{len(genes)} genes x {len(samples)} samples",
                found=" x ".join(map(str, matrix.shape)),
                todo="the file is damaged: fetch it again",
            )
        rows = DenseRows(matrix, scratch, samples_axis=1)
        stack.callback(rows.close)
        return MatrixReader(
            where=f"{path}, {matrices[name]}",
            gene_ids=genes.ids(0, len(genes)),
            rows=rows,
            samples=samples,
            closing=stack.pop_all(),
        )


def _attributes(
    group: h5py.Group, wanted: str | None, usual: tuple[str, ...], where: str, columns: frozenset[str] | None
) -> AnnDataFrame:
    names = usual if wanted is None else (wanted,)
    index = next((name for name in names if name in group), None)
    if index is None:
        raise InputError(
            "no attribute holds the ids" if wanted is None else f"there is no attribute {wanted!r}",
            where=where,
            expected=f"an attribute {' or '.join(names)}",
            found=", ".join(group) or "no attributes",
            todo="name the attribute with the gene ids as `gene_column` of this part in the catalogue"
            if where.endswith("row_attrs")
            else "the file is not of loompy: convert it, or add a reader",
        )
    return AnnDataFrame(group, where=where, columns=columns, index=index)
