"""Four atlases of patients' cells: GBmap, gastric metaplasia, tumour microenvironment, breast cancer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import sparse

from curation.simulate.cells import CellModel
from curation.simulate.draws import rounded_tpm
from curation.simulate.gene_table import GeneTable, ensembl_table
from curation.simulate.h5ad_file import write_atlas
from curation.simulate.study import Design, Guest, SimulatedPart, SimulatedStudy, barcodes, some_missing
from curation.simulate.symbol_table import symbol_table
from curation.simulate.triplet_files import write_wu_archive

DROPLET, SMART_SEQ2 = "10x 3' v2", "Smart-seq2"
CELL_TYPES = np.array(["T cell", "macrophage", "malignant cell", "endothelial cell", "fibroblast"], dtype=object)
TISSUES = np.array(["stomach", "oesophagus", "lung", "liver"], dtype=object)
# Cells in the one batch that is too small to keep
TINY_BATCH_CELLS = 3.0
# Cells of the breast atlas in the myeloid one, and where they stand
N_GUESTS, FIRST_GUEST = 12, 20
WU_FOLDER = "Wu_etal_2021_BRCA_scRNASeq"


def gbmap(design: Design) -> SimulatedStudy:
    """Return the glioblastoma atlas: 26 studies, one of them by Smart-seq2; counts in raw.X, normalised values in X."""
    return _atlas(
        design,
        "gbmap",
        "extended_GBmap.h5ad",
        n_cells=504_929,
        n_genes=28_045,
        n_detected=2_900,
        n_donors=240,
        assays={DROPLET: 0.5, "10x 3' v3": 0.4, SMART_SEQ2: 0.1},
        matrix="raw/X",
    )


def gastric_metaplasia(design: Design) -> SimulatedStudy:
    """Return the gastric atlas: counts in raw.X."""
    return _atlas(
        design,
        "gastric_metaplasia",
        "gastric_umap_of_all_data.h5ad",
        n_cells=88_399,
        n_genes=32_284,
        n_detected=2_700,
        n_donors=26,
        assays={DROPLET: 1.0},
        matrix="raw/X",
    )


def tumor_microenvironment(design: Design) -> SimulatedStudy:
    """Return the myeloid atlas: counts in X without raw, three techniques, and some cells of the breast atlas."""
    return _atlas(
        design,
        "tumor_microenvironment",
        "tme_guimaraes.h5ad",
        n_cells=71_585,
        n_genes=31_000,
        n_detected=2_500,
        n_donors=120,
        assays={DROPLET: 0.7, "inDrop": 0.2, SMART_SEQ2: 0.1},
        matrix="X",
        host_of=breast_cancer(design),
    )


def breast_cancer(design: Design) -> SimulatedStudy:
    """Return the breast atlas as GEO has it: an archive of a sparse table with symbols, and metadata."""
    genes = symbol_table(design.names, design.rng("breast_cancer", "genes"), design.n_genes(29_733))
    model = CellModel.of(genes, design.rng("breast_cancer", "model"), n_detected=2_700 * design.gene_share)
    n_cells = design.n_samples(31_542, at_least=160)
    n_donors = min(26, max(4, n_cells // 60))
    donors = np.array([f"CID{4000 + 13 * i}" for i in range(n_donors)], dtype=object)

    def draw(rng: np.random.Generator, rows: np.ndarray) -> tuple[list[str], dict[str, np.ndarray], sparse.csr_matrix]:
        donor = donors[rng.integers(0, n_donors, len(rows))]
        ids = [f"{who}_{bases}" for who, bases in zip(donor, barcodes(rows), strict=True)]
        obs = {
            "orig.ident": some_missing(rng, donor, 0.004),
            "nCount_RNA": rng.integers(500, 50_000, len(rows)).astype(str).astype(object),
            "celltype_major": CELL_TYPES[rng.integers(0, len(CELL_TYPES), len(rows))],
        }
        return ids, obs, model.draw(rng, len(rows))

    part = SimulatedPart(
        name="scrnaseq",
        genes=genes,
        n_samples=n_cells,
        draw=draw,
        seed=(design.seed, 7),
        share_without_metadata=0.01,
    )
    archive = "GSE176078_Wu_etal_2021_BRCA_scRNASeq.tar.gz"
    members = {
        "matrix": "count_matrix_sparse.mtx",
        "features": "count_matrix_genes.tsv",
        "barcodes": "count_matrix_barcodes.tsv",
        "metadata": "metadata.csv",
    }
    return SimulatedStudy(
        name="breast_cancer",
        parts=(part,),
        write=lambda folder: write_wu_archive(part, folder / archive, WU_FOLDER),
        entry={
            "gene_ids": "symbol",
            "obs": {
                "batch": {"column": "orig.ident"},
                "donor": {"column": "orig.ident"},
                "cell_type": {"column": "celltype_major"},
                "tissue": {"constant": "breast"},
            },
            "parts": [{"name": "scrnaseq", "format": "mtx", "files": members}],
            "files": {archive: {}}
            | {name: {"archive": archive, "member": f"{WU_FOLDER}/{name}"} for name in members.values()},
        },
    )


def _atlas(
    design: Design,
    name: str,
    file_name: str,
    *,
    n_cells: int,
    n_genes: int,
    n_detected: float,
    n_donors: int,
    assays: Mapping[str, float],
    matrix: str,
    host_of: SimulatedStudy | None = None,
) -> SimulatedStudy:
    """Return an atlas in one h5ad file with the columns of CELLxGENE."""
    always = host_of.parts[0].genes.mapped if host_of else None
    genes = ensembl_table(design.names, design.rng(name, "genes"), design.n_genes(n_genes), always=always)
    guests = _guests(host_of, genes, len(design.names)) if host_of else ()
    model = CellModel.of(genes, design.rng(name, "model"), n_detected=n_detected * design.gene_share)
    lengths = design.rng(name, "lengths").lognormal(0.0, 0.7, len(genes))
    n_written = design.n_samples(n_cells, at_least=160)
    n_donors = min(n_donors, max(6, n_written // 60))
    n_authors = min(26, max(3, n_donors // 4))
    assay_names = np.array(list(assays), dtype=object)
    # A donor belongs to one study and was measured in one way, so that assays come in batches
    edges = np.round(np.cumsum(list(assays.values())) * n_donors).astype(int)
    assay_of = assay_names[np.searchsorted(edges, np.arange(n_donors), side="right").clip(0, len(assays) - 1)]
    tiny = min(0.02, TINY_BATCH_CELLS / n_written)

    def draw(rng: np.random.Generator, rows: np.ndarray) -> tuple[list[str], dict[str, np.ndarray], sparse.csr_matrix]:
        donor = rng.integers(0, n_donors, len(rows))
        lone = rng.random(len(rows)) < tiny
        donor[lone] = 0
        assay = assay_of[donor]
        author = np.where(lone, "Tiny2020", np.array([f"Author{i % n_authors + 1}" for i in range(n_donors)])[donor])
        donor_name = np.where(lone, "tiny", np.array([f"donor_{i + 1}" for i in range(n_donors)])[donor])
        counts = rounded_tpm(model.draw(rng, len(rows)), assay == SMART_SEQ2, lengths)
        obs = {
            "author": some_missing(rng, author, 0.002),
            "donor_id": some_missing(rng, donor_name, 0.003),
            "assay": assay.astype(object),
            "cell_type": some_missing(rng, CELL_TYPES[rng.integers(0, len(CELL_TYPES), len(rows))], 0.05),
            "tissue": TISSUES[rng.integers(0, len(TISSUES), len(rows))],
            "Tissue_in_paper": TISSUES[rng.integers(0, 2, len(rows))],
        }
        return [f"{bases}-{row % 97}" for bases, row in zip(barcodes(rows), rows, strict=True)], obs, counts

    part = SimulatedPart(
        name="all", genes=genes, n_samples=n_written, draw=draw, seed=(design.seed, *name.encode()), guests=guests
    )
    return SimulatedStudy(
        name=name,
        parts=(part,),
        write=lambda folder: write_atlas(part, folder / file_name, matrix=matrix),
    )


def _guests(study: SimulatedStudy, genes: GeneTable, n_axis: int) -> tuple[Guest, ...]:
    """Return some samples of the other study with their counts on the columns of a table that has all their genes."""
    part = study.parts[0]
    samples = part.block(0)
    column_of = np.full(n_axis, -1)
    mapped = np.flatnonzero(genes.positions >= 0)[::-1]
    column_of[genes.positions[mapped]] = mapped  # two ids of one gene: the first takes all
    own = np.flatnonzero(part.genes.positions >= 0)
    ones = np.ones(len(own), dtype=np.int32)
    onto_table = sparse.csr_matrix(
        (ones, (own, column_of[part.genes.positions[own]])), shape=(len(part.genes), len(genes))
    )
    return tuple(
        Guest(
            row=FIRST_GUEST + i,
            sample_id=f"{study.name}:{samples.ids[row]}",
            counts=(samples.counts[row] @ onto_table).tocsr(),
            obs={"assay": DROPLET},
        )
        for i, row in enumerate(range(10, 10 + N_GUESTS))
    )
