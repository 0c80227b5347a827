"""The six tasks: what each measures on an embedding that is already post-processed."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from txfm.consistency.statistic import N_NULL_CELLS
from txfm.errors import InputError
from txfm.evaluation.perturbation.consistency import (
    EFAAR_SIGNIFICANT,
    LEAST_NULL,
    SIGNIFICANT,
    efaar_consistency,
    perturbation_consistency,
)
from txfm.evaluation.perturbation.decoders import fit_network, fit_ridge
from txfm.evaluation.perturbation.knn_probe import knn_probe
from txfm.evaluation.perturbation.linear_probe import linear_probe
from txfm.evaluation.perturbation.lisi import TXEVAL_PERPLEXITY, ilisi_of, neighbourhoods
from txfm.evaluation.perturbation.reconstruction import StructureSums, spearman_by_gene
from txfm.evaluation.perturbation.screen import Screen
from txfm.evaluation.perturbation.settings import Settings
from txfm.evaluation.perturbation.splits import SPLIT_SEED, Split
from txfm.evaluation.relationships import MEAN, UNION, relationship_recall

LEAST_PERTURBATIONS = 20  # of a map of relationships: MIN_REQ_ENT_CNT of efaar-benchmarking, which never enforces it
GENES_AT_A_TIME = 512
CONTROL = "control"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A metric's value; see `txfm.evaluation.scores.Score`."""

    metric: str
    value: float
    seed: int | None = None
    hits: int | None = None
    trials: int | None = None
    primary: bool = False


@dataclass(frozen=True, eq=False)
class Benchmark:
    """A screen with the settings and relations of a run; what it offers the tasks is computed once.

    Attributes
    ----------
    screen : Screen
    settings : Settings
    relations : mapping of str to pandas.DataFrame, or InputError
        Databases of related genes, or why there are none.
    """

    screen: Screen
    settings: Settings
    relations: Mapping[str, pd.DataFrame] | InputError

    @property
    def splits(self) -> list[tuple[int | None, Split]]:
        """Split of each seed, or the only one (seed None)."""
        if self.settings.vary_splits:
            return [(seed, self.screen.split(SPLIT_SEED + seed)) for seed in self.settings.seeds]
        return [(None, self.screen.split())]

    @cached_property
    def labels(self) -> np.ndarray:
        """Perturbation of each cell (n,); controls of several labels are one class."""
        return np.where(self.screen.is_control, CONTROL, np.char.add("p:", self.screen.perturbation))

    @cached_property
    def unexpressed(self) -> list[str]:
        """Perturbations of unexpressed genes with two cells; InputError where they are too few, or all."""
        screen, below = self.screen, self.settings.unexpressed_below
        names, sizes = np.unique(screen.perturbation[~screen.is_control], return_counts=True)
        several = set(names[sizes >= 2])
        null = several & screen.expression.unexpressed(below)
        if len(null) < LEAST_NULL or null == several:
            raise InputError(
                "EFAAR's consistency has no null distribution, or nothing to compare with it",
                expected=f"perturbations of expressed genes, and {LEAST_NULL} of unexpressed ones, named as in var, "
                "with two cells or more",
                found=f"{len(null):,} of {len(several):,} perturbations with fewer than {below:g} counts a cell",
            )
        return sorted(null)

    @property
    def databases(self) -> Mapping[str, pd.DataFrame]:
        """The relations; InputError where there are none."""
        if isinstance(self.relations, InputError):
            raise self.relations
        return self.relations


def measure_ilisi(benchmark: Benchmark, embedding: np.ndarray) -> Iterator[Measurement]:
    """Mixing of batches; beside it the forms of scib-metrics and of Tx-Evaluation, and permuted batches (the most)."""
    screen, limit = benchmark.screen, benchmark.settings.max_ilisi_cells
    n_batches = len(np.unique(screen.batch))
    if n_batches < 2:
        raise InputError("Mixing of batches cannot be measured", expected="two batches or more", found="one batch")
    seeds: tuple[int | None, ...] = (None,) if len(screen) <= limit else benchmark.settings.seeds
    for seed in seeds:
        random = np.random.default_rng(seed or 0)
        rows = np.arange(len(screen)) if seed is None else np.sort(random.choice(len(screen), limit, replace=False))
        batch = screen.batch[rows]
        around = neighbourhoods(embedding[rows])
        lisi = around.lisi(batch)
        permuted = random.permutation(batch)
        wide = neighbourhoods(embedding[rows], 3 * TXEVAL_PERPLEXITY, TXEVAL_PERPLEXITY).lisi(batch)
        yield Measurement(metric="ilisi", value=ilisi_of(lisi, batch), seed=seed, primary=True)
        yield Measurement(metric="ilisi_scib", value=float((np.median(lisi) - 1) / (n_batches - 1)), seed=seed)
        yield Measurement(metric="lisi_txeval", value=float(wide.mean()), seed=seed)
        yield Measurement(metric="ilisi_permuted_batches", value=ilisi_of(around.lisi(permuted), permuted), seed=seed)


def measure_linear_probe(benchmark: Benchmark, embedding: np.ndarray) -> Iterator[Measurement]:
    """A linear layer names the perturbation of cells of other batches; controls are no class."""
    settings, is_control = benchmark.settings, benchmark.screen.is_control
    splits = benchmark.splits
    for seed in settings.seeds:
        split = splits[0][1] if len(splits) == 1 else dict(splits)[seed]
        train, test = (rows[~is_control[rows]] for rows in (split.train, split.test1))
        accuracy = linear_probe(embedding, benchmark.labels, train, test, seed, device=settings.device)
        for top, hits in (("top1", accuracy.top1_hits), ("top5", accuracy.top5_hits)):
            yield _share(top, hits, accuracy.n_cells, seed, primary=True)


def measure_knn_probe(benchmark: Benchmark, embedding: np.ndarray) -> Iterator[Measurement]:
    """Neighbours vote for the perturbation of cells of other batches; controls are a class, beside it they are none."""
    is_control = benchmark.screen.is_control
    for seed, split in benchmark.splits:
        accuracy = knn_probe(embedding, benchmark.labels, split.train, split.test1)
        train, test = (rows[~is_control[rows]] for rows in (split.train, split.test1))
        without = knn_probe(embedding, benchmark.labels, train, test)
        for name, each in (("", accuracy), ("_without_controls", without)):
            for top, hits in (("top1", each.top1_hits), ("top5", each.top5_hits)):
                yield _share(top + name, hits, each.n_cells, seed, primary=not name)


def measure_consistency(benchmark: Benchmark, embedding: np.ndarray) -> tuple[list[Measurement], pd.DataFrame]:
    """Share of consistent perturbations, on an alignment of its own; and the statistic of every perturbation."""
    screen = benchmark.screen
    seeds: tuple[int | None, ...] = (None,) if len(screen) <= N_NULL_CELLS else benchmark.settings.seeds
    measurements, frames = [], []
    for seed in seeds:
        frame = perturbation_consistency(
            embedding, benchmark.labels, screen.batch, CONTROL, seed=seed or 0, n_null_cells=N_NULL_CELLS
        )
        frame["perturbation"] = frame["perturbation"].str[2:]
        scored = frame["statistic"].notna()
        for reading in ("pooled", "per_perturbation"):
            hits = int((frame.loc[scored, f"p_{reading}"] < SIGNIFICANT).sum())
            measurements.append(_share(reading, hits, int(scored.sum()), seed, primary=reading == "pooled"))
        frames.append(frame.assign(seed=seed))
    return measurements, pd.concat(frames, ignore_index=True).astype({"seed": "Int64"})


def measure_efaar_consistency(benchmark: Benchmark, embedding: np.ndarray) -> Iterator[Measurement]:
    """EFAAR's share of consistent perturbations, by the null of unexpressed genes."""
    screen = benchmark.screen
    labels = np.where(screen.is_control, "", screen.perturbation)
    p_values = efaar_consistency(embedding, labels, benchmark.unexpressed)["p_value"].dropna()
    yield _share("efaar", int((p_values <= EFAAR_SIGNIFICANT).sum()), len(p_values))
    yield Measurement(metric="efaar_null_perturbations", value=float(len(benchmark.unexpressed)))


def measure_relationships(benchmark: Benchmark, embedding: np.ndarray) -> Iterator[Measurement]:
    """Recall of related genes among the mean embeddings of perturbations."""
    screen = benchmark.screen
    names, codes = np.unique(screen.perturbation[~screen.is_control], return_inverse=True)
    if len(names) < LEAST_PERTURBATIONS:
        raise InputError(
            "There are too few perturbations for a map of relationships",
            expected=f"{LEAST_PERTURBATIONS} or more",
            found=f"{len(names):,}",
        )
    treated = embedding[~screen.is_control]
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(names)))
    means = np.array([treated[rows].mean(axis=0, dtype=np.float64) for rows in np.split(order, starts[1:])])
    recall = relationship_recall(means, names.tolist(), benchmark.databases).set_index("database")
    found = recall[recall["pairs"].fillna(0) > 0]
    if len(found) == 0:
        raise InputError(
            "No pair of any database of relations is in the screen",
            expected="perturbations named as the genes of the databases are",
            found=f"{len(names):,} perturbations, such as {', '.join(names[:3])}",
        )
    for database, row in found.iterrows():
        yield _share(f"recall_{database}", int(row["hits"]), int(row["pairs"]), primary=database != UNION)
    assert MEAN not in found.index, "the mean has no pairs of its own"


def measure_invertibility(benchmark: Benchmark, embedding: np.ndarray) -> Iterator[Measurement]:
    """Expression of new perturbations in other batches, decoded from the embedding."""
    settings, screen = benchmark.settings, benchmark.screen
    target = screen.expression.log_normalised
    for seed, split in benchmark.splits:
        decoder = fit_ridge(embedding[split.train].astype(np.float64), target[split.train])
        cells = embedding[split.test2].astype(np.float64)
        yield from _reconstruction(benchmark, split, lambda genes: decoder.predict(cells, genes), "", seed)  # noqa: B023
        for network_seed in settings.seeds if settings.network else ():
            if seed not in (None, network_seed):
                continue
            network = fit_network(
                embedding[split.train], target[split.train], network_seed, device=settings.device
            ).predict(cells)
            yield from _reconstruction(benchmark, split, lambda genes: network[:, genes], "_network", network_seed)  # noqa: B023


def _reconstruction(
    benchmark: Benchmark, split: Split, predict: Callable[[slice], np.ndarray], suffix: str, seed: int | None
) -> Iterator[Measurement]:
    """Spearman and structural integrity of a prediction for the cells of test2, in blocks of genes."""
    screen = benchmark.screen
    target = screen.expression.log_normalised[split.test2].tocsc()
    structure = StructureSums.of(screen.batch[split.test2], screen.is_control[split.test2])
    correlations = []
    for start in range(0, target.shape[1], GENES_AT_A_TIME):
        genes = slice(start, start + GENES_AT_A_TIME)
        wanted, predicted = target[:, genes].toarray(), predict(genes)
        structure.add(predicted, wanted)
        correlations.append(spearman_by_gene(predicted, wanted))
    varying = np.concatenate(correlations)
    varying = varying[~np.isnan(varying)]
    if len(varying) == 0 or np.isnan(structure.integrity):
        raise InputError("There is no expression to reconstruct", expected="genes that vary among the test cells")
    for metric, value in (("spearman", varying.mean()), ("structural_integrity", structure.integrity)):
        yield Measurement(metric=metric + suffix, value=float(value), seed=seed, primary=not suffix)
    yield Measurement(metric=f"genes_scored{suffix}", value=float(len(varying)), seed=seed)


def _share(metric: str, hits: int, trials: int, seed: int | None = None, *, primary: bool = False) -> Measurement:
    return Measurement(metric=metric, value=hits / trials, seed=seed, hits=hits, trials=trials, primary=primary)


# Tasks that are scored on every post-processing; consistency aligns by itself
MEASURES: dict[str, Callable[[Benchmark, np.ndarray], Iterator[Measurement]]] = {
    "ilisi": measure_ilisi,
    "lin": measure_linear_probe,
    "knn": measure_knn_probe,
    "bmdb": measure_relationships,
    "inv": measure_invertibility,
}
