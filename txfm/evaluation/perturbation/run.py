"""The benchmark: every embedder, post-processing, task and seed; what cannot be scored is reported with the reason."""

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from txfm.errors import InputError
from txfm.evaluation.embedders import ALL, Embedding, Refused
from txfm.evaluation.perturbation.screen import Screen
from txfm.evaluation.perturbation.settings import Settings
from txfm.evaluation.perturbation.tasks import (
    MEASURES,
    Benchmark,
    Measurement,
    measure_consistency,
    measure_efaar_consistency,
)
from txfm.evaluation.postprocessing import METHODS, FewControlsWarning
from txfm.evaluation.scores import Score, reason_of

# TVN decomposes a matrix of this size for each batch: 9 to 15 s each for 4,096, on two cores that others used as well
WIDEST_TVN = 4096
EFAAR = "efaar"  # its consistency, a secondary metric of the task pcst
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a run found.

    Attributes
    ----------
    scores : list of Score
    not_scored : list of dict
        embedder, task, postprocessing ("all" where it is for all), reason.
    warnings : list of str
        Each once.
    consistency : list of pandas.DataFrame
        Statistic of every perturbation, by embedder.
    embedders : list of dict
        Label, kind, width, seconds and identity of each.
    """

    scores: list[Score] = field(default_factory=list)
    not_scored: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    consistency: list[pd.DataFrame] = field(default_factory=list)
    embedders: list[dict[str, Any]] = field(default_factory=list)

    @property
    def consistency_frame(self) -> pd.DataFrame:
        """All of `consistency` in one."""
        frames = [frame for frame in self.consistency if len(frame)]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def run_benchmark(
    screen: Screen,
    embeddings: Iterable[Embedding | Refused],
    relations: Mapping[str, pd.DataFrame] | InputError,
    settings: Settings,
    dataset: str,
    tell: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Score every embedder.

    Parameters
    ----------
    screen : Screen
    embeddings : iterable of Embedding or Refused
        Of all samples of the screen's file, or of those that are scored; taken one at a time.
    relations : mapping of str to pandas.DataFrame, or InputError
        Databases of related genes, or why there are none.
    settings : Settings
    dataset : str
        How scores name the screen.
    tell : callable
        Told a line of progress.
    """
    benchmark, outcome = Benchmark(screen, settings, relations), Outcome()
    obstacles = _obstacles(benchmark)
    for task, reason in obstacles.items():
        outcome.not_scored.append({"embedder": ALL, "task": task, "postprocessing": ALL, "reason": reason})
    for embedding in embeddings:
        if isinstance(embedding, Refused):
            outcome.not_scored.append(embedding.row("task", "postprocessing"))
            continue
        started = time.perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", FewControlsWarning)
            for task, postprocessing, measured in _score(benchmark, embedding, obstacles, outcome):
                outcome.scores.append(
                    Score(
                        benchmark="perturbation",
                        dataset=dataset,
                        **embedding.columns,
                        task=task,
                        postprocessing=postprocessing,
                        **vars(measured),
                    )
                )
        outcome.warnings.extend(
            text for text in dict.fromkeys(str(each.message) for each in caught) if text not in outcome.warnings
        )
        seconds = time.perf_counter() - started
        tell(f"{embedding.label}: {embedding.values.shape[1]:,} dimensions, scored in {seconds:.1f} s")
        outcome.embedders.append(embedding.description(seconds))
    return outcome


def _score(
    benchmark: Benchmark, embedding: Embedding, obstacles: Mapping[str, str], outcome: Outcome
) -> Iterator[tuple[str, str, Measurement]]:
    """Yield task, post-processing and measurement."""
    settings, screen = benchmark.settings, benchmark.screen

    def attempt(task: str, postprocessing: str, measure: Callable[..., T], *arguments: object) -> T | None:
        """What was measured; None, and a reason, where it cannot be."""
        try:
            return measure(*arguments)
        except InputError as error:
            place = {"embedder": embedding.label, "task": task, "postprocessing": postprocessing}
            outcome.not_scored.append(place | {"reason": reason_of(error)})
            return None

    values = attempt(ALL, ALL, embedding.of_rows, screen.rows)
    if values is None:
        return
    if "pcst" in settings.tasks:
        consistency = attempt("pcst", "", measure_consistency, benchmark, values)
        if consistency is not None:
            outcome.consistency.append(consistency[1].assign(embedder=embedding.label))
            yield from (("pcst", "", each) for each in consistency[0])
    measures = {task: measure for task, measure in MEASURES.items() if task in settings.tasks}
    if "pcst" in settings.tasks:
        measures[EFAAR] = measure_efaar_consistency
    for postprocessing in settings.postprocessings:
        treated = attempt(ALL, postprocessing, _treat, postprocessing, values, screen)
        if treated is None:
            continue
        for name, measure in measures.items():
            if name not in obstacles:
                found = attempt(name, postprocessing, lambda run: list(run(benchmark, treated)), measure)  # noqa: B023
                yield from (("pcst" if name == EFAAR else name, postprocessing, each) for each in found or ())


def _treat(postprocessing: str, values: np.ndarray, screen: Screen) -> np.ndarray:
    width = min(int(screen.is_control.sum()), values.shape[1])
    if postprocessing == "tvn" and width > WIDEST_TVN:
        raise InputError("The embedding is too wide for TVN", expected=f"at most {WIDEST_TVN:,}", found=f"{width:,}")
    return METHODS[postprocessing](values, screen.is_control, screen.batch)


def _obstacles(benchmark: Benchmark) -> dict[str, str]:
    """Why tasks cannot be scored, whatever the embedder."""
    reasons: dict[str, str] = {}
    checks: tuple[tuple[Callable[[], object], tuple[str, ...]], ...] = (
        (lambda: benchmark.splits, ("lin", "knn", "inv")),
        (lambda: benchmark.screen.expression, ("inv",)),
        (lambda: benchmark.unexpressed, (EFAAR,)),
        (lambda: benchmark.databases, ("bmdb",)),
    )
    wanted = {*benchmark.settings.tasks, *((EFAAR,) if "pcst" in benchmark.settings.tasks else ())}
    for check, tasks in checks:
        affected = [task for task in tasks if task in wanted and task not in reasons]
        if not affected:
            continue
        try:
            check()
        except InputError as error:
            reasons |= dict.fromkeys(affected, reason_of(error))
    return reasons
