"""Embedding a whole variant, streaming, into one parquet file."""

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import scipy.sparse as sp

from txfm.corpus import Batch, open_corpus
from txfm.embed import CHUNK_ROWS, count_empty, tell_empty
from txfm.embed_corpus_cli import COLUMNS
from txfm.embedder import Embedder, Encoder
from txfm.files import flush_to_disk, temporary_beside


def embed_corpus(model: Embedder, corpus: Path, variant: str, out: Path) -> int:
    """Embed training and validation samples of a variant from all genes that their study measured.

    Parameters
    ----------
    model : Embedder
    corpus : Path
    variant : str
        May be another one than the model was trained on, on the same gene axis.
    out : Path
        Parquet file: sample_id, study, split, batch, perturbation, cell_type, cell_line, simulated, e0, e1, ...

    Returns
    -------
    int
        Number of samples.

    Raises
    ------
    InputError
        See `open_corpus`.

    Warns
    -----
    EmptySampleWarning
        Samples without a count on the model's genes.
    """
    temporary = temporary_beside(out)
    n_samples = n_empty = 0
    writer: pq.ParquetWriter | None = None
    for split in ("train", "validation"):
        stream = open_corpus(
            corpus,
            variant,
            split,
            batch_size=CHUNK_ROWS,
            seed=0,
            shuffle=False,
            vocabulary=model.vocabulary,
            memory_bytes=0,
        )
        obs = stream.obs(["sample_id", *COLUMNS])
        encoders = [model.encoder(np.flatnonzero(row)) for row in stream.measured]
        first = 0
        for batch in stream:
            samples = obs.slice(first, len(batch))
            first += len(batch)
            assert samples["sample_id"].to_list() == batch.sample_ids
            counts = _dense_counts(batch, len(model.vocabulary))
            vectors = _embeddings(counts, batch.study_index, encoders, model.n_dimensions)
            table = samples.with_columns(pl.Series(f"e{i}", column) for i, column in enumerate(vectors.T)).to_arrow()
            writer = writer or pq.ParquetWriter(temporary, table.schema)
            writer.write_table(table)
            n_samples += len(batch)
            n_empty += count_empty(counts)
    assert writer is not None, "open_corpus refuses a variant without training samples"
    writer.close()
    flush_to_disk(temporary)
    temporary.rename(out)
    tell_empty(n_empty, n_samples, verbose=True)
    return n_samples


def _dense_counts(batch: Batch, n_genes: int) -> np.ndarray:
    return sp.csr_matrix((batch.counts, batch.positions, batch.indptr), shape=(len(batch), n_genes)).toarray()


def _embeddings(counts: np.ndarray, study_index: np.ndarray, encoders: list[Encoder], n_dimensions: int) -> np.ndarray:
    out = np.empty((len(counts), n_dimensions), dtype=np.float32)
    for study in np.unique(study_index):
        chosen = study_index == study
        out[chosen] = encoders[study].encode(counts[chosen])
    return out
