"""Embedding every sample of a variant of a corpus, each from the genes that its study measured."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from txfm.corpus import open_corpus
from txfm.corpus.variant import SPLITS
from txfm.embedder import Embedder
from txfm.embedding.masks import MaskedEncoder
from txfm.embedding.options import EmbeddingOptions
from txfm.embedding.tally import count_empty

LABELS = ("study", "split", "batch", "perturbation", "cell_type", "cell_line", "simulated")
BATCH_ROWS = 1024  # samples of a corpus in memory at a time


class VariantRun:
    """A variant and an embedder, ready to go: `blocks` gives the vectors.

    Parameters
    ----------
    corpus : str
        Folder or address of a corpus.
    variant : str
        May be another one than the embedder was trained on, on the same gene axis.
    embedder : Embedder
    options : EmbeddingOptions, optional
    chunk_rows : int, optional

    Attributes
    ----------
    n_samples, width : int
    n_empty : int
        Samples embedded so far that have no count on the embedder's genes.

    Raises
    ------
    InputError
        See `open_corpus`; or the embedder has no such option.
    """

    def __init__(
        self,
        corpus: str,
        variant: str,
        embedder: Embedder,
        options: EmbeddingOptions | None = None,
        chunk_rows: int | None = None,
    ) -> None:
        self._streams = [
            open_corpus(
                corpus,
                variant,
                split,
                batch_size=chunk_rows or BATCH_ROWS,
                shuffle=False,
                vocabulary=embedder.vocabulary,
                memory_bytes=0,
            )
            for split in SPLITS
        ]
        stream = self._streams[0]
        self._shares = dict(zip(stream.studies, stream.measured.mean(axis=1), strict=True))
        chosen = options or EmbeddingOptions()
        self._encoders = [MaskedEncoder(embedder, measured, chosen) for measured in stream.measured]
        self._n_genes = len(embedder.vocabulary)
        self.n_samples = sum(stream.n_samples for stream in self._streams)
        self.width = embedder.n_dimensions
        self.n_empty = 0

    def __str__(self) -> str:
        shares = ", ".join(f"{study} {share:.0%}" for study, share in self._shares.items())
        return f"genes: of the model's {self._n_genes:,} each study measured: {shares}"

    @property
    def measured_share(self) -> float:
        """Share of the vocabulary that the studies measured, their mean."""
        return float(np.mean(list(self._shares.values())))

    def labels(self) -> pd.DataFrame:
        """`LABELS` of every sample, by sample id, in the order of `blocks`."""
        frames = [stream.obs(["sample_id", *LABELS]).to_pandas() for stream in self._streams if stream.n_samples]
        return pd.concat(frames, ignore_index=True).set_index("sample_id")

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield float32 (n, width), store by store; to be called once."""
        for stream in self._streams:
            for batch in stream:
                counts = batch.csr()
                self.n_empty += count_empty(counts)
                out = np.empty((len(batch), self.width), dtype=np.float32)
                for study in np.unique(batch.study_index):
                    chosen = batch.study_index == study
                    out[chosen] = self._encoders[study].encode(counts[chosen])
                yield out
