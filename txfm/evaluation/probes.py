"""How much of a known label an embedding holds: linear probe, few-shot, clustering."""

from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import normalized_mutual_info_score
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

N_FOLDS = 5
PROBE_SEEDS = (0, 1, 2)
PROBE_C = 1.0  # inverse L2 strength; fixed, not searched: every embedder gets the same probe
SHOTS = 3
N_DRAWS = 50
CLUSTER_SEEDS = tuple(range(10))
KMEANS_TOLERANCE = 1e-4  # scikit-learn's default
CLUSTER_STARTS = 5  # k-means++ starts per seed, the best by inertia is kept: labels are never looked at


@dataclass(frozen=True, kw_only=True)
class Score:
    """A metric measured several times. `sd` has n - 1 in the denominator."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean of the repetitions."""
        return float(np.mean(self.values))

    @property
    def sd(self) -> float:
        """Standard deviation over the repetitions."""
        return float(np.std(self.values, ddof=1))

    def as_mapping(self) -> dict[str, object]:
        """For json."""
        return {"mean": self.mean, "sd": self.sd, "values": list(self.values)}


def standardise(embedding: np.ndarray) -> np.ndarray:
    """Centre and scale every dimension over the given samples; a constant dimension becomes 0. Labels are not used."""
    return StandardScaler().fit_transform(np.asarray(embedding, dtype=np.float64))


def in_span(rows: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same vectors in fewer coordinates, if there are more dimensions than rows.

    Distances between rows and all dot products with them stay, and so do k-means on the rows and a logistic regression
    with an L2 penalty that they fit: its weights lie in their span. Thousands of genes take a tenth of the time.

    Parameters
    ----------
    rows : numpy.ndarray (n, d)
    others : numpy.ndarray (m, d)
        Their part outside of the span of `rows` is lost.

    Returns
    -------
    numpy.ndarray (n, min(n, d))
    numpy.ndarray (m, min(n, d))
    """
    if rows.shape[1] <= len(rows):
        return rows, others
    basis, triangle = np.linalg.qr(rows.T)
    return triangle.T, others @ basis


def linear_probe(embedding: np.ndarray, labels: np.ndarray, seeds: tuple[int, ...] = PROBE_SEEDS) -> Score:
    """Accuracy of a linear classifier on cells of held-out folds.

    Parameters
    ----------
    embedding : numpy.ndarray (n_samples, d)
    labels : numpy.ndarray (n_samples,)
        Every class has at least `N_FOLDS` samples.
    seeds : tuple of int
        One shuffled, stratified 5-fold split each.

    Returns
    -------
    Score
        One accuracy a fold. Scaler (StandardScaler) and logistic regression (L2, C = 1) see the training folds only.
        The embedding's own scaling does not matter, then.
    """
    values = []
    for seed in seeds:
        for train, test in StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed).split(embedding, labels):
            scaler = StandardScaler().fit(embedding[train])
            shown, hidden = in_span(scaler.transform(embedding[train]), scaler.transform(embedding[test]))
            probe = LogisticRegression(C=PROBE_C, max_iter=5000).fit(shown, labels[train])
            values.append(float(probe.score(hidden, labels[test])))
    return Score(values=tuple(values))


def few_shot(embedding: np.ndarray, labels: np.ndarray, seed: int = 0, n_draws: int = N_DRAWS) -> Score:
    """Accuracy of nearest class centroids (Euclidean), each the mean of three labelled cells, on all other cells.

    Parameters
    ----------
    embedding : numpy.ndarray (n_samples, d)
    labels : numpy.ndarray (n_samples,)
        Every class has more than `SHOTS` samples.
    seed : int
        Of the draws.
    n_draws : int
        How often three cells a class are drawn.

    Returns
    -------
    Score
        One accuracy a draw.
    """
    rng = np.random.default_rng(seed)
    classes = np.unique(labels)
    members = [np.flatnonzero(labels == name) for name in classes]
    values = []
    for _ in range(n_draws):
        shown = [rng.choice(rows, SHOTS, replace=False) for rows in members]
        centroids = np.stack([embedding[rows].mean(axis=0) for rows in shown])
        rest = np.setdiff1d(np.arange(len(labels)), np.concatenate(shown))
        # squared distance without the term of the sample itself, which does not change the nearest centroid
        distances = (centroids**2).sum(axis=1) - 2 * embedding[rest] @ centroids.T
        values.append(float((classes[distances.argmin(axis=1)] == labels[rest]).mean()))
    return Score(values=tuple(values))


def clustering_nmi(embedding: np.ndarray, labels: np.ndarray, seeds: tuple[int, ...] = CLUSTER_SEEDS) -> Score:
    """Normalised mutual information (arithmetic mean) of the labels with k-means, k = number of classes.

    Parameters
    ----------
    embedding : numpy.ndarray (n_samples, d)
    labels : numpy.ndarray (n_samples,)
    seeds : tuple of int
        One k-means each.

    Returns
    -------
    Score
        One NMI a seed.
    """
    n_classes = len(np.unique(labels))
    shown, _ = in_span(embedding, embedding[:0])
    tolerance = (
        KMEANS_TOLERANCE * shown.shape[1] / embedding.shape[1]
    )  # it is a share of the mean variance of a dimension
    values = []
    for seed in seeds:
        kmeans = KMeans(n_classes, n_init=CLUSTER_STARTS, tol=tolerance, random_state=seed)
        clusters = kmeans.fit_predict(shown)
        values.append(float(normalized_mutual_info_score(labels, clusters)))
    return Score(values=tuple(values))
