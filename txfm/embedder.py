"""What every kind of model can do, TxFM and baselines alike: embed samples, and give vectors of genes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from txfm.embedding.options import PLAIN, EncoderOptions
from txfm.errors import InputError
from txfm.vocabulary import Vocabulary

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData


class Encoder(Protocol):
    """Turns counts over a vocabulary into vectors, for samples that all measured the same genes."""

    def encode(self, counts: sp.csr_matrix) -> np.ndarray:
        """Embed raw counts (n_samples, G), zero where not measured; returns float32 (n_samples, d).

        A sample's vector depends on nothing but its own counts.
        """


class Embedder(ABC):
    """A model ready for use; made by `txfm.load`.

    Attributes
    ----------
    vocabulary : Vocabulary
    card : dict
        model.json without the vocabulary: docs/model-format.md.
    """

    def __init__(self, vocabulary: Vocabulary, card: dict[str, Any]) -> None:
        self.vocabulary = vocabulary
        self.card = card

    @property
    def n_dimensions(self) -> int:
        """Width of an embedding."""
        return int(self.card["n_dimensions"])

    @property
    def device(self) -> torch.device:
        """Where it computes: the CPU, unless a kind of model says otherwise."""
        return torch.device("cpu")

    @abstractmethod
    def encoder(self, visible: np.ndarray, options: EncoderOptions = PLAIN) -> Encoder:
        """An encoder for samples of which the model may see the same genes.

        Parameters
        ----------
        visible : numpy.ndarray, int64
            Vocabulary positions, ascending. Counts of other measured genes still enter the library size.
        options : EncoderOptions

        Raises
        ------
        InputError
            The model has no such layer or precision.
        """

    @abstractmethod
    def gene_tables(self) -> Mapping[str, np.ndarray]:
        """Learned vectors of genes (G, n) by name; empty for a model without any."""

    def embed(self, source: "AnnData | str | Path", **options: Any) -> np.ndarray:
        """Embed samples of raw counts: float32 (n_samples, n_dimensions), row order kept.

        `source`, options and errors: see `txfm.embedding.embed.embed`.
        """
        from txfm.embedding.embed import embed

        return embed(self, source, **options)

    def gene_embeddings(self, which: str = "encoder") -> pd.DataFrame:
        """Learned vectors of the vocabulary's genes.

        Parameters
        ----------
        which : {"encoder", "decoder"}
            TxFM: the gene's token vector (width - 1 numbers), or its row of the decoder's last layer (width numbers).
            PCA: the gene's loadings, for both. scVI: the gene's weights in the first layer of the encoder, or in the
            layer that gives the decoder's proportions.

        Returns
        -------
        pandas.DataFrame
            Index ensembl_id; columns symbol, e0, e1, ...

        Raises
        ------
        InputError
            This kind of model has no such vectors.
        """
        tables = self.gene_tables()
        if which not in tables:
            raise InputError(
                "There are no such gene embeddings",
                where=f"model of kind {self.card['kind']}",
                expected=" or ".join(tables) or "another kind of model: this one has none",
                found=which,
            )
        vectors = tables[which]
        index = pd.Index(self.vocabulary.ensembl_ids, name="ensembl_id", dtype=object)
        frame = pd.DataFrame(vectors, index=index, columns=[f"e{column}" for column in range(vectors.shape[1])])
        frame.insert(0, "symbol", list(self.vocabulary.symbols))
        return frame
