"""The benchmark: every embedder, task and seed; what cannot be scored is reported with the reason."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from txfm.errors import InputError
from txfm.evaluation.cells.cells import LabelledCells
from txfm.evaluation.cells.clustering import clustering_scores
from txfm.evaluation.cells.probes import HEADS, classify
from txfm.evaluation.cells.settings import TASKS, Settings
from txfm.evaluation.cells.silhouettes import silhouette_scores
from txfm.evaluation.cells.splits import LEAST_BATCHES, Split, split_samples
from txfm.evaluation.embedders import ALL, Embedding, Refused
from txfm.evaluation.scores import Score, reason_of

BENCHMARK = "cell_types"


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a run found.

    Attributes
    ----------
    scores : list of Score
    not_scored : list of dict
        embedder, task, reason.
    warnings : list of str
    clusterings, probes : list of dict
        NMI of every resolution; learning rate and sizes of every probe.
    embedders : list of dict
        Label, kind, width, seconds and identity of each.
    """

    scores: list[Score] = field(default_factory=list)
    not_scored: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    clusterings: list[dict[str, Any]] = field(default_factory=list)
    probes: list[dict[str, Any]] = field(default_factory=list)
    embedders: list[dict[str, Any]] = field(default_factory=list)

    def warn(self, text: str) -> None:
        """Add a warning, once."""
        if text not in self.warnings:
            self.warnings.append(text)

    @property
    def frames(self) -> dict[str, pd.DataFrame]:
        """The details as tables."""
        return {"clusterings": pd.DataFrame(self.clusterings), "probes": pd.DataFrame(self.probes)}


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One number of one task."""

    metric: str
    value: float
    seed: int | None
    hits: int | None = None
    trials: int | None = None


def run_benchmark(
    cells: LabelledCells,
    embeddings: Iterable[Embedding | Refused],
    settings: Settings,
    dataset: str,
    tell: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Score every embedder.

    Parameters
    ----------
    cells : LabelledCells
    embeddings : iterable of Embedding or Refused
        Of all samples of the cells' file; taken one at a time.
    settings : Settings
    dataset : str
        How scores name the file.
    tell : callable
        Told a line of progress.
    """
    outcome = Outcome()
    if cells.n_alike:
        outcome.warnings.append(
            f"{cells.n_alike:,} cells share name, label and batch with another: which of them are drawn or tested on "
            "depends on the order of the file; give each cell a name of its own"
        )
    splits = _splits(cells, settings, outcome)
    for embedding in embeddings:
        if isinstance(embedding, Refused):
            outcome.not_scored.append(embedding.row("task"))
            continue
        started = time.perf_counter()
        try:
            outcome.scores.extend(
                Score(
                    benchmark=BENCHMARK,
                    dataset=dataset,
                    **embedding.columns,
                    task=task,
                    primary=each.metric in TASKS[task],
                    **vars(each),
                )
                for task, each in _measure(cells, embedding, splits, settings, outcome)
            )
        except InputError as error:
            outcome.not_scored.append({"embedder": embedding.label, "task": ALL, "reason": reason_of(error)})
        seconds = time.perf_counter() - started
        tell(f"{embedding.label}: {embedding.values.shape[1]:,} dimensions, scored in {seconds:.1f} s")
        outcome.embedders.append(embedding.description(seconds))
    return outcome


def _measure(
    cells: LabelledCells, embedding: Embedding, splits: dict[int, Split], settings: Settings, outcome: Outcome
) -> Iterator[tuple[str, Measurement]]:
    """Yield task and measurement; InputError where the embedding itself cannot be used."""
    values = embedding.of_rows(cells.rows)
    measures: dict[str, Iterator[Measurement]] = {
        "clusters": _clusters(cells, values, settings, embedding.label, outcome),
        "silhouettes": _silhouettes(cells, values, settings, embedding.label, outcome),
        **{head: _probes(cells, values, head, splits, settings, embedding.label, outcome) for head in HEADS},
    }
    for task in settings.tasks:
        try:
            yield from [(task, each) for each in measures[task]]
        except InputError as error:
            outcome.not_scored.append({"embedder": embedding.label, "task": task, "reason": reason_of(error)})


def _splits(cells: LabelledCells, settings: Settings, outcome: Outcome) -> dict[int, Split]:
    """Of the probes, the same for every embedder; a seed whose split is of no use has none."""
    heads = [task for task in settings.tasks if task in HEADS]
    splits: dict[int, Split] = {}
    for seed in settings.split_seeds if heads else ():
        try:
            splits[seed] = split_samples(cells.labels, cells.batch, seed)
        except InputError as error:
            reason = f"split of seed {seed}: {reason_of(error)}"
            outcome.not_scored.extend({"embedder": ALL, "task": head, "reason": reason} for head in heads)
    if any(not split.by_batch for split in splits.values()):
        found = "no column of batches is named" if cells.batch is None else f"there are {len(set(cells.batch))}"
        outcome.warnings.append(
            f"Probes are tested on random cells of every label, not on other batches: that needs {LEAST_BATCHES} "
            f"batches, and {found}"
        )
    return splits


def _clusters(
    cells: LabelledCells, values: np.ndarray, settings: Settings, embedder: str, outcome: Outcome
) -> Iterator[Measurement]:
    for seed in settings.seeds:
        drawn = cells.draw(settings.max_cells, seed)
        found = clustering_scores(values[drawn], cells.labels[drawn], seed=seed)
        outcome.clusterings.extend(
            {
                "embedder": embedder,
                "seed": seed,
                "resolution": resolution,
                "nmi": nmi,
                "is_best": resolution == found.resolution,
            }
            for resolution, nmi in found.nmi_of_resolution
        )
        yield Measurement(metric="nmi", value=found.nmi, seed=seed)
        yield Measurement(metric="ari", value=found.ari, seed=seed)
        yield Measurement(metric="n_clusters", value=float(found.n_clusters), seed=seed)


def _silhouettes(
    cells: LabelledCells, values: np.ndarray, settings: Settings, embedder: str, outcome: Outcome
) -> Iterator[Measurement]:
    draws = settings.seeds if len(cells) > settings.max_cells else (None,)
    for seed in draws:
        drawn = cells.draw(settings.max_cells, seed or 0)
        batch = None if cells.batch is None else cells.batch[drawn]
        found = silhouette_scores(values[drawn], cells.labels[drawn], batch)
        yield Measurement(metric="asw_label", value=found.label, seed=seed)
        if found.batch is not None:
            yield Measurement(metric="asw_batch", value=found.batch, seed=seed)
        elif batch is not None:
            reason = "asw_batch: no label has cells of two batches, and more cells than batches"
            row = {"embedder": embedder, "task": "silhouettes", "reason": reason}
            if row not in outcome.not_scored:  # once for all draws
                outcome.not_scored.append(row)


def _probes(
    cells: LabelledCells,
    values: np.ndarray,
    head: str,
    splits: dict[int, Split],
    settings: Settings,
    embedder: str,
    outcome: Outcome,
) -> Iterator[Measurement]:
    for seed, split in splits.items():
        probe = classify(values, cells.labels, split, head, seed=seed, settings=settings.probe, device=settings.device)
        outcome.probes.append(
            {
                "embedder": embedder,
                "head": head,
                "seed": seed,
                "learning_rate": probe.learning_rate,
                "n_inputs": probe.n_inputs,
                "n_train": len(split.train),
                "n_validation": len(split.validation),
                "n_test": len(split.test),
                "n_left_out": split.n_left_out,
                "by_batch": split.by_batch,
            }
        )
        if probe.n_inputs < values.shape[1]:
            outcome.warn(
                f"The MLP of {embedder} saw principal components of its {values.shape[1]:,} dimensions, at most "
                f"{settings.probe.mlp_components:,}"
            )
        yield Measurement(metric="accuracy", value=probe.accuracy, seed=seed, hits=probe.n_hits, trials=probe.n_test)
        yield Measurement(metric="macro_f1", value=probe.macro_f1, seed=seed)
