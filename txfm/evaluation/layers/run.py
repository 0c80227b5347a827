"""Score the layers of networks by the benchmarks of cell types and of perturbations."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from txfm.embedding.run import ReadingOptions
from txfm.errors import InputError
from txfm.evaluation.cells import run as cell_types
from txfm.evaluation.cells.cells import LabelledCells
from txfm.evaluation.cells.settings import Settings as CellSettings
from txfm.evaluation.embedders import AS_FOUND, Embedding, Refused, embedding_of, refuse_seen, whole_file
from txfm.evaluation.layers.vectors import AllLayers, by_layer
from txfm.evaluation.perturbation import run as perturbation
from txfm.evaluation.perturbation.screen import Screen
from txfm.evaluation.perturbation.settings import Settings as ScreenSettings
from txfm.evaluation.samples import LabelledSamples
from txfm.evaluation.scores import Score
from txfm.loading import load
from txfm.pretrained import PretrainedModel

BENCHMARK = "layers"


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """What layers are scored by: labels of cells, a screen of perturbations, or both.

    Attributes
    ----------
    cells, screen : LabelledCells, Screen, or None
        Of the same file.
    cell_settings, screen_settings : settings of the two benchmarks
    relations : mapping of str to pandas.DataFrame, or InputError
        Databases of related genes for the screen, or why there are none.
    """

    cells: LabelledCells | None = None
    screen: Screen | None = None
    cell_settings: CellSettings = field(default_factory=CellSettings)
    screen_settings: ScreenSettings = field(default_factory=ScreenSettings)
    relations: Mapping[str, pd.DataFrame] | InputError = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a run found.

    Attributes
    ----------
    scores : list of Score
        Their embedder is ``model:layer``.
    layers : list of dict
        embedder, model, layer, depth (0 = the first of the model).
    not_scored, embedders : list of dict
        As in the benchmarks.
    warnings : list of str
    """

    scores: list[Score] = field(default_factory=list)
    layers: list[dict[str, Any]] = field(default_factory=list)
    not_scored: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    embedders: list[dict[str, Any]] = field(default_factory=list)

    def summary(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The scores (`score_frame`) by layer: mean, sd (ddof 1) and n_values over the seeds, in order of depth."""
        keys = ["embedder", "task", "metric", "postprocessing"]
        table = frame.groupby(keys, sort=False)["value"].agg(mean="mean", sd="std", n_values="size").reset_index()
        return pd.DataFrame(self.layers).merge(table, on="embedder", how="inner", validate="one_to_many")


def layer_embeddings(
    samples: LabelledSamples,
    models: Sequence[str | Path],
    layers: Sequence[str] = (),
    *,
    studies: Sequence[str] = (),
    device: str = "cpu",
    counts: str = "X",
    reading: ReadingOptions = AS_FOUND,
) -> Iterator[list[Embedding] | Refused]:
    """Embeddings of the layers of one model after the other, from the first layer to the last.

    All vectors of a model are in memory: samples x layers x width x 4 bytes.

    Parameters
    ----------
    samples : LabelledSamples
    models : sequence of path or str
        Folders of trained TxFM models.
    layers : sequence of str
        Of `ModelConfig.layer_names`; none = all.
    studies : sequence of str
        Further names of the study that is scored on.
    device, counts, reading
        As for `embeddings_of`.

    Raises
    ------
    InputError
        A model is no TxFM, has seen the study, or has no such layer; two models have one name.
    """
    names = [Path(source).name for source in models]
    if len(set(names)) < len(names):
        raise InputError("Two models have one name", expected="a name of its own for each", found=", ".join(names))
    opened = []
    for source in models:
        model = load(source, device)
        if not isinstance(model, PretrainedModel):
            raise InputError(
                "This model has no layers", where=str(source), expected="a TxFM", found=f"kind {model.card['kind']}"
            )
        refuse_seen([*samples.studies, *studies], source, model.card)
        opened.append(AllLayers(model, layers))
    for source, model in zip(models, opened, strict=True):
        embedding = embedding_of(whole_file(samples, counts), source, model, reading)
        yield embedding if isinstance(embedding, Refused) else list(by_layer(embedding, model.layers))


def score_layers(
    question: Question,
    models: Iterable[list[Embedding] | Refused],
    dataset: str,
    tell: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Score every layer of every model.

    Parameters
    ----------
    question : Question
    models : iterable of list of Embedding, or of Refused
        Of `layer_embeddings`.
    dataset : str
        How scores name the file.
    tell : callable
        Told a line of progress.

    Raises
    ------
    InputError
        There is neither a label nor a screen.
    """
    if question.cells is None and question.screen is None:
        raise InputError(
            "There is nothing to score layers by",
            expected="labels of cells (--label) or perturbations (--perturbation)",
        )
    outcome = Outcome()
    for embeddings in models:
        if isinstance(embeddings, Refused):
            outcome.not_scored.append(embeddings.row("task"))
            continue
        outcome.layers.extend(
            {"embedder": each.label, "model": each.model, "layer": each.identity["layer"], "depth": depth}
            for depth, each in enumerate(embeddings)
        )
        found: list[cell_types.Outcome | perturbation.Outcome] = []
        if question.cells is not None:
            found.append(cell_types.run_benchmark(question.cells, embeddings, question.cell_settings, dataset, tell))
        if question.screen is not None:
            found.append(
                perturbation.run_benchmark(
                    question.screen, embeddings, question.relations, question.screen_settings, dataset, tell
                )
            )
        for each in found:
            outcome.scores.extend(replace(score, benchmark=BENCHMARK) for score in each.scores)
            outcome.not_scored.extend(row for row in each.not_scored if row not in outcome.not_scored)
            outcome.warnings.extend(text for text in each.warnings if text not in outcome.warnings)
            outcome.embedders.extend(each.embedders)
    return outcome
