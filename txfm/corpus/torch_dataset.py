"""A variant as an iterable dataset of PyTorch, for trainers that are built around `DataLoader`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info

from txfm.corpus.batch import TorchBatch
from txfm.corpus.opening import open_corpus
from txfm.errors import InputError


class CorpusDataset(IterableDataset[TorchBatch]):
    """Yields the batches of `open_corpus` as tensors. Use it with ``DataLoader(dataset, batch_size=None)``.

    Worker processes are not needed: the reader has threads of its own. With n of them, each opens the corpus, decodes
    all of it and hands out every n-th batch, so that the loader gives the same batches in the same order as without.

    Parameters
    ----------
    corpus, variant, split, **options
        See `open_corpus`.
    """

    def __init__(self, corpus: str, variant: str, split: str, **options: Any) -> None:
        self._arguments, self._options = (corpus, variant, split), options
        self._epoch = 0
        self._process: int | None = os.getpid()
        opened = open_corpus(*self._arguments, **self._options)
        self.studies, self.vocabulary, self.measured = opened.studies, opened.vocabulary, opened.measured
        self._n_batches = opened.n_batches

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_process": None}

    def __len__(self) -> int:
        return self._n_batches

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; to be called before each, as for PyTorch's DistributedSampler."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[TorchBatch]:
        """Batches of the epoch.

        Raises
        ------
        InputError
            In a forked worker of a remote corpus: the client of the servers does not survive a fork.
        """
        if "://" in self._arguments[0] and self._process not in (None, os.getpid()):
            raise InputError(
                "A remote corpus cannot be read in a forked worker process",
                where=self._arguments[0],
                expected="num_workers=0, or multiprocessing_context='spawn'",
                found="a forked process",
                todo="leave num_workers at 0: the reader has threads of its own",
            )
        corpus = open_corpus(*self._arguments, **self._options)
        corpus.set_epoch(self._epoch)
        worker = get_worker_info()
        first, every = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for batch in corpus.batches(first, every=every):
            yield batch.torch()
