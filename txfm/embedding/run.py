"""One embedding of an opened input: genes are matched, rows are read once, vectors come in the order of the rows."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from txfm.embedder import Embedder
from txfm.embedding.copies import find_copies
from txfm.embedding.gene_match import GeneMatch, match_genes
from txfm.embedding.inputs.raw_counts import check_depth
from txfm.embedding.inputs.samples import Samples
from txfm.embedding.masks import MaskedEncoder
from txfm.embedding.options import EmbeddingOptions
from txfm.embedding.tally import Tally
from txfm.errors import InputError
from txfm.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """How an input is read and its genes are matched.

    Attributes
    ----------
    gene_column : str, optional
        Column of var with Ensembl ids or symbols, or "index"; None finds it.
    min_matched_share : float, optional
        Least share of the vocabulary that the input must have; None: see `match_genes`.
    allow_fractional : bool
        Accept expected counts.
    allow_deep : bool
        Accept samples with more counts than a library has reads, such as sums over many cells.
    chunk_rows : int, optional
        Rows in memory at a time; None = as many as hold some millions of values. It does not change the vectors.
    """

    gene_column: str | None = None
    min_matched_share: float | None = None
    allow_fractional: bool = False
    allow_deep: bool = False
    chunk_rows: int | None = None

    def __post_init__(self) -> None:
        if self.chunk_rows is not None and self.chunk_rows < 1:
            raise InputError("The rows of a chunk cannot be used", expected="1 or more", found=str(self.chunk_rows))


class EmbeddingRun:
    """An input and an embedder, ready to go: `blocks` gives the vectors.

    Attributes
    ----------
    n_samples, width : int
    match : GeneMatch
    tally : Tally
        What the rows that were embedded so far held.

    Raises
    ------
    InputError
        See `match_input`.
    """

    def __init__(
        self,
        samples: Samples,
        embedder: Embedder,
        options: EmbeddingOptions | None = None,
        reading: ReadingOptions | None = None,
    ) -> None:
        reading = reading or ReadingOptions()
        self._samples, self._reading = samples, reading
        self.match = match_input(samples, embedder.vocabulary, reading)
        self._encoder = MaskedEncoder(embedder, self.match.measured, options or EmbeddingOptions())
        self.n_samples, self.width = samples.n_samples, embedder.n_dimensions
        self.tally = Tally(self.match)

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield float32 (n, width), from the first row to the last; to be called once.

        Raises
        ------
        InputError
            A later row does not hold raw counts, or the file is damaged there.
        """
        n_read = 0
        n_genes = len(self.match.measured)
        for rows in self._samples.counts(
            allow_fractional=self._reading.allow_fractional, chunk_rows=self._reading.chunk_rows
        ):
            counts = in_vocabulary(rows, self.match.positions, n_genes)
            self.tally.update(rows, counts)
            n_read += rows.shape[0]
            yield self._encoder.encode(counts)
        assert n_read == self.n_samples, f"{n_read} of {self.n_samples} rows were read"


def match_input(samples: Samples, vocabulary: Vocabulary, reading: ReadingOptions) -> GeneMatch:
    """Match an input's genes; columns that repeat another one are not used.

    Raises
    ------
    InputError
        The first values are not raw counts (judged before the names: who passes other values shall learn that first),
        or too few genes are known.
    """
    first = next(samples.counts(allow_fractional=reading.allow_fractional))
    if not reading.allow_deep:
        check_depth(first, samples.where)
    match = match_genes(samples.var, vocabulary, reading.gene_column, reading.min_matched_share)
    copies = find_copies(match.names, match.positions >= 0, samples.counts(allow_fractional=reading.allow_fractional))
    return match.without_copies(copies)


def in_vocabulary(rows: sp.csr_matrix, positions: np.ndarray, n_genes: int) -> sp.csr_matrix:
    """Counts (n, G) over a vocabulary of counts (n, n_input_genes); genes that meet on one position are added up.

    Parameters
    ----------
    rows : scipy.sparse.csr_matrix
    positions : numpy.ndarray (n_input_genes,)
        Vocabulary position of each column, -1 = left out.
    n_genes : int
        G.
    """
    columns = positions[rows.indices]
    known = columns >= 0
    indptr = np.concatenate([[0], np.cumsum(known)])[rows.indptr]
    counts = sp.csr_matrix(
        (rows.data[known].astype(np.float64), columns[known], indptr), shape=(rows.shape[0], n_genes)
    )
    counts.sum_duplicates()
    return counts
