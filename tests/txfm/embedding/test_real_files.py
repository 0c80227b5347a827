"""Real public files through an embedder that is no network: what it sees is what the file holds."""

from __future__ import annotations

import dataclasses
import os
import re
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp

from txfm.embedder import Embedder
from txfm.embedding.gene_names import KnownGenes
from txfm.embedding.options import PLAIN, EncoderOptions
from txfm.errors import InputError
from txfm.vocabulary import Vocabulary

DATA = Path(os.environ.get("DIVERSERNA_DATA", Path(__file__).parents[4] / "shared" / "data"))
pytestmark = [
    pytest.mark.real,
    pytest.mark.filterwarnings("ignore::txfm.embedding.embed.EmptySampleWarning"),
    pytest.mark.skipif(not DATA.is_dir(), reason="the real files are not here: set DIVERSERNA_DATA"),
]


class Totals(Embedder):
    """Embeds a sample as its counts and its detected genes."""

    def encoder(self, visible: np.ndarray, options: EncoderOptions = PLAIN) -> Totals:
        return self

    def encode(self, counts: sp.csr_matrix) -> np.ndarray:
        return np.column_stack([counts.sum(axis=1), (counts > 0).sum(axis=1)]).astype(np.float32)

    def gene_tables(self) -> dict[str, np.ndarray]:
        return {}


@pytest.fixture(scope="module")
def human() -> Totals:
    """HGNC's protein-coding genes."""
    table = pd.read_csv(DATA / "annotation" / "hgnc_complete_set.txt.gz", sep="\t", dtype=str)
    table = table[(table["locus_group"] == "protein-coding gene") & table["ensembl_gene_id"].notna()]
    table = table.drop_duplicates("ensembl_gene_id")
    ids, symbols = table["ensembl_gene_id"].tolist(), table["symbol"].tolist()
    genes = Vocabulary(axis_positions=np.arange(len(ids)), ensembl_ids=tuple(ids), symbols=tuple(symbols))
    return Totals(genes, {"n_dimensions": 2})


def totals(embedder: Totals, path: Path, **options: object) -> np.ndarray:
    return embedder.embed(path, min_matched_share=0.0, verbose=False, **options)[:, 0]


def counts_of_known(embedder: Totals, names: list[str], genes_by_samples: sp.spmatrix) -> np.ndarray:
    known = {*embedder.vocabulary.ensembl_ids, *embedder.vocabulary.symbols}
    spelled = [re.sub(r"^C(\d+|X|Y)ORF(\d+)$", r"C\1orf\2", re.sub(r"^(ENSG\d+)\.\d+$", r"\1", name)) for name in names]
    rows = [i for i, name in enumerate(spelled) if name in known]
    return np.asarray(sp.csr_matrix(genes_by_samples)[rows].sum(axis=0)).ravel()


def test_a_folder_of_matrix_market(human: Totals) -> None:
    folder = DATA / "studies" / "kang_pbmc" / "ctrl"
    features = pd.read_csv(folder / "features.tsv.gz", sep="\t", header=None, dtype=str)
    symbols = features[1] if features.shape[1] > 1 else features[0]
    expected = counts_of_known(human, symbols.tolist(), scipy.io.mmread(folder / "matrix.mtx.gz"))
    np.testing.assert_allclose(totals(human, folder), expected)
    assert len(expected) == 1000


@pytest.mark.parametrize(
    "name",
    [
        "mixology_3cl/sc_celseq2.count.csv.gz",
        "gtex_skin/yarn_GTEx_skin.csv.gz",
        "mixology_5cl/sc_celseq2_5cl_p1.count.csv.gz",
    ],
)
def test_a_table_of_genes_by_samples(human: Totals, name: str) -> None:
    frame = pd.read_csv(DATA / "studies" / name, index_col=0)
    expected = counts_of_known(human, frame.index.astype(str).tolist(), sp.csr_matrix(frame.to_numpy(float)))
    np.testing.assert_allclose(totals(human, DATA / "studies" / name), expected)
    assert (expected > 0).mean() > 0.9


def test_a_dense_h5ad(human: Totals) -> None:
    path = DATA / "studies" / "pbmc_citeseq" / "pbmc_5k_protein_v3.h5ad"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ad.OldFormatWarning)
        adata = ad.read_h5ad(path)
    expected = counts_of_known(human, adata.var_names.tolist(), sp.csr_matrix(adata.X).T)
    np.testing.assert_allclose(totals(human, path, chunk_rows=33), expected)


def test_cell_ranger_s_files_of_version_2_and_3_agree_with_their_matrix_market_twins(human: Totals) -> None:
    folder = DATA / "studies" / "tenx_fixtures"
    v2 = totals(human, folder / "1.2.0" / "filtered_gene_bc_matrices_h5.h5")
    np.testing.assert_allclose(v2, totals(human, folder / "1.2.0" / "filtered_gene_bc_matrices" / "hg19_chr21"))
    assert v2.sum() > 0
    (v3,) = (path for path in (folder / "3.0.0").rglob("*.h5") if "raw" not in path.name)
    (twin,) = (path.parent for path in (folder / "3.0.0").rglob("matrix.mtx*") if "raw" not in str(path))
    np.testing.assert_allclose(totals(human, v3), totals(human, twin))
    with pytest.raises(InputError, match="several genomes"):
        totals(human, folder / "1.2.0" / "multiple_genomes.h5")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("log_normalised.h5ad", "not raw counts.*holds none elsewhere"),
        ("counts_only_in_layer.h5ad", "not raw counts.*--counts layers/counts"),
        ("mouse_mtx", "not human.*mouse"),
        ("base_coverage_sums.csv.gz", "more counts than a sequenced library.*base coverage"),
    ],
)
def test_what_must_be_refused_is_refused_for_the_right_reason(human: Totals, name: str, says: str) -> None:
    with pytest.raises(InputError, match=f"(?s){says}"):
        totals(human, DATA / "rejects" / name)


def test_the_names_and_expected_counts_of_legacy_tcga(human: Totals) -> None:
    path = DATA / "studies" / "tcga_brca" / "TCGAbiolinks_dataBRCA.csv.gz"
    frame = pd.read_csv(path, index_col=0)
    symbols = [name.split("|")[0] for name in frame.index]
    expected = counts_of_known(human, symbols, sp.csr_matrix(frame.to_numpy(float)))
    with pytest.raises(InputError, match="--allow-fractional"):
        totals(human, path)
    np.testing.assert_allclose(totals(human, path, allow_fractional=True), expected, rtol=1e-6)
    assert (expected > 1e7).all()


def test_previous_symbols_find_hundreds_of_genes_of_an_older_study_and_change_no_other(human: Totals) -> None:
    """The 33,694 symbols of an older reference of Cell Ranger, against those that HGNC approves today."""
    names = pd.read_csv(DATA / "studies" / "pbmc_soupx" / "features.tsv.gz", sep="\t", header=None, dtype=str)[1]
    hgnc = pd.read_csv(DATA / "annotation" / "hgnc_complete_set.txt.gz", sep="\t", dtype=str)
    previous = hgnc.set_index("ensembl_gene_id")["prev_symbol"].dropna().str.split("|")
    uses, approved = previous.explode().value_counts(), set(hgnc["symbol"])
    names_of = {gene: tuple(x for x in found if uses[x] == 1 and x not in approved) for gene, found in previous.items()}
    before = human.vocabulary
    after = dataclasses.replace(before, previous_symbols=tuple(names_of.get(gene, ()) for gene in before.ensembl_ids))
    found = np.array([[known.position(name) for name in names] for known in map(KnownGenes, (before, after))])
    was_known = found[0] >= 0
    np.testing.assert_array_equal(found[1][was_known], found[0][was_known])
    assert (found[1] >= 0).sum() - was_known.sum() > 500
    assert before.symbols[found[1][names.tolist().index("H3F3B")]] == "H3-3B"
