"""What every kind of output is written from."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from txfm.errors import InputError

EMBEDDING_KEY = "X_txfm"  # in obsm, unless another name is asked for
RECORDS_KEY = "txfm"  # in uns, a record by the key of obsm; in the metadata of parquet, the record


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedded:
    """Vectors that are still to come, and what is written beside them.

    Attributes
    ----------
    blocks : iterator of numpy.ndarray, float32 (n, width)
        In the order of the samples.
    n_samples, width : int
    read_obs : callable
        Returns the labels of the samples; called by outputs that do not copy the input.
    var : pandas.DataFrame, optional
        The input's genes; None for a variant of a corpus.
    record : callable
        Called after the last block: model, options and shares, as texts and numbers.
    copy_of : Path, optional
        An .h5ad whose whole content goes along into an .h5ad.
    key : str
        Of the vectors in obsm and of the record in uns["txfm"].
    """

    blocks: Iterator[np.ndarray]
    n_samples: int
    width: int
    read_obs: Callable[[], pd.DataFrame]
    var: pd.DataFrame | None
    record: Callable[[], dict[str, Any]]
    copy_of: Path | None = None
    key: str = EMBEDDING_KEY

    def labels(self) -> pd.DataFrame:
        """obs, checked.

        Raises
        ------
        InputError
            It does not have a row for each sample.
        """
        obs = self.read_obs()
        if len(obs) != self.n_samples:
            raise InputError(
                "The labels do not fit the counts", expected=f"{self.n_samples:,} samples", found=f"{len(obs):,} in obs"
            )
        return obs

    def placed(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (first row, vectors), and assert that every row came."""
        first = 0
        for vectors in self.blocks:
            yield first, vectors
            first += len(vectors)
        assert first == self.n_samples, f"{first} of {self.n_samples} samples were embedded"
