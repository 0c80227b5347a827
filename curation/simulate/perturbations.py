"""Three perturbation studies: the K562 screen, MIX-Seq and sci-Plex 3."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import sparse

from curation.simulate.cells import CellModel
from curation.simulate.gene_table import GeneTable, ensembl_table
from curation.simulate.h5ad_file import write_dense_screen, write_scperturb
from curation.simulate.screen import CONTROL
from curation.simulate.study import Design, SimulatedPart, SimulatedStudy, barcodes, some_missing
from curation.simulate.triplet_files import write_mixseq_zip

# 75,328 of 1,989,578 cells of the published screen are controls, and "prunes ~75%" of the others (sec. C.2)
CONTROL_SHARE = 0.038
EFFECT_SHARE = 0.26
CELLS_PER_TARGET = 50
CONDITIONS = (
    "DMSO_24hr_expt1",
    "Idasanutlin_24hr_expt1",
    "Trametinib_24hr_expt3",
    "sgLACZ_expt2",
    "sgGPX4_1_expt2",
    "DMSO_6hr_expt3",
)
MIXSEQ_LINES = np.array([f"LINE{i}_SKIN" for i in range(24)], dtype=object)
SCIPLEX_LINES = np.array(["A549", "MCF7", "K562"], dtype=object)


def replogle_k562(design: Design) -> SimulatedStudy:
    """Return the genome-wide screen; a quarter of its perturbations change the cell, the others only their target."""
    rng = design.rng("replogle_k562", "model")
    genes = ensembl_table(design.names, design.rng("replogle_k562", "genes"), design.n_genes(8_248))
    model = CellModel.of(
        genes, rng, n_detected=3_000 * design.gene_share, shallow_share=0.02, doublet_share=0.01, leaky_share=0.02
    )
    n = design.n_samples(502_080, at_least=400)
    n_targets = int(np.clip(n // CELLS_PER_TARGET, 8, 9_866))
    n_batches = int(np.clip(n // 150, 4, 273))
    symbols = sorted(set(design.names.safe_symbols.values()))
    targets = np.array([symbols[i] for i in rng.choice(len(symbols), min(n_targets, len(symbols)), replace=False)])
    has_effect = np.arange(len(targets)) < round(EFFECT_SHARE * len(targets))
    fold = np.ones((len(targets) + 1, model.n_modules))
    for target in np.flatnonzero(has_effect):
        changed = rng.choice(model.n_modules, 3, replace=False)
        fold[target, changed] = rng.uniform(2.0, 4.0, 3) ** rng.choice([-1.0, 1.0], 3)
    names = np.append(targets, CONTROL).astype(object)

    def draw(rng: np.random.Generator, rows: np.ndarray) -> tuple[list[str], dict[str, np.ndarray], sparse.csr_matrix]:
        label = rng.integers(0, len(targets), len(rows))
        label[rng.random(len(rows)) < CONTROL_SHARE] = len(targets)
        batch = rng.integers(1, n_batches + 1, len(rows))
        counts = model.draw(rng, len(rows), fold[label])
        gene = names[label]
        totals = np.asarray(counts.sum(axis=1)).ravel().astype(np.float32)
        obs = {
            "gem_group": batch,
            "gene": gene,
            "gene_transcript": np.array([f"{label_}_{name}_P1P2" for label_, name in zip(label, gene, strict=True)]),
            "sgID_AB": np.array([f"{name}_-_{i % 2 + 1}|{name}_+_{i % 2 + 1}" for i, name in enumerate(gene)]),
            "mitopercent": rng.uniform(0.0, 0.2, len(rows)).astype(np.float32),
            "UMI_count": totals,
            "z_gemgroup_UMI": rng.standard_normal(len(rows)).astype(np.float32),
        }
        ids = [f"{bases}-{number}" for bases, number in zip(barcodes(rows), batch, strict=True)]
        return ids, obs, counts

    part = SimulatedPart(name="gwps", genes=genes, n_samples=n, draw=draw, seed=(design.seed, 1))
    return SimulatedStudy(
        name="replogle_k562",
        parts=(part,),
        write=lambda folder: write_dense_screen(part, folder / "K562_gwps_raw_singlecell_01.h5ad"),
        perturbation_has_effect=dict(zip(targets.tolist(), has_effect.tolist(), strict=True)),
    )


def mixseq(design: Design) -> SimulatedStudy:
    """Return MIX-Seq as its authors deposited it: one zip a condition, with the quality of each cell."""
    genes = ensembl_table(design.names, design.rng("mixseq", "genes"), design.n_genes(32_738))
    n = design.n_samples(102_205, at_least=240)
    # the last condition was aligned to a shorter gene list: what it lacks is unknown for the whole study
    mapped = np.flatnonzero(genes.positions >= 0)
    lacking = design.rng("mixseq", "lacking").choice(mapped, max(3, len(genes) // 400), replace=False)
    sizes = np.full(len(CONDITIONS), n // len(CONDITIONS))
    sizes[0] += n - sizes.sum()
    parts = tuple(
        _mixseq_condition(design, i, genes.without(lacking) if i == len(CONDITIONS) - 1 else genes, int(sizes[i]))
        for i in range(len(CONDITIONS))
    )

    members = {
        "matrix": "matrix.mtx",
        "features": "genes.tsv",
        "barcodes": "barcodes.tsv",
        "metadata": "classifications.csv",
    }
    files: dict[str, dict[str, str]] = {f"{name}.zip": {} for name in CONDITIONS}
    entries = []
    for name, part in zip(CONDITIONS, parts, strict=True):
        paths = {role: f"{name}/{member}" for role, member in members.items()}
        files |= {path: {"archive": f"{name}.zip", "member": path} for path in paths.values()}
        entries.append({"name": part.name, "format": "mtx", "files": paths, "constants": dict(part.constants)})
    return SimulatedStudy(
        name="mixseq",
        parts=parts,
        write=lambda folder: _write_conditions(parts, folder),
        entry={
            "obs": {
                "batch": {"column": "channel"},
                "perturbation": {"column": "perturbation"},
                "cell_line": {"column": "singlet_ID"},
                "control_labels": ["control"],
            },
            "filters": [{"column": "cell_quality", "keep": ["normal"], "reason": "not_normal_quality"}],
            "parts": entries,
            "files": files,
        },
    )


def _write_conditions(parts: tuple[SimulatedPart, ...], folder: Path) -> None:
    for name, part in zip(CONDITIONS, parts, strict=True):
        write_mixseq_zip(part, folder / f"{name}.zip")


def _mixseq_condition(design: Design, i: int, genes: GeneTable, n_cells: int) -> SimulatedPart:
    name = CONDITIONS[i]
    model = CellModel.of(genes, design.rng("mixseq", name), n_detected=2_900 * design.gene_share)
    n_channels = int(np.clip(n_cells // 100, 1, 8))
    quality = np.array(["normal", "doublet", "low_quality", "empty_droplet"], dtype=object)

    def draw(rng: np.random.Generator, rows: np.ndarray) -> tuple[list[str], dict[str, np.ndarray], sparse.csr_matrix]:
        channel = np.array([f"{name}_channel{number + 1}" for number in rng.integers(0, n_channels, len(rows))])
        line = MIXSEQ_LINES[rng.integers(0, len(MIXSEQ_LINES), len(rows))]
        obs = {
            "singlet_ID": line,
            "DepMap_ID": np.array([f"ACH-{list(MIXSEQ_LINES).index(which):06d}" for which in line], dtype=object),
            "cell_quality": quality[rng.choice(4, len(rows), p=[0.8, 0.12, 0.06, 0.02])],
            "channel": some_missing(rng, channel, 0.01),
        }
        return [f"{bases}-1" for bases in barcodes(rows)], obs, model.draw(rng, len(rows))

    drug = name.split("_")[0]
    return SimulatedPart(
        name=name.lower(),
        genes=genes,
        n_samples=n_cells,
        draw=draw,
        seed=(design.seed, 3, i),
        constants={"perturbation": "control" if drug in ("DMSO", "sgLACZ") else drug},
        share_without_metadata=0.01,
    )


def sciplex(design: Design) -> SimulatedStudy:
    """Return sci-Plex 3: shallow nuclei, human and mouse genes in one table, cells without a perturbation."""
    genes = ensembl_table(
        design.names,
        design.rng("sciplex", "genes"),
        design.n_genes(58_347),
        versioned=True,
        n_mouse=design.n_genes(52_636),
        n_spike_ins=4,
    )
    model = CellModel.of(
        genes, design.rng("sciplex", "model"), n_detected=1_700 * design.gene_share, doublet_share=0.01
    )
    n = design.n_samples(99_300, at_least=200)
    compounds = np.array([f"compound{i}" for i in range(188)], dtype=object)
    n_plates = int(np.clip(n // 60, 3, 52))

    def draw(rng: np.random.Generator, rows: np.ndarray) -> tuple[list[str], dict[str, np.ndarray], sparse.csr_matrix]:
        compound = compounds[rng.integers(0, len(compounds), len(rows))]
        compound[rng.random(len(rows)) < 0.022] = "control"
        plate = np.array([f"plate{number + 1}" for number in rng.integers(0, n_plates, len(rows))])
        obs = {
            "perturbation": some_missing(rng, compound, 0.046),
            "cell_line": SCIPLEX_LINES[rng.integers(0, 3, len(rows))],
            "plate": some_missing(rng, plate, 0.01),
            "dose_value": rng.choice([10.0, 100.0, 1_000.0, 10_000.0], len(rows)),
        }
        ids = [f"{bases[:10]}_RT_BC_{row}_Lig_BC_7" for bases, row in zip(barcodes(rows), rows, strict=True)]
        return ids, obs, model.draw(rng, len(rows))

    part = SimulatedPart(name="sciplex3", genes=genes, n_samples=n, draw=draw, seed=(design.seed, 4))
    path = "SrivatsanTrapnell2020_sciplex3.h5ad"
    columns = ("perturbation", "cell_line", "plate")
    return SimulatedStudy(
        name="sciplex",
        parts=(part,),
        write=lambda folder: write_scperturb(part, folder / path, categorical=columns),
    )
