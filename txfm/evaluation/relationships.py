"""Recall of known relationships: are related genes more alike, or more opposed, than pairs of genes are?

Definition of EFAAR (Celik et al. 2024, PLOS Comput. Biol. 20, e1012463; `known_relationship_benchmark` of
efaar-benchmarking 1.0, which it equals): a pair is recalled if its cosine is among the lowest 5 % or the highest 5 % of
a null of cosines. Chance is 10 %.

Shapes: n vectors of d numbers.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from txfm.errors import InputError
from txfm.evaluation.pair_cosines import cosines_of, draw_pairs, n_pairs, order_statistics, unit_rows

Pairs = pd.DataFrame | np.ndarray | Sequence[tuple[str, str]]
UNION, MEAN = "union", "mean"
THRESHOLDS = (0.05, 0.95)  # shares of the null below and above which a pair is recalled
COLUMNS = "database recall hits pairs null_size given outside self_pairs repeats".split()


def relationship_recall(
    vectors: np.ndarray,
    names: Sequence[str] | np.ndarray,
    pairs: Mapping[str, Pairs],
    thresholds: tuple[float, float] = THRESHOLDS,
    *,
    n_null: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Recall of each database's pairs, of their union, and the mean over databases.

    Parameters
    ----------
    vectors : numpy.ndarray (n, d)
        One a gene: of a perturbation's mean embedding, or of a model's weights. Computed in float64.
    names : sequence of str (n,)
        Their genes, each once; matched to the pairs' as they are written.
    pairs : mapping of str to (p, 2) pairs of names
        By database; `read_relations` gives them. Their order says nothing. Self pairs, repeats (A-B is B-A) and pairs
        with a gene that has no vector are left out, and counted.
    thresholds : (float, float)
        A pair is recalled if the share of null cosines <= its own is at most the first, or the share of null cosines
        < its own at least the second.
    n_null : int, optional
        Cosines of the null: of that many different random pairs. None, or as many as there are: of all n (n - 1) / 2
        pairs, the known ones included, as EFAAR does (memory does not grow with their number).
    seed : int
        Of the random pairs. They are drawn over the sorted names: the order of the rows says nothing.

    Returns
    -------
    pandas.DataFrame
        A row a database, then "union" (of the different pairs of all databases) and "mean" (unweighted, of the
        databases with pairs): recall float64, NaN without pairs; hits, pairs, null_size, given (rows of the database),
        outside, self_pairs, repeats Int64: given = outside + self_pairs + repeats + pairs. The mean has no counts.

    Raises
    ------
    InputError
        Vectors that are not finite numbers, names that repeat or do not fit, unusable thresholds or pairs.
    """
    return recall_by_pair(vectors, names, pairs, thresholds, n_null=n_null, seed=seed)[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class PairHits:
    """Which of the different pairs of all databases are recalled.

    Attributes
    ----------
    rows : numpy.ndarray (p, 2), int64
        Rows i < j of the map.
    is_hit : numpy.ndarray (p,), bool
    """

    rows: np.ndarray
    is_hit: np.ndarray


def recall_by_pair(
    vectors: np.ndarray,
    names: Sequence[str] | np.ndarray,
    pairs: Mapping[str, Pairs],
    thresholds: tuple[float, float],
    *,
    n_null: int | None,
    seed: int,
) -> tuple[pd.DataFrame, PairHits]:
    """`relationship_recall`, and what became of each pair of the union."""
    vectors, index = _checked(vectors, names, thresholds, n_null)
    matched = {database: match_pairs(index, listed, database) for database, listed in pairs.items()}
    keys = [found.keys for found in matched.values()]
    union_keys = np.unique(np.concatenate(keys)) if keys else np.empty(0, dtype=np.int64)
    listed = np.column_stack(np.divmod(union_keys, len(index)))

    units, total = unit_rows(vectors), n_pairs(len(index))
    if n_null is None or n_null >= total:
        n_null = total
        (low, high), cosines = order_statistics(units, _critical_ranks(total, thresholds), listed)
    else:
        order = np.argsort(index.to_numpy())
        null = cosines_of(units, order[draw_pairs(len(index), n_null, seed)])
        cosines = cosines_of(units, listed)
        low, high = critical_values(null, thresholds)
    is_hit = (cosines < low) | (cosines > high)

    rows = [
        _row(database, int(is_hit[np.searchsorted(union_keys, found.keys)].sum()), found, n_null)
        for database, found in matched.items()
    ]
    given, outside, self_pairs = (
        sum(getattr(found, name) for found in matched.values()) for name in ("given", "outside", "self_pairs")
    )
    union = MatchedPairs(keys=union_keys, given=given, outside=outside, self_pairs=self_pairs)
    rows.append(_row(UNION, int(is_hit.sum()), union, n_null))
    of_databases = pd.DataFrame(rows[:-1], columns=COLUMNS)["recall"]
    rows.append({"database": MEAN, "recall": float(of_databases.mean())})  # skips NaN
    counts = dict.fromkeys(COLUMNS[2:], "Int64")
    frame = pd.DataFrame(rows, columns=COLUMNS).astype({"recall": np.float64, **counts})
    return frame, PairHits(rows=listed, is_hit=is_hit)


def critical_values(null: np.ndarray, thresholds: tuple[float, float]) -> tuple[float, float]:
    """The values of a null that a recalled pair lies below, or above: its ranks are within the thresholds just then."""
    first, last = _critical_ranks(len(null), thresholds)
    ordered = np.partition(null, (first, last))
    return float(ordered[first]), float(ordered[last])


def _critical_ranks(size: int, thresholds: tuple[float, float]) -> tuple[int, int]:
    """Ranks, from 0, of the critical values, with the very comparisons of shares of EFAAR.

    #{null <= q} / size <= low just if q < the value at rank k, k the largest count whose share is at most low;
    #{null < q} / size >= high just if q > the value at rank m - 1, m the smallest count whose share is at least high.
    """
    low, high = thresholds
    k, m = round(low * size), round(high * size)
    k += k < size and (k + 1) / size <= low  # the product may round to the other side of the quotient
    k -= k / size > low
    m -= (m - 1) / size >= high
    m += m / size < high
    return k, m - 1


@dataclass(frozen=True, kw_only=True, eq=False)
class MatchedPairs:
    """The different pairs of a database, and what was left out of its rows.

    Attributes
    ----------
    keys : numpy.ndarray (p,), int64
        i * n + j of the pair of rows i < j, ascending.
    given, outside, self_pairs : int
        Rows of the database; those with a name that none of the n rows has; those of a name with itself.
    """

    keys: np.ndarray
    given: int
    outside: int
    self_pairs: int

    def rows(self, n: int) -> np.ndarray:
        """The pairs (p, 2) as rows of n."""
        return np.column_stack(np.divmod(self.keys, n))


def match_pairs(index: pd.Index, listed: Pairs, database: str) -> MatchedPairs:
    """Find the pairs of a database among unique names."""
    first, second = (_positions(index, column) for column in _two_columns(listed, database))
    is_inside = (first >= 0) & (second >= 0)
    is_pair = is_inside & (first != second)
    i, j = np.minimum(first, second)[is_pair], np.maximum(first, second)[is_pair]
    return MatchedPairs(
        keys=np.unique(i * len(index) + j),
        given=len(first),
        outside=int((~is_inside).sum()),
        self_pairs=int((is_inside & ~is_pair).sum()),
    )


def _two_columns(listed: Pairs, database: str) -> list[pd.Series]:
    if database in (UNION, MEAN):
        raise InputError("A database has the name of a row of the result", found=database, todo="rename it")
    frame = (
        listed if isinstance(listed, pd.DataFrame) else pd.DataFrame(np.asarray(listed, dtype=object).reshape(-1, 2))
    )
    if frame.shape[1] != 2:
        raise InputError(
            "Pairs of a database are not pairs", where=database, expected="two columns", found=f"{frame.shape[1]}"
        )
    return [frame.iloc[:, 0], frame.iloc[:, 1]]


def _positions(index: pd.Index, column: pd.Series) -> np.ndarray:
    """Positions (p,) in `index`, int64, -1 = not there."""
    if not isinstance(column.dtype, pd.CategoricalDtype):
        return index.get_indexer(pd.Index(column)).astype(np.int64)
    of_category = np.append(index.get_indexer(column.cat.categories), -1)  # code -1, a missing name, takes the last
    return of_category[column.cat.codes.to_numpy()].astype(np.int64)


def _row(database: str, hits: int, found: MatchedPairs, n_null: int) -> dict[str, int | float | str]:
    n = len(found.keys)
    return {
        "database": database,
        "recall": hits / n if n else math.nan,
        "hits": hits,
        "pairs": n,
        "null_size": n_null,
        "given": found.given,
        "outside": found.outside,
        "self_pairs": found.self_pairs,
        "repeats": found.given - found.outside - found.self_pairs - n,
    }


def _checked(
    vectors: np.ndarray, names: Sequence[str] | np.ndarray, thresholds: tuple[float, float], n_null: int | None
) -> tuple[np.ndarray, pd.Index]:
    vectors, index = np.asarray(vectors, dtype=np.float64), pd.Index(np.asarray(names, dtype=object))
    if vectors.ndim != 2 or len(vectors) != len(index) or len(index) < 2:
        raise InputError(
            "Vectors and names do not belong together",
            expected="a row of the matrix a name, two or more",
            found=f"a matrix {vectors.shape}, {len(index):,} names",
        )
    if not np.isfinite(vectors).all():
        rows = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        raise InputError(
            "Vectors hold values that are not finite numbers",
            where=", ".join(map(str, index[rows[:5]])),
            found=f"{len(rows):,} such rows of {len(index):,}",
        )
    if not index.is_unique:
        repeated = index[index.duplicated()].unique()
        raise InputError(
            "Names of vectors repeat",
            expected="one vector a gene",
            found=f"{len(repeated):,} names more than once, such as {', '.join(map(str, repeated[:5]))}",
            todo="average the vectors of a gene first",
        )
    if not 0 <= thresholds[0] < thresholds[1] <= 1:
        raise InputError("Thresholds cannot be used", expected="0 <= low < high <= 1", found=str(thresholds))
    if n_null is not None and n_null < 1:
        raise InputError("The size of the null cannot be used", expected="1 or more", found=str(n_null))
    return vectors, index
