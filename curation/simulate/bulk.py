"""Two bulk studies: TCGA's tumours and GTEx's tissues."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from curation.simulate.bulk_files import write_gct, write_star_counts
from curation.simulate.draws import bulk_counts
from curation.simulate.gene_table import GeneTable, ensembl_table
from curation.simulate.study import Design, SimulatedPart, SimulatedStudy, some_missing

# Reads of a good sample on the whole published table, and the share of samples whose sequencing failed
READS = 4e7
FAILED_SHARE = 0.05
FAILED_DEPTH = 0.002
LETTERS = np.array(list("ABCDEFGHJKLMNPQRSTUVWXYZ23456789"))
SITES = np.array(["Breast", "Brain", "Kidney", "Bronchus and lung"], dtype=object)
TISSUES = np.array(["Whole Blood", "Lung", "Muscle - Skeletal", "Brain - Cortex"], dtype=object)


def tcga(design: Design) -> SimulatedStudy:
    """Return TCGA: one STAR count file an aliquot; some patients gave two."""
    genes = ensembl_table(design.names, design.rng("tcga", "genes"), design.n_genes(60_660), versioned=True, n_par_y=44)
    n = design.n_samples(23_733, at_least=30)

    def draw(rng: np.random.Generator, rows: np.ndarray) -> tuple[list[str], dict[str, np.ndarray], sparse.csr_matrix]:
        # every fifth aliquot is the normal tissue of the patient before it
        patient = rows - (rows % 5 == 4)
        kind = np.where(rows % 5 == 4, "11A", "01A")
        case = [f"TCGA-{_letters(who // 10_000, 2)}-{who % 10_000:04d}" for who in patient.tolist()]
        ids = [f"{who}-{what}-11R-A{row % 90 + 10}T-07" for who, what, row in zip(case, kind, rows, strict=True)]
        site = SITES[rng.integers(0, len(SITES), len(rows))]
        obs = {
            "case": np.array(case, dtype=object),
            "project": np.array([f"TCGA-{name[:4].upper()}" for name in site], dtype=object),
            "primary_site": some_missing(rng, site, 0.02),
            "sample_type": np.where(kind == "01A", "Primary Tumor", "Solid Tissue Normal").astype(object),
        }
        return ids, obs, _reads(rng, genes, len(rows), design.gene_share)

    part = SimulatedPart(name="star_counts", genes=genes, n_samples=n, draw=draw, seed=(design.seed, 8))
    return SimulatedStudy(
        name="tcga", parts=(part,), write=lambda folder: write_star_counts(part, folder / "star_counts.tsv")
    )


def gtex(design: Design) -> SimulatedStudy:
    """Return GTEx: a wide table of several samples a donor, not all in the analysis freeze or with attributes."""
    genes = ensembl_table(
        design.names, design.rng("gtex", "genes"), design.n_genes(56_200), versioned=True, n_par_y=20, n_spike_ins=6
    )
    n = design.n_samples(10_526, at_least=40)

    def draw(rng: np.random.Generator, rows: np.ndarray) -> tuple[list[str], dict[str, np.ndarray], sparse.csr_matrix]:
        ids = [f"GTEX-1{_letters(row // 6, 4)}-{row % 6:02d}26-SM-{_letters(row, 5)}" for row in rows.tolist()]
        obs = {
            "SMTSD": TISSUES[rng.integers(0, len(TISSUES), len(rows))],
            "SMGEBTCH": np.array([f"LCSET-{number}" for number in rng.integers(1000, 1020, len(rows))], dtype=object),
            "SMAFRZE": np.where(rng.random(len(rows)) < 0.1, "EXCLUDE", "RNASEQ").astype(object),
        }
        return ids, obs, _reads(rng, genes, len(rows), design.gene_share)

    part = SimulatedPart(
        name="v8", genes=genes, n_samples=n, draw=draw, seed=(design.seed, 9), share_without_metadata=0.03
    )
    table = "GTEx_Analysis_2017-06-05_v8_RNASeQCv1.1.9_gene_reads.gct.gz"
    attributes = "GTEx_Analysis_v8_Annotations_SampleAttributesDS.txt"
    return SimulatedStudy(
        name="gtex", parts=(part,), write=lambda folder: write_gct(part, folder / table, folder / attributes)
    )


def _reads(rng: np.random.Generator, genes: GeneTable, n: int, gene_share: float) -> sparse.csr_matrix:
    depth = READS * gene_share * rng.lognormal(0.0, 0.4, n)
    depth *= np.where(rng.random(n) < FAILED_SHARE, FAILED_DEPTH, 1.0)
    return bulk_counts(rng, (depth[:, None] * genes.expression).astype(np.float32))


def _letters(number: int, n: int) -> str:
    """Return `n` letters that write a number in base 32."""
    return "".join(LETTERS[number // len(LETTERS) ** i % len(LETTERS)] for i in reversed(range(n)))
