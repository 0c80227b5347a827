"""Embedding a whole variant, streaming, into one parquet file."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp

from txfm.corpus import Batch, open_corpus
from txfm.embed import CHUNK_ROWS, DenseEncoder
from txfm.embed_corpus_cli import COLUMNS
from txfm.files import flush_to_disk, temporary_beside
from txfm.pretrained import PretrainedModel


def embed_corpus(model: PretrainedModel, corpus: Path, variant: str, out: Path) -> int:
    """Embed training and validation samples of a variant from all genes that their study measured.

    Parameters
    ----------
    model : PretrainedModel
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
    """
    temporary = temporary_beside(out)
    n_samples = 0
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
        obs = stream.obs()
        encoders = [DenseEncoder(model, np.flatnonzero(row)) for row in stream.measured]
        for index, batch in enumerate(stream):
            rows = obs.iloc[index * CHUNK_ROWS : index * CHUNK_ROWS + len(batch)]
            assert list(rows.index) == batch.sample_ids
            table = _table(rows, _embeddings(batch, encoders, model))
            writer = writer or pq.ParquetWriter(temporary, table.schema)
            writer.write_table(table)
            n_samples += len(batch)
    assert writer is not None, "open_corpus refuses a variant without training samples"
    writer.close()
    flush_to_disk(temporary)
    temporary.rename(out)
    return n_samples


def _embeddings(batch: Batch, encoders: list[DenseEncoder], model: PretrainedModel) -> np.ndarray:
    shape = (len(batch), len(model.vocabulary))
    counts = sp.csr_matrix((batch.counts, batch.positions, batch.indptr), shape=shape)
    out = np.empty((len(batch), model.config.width), dtype=np.float32)
    for study in np.unique(batch.study_index):
        chosen = batch.study_index == study
        out[chosen] = encoders[study].encode(counts[chosen].toarray())
    return out


def _table(rows: pd.DataFrame, embeddings: np.ndarray) -> pa.Table:
    frame = rows[list(COLUMNS)].astype({name: str for name in COLUMNS if name != "simulated"})
    frame.insert(0, "sample_id", rows.index.astype(str))
    vectors = pd.DataFrame(embeddings, columns=[f"e{i}" for i in range(embeddings.shape[1])], index=frame.index)
    return pa.Table.from_pandas(pd.concat([frame, vectors], axis=1), preserve_index=False)
