"""How much of a known label an embedding holds: linear probe, few-shot, clustering."""

from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import normalized_mutual_info_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

N_FOLDS = 5
PROBE_SEEDS = (0, 1, 2)
PROBE_C = 1.0  # inverse L2 strength; fixed, not searched: every embedder gets the same probe
SHOTS = 3
N_DRAWS = 50
CLUSTER_SEEDS = tuple(range(10))
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
    """
    values = []
    for seed in seeds:
        for train, test in StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed).split(embedding, labels):
            probe = make_pipeline(StandardScaler(), LogisticRegression(C=PROBE_C, max_iter=5000))
            values.append(float(probe.fit(embedding[train], labels[train]).score(embedding[test], labels[test])))
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
    values = []
    for seed in seeds:
        clusters = KMeans(n_classes, n_init=CLUSTER_STARTS, random_state=seed).fit_predict(embedding)
        values.append(float(normalized_mutual_info_score(labels, clusters)))
    return Score(values=tuple(values))
