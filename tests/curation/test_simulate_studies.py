"""Simulated studies: files of the shapes of their sources, blocks that can be drawn again, gene ids with known fate."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zipfile
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import polars as pl
import pytest
import yaml
from scipy import sparse

from curation.axis import GeneAxis
from curation.catalog import read_catalog
from curation.config import complete, read_config
from curation.errors import InputError
from curation.simulate.axis_names import AxisNames
from curation.simulate.checksums import Checksums
from curation.simulate.draws import cell_counts, mean_counts, rounded_tpm
from curation.simulate.rehearsal import STUDIES, Rehearsal, write_rehearsal
from curation.simulate.study import Design, SimulatedStudy, barcodes
from curation.simulate.symbol_table import symbol_table

ROOT = Path(__file__).parents[2]
SMALL = Rehearsal(scale=0.001, gene_share=0.03)


@pytest.fixture(scope="module")
def folder(rehearsal_axis: GeneAxis, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulated")
    rehearsal_axis.write(out / "genes.parquet")
    write_rehearsal(SMALL, out / "genes.parquet", out)
    return out


@pytest.fixture(scope="module")
def design(rehearsal_axis: GeneAxis) -> Design:
    return Design(names=AxisNames(rehearsal_axis), scale=0.02, gene_share=0.03, seed=0)


def all_counts(study: SimulatedStudy) -> sparse.csr_matrix:
    return sparse.vstack([samples.counts for samples in study.parts[0].blocks()], format="csr")


def test_the_screen_is_one_dense_array_with_old_categories(folder: Path, design: Design) -> None:
    with h5py.File(folder / "replogle_k562" / "K562_gwps_raw_singlecell_01.h5ad") as file:
        matrix = file["X"]
        assert (matrix.chunks, matrix.compression, matrix.dtype) == (None, None, np.float32)
        np.testing.assert_array_equal(matrix[:], np.rint(matrix[:]))
        names = file["obs/__categories/gene"].asstr()[:]
        assert "non-targeting" in names
        assert file[file["obs/gene"].attrs["categories"]] == file["obs/__categories/gene"]
        assert file["obs/gem_group"].dtype.kind == "i"


def test_the_atlases_keep_counts_where_their_sources_do(folder: Path) -> None:
    for path in ("gbmap/extended_GBmap.h5ad", "gastric_metaplasia/gastric_umap_of_all_data.h5ad"):
        atlas = ad.read_h5ad(folder / path)
        np.testing.assert_array_equal(atlas.raw.X.data, np.rint(atlas.raw.X.data))
        assert not np.array_equal(atlas.X.data, np.rint(atlas.X.data))
    tme = ad.read_h5ad(folder / "tumor_microenvironment" / "tme_guimaraes.h5ad")
    assert tme.raw is None
    np.testing.assert_array_equal(tme.X.data, np.rint(tme.X.data))
    assert {"10x 3' v2", "inDrop", "Smart-seq2"} == set(tme.obs["assay"])
    sums = np.asarray(tme.X.sum(axis=1)).ravel()[(tme.obs["assay"] == "Smart-seq2").to_numpy()]
    np.testing.assert_allclose(sums, 1e6, rtol=1e-3)


def test_sciplex_has_mouse_genes_and_cells_without_a_perturbation(folder: Path) -> None:
    sciplex = ad.read_h5ad(folder / "sciplex" / "SrivatsanTrapnell2020_sciplex3.h5ad", backed="r")
    ids = sciplex.var["ensembl_id"]
    assert 0.4 < ids.str.startswith("ENSMUSG").mean() < 0.6
    assert sciplex.obs["perturbation"].isna().any()
    assert "control" in set(sciplex.obs["perturbation"])


def test_archives_hold_the_members_of_the_sources(folder: Path) -> None:
    with zipfile.ZipFile(folder / "mixseq" / "DMSO_24hr_expt1.zip") as archive:
        members = {Path(name).name for name in archive.namelist()}
        assert members == {"matrix.mtx", "barcodes.tsv", "genes.tsv", "classifications.csv"}
        table = archive.read("DMSO_24hr_expt1/classifications.csv").decode()
        assert {"normal", "doublet"} <= set(table.replace("\n", ",").split(","))
    with tarfile.open(folder / "breast_cancer" / "GSE176078_Wu_etal_2021_BRCA_scRNASeq.tar.gz") as archive:
        genes = archive.extractfile("Wu_etal_2021_BRCA_scRNASeq/count_matrix_genes.tsv")
        assert genes is not None
        names = genes.read().decode().split()
    assert {"1-Mar", "2-Sep", "eGFP"} <= set(names)
    assert any(name.startswith(("RP11-", "RP1-")) for name in names)


def test_star_counts_lie_behind_a_receipt(folder: Path) -> None:
    receipt = pl.read_csv(folder / "tcga" / "star_counts.tsv", separator="\t")
    assert receipt["aliquot"].str.contains(r"^TCGA-..-\d{4}-(01|11)A-").all()
    path = Path(receipt["path"][0])
    assert hashlib.md5(path.read_bytes()).hexdigest() == receipt["md5"][0]
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# gene-model")
    assert [line.split("\t")[0] for line in lines[2:6]] == [
        "N_unmapped",
        "N_multimapping",
        "N_noFeature",
        "N_ambiguous",
    ]
    assert any(line.split("\t")[0].endswith("_PAR_Y") for line in lines)


def test_the_wide_table_has_samples_outside_the_freeze_and_without_attributes(folder: Path) -> None:
    (table,) = (folder / "gtex").glob("*.gct.gz")
    version, sizes, header, *rows = gzip.decompress(table.read_bytes()).decode().splitlines()
    assert version == "#1.2"
    samples = header.split("\t")[2:]
    assert sizes == f"{len(rows)}\t{len(samples)}"
    (attributes,) = (folder / "gtex").glob("*SampleAttributesDS.txt")
    known = pl.read_csv(attributes, separator="\t")
    assert "EXCLUDE" in known["SMAFRZE"]
    assert not set(known["SAMPID"]) <= set(samples)


def test_the_sheet_is_a_catalogue_of_simulated_studies_and_the_config_selects_them(folder: Path) -> None:
    studies = read_catalog([folder / "catalog.yaml"]).studies
    assert set(studies) == set(STUDIES)
    assert all(study.simulated and study.simulation is None for study in studies.values())
    real = read_catalog([ROOT / "curation" / "catalog" / "diverserna.yaml"]).studies
    assert all(studies[name].obs == real[name].obs for name in ("replogle_k562", "gbmap", "tcga", "gtex"))
    config = complete(read_config([ROOT / "config.yaml", folder / "config.yaml"]))
    assert config["recipes"]["single_cell"]["min_samples_per_gene"] == 3
    assert set(config["variants"]["rehearsal"]["studies"]) == set(STUDIES)


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(
    folder: Path, rehearsal_axis: GeneAxis, tmp_path: Path
) -> None:
    chosen = ("breast_cancer", "gastric_metaplasia", "gtex")

    def digests(root: Path) -> dict[str, str]:
        names = ("breast_cancer/*", "gastric_metaplasia/*", "gtex/*", *(f"truth/{name}.*" for name in chosen))
        paths = [path for name in names for path in sorted(root.glob(name))]
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}

    first = digests(folder)
    for seed in (0, 1):
        again = tmp_path / str(seed)
        rehearsal = Rehearsal(scale=0.001, gene_share=0.03, seed=seed, studies=chosen)
        write_rehearsal(rehearsal, folder / "genes.parquet", again)
        assert (digests(again) == first) == (seed == 0)


@pytest.mark.parametrize("name", STUDIES)
def test_a_block_drawn_alone_equals_the_block_drawn_in_turn(design: Design, name: str) -> None:
    part = STUDIES[name](design).parts[0]
    blocks = list(part.blocks())
    assert sum(len(samples.ids) for samples in blocks) == part.n_samples
    last, alone = blocks[-1], part.block(part.n_blocks - 1)
    assert alone.ids == last.ids
    assert (alone.counts != last.counts).nnz == 0
    assert {key: list(values) for key, values in alone.obs.items()} == {k: list(v) for k, v in last.obs.items()}


def test_copies_are_what_the_study_says(design: Design) -> None:
    study = STUDIES["replogle_k562"](design)
    counts = all_counts(study)
    copy_of = np.concatenate([samples.copy_of for samples in study.parts[0].blocks()])
    copies = np.flatnonzero(copy_of >= 0)
    assert len(copies) > 2
    assert (counts[copies] != counts[copy_of[copies]]).nnz == 0
    _, times = np.unique([row.toarray().tobytes() for row in counts], return_counts=True)
    assert (times > 1).sum() == len(copies)


def test_a_perturbation_with_an_effect_moves_its_cells(design: Design) -> None:
    study = STUDIES["replogle_k562"](design)
    counts = np.log1p(all_counts(study).toarray())
    gene = np.concatenate([samples.obs["gene"] for samples in study.parts[0].blocks()])
    control = counts[gene == "non-targeting"].mean(axis=0)
    shift = {
        effect: [
            float(np.abs(counts[gene == name].mean(axis=0) - control).mean())
            for name, has_effect in study.perturbation_has_effect.items()
            if has_effect == effect
        ]
        for effect in (True, False)
    }
    assert np.median(shift[True]) > 1.5 * np.median(shift[False])


def test_guests_have_the_counts_of_their_own_study(design: Design, rehearsal_axis: GeneAxis) -> None:
    host, home = (STUDIES[name](design).parts[0] for name in ("tumor_microenvironment", "breast_cancer"))

    def on_axis(part, samples) -> np.ndarray:
        counts = np.zeros((len(samples.ids), len(rehearsal_axis.ensembl_ids)), dtype=np.int64)
        mapped = np.flatnonzero(part.genes.positions >= 0)
        np.add.at(counts.T, part.genes.positions[mapped], samples.counts[:, mapped].toarray().T)
        return counts

    here, there = host.block(0), home.block(0)
    guests = np.flatnonzero(here.guest_of != "")
    assert len(guests)
    origins = [there.ids.index(str(name).removeprefix("breast_cancer:")) for name in here.guest_of[guests]]
    np.testing.assert_array_equal(on_axis(host, here)[guests], on_axis(home, there)[origins])


def test_symbols_have_the_fate_that_the_axis_decides(rehearsal_axis: GeneAxis) -> None:
    """Each kind of name, checked against the rule by which the axis was made."""
    table = symbol_table(AxisNames(rehearsal_axis), np.random.default_rng(0), 2_000)
    fate = dict(zip(table.ids, zip(table.positions.tolist(), table.reasons, strict=True), strict=True))
    for gene, (position, reason) in fate.items():
        if gene.startswith(("GENE", "PREV", "ALIA")):
            assert (position, reason) == (int(gene[4:-1]), "mapped")
        if gene.startswith("BOTH"):
            assert (position, reason) == (-1, "ambiguous_symbol")
        if "ORF" in gene:
            assert (rehearsal_axis.genes["symbol"][position], reason) == (gene.replace("ORF", "orf"), "mapped")
    kinds = {gene[:4] for gene in fate}
    assert {"GENE", "PREV", "ALIA", "BOTH"} <= kinds
    assert any("ORF" in gene for gene in fate)
    # MARCH1 and MARC1 both become 1-Mar; only SEPT2 becomes 2-Sep, only MARCH2 2-Mar
    assert fate["1-Mar"] == (-1, "excel_date")
    assert fate["2-Sep"] == (42, "mapped")
    assert fate["2-Mar"] == (43, "mapped")
    assert len(set(table.positions[table.positions >= 0])) < (table.positions >= 0).sum()


def test_checksums_tell_samples_apart_and_do_not_overflow() -> None:
    genes = [f"ENSG{i:011d}" for i in range(500)]
    checksums = Checksums(genes)
    counts = sparse.csr_matrix(np.full((1, 500), 2**31 - 1, dtype=np.int32))
    hashes = [int.from_bytes(hashlib.blake2b(gene.encode(), digest_size=8).digest()) % (2**61 - 1) for gene in genes]
    assert checksums.of(counts) == [sum(hashes) * (2**31 - 1) % (2**61 - 1)]
    swapped = counts.copy()
    swapped.data[:2] = [2**31 - 2, 2**31 - 1]
    assert checksums.of(swapped) != checksums.of(counts)


def test_cells_show_as_many_genes_as_asked() -> None:
    rng = np.random.default_rng(0)
    expression = rng.lognormal(0, 1.8, 3_000)
    mean = mean_counts(expression / expression.sum(), 700)
    counts = cell_counts(rng, np.tile(mean, (200, 1)))
    assert 690 < np.diff(counts.indptr).mean() < 710
    np.testing.assert_allclose(counts.mean(), mean.mean(), rtol=0.05)


def test_rounded_tpm_leaves_other_cells_alone() -> None:
    counts = sparse.csr_matrix(np.array([[1, 0, 3], [2, 5, 0]], dtype=np.int32))
    found = rounded_tpm(counts, np.array([False, True]), np.array([1.0, 2.0, 1.0])).toarray()
    np.testing.assert_array_equal(found, [[1, 0, 3], [444_444, 555_556, 0]])


def test_barcodes_differ() -> None:
    assert len(set(barcodes(np.arange(5_000)))) == 5_000


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"scale": 0.0}, "above 0, up to 1"),
        ({"scale": 0.1, "gene_share": 1.5}, "above 0, up to 1"),
        ({"scale": 0.1, "studies": ("gtexx",)}, "no simulation of 'gtexx'"),
        ({"scale": 0.1, "studies": ("tumor_microenvironment",)}, "leaves out samples of breast_cancer"),
    ],
)
def test_a_wrong_rehearsal_is_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Rehearsal(**fields)  # type: ignore[arg-type]


def test_an_unknown_annotation_is_refused_and_a_known_one_brings_its_sheet(folder: Path, tmp_path: Path) -> None:
    chosen = {"scale": 0.001, "gene_share": 0.03, "studies": ("gtex",)}
    write_rehearsal(Rehearsal(**chosen, annotation="mini_ensembl"), folder / "genes.parquet", tmp_path)
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert config["catalogs"]["annotation"] == "curation/catalog/mini.yaml"
    assert config["gene_axis"] == {"annotation": "mini_ensembl"}
    with pytest.raises(InputError, match="no sheet has an annotation entry 'mini'"):
        write_rehearsal(Rehearsal(**chosen, annotation="mini"), folder / "genes.parquet", tmp_path)
