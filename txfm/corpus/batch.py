"""A batch of samples: raw counts as CSR, as NumPy arrays or as torch tensors."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Raw counts of some samples as CSR over the vocabulary.

    Attributes
    ----------
    indptr : numpy.ndarray (B + 1,), int64
    positions : numpy.ndarray (nnz,), int32
        Vocabulary positions, ascending within a sample.
    counts : numpy.ndarray (nnz,), int32
    study_index : numpy.ndarray (B,), int64
        Into the corpus' `studies`, and into the rows of `measured`.
    measured : numpy.ndarray (n_studies, G), bool
        Which genes of the vocabulary each study's table had; one array for all batches.
    """

    indptr: np.ndarray
    positions: np.ndarray
    counts: np.ndarray
    study_index: np.ndarray
    measured: np.ndarray
    _ids: Callable[[], list[str]]

    def __len__(self) -> int:
        return len(self.study_index)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays that are this batch's own."""
        return self.indptr.nbytes + self.positions.nbytes + self.counts.nbytes + self.study_index.nbytes

    @cached_property
    def sample_ids(self) -> list[str]:
        """Sample ids (B,), read from the stores when asked for."""
        return self._ids()

    def csr(self) -> sp.csr_matrix:
        """Counts (B, G) as SciPy has them; nothing is copied."""
        shape = (len(self), self.measured.shape[1])
        return sp.csr_matrix((self.counts, self.positions, self.indptr), shape=shape)

    def torch(self) -> "TorchBatch":
        """The same arrays as torch tensors; nothing is copied."""
        import torch

        return TorchBatch(
            indptr=torch.from_numpy(self.indptr),
            positions=torch.from_numpy(self.positions),
            counts=torch.from_numpy(self.counts),
            study_index=torch.from_numpy(self.study_index),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class TorchBatch:
    """`Batch` as tensors: indptr int64 (B + 1,), positions and counts int32 (nnz,), study_index int64 (B,).

    The mask of measured genes is one for the corpus: ``torch.from_numpy(corpus.measured)[batch.study_index]``.
    """

    indptr: "torch.Tensor"
    positions: "torch.Tensor"
    counts: "torch.Tensor"
    study_index: "torch.Tensor"

    def __len__(self) -> int:
        return len(self.study_index)

    def pin_memory(self) -> "TorchBatch":
        """In page-locked memory, from which copies to a GPU do not wait."""
        return self._each(lambda tensor: tensor.pin_memory())

    def to(self, device: "torch.device | str", non_blocking: bool = False) -> "TorchBatch":
        """On another device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def _each(self, change: "Callable[[torch.Tensor], torch.Tensor]") -> "TorchBatch":
        return TorchBatch(
            indptr=change(self.indptr),
            positions=change(self.positions),
            counts=change(self.counts),
            study_index=change(self.study_index),
        )
