"""`model.embed`: an AnnData or a file in, an array out."""

import warnings
from pathlib import Path

import anndata
import numpy as np
import torch

from txfm.embedder import Embedder
from txfm.embedding.gene_names import KnownGenes
from txfm.embedding.inputs.opening import open_samples
from txfm.embedding.options import EmbeddingOptions
from txfm.embedding.run import EmbeddingRun, ReadingOptions
from txfm.embedding.tally import told_of_empty
from txfm.hardware import Hardware


class EmptySampleWarning(UserWarning):
    """Some samples have no count on the model's genes; the message states how many."""


def embed(
    embedder: Embedder,
    source: anndata.AnnData | str | Path,
    *,
    counts: str = "X",
    genes: str | int = "all",
    n_masks: int = 1,
    model_layer: str = "cls",
    gene_column: str | None = None,
    genome: str | None = None,
    min_matched_share: float | None = None,
    allow_fractional: bool = False,
    allow_deep: bool = False,
    batch_size: int | None = None,
    chunk_rows: int | None = None,
    precision: str = "float32",
    verbose: bool = True,
) -> np.ndarray:
    """Embed samples of raw counts.

    Parameters
    ----------
    embedder : Embedder
        A TxFM or a baseline.
    source : anndata.AnnData, str or Path
        Raw counts, dense, CSR or CSC, and gene names in var; a backed one is read in blocks of rows. Or a file of any
        kind that `txfm.embedding.inputs.opening.KINDS` names.
    counts : str
        Where the raw counts are: "X", "raw" or "layers/NAME".
    genes, n_masks, model_layer, batch_size, precision
        See `EmbeddingOptions`.
    gene_column, min_matched_share, allow_fractional, allow_deep, chunk_rows
        See `ReadingOptions`.
    genome : str, optional
        Which one to read of a Cell Ranger file with several.
    verbose : bool
        Print where it computes, how many genes and counts were found, and how many samples have no count on them.

    Returns
    -------
    numpy.ndarray (n_samples, width), float32
        One row a sample, in the input's order.

    Raises
    ------
    InputError
        The input cannot be read, values are not raw counts, too few genes are known, or there is no such matrix or
        layer.

    Warns
    -----
    EmptySampleWarning
        Samples without a count on the model's genes: their embedding is that of an empty sample.
    """
    options = EmbeddingOptions(
        genes=genes, n_masks=n_masks, model_layer=model_layer, batch_size=batch_size, precision=precision
    )
    reading = ReadingOptions(
        gene_column=gene_column,
        min_matched_share=min_matched_share,
        allow_fractional=allow_fractional,
        allow_deep=allow_deep,
        chunk_rows=chunk_rows,
    )
    given = Path(source) if isinstance(source, str) else source
    with open_samples(given, known=KnownGenes(embedder.vocabulary), counts=counts, genome=genome) as samples:
        run = EmbeddingRun(samples, embedder, options, reading)
        if verbose:
            hardware = Hardware(device=embedder.device, precision=precision, threads=torch.get_num_threads())
            print("\n".join([str(hardware), *samples.notes, str(run.match)]), flush=True)
        out = np.empty((run.n_samples, run.width), dtype=np.float32)
        first = 0
        for vectors in run.blocks():
            out[first : first + len(vectors)] = vectors
            first += len(vectors)
    empty = told_of_empty(run.tally.n_empty, run.n_samples)
    if verbose:
        print("\n".join([str(run.tally), *([empty] if empty else [])]), flush=True)
    if empty:
        warnings.warn(empty, EmptySampleWarning, stacklevel=2)
    return out
