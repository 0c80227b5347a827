"""Cosines of pairs of vectors: of all pairs without holding them, of listed ones, of some drawn at random.

Shapes: n vectors of d numbers, p pairs. A pair is (i, j) with i < j; `units` are vectors of length 1 (`unit_rows`).
"""

from collections.abc import Iterator

import numpy as np

BLOCK_VALUES = 2**20  # cosines at a time, 8 MB: a block stays in a cache for the comparisons that follow
ALL_AT_ONCE = 2**17  # pairs of a map (512 vectors) whose cosines are all kept: cheaper than looking for a bracket
BRACKET_SAMPLE = 20_000  # random pairs that say about where a rank lies
BRACKET_DEVIATIONS = 6.0  # half width of the bracket, in standard deviations of the sample's rank


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Vectors (n, d) divided by their lengths, float64; a vector of zeros stays, so that its cosines are 0."""
    vectors = np.asarray(vectors, dtype=np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    return vectors / np.where(lengths > 0, lengths, 1.0)[:, None]


def n_pairs(n: int) -> int:
    """Pairs of n vectors."""
    return n * (n - 1) // 2


def cosines_of(units: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Cosines (p,) of listed pairs (p, 2), in blocks."""
    step = max(1, BLOCK_VALUES // max(1, units.shape[1]))
    parts = [
        np.einsum("ij,ij->i", units[pairs[start : start + step, 0]], units[pairs[start : start + step, 1]])
        for start in range(0, len(pairs), step)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def draw_pairs(n: int, size: int, seed: int) -> np.ndarray:
    """Different pairs (size, 2) of n vectors, uniform over all pairs; at most all of them are asked for."""
    numbers = np.random.default_rng(seed).choice(n_pairs(n), size, replace=False, shuffle=False)
    # Pairs are numbered by rows: row i begins at i (2n - i - 1) / 2. The root may round to a neighbouring row.
    first = ((2 * n - 1 - np.sqrt((2 * n - 1) ** 2 - 8.0 * numbers)) / 2).astype(np.int64)
    first -= _start_of(first, n) > numbers
    first += _start_of(first + 1, n) <= numbers
    return np.column_stack([first, numbers - _start_of(first, n) + first + 1])


def order_statistics(units: np.ndarray, ranks: tuple[int, ...], listed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order statistics of the cosines of all pairs, exact, and the cosines of listed pairs, from the same products.

    A cosine computed twice may differ in its last bit, which would put a pair above or below itself; hence both here.
    Of a large map only cosines near the ranks are kept: a bracket from a random sample, wider if it missed.

    Parameters
    ----------
    units : numpy.ndarray (n, d), float64
    ranks : tuple of int
        0 is the smallest cosine, n (n - 1) / 2 - 1 the largest.
    listed : numpy.ndarray (p, 2), int64
        Pairs i < j, sorted by i.

    Returns
    -------
    statistics : numpy.ndarray (len(ranks),), float64
        The cosines at the ranks.
    cosines : numpy.ndarray (p,), float64
    """
    total = n_pairs(len(units))
    sample = (
        None if total <= ALL_AT_ONCE else np.sort(cosines_of(units, draw_pairs(len(units), BRACKET_SAMPLE, seed=0)))
    )
    deviations = BRACKET_DEVIATIONS
    while True:
        if sample is None:
            brackets = [_Bracket(-np.inf, np.inf, ranks)]
        else:
            brackets = [_around(sample, rank, total, deviations) for rank in ranks]
        cosines = np.empty(len(listed))
        for start, block in _upper_blocks(units):
            here = slice(*np.searchsorted(listed[:, 0], (start, start + len(block))))
            cosines[here] = block[listed[here, 0] - start, listed[here, 1] - start]
            for bracket in brackets:
                bracket.add(block)
        found = [value for bracket in brackets for value in bracket.statistics(total)]
        if None not in found:
            return np.array(found, dtype=np.float64), cosines
        deviations *= 8


def _upper_blocks(units: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """First row, and cosines (rows, n - first row) from it and its column on; NaN where the column is not above."""
    n = len(units)
    rows = max(1, BLOCK_VALUES // max(1, n))
    for start in range(0, n, rows):
        block = units[start : start + rows] @ units[start:].T
        square = block[:, : len(block)]
        square[np.tri(len(block), dtype=bool)] = np.nan
        yield start, block


class _Bracket:
    """Counts cosines below and above an interval and keeps those inside, to find what is at some ranks."""

    def __init__(self, low: float, high: float, ranks: tuple[int, ...]) -> None:
        self._low, self._high, self._ranks = low, high, ranks
        self._above_low = self._below_high = self._at_low = self._at_high = 0
        self._inside: list[np.ndarray] = []

    def add(self, block: np.ndarray) -> None:
        """Comparisons with NaN are false."""
        above_low, below_high = block > self._low, block < self._high
        self._above_low += int(above_low.sum())
        self._below_high += int(below_high.sum())
        # The ends are counted, not kept: a map with many vectors of zeros has millions of equal cosines
        self._at_low += int((block == self._low).sum())
        self._at_high += int((block == self._high).sum())
        self._inside.append(block[above_low & below_high])

    def statistics(self, total: int) -> list[float | None]:
        """The cosine at each rank, None for one outside."""
        first_above_low = total - self._above_low
        inside = np.concatenate(self._inside)
        within = [rank - first_above_low for rank in self._ranks if 0 <= rank - first_above_low < len(inside)]
        if within:
            inside.partition(within)
        return [self._at(rank, inside, first_above_low) for rank in self._ranks]

    def _at(self, rank: int, inside: np.ndarray, first_above_low: int) -> float | None:
        if first_above_low <= rank < first_above_low + len(inside):
            return float(inside[rank - first_above_low])
        if first_above_low - self._at_low <= rank < first_above_low:
            return self._low
        if self._below_high <= rank < self._below_high + self._at_high:
            return self._high
        return None


def _around(sample: np.ndarray, rank: int, total: int, deviations: float) -> _Bracket:
    share = rank / total
    half = deviations * (np.sqrt(len(sample) * share * (1 - share)) + 1)
    first, last = int(share * len(sample) - half), int(share * len(sample) + half)
    low = sample[first] if first >= 0 else -np.inf
    high = sample[last] if last < len(sample) else np.inf
    return _Bracket(float(low), float(high), (rank,))


def _start_of(first: np.ndarray, n: int) -> np.ndarray:
    return first * (2 * n - first - 1) // 2
