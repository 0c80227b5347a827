"""The samples that a baseline is fitted on: the training stores of a variant, streamed, store by store."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from txfm.corpus import Batch, Corpus, open_corpus
from txfm.errors import InputError
from txfm.vocabulary import Vocabulary

BATCH_SAMPLES = 1024


def open_training(
    corpus: Path,
    variant: str,
    *,
    vocabulary: Vocabulary | None = None,
    max_genes: int | None = None,
    shuffle: bool = False,
    seed: int = 0,
) -> Corpus:
    """Open the training split of a variant: the samples that a TxFM of this variant learns from.

    Parameters
    ----------
    corpus : Path
    variant : str
    vocabulary : Vocabulary, optional
        Instead of the variant's own.
    max_genes : int, optional
        Cap on the variant's own, as in a model's configuration.
    shuffle : bool
        The same samples in a random order.
    seed : int
        Of the order.

    Raises
    ------
    InputError
        See `open_corpus`.
    """
    return open_corpus(
        corpus,
        variant,
        "train",
        batch_size=BATCH_SAMPLES,
        seed=seed,
        shuffle=shuffle,
        vocabulary=vocabulary,
        max_genes=max_genes,
    )


def blocks(training: Corpus) -> Iterator[tuple[Batch, sp.csr_matrix]]:
    """All samples once, from the first: each batch with its raw counts (n, G)."""
    training.set_epoch(0)
    for batch in training:
        yield batch, batch.csr()


def shared_genes(training: Corpus, also: set[str] | None = None) -> Vocabulary:
    """The genes that every training study measured: among these, every zero is a measured zero.

    Parameters
    ----------
    training : Corpus
    also : set of str, optional
        Ensembl ids that the genes must be among, such as those that a held-out study measured.
    """
    everywhere = np.all(training.measured, axis=0)
    ids = training.vocabulary.ensembl_ids
    return training.vocabulary.subset(
        np.array([index for index in np.flatnonzero(everywhere) if also is None or ids[index] in also], dtype=np.int64)
    )


def require_shared_genes(training: Corpus, variant: str) -> Vocabulary:
    """`shared_genes`, of which a baseline needs two.

    Raises
    ------
    InputError
        There are fewer.
    """
    genes = shared_genes(training)
    if len(genes) < 2:
        sizes = training.measured.sum(axis=1).tolist()
        raise InputError(
            "The training studies have hardly a gene in common",
            where=f"variant {variant}",
            expected="two genes that every study measured",
            found=f"{len(genes)}, of "
            + ", ".join(f"{name}: {n:,}" for name, n in zip(training.studies, sizes, strict=True)),
            todo="fit `lognorm` or `hvg`, which take the genes of all studies, or choose another variant",
        )
    return genes
