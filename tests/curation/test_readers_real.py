"""The real studies of the shared folder read by our readers and, independently, with pandas, SciPy and h5py."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
from scipy import sparse

from curation.catalog import Part, Study, read_catalog
from curation.readers import open_part

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("DIVERSERNA_DATA", ROOT / "../shared/data")) / "studies"

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real studies of DIVERSERNA_DATA")

Table = tuple[sparse.csr_matrix, list[str], list[str]]


def first_fields(path: Path) -> list[str]:
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [line.split("\t")[0] for line in content.decode().splitlines()]


def mtx(folder: Path) -> Table:
    """Read what Cell Ranger wrote."""
    (features,) = [path for path in folder.iterdir() if path.name.startswith(("features", "genes"))]
    (barcodes,) = [path for path in folder.iterdir() if path.name.startswith("barcodes")]
    (matrix,) = [path for path in folder.iterdir() if path.name.startswith("matrix")]
    genes, samples = first_fields(features), first_fields(barcodes)
    if features.suffix == ".csv":
        genes, samples = (pd.read_csv(path)["x"].astype(str).tolist() for path in (features, barcodes))
    return sparse.csr_matrix(scipy.io.mmread(matrix).T), genes, samples


def csv(path: Path, *, genes_are_rows: bool) -> Table:
    """Read a table with row names."""
    frame = pd.read_csv(path, index_col=0)
    frame = frame.T if genes_are_rows else frame
    return (
        sparse.csr_matrix(frame.to_numpy()),
        [str(name) for name in frame.columns],
        [str(name) for name in frame.index],
    )


def gct(path: Path) -> Table:
    """Read a GCT 1.2 file."""
    frame = pd.read_csv(path, sep="\t", skiprows=2, index_col=0).drop(columns="Description")
    return sparse.csr_matrix(frame.T.to_numpy()), frame.index.tolist(), frame.columns.tolist()


def h5ad(path: Path) -> Table:
    """Read X of a small file."""
    with h5py.File(path) as file:
        x = file["X"]
        if isinstance(x, h5py.Dataset):
            counts = sparse.csr_matrix(x[:])
        else:
            counts = sparse.csr_matrix((x["data"][:], x["indices"][:], x["indptr"][:]), shape=x.attrs["shape"])
        names = [[v.decode() for v in file[side][file[side].attrs["_index"]][:]] for side in ("var", "obs")]
    return counts, names[0], names[1]


def tenx(path: Path, group: str, ids: str) -> Table:
    """Read a file of Cell Ranger."""
    with h5py.File(path) as file:
        m = file[group]
        counts = sparse.csc_matrix((m["data"][:], m["indices"][:], m["indptr"][:]), shape=m["shape"][:]).T.tocsr()
        genes, samples = ([value.decode() for value in m[name][:]] for name in (ids, "barcodes"))
        if "features" in m:
            kept = np.flatnonzero(m["features/feature_type"][:] == b"Gene Expression")
            counts, genes = counts[:, kept], [genes[i] for i in kept]
    return counts, genes, samples


def independently(part: Part, sources: Path) -> Table:
    """Read a part of the catalogue without our readers."""
    path = sources / part.files["matrix"]
    if part.format == "mtx":
        return mtx(path.parent)
    if part.format == "dense_text":
        return csv(path, genes_are_rows=part.orientation == "genes_by_samples")
    return {"gct": gct, "h5ad": h5ad}[part.format](path)


def catalogued() -> Iterator[tuple[Study, Part]]:
    """Parts of the miniature catalogue, whose studies lie in the shared folder."""
    for study in read_catalog([ROOT / "curation/catalog/mini.yaml"]).studies.values():
        for part in study.parts:
            yield study, part


def check(part: Part, sources: Path, expected: Table, scratch: Path) -> None:
    """Compare our reading of a part with another, as a whole and in pieces."""
    reader = open_part(part, sources=sources, scratch=scratch)
    assert reader.gene_ids == expected[1]
    assert reader.n_samples == len(expected[2])
    blocks = list(reader.blocks())
    assert [name for block in blocks for name in block.obs.index] == expected[2]
    assert (sparse.vstack([block.counts for block in blocks]) != expected[0]).nnz == 0
    row = {name: i for i, name in enumerate(expected[2])}
    for block in reader.some_blocks(4, 5):
        assert (block.counts != expected[0][[row[name] for name in block.obs.index]]).nnz == 0
    reader.close()
    assert not any(scratch.iterdir())


@pytest.mark.parametrize(
    ("study", "part"), [pytest.param(*each, id=f"{each[0].name}-{each[1].name}") for each in catalogued()]
)
def test_a_study_of_the_miniature_catalogue_reads_as_others_read_it(tmp_path, study: Study, part: Part) -> None:
    address = study.files[part.files["matrix"]].addresses[0]
    folder = next((path for path in SHARED.rglob(Path(part.files["matrix"]).name) if matches(path, address)), None)
    if folder is None:
        pytest.skip(f"{address} is not in the shared folder")
    sources = folder
    for _ in Path(part.files["matrix"]).parts:
        sources = sources.parent
    if any(not (sources / name).exists() for name in part.files.values()):
        pytest.skip("the shared folder has another layout")
    check(part, sources, independently(part, sources), tmp_path)


def matches(path: Path, address: str) -> bool:
    """Return whether an address ends like a path of the shared folder."""
    return address.endswith(str(path.relative_to(SHARED)))


def part_of(folder: Path, format_: str = "mtx", **fields: str) -> Part:
    """Build a part of what lies in a folder."""
    roles = {"matrix": "matrix", "features": "features", "genes": "features", "barcodes": "barcodes"}
    files = {roles[path.name.split(".")[0]]: path.name for path in folder.iterdir() if path.name.split(".")[0] in roles}
    return Part(name="p", format=format_, files=files, **fields)


MTX = [
    "datlinger_jurkat",
    "tenx_fixtures/1.2.0/filtered_gene_bc_matrices/hg19_chr21",
    "tenx_fixtures/soupx_toy/filtered_gene_bc_matrices/GRCh38",
    "tenx_fixtures/soupx_toy/raw_gene_bc_matrices/GRCh38",
]


@pytest.mark.parametrize("name", MTX)
def test_triplets_outside_the_catalogue_read_as_scipy_reads_them(tmp_path, name: str) -> None:
    check(part_of(SHARED / name), SHARED / name, mtx(SHARED / name), tmp_path)


def test_csv_lists_with_a_header_and_metadata_fit_the_matrix(tmp_path) -> None:
    folder = SHARED / "datlinger_jurkat"
    part = part_of(folder)
    part = Part(name="p", format="mtx", files={**part.files, "metadata": "seurat_metadata.csv.gz"})
    reader = open_part(part, sources=folder, scratch=tmp_path, columns=frozenset({"perturbation"}))
    assert (reader.n_samples, len(reader.gene_ids)) == (7_500, 2_000)
    assert reader.gene_ids[:2] == ["LINC02812", "NKX3-1"]
    block = next(iter(reader.some_blocks(1, 10)))
    expected = pd.read_csv(folder / "seurat_metadata.csv.gz", index_col=0)["perturbation"]
    assert block.obs["perturbation"].tolist() == expected.loc[block.obs.index].tolist()
    assert block.obs.index[0] == "A01-AGCTGATTCGCTGATA"
    reader.close()


@pytest.mark.parametrize(
    ("name", "group", "ids", "genome"),
    [
        ("1.2.0/filtered_gene_bc_matrices_h5.h5", "hg19_chr21", "genes", None),
        ("1.2.0/multiple_genomes.h5", "another_genome", "genes", "another_genome"),
        ("3.0.0/filtered_feature_bc_matrix.h5", "matrix", "features/id", None),
    ],
)
def test_cell_rangers_files_read_as_they_stand(tmp_path, name: str, group: str, ids: str, genome: str | None) -> None:
    path = SHARED / "tenx_fixtures" / name
    part = Part(name="p", format="10x_h5", files={"matrix": path.name}, genome=genome)
    check(part, path.parent, tenx(path, group, ids), tmp_path)


def test_antibodies_of_a_cell_ranger_3_matrix_are_left_out_of_mtx_and_h5_alike(tmp_path, read_table: Callable) -> None:
    folder = SHARED / "tenx_fixtures/3.0.0"
    text = open_part(
        part_of(folder / "filtered_feature_bc_matrix"), sources=folder / "filtered_feature_bc_matrix", scratch=tmp_path
    )
    part = Part(name="p", format="10x_h5", files={"matrix": "filtered_feature_bc_matrix.h5"})
    hdf5 = open_part(part, sources=folder, scratch=tmp_path)
    assert text.gene_ids == hdf5.gene_ids
    np.testing.assert_array_equal(read_table(text)[0], read_table(hdf5)[0])


def test_the_gct_of_rnaseqc_reads_as_pandas_reads_it(tmp_path) -> None:
    path = SHARED / "gtex_rnaseqc/downsampled.bam.gene_reads.gct.gz"
    part = Part(name="p", format="gct", files={"matrix": path.name})
    check(part, path.parent, gct(path), tmp_path)
