"""The samples that a training reads, wherever they lie."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from txfm.config import ModelConfig
from txfm.corpus import DEFAULT_MEMORY_BYTES, Batch, Corpus, open_corpus
from txfm.statistics import MeanExpression, mean_expression
from txfm.training.ranks import Ranks
from txfm.validation import BATCH_SAMPLES, SEED
from txfm.vocabulary import Vocabulary


class Samples(Protocol):
    """Training and validation samples over one vocabulary."""

    @property
    def title(self) -> str:
        """What a person calls them."""

    def training(self, *, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> Corpus:
        """A rank's part of the training batches; `batch_size` is the rank's."""

    def validation(self) -> Corpus | None:
        """The held-out samples in the batches of `txfm.validation`; None without any, which is said."""


@dataclass(frozen=True, kw_only=True)
class CorpusSamples:
    """One variant of a corpus.

    Attributes
    ----------
    corpus : Path
    variant : str
    max_genes : int, optional
        Cap on the vocabulary.
    vocabulary : Vocabulary, optional
        Of a trained model, instead.
    memory_bytes : int
        Cache of decoded blocks.
    """

    corpus: Path
    variant: str
    max_genes: int | None = None
    vocabulary: Vocabulary | None = None
    memory_bytes: int = DEFAULT_MEMORY_BYTES

    @property
    def title(self) -> str:
        """The variant's name."""
        return f"variant {self.variant}"

    def training(self, *, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> Corpus:
        """See `Samples`."""
        return self._open("train", batch_size=batch_size, seed=seed, rank=rank, world=world)

    def validation(self) -> Corpus | None:
        """See `Samples`."""
        held_out = self._open("validation", batch_size=BATCH_SAMPLES, seed=SEED)
        if held_out.n_samples == 0:
            print("no validation: no study of this variant has a held-out batch", flush=True)
            return None
        return held_out

    def _open(self, split: str, **options: Any) -> Corpus:
        return open_corpus(
            self.corpus,
            self.variant,
            split,
            max_genes=self.max_genes,
            vocabulary=self.vocabulary,
            memory_bytes=self.memory_bytes,
            **options,
        )


def shared_means(corpus: Corpus, config: ModelConfig, ranks: Ranks) -> MeanExpression:
    """`mean_expression`, computed on rank 0 and copied to the others bit by bit."""
    if ranks.is_main:
        means = mean_expression(corpus, config.library_size_counts, config.preprocessing)
        by_study, overall = torch.from_numpy(means.by_study), torch.from_numpy(means.overall)
    else:
        n_studies, n_genes = corpus.measured.shape
        by_study = torch.zeros(n_studies, n_genes, dtype=torch.float64)
        overall = torch.zeros(n_genes, dtype=torch.float64)
    ranks.copy_from_main([by_study, overall])
    return MeanExpression(by_study=by_study.numpy(), overall=overall.numpy())


def batch_of_step(samples: Samples, step: int, batch_size: int, seed: int) -> Batch:
    """The batch of all ranks together that a step was taken on, 0 for the first; read again."""
    corpus = samples.training(batch_size=batch_size, seed=seed)
    epoch, number = divmod(step, corpus.n_batches)
    corpus.set_epoch(epoch)
    return next(corpus.batches(number))
