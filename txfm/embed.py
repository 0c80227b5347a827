"""Embedding samples: deterministic, row order kept, the same for every batch and chunk size."""

import warnings
from collections.abc import Iterator
from itertools import chain
from typing import Any

import anndata
import numpy as np
import scipy.sparse as sp
import torch

from txfm.counts import check_raw_counts, looks_like_counts
from txfm.embedder import Embedder
from txfm.errors import InputError
from txfm.genes import DEFAULT_MIN_SHARE, match_genes
from txfm.preprocess import preprocess
from txfm.pretrained import PretrainedModel

CHUNK_ROWS = 1024  # rows of a file in memory at a time
ACTIVATION_BYTES = 2**28  # of one batch; a larger batch is no faster on a CPU


class EmptySampleWarning(UserWarning):
    """Some samples have no count on the model's genes; the message states how many."""


def embed(
    model: Embedder,
    adata: anndata.AnnData,
    *,
    layer: str | None = None,
    genes: str | int = "all",
    gene_column: str | None = None,
    min_matched_share: float = DEFAULT_MIN_SHARE,
    allow_fractional: bool = False,
    batch_size: int | None = None,
    verbose: bool = True,
) -> np.ndarray:
    """Embed the samples of an AnnData of raw counts.

    Parameters
    ----------
    model : Embedder
        A TxFM or a baseline.
    adata : anndata.AnnData
        Raw counts, dense, CSR or CSC, and gene names in var; a backed one is read in blocks of rows.
    layer : str, optional
        Layer with the counts; None = X.
    genes : "all" or int
        "all" shows every measured gene of the vocabulary, which gives far better embeddings than training's K. A number
        shows that many, drawn once (seeded) and the same for all samples.
    gene_column : str, optional
        Column of var with Ensembl ids or symbols; None finds it.
    min_matched_share : float
        Least share of the vocabulary that the data must have.
    allow_fractional : bool
        Accept expected counts.
    batch_size : int, optional
        Samples per forward pass; None = from a memory formula. It does not change the result beyond rounding (1e-5).
    verbose : bool
        Print how many genes were found, and how many samples have no count on them.

    Returns
    -------
    numpy.ndarray (n_samples, n_dimensions), float32

    Raises
    ------
    InputError
        Not an AnnData, values are not raw counts, too few genes are known, or the layer does not exist.

    Warns
    -----
    EmptySampleWarning
        Samples without a count on the model's genes: their embedding is that of an empty sample.
    """
    if not isinstance(adata, anndata.AnnData):
        raise InputError(
            "This cannot be embedded, because nothing names its genes",
            expected="an AnnData of raw counts, with Ensembl ids or gene symbols in var",
            found=type(adata).__name__,
            todo="anndata.AnnData(counts, var=pandas.DataFrame(index=gene_names))",
        )
    if layer is not None and layer not in adata.layers:
        raise InputError("There is no such layer", expected=", ".join(adata.layers) or "a layer", found=layer)
    chunks = _checked_chunks(adata, layer, allow_fractional)
    first = next(chunks, None)  # before the genes: who passes other values shall learn that first
    match = match_genes(adata.var, model.vocabulary, gene_column, min_matched_share)
    if verbose:
        print(match, flush=True)
    used = np.flatnonzero(match.positions >= 0)
    n_genes = len(model.vocabulary)
    to_vocabulary = sp.csr_matrix((np.ones(len(used)), (used, match.positions[used])), shape=(adata.n_vars, n_genes))
    visible = _visible_genes(match.measured, genes)
    encoder = model.encoder(visible, batch_size)
    out = np.empty((adata.n_obs, model.n_dimensions), dtype=np.float32)
    n_empty = 0
    for start, rows in chain([] if first is None else [first], chunks):
        counts = (rows.astype(np.float64) @ to_vocabulary).toarray()
        n_empty += count_empty(counts)
        out[start : start + len(counts)] = encoder.encode(counts)
    tell_empty(n_empty, adata.n_obs, verbose)
    return out


def count_empty(counts: np.ndarray) -> int:
    """Number of rows of (n_samples, G) without a count."""
    return int((~counts.any(axis=1)).sum())


def tell_empty(n_empty: int, n_samples: int, verbose: bool) -> None:
    """Warn once about samples without a count on the model's genes, and print the same line if `verbose`."""
    if not n_empty:
        return
    text = f"{n_empty:,} of {n_samples:,} samples have no count on the model's genes: their embedding is that of an "
    text += "empty sample"
    if verbose:
        print(text, flush=True)
    warnings.warn(text, EmptySampleWarning, stacklevel=3)


class DenseEncoder:
    """Embeds dense counts over the vocabulary, showing the same genes of every sample.

    Parameters
    ----------
    model : PretrainedModel
    visible : numpy.ndarray, int64
        Vocabulary positions to show. Counts of other measured genes still enter the library size.
    batch_size : int, optional
        Samples per forward pass.
    """

    def __init__(self, model: PretrainedModel, visible: np.ndarray, batch_size: int | None = None) -> None:
        self.model = model
        self.visible = torch.from_numpy(visible)
        # float32: qkv, mixed values, MLP hidden and residual of one block
        bytes_per_sample = 4 * (len(visible) + 1) * model.config.width * (6 + 2 * model.config.mlp_ratio)
        self.batch_size = batch_size or max(1, min(64, ACTIVATION_BYTES // bytes_per_sample))

    @torch.inference_mode()
    def encode(self, counts: np.ndarray) -> np.ndarray:
        """Embed counts (n_samples, G), zero where not measured; returns float32 (n_samples, width)."""
        model = self.model
        config = model.config
        expression = preprocess(counts.astype(np.float64), config.preprocessing, config.library_size_counts)
        values = torch.from_numpy(expression[:, self.visible.numpy()].astype(np.float32)).to(model.device)
        parts = [
            model.network.encode(self.visible.to(model.device).expand(len(batch), -1), batch)
            for batch in values.split(self.batch_size)
        ]
        return torch.cat(parts).cpu().numpy() if parts else np.empty((0, model.config.width), np.float32)


def _visible_genes(measured: np.ndarray, genes: str | int) -> np.ndarray:
    available = np.flatnonzero(measured)
    if genes == "all":
        return available
    if isinstance(genes, bool) or not isinstance(genes, int) or genes < 1:
        raise InputError("The choice of genes is unknown", expected="'all' or a number of genes", found=repr(genes))
    drawn = np.random.default_rng(0).permutation(len(measured))
    return np.sort(drawn[measured[drawn]][:genes])


def _checked_chunks(
    adata: anndata.AnnData, layer: str | None, allow_fractional: bool
) -> Iterator[tuple[int, sp.csr_matrix]]:
    where = "X" if layer is None else f"layers/{layer}"
    for start, rows in _row_chunks(adata, layer):
        sparse = sp.csr_matrix(rows)
        check_raw_counts(sparse.data, where, allow_fractional, lambda: _places_of_counts(adata, layer))
        yield start, sparse


def _places_of_counts(adata: anndata.AnnData, refused: str | None) -> list[str]:
    """What to pass instead of X (None) or the refused layer, judged by the first chunk of rows."""
    places: dict[str, Any] = {
        f"layer {name!r}: pass layer={name!r} (--layer {name})": matrix
        for name, matrix in adata.layers.items()
        if name != refused
    }
    if refused is not None and adata.X is not None:
        places["X: pass no layer"] = adata.X
    if adata.raw is not None:
        places["adata.raw: pass adata.raw.to_adata(), or a file written from it"] = adata.raw.X
    return [name for name, matrix in places.items() if looks_like_counts(sp.csr_matrix(matrix[:CHUNK_ROWS]).data)]


def _row_chunks(adata: anndata.AnnData, layer: str | None) -> Iterator[tuple[int, Any]]:
    matrix = adata.X if layer is None else adata.layers[layer]
    if matrix is None:
        places = _places_of_counts(adata, layer)
        todo = "raw counts are in " + ", or in ".join(places) if places else "pass raw counts"
        raise InputError("The data has no X", todo=todo)
    if isinstance(matrix, np.ndarray | sp.csr_matrix | sp.csr_array) or adata.isbacked:
        in_rows = matrix
        if (
            getattr(matrix, "format", "csr") == "csc"
        ):  # backed: rows of a column-compressed file would read it once per chunk
            in_rows = matrix.to_memory().tocsr()
    else:
        in_rows = sp.csr_matrix(matrix)
    for start in range(0, adata.n_obs, CHUNK_ROWS):
        yield start, in_rows[start : start + CHUNK_ROWS]
