"""scanpy on a store as it lies on disk: the usual first steps, and the same as on a copy with int32 indices."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from scipy.sparse import csr_matrix

scanpy = pytest.importorskip("scanpy")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:::scanpy|anndata|numba|umap|legacy_api_wrap")]


def first_steps(cells: ad.AnnData) -> ad.AnnData:
    """Normalise, take the logarithm, choose variable genes, and reduce, as every tutorial does."""
    scanpy.pp.normalize_total(cells, target_sum=1e4)
    scanpy.pp.log1p(cells)
    scanpy.pp.highly_variable_genes(cells, n_top_genes=50)
    scanpy.pp.pca(cells, n_comps=10, random_state=0)
    return cells


@pytest.mark.parametrize("store", ["breast_cancer.plain.train", "gtex.plain.train"])
def test_the_first_steps_of_an_analysis_run_on_a_store_unmodified(small_corpus: Path, store: str) -> None:
    path = small_corpus / "stores" / f"{store}.zarr"
    found, copy = ad.read_zarr(path), ad.read_zarr(path)
    assert found.X.indices.dtype == np.uint16
    copy.X.indices = copy.X.indices.astype("int32")
    found, expected = first_steps(found), first_steps(copy)
    assert found.var["highly_variable"].sum() == 50
    assert found.var["highly_variable"].equals(expected.var["highly_variable"])
    np.testing.assert_array_equal(found.X.toarray(), expected.X.toarray())
    np.testing.assert_allclose(np.abs(found.obsm["X_pca"]), np.abs(expected.obsm["X_pca"]), rtol=1e-3, atol=1e-4)
    assert np.isfinite(found.obsm["X_pca"]).all()


def test_qc_metrics_need_wider_indices_first_and_are_those_of_the_store(small_corpus: Path) -> None:
    """What docs/corpus-format.md says of them; obs has the two that most people want."""
    cells = ad.read_zarr(small_corpus / "stores" / "breast_cancer.plain.train.zarr")
    with pytest.raises(ValueError, match="dtype"):
        scanpy.pp.calculate_qc_metrics(cells, inplace=True, percent_top=None)
    cells.X = csr_matrix((cells.X.data, cells.X.indices.astype("int32"), cells.X.indptr), cells.X.shape)
    scanpy.pp.calculate_qc_metrics(cells, inplace=True, percent_top=None)
    np.testing.assert_array_equal(cells.obs["total_counts"], cells.obs["library_size"].astype("float32"))
    np.testing.assert_array_equal(cells.obs["n_genes_by_counts"], cells.obs["n_genes"])


def test_taking_rows_or_columns_gives_wider_indices_by_itself(small_corpus: Path) -> None:
    cells = ad.read_zarr(small_corpus / "stores" / "breast_cancer.plain.train.zarr")
    known = cells[:, cells.var["measured"]].copy()
    assert known.X.indices.dtype == np.int32
    scanpy.pp.calculate_qc_metrics(known, inplace=True, percent_top=None)
