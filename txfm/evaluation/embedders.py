"""What a benchmark compares: trained models and fitted baselines by folder, and embeddings of the file itself."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from anndata import AnnData

from txfm.artifact.format import WEIGHTS
from txfm.artifact.provenance import seen_among, studies_seen, unknown_among
from txfm.embedder import Embedder
from txfm.embedding.run import ReadingOptions
from txfm.errors import InputError
from txfm.evaluation.checked_arrays import refuse_constant, refuse_not_finite
from txfm.evaluation.samples import LabelledSamples
from txfm.evaluation.scores import reason_of
from txfm.loading import find_artifact, model_of

RANDOM_WIDTH, RANDOM_SEED = 32, 0
RANDOM_LABEL = "random"
ALL = "all"  # of a record's `not_scored`: what is true of every embedder, task or post-processing
AS_FOUND = ReadingOptions()
Given = Callable[[], tuple[Path | AnnData, str]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedding:
    """An embedding of the samples, and whose it is.

    Attributes
    ----------
    label : str
        How tables name it; no two of a comparison are equal.
    kind : str
        txfm, pca, lognorm, hvg, scvi; obsm for the file's own; random for the floor.
    values : numpy.ndarray (n, d), float32
        Finite where `of_rows` gives them.
    rows : numpy.ndarray (n,), int64, or None
        Rows of the file that were embedded, ascending; None: all.
    variant, model, model_seed : str, str, int or None
        As in `txfm.evaluation.scores.Score`.
    identity : mapping
        What a record needs to find it again: for a model the sum of its weights, the digests of variant and corpus,
        its studies.
    """

    label: str
    kind: str
    values: np.ndarray
    rows: np.ndarray | None = None
    variant: str = ""
    model: str = ""
    model_seed: int | None = None
    identity: Mapping[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> dict[str, Any]:
        """Its columns of the frame of scores."""
        return {
            "embedder": self.label,
            "kind": self.kind,
            "variant": self.variant,
            "model": self.model,
            "model_seed": self.model_seed,
        }

    def of_rows(self, rows: np.ndarray) -> np.ndarray:
        """Vectors of rows of the file, which are among those that were embedded.

        Raises
        ------
        InputError
            Some are not finite, or they say nothing: all are the same. Other rows are not looked at.
        """
        values = self.values[rows if self.rows is None else np.searchsorted(self.rows, rows)]
        refuse_not_finite(values, "embedding", rows)
        refuse_constant(values, self.label)
        return values

    def description(self, seconds: float) -> dict[str, Any]:
        """Its row of the record's `embedders`; `seconds` that scoring it took."""
        return {
            "embedder": self.label,
            "kind": self.kind,
            "n_dimensions": self.values.shape[1],
            "seconds": round(seconds, 2),
            **self.identity,
        }


@dataclass(frozen=True, kw_only=True)
class Refused:
    """An embedder that cannot embed the samples: the others are compared without it.

    Attributes
    ----------
    label : str
        As of an `Embedding`.
    reason : str
        One line.
    """

    label: str
    reason: str

    def row(self, *whole: str) -> dict[str, str]:
        """Its row of a record's `not_scored`; the columns `whole` say that it is for all of them."""
        return {"embedder": self.label, **dict.fromkeys(whole, ALL), "reason": self.reason}


def check_embedders(samples: LabelledSamples, models: Sequence[str | Path], obsm: Sequence[str]) -> None:
    """Refuse what cannot be compared before anything is computed.

    Raises
    ------
    InputError
        There is nothing to compare, an obsm key does not exist, or two embedders have one label.
    """
    for key in obsm:
        samples.obsm(key)
    labels = [*(_label(model) for model in models), *obsm]
    if not labels:
        raise InputError(
            "There is nothing to compare",
            where=str(samples.path),
            expected="folders of models (--models), or keys of obsm (--obsm)",
            found=f"the file has {', '.join(samples.obsm_keys) or 'no embedding'} in obsm",
        )
    repeated = sorted({label for label in labels if [*labels, RANDOM_LABEL].count(label) > 1})
    if repeated:
        raise InputError(
            "Two embedders have one name",
            expected="a name of its own for each, which is that of its folder or obsm key",
            found=", ".join(repeated),
            todo="rename a folder, or name each embedder once",
        )


def refuse_seen(studies: Sequence[str], source: str | Path, card: Mapping[str, Any]) -> None:
    """Refuse a model that was trained on the study that it shall be scored on, or whose parent was.

    Raises
    ------
    InputError
        It was.
    """
    if known := seen_among(studies, card):
        raise InputError(
            f"The model was trained on {', '.join(known)}: a comparison on it says nothing about unseen data",
            where=str(source),
            expected=f"a study other than {', '.join(sorted(studies_seen(card)))}",
            found=", ".join(known),
            todo="evaluate on a held-out study, or on a model whose variant leaves this study out",
        )


def unchecked(samples: LabelledSamples, models: Sequence[str | Path], studies: Sequence[str]) -> list[str]:
    """Warnings where `refuse_seen` could not tell: no name of a study, or one that a model does not know."""
    if not models:
        return []
    named = [*samples.studies, *studies]
    if not named:
        return [
            "Nothing names the study of this file (no column study in obs, no --study): whether a model was trained on "
            "it was not checked"
        ]
    models_of: dict[str, list[str]] = {}
    for source in models:
        for study in unknown_among(named, find_artifact(source, verify=False).card):
            models_of.setdefault(study, []).append(_label(source))
    return [
        f"{study} is neither a training study nor a held-out one of {', '.join(labels)}: whether its samples were "
        "trained on under another name was not checked"
        for study, labels in sorted(models_of.items())
    ]


def embeddings_of(
    samples: LabelledSamples,
    models: Sequence[str | Path],
    obsm: Sequence[str] = (),
    *,
    studies: Sequence[str] = (),
    device: str = "cpu",
    counts: str = "X",
    reading: ReadingOptions = AS_FOUND,
    random: bool = True,
    rows: np.ndarray | None = None,
) -> Iterator[Embedding | Refused]:
    """Embed the samples with one embedder after the other, each once; a model that cannot is refused with the reason.

    Parameters
    ----------
    samples : LabelledSamples
    models : sequence of path or str
        What `txfm.load` opens: folders of trained models and of fitted baselines.
    obsm : sequence of str
        Embeddings that the file has itself.
    studies : sequence of str
        Further names of the study that is scored on, where obs does not name it.
    device : str
        Of the models.
    counts : str
        Where the file has its raw counts: "X", "raw" or "layers/NAME".
    reading : ReadingOptions
        How models find their genes in it.
    random : bool
        Give independent normal numbers as well: what an embedding without information scores.
    rows : numpy.ndarray, int64, optional
        Embed these rows alone, in ascending order: their counts are held in memory, and vectors of no other row are
        computed. None: all rows, of which the file is read in blocks.

    Raises
    ------
    InputError
        See `check_embedders`; a model has seen the study, or cannot be opened.
    """
    check_embedders(samples, models, obsm)
    artifacts = [find_artifact(source) for source in models]
    for source, artifact in zip(models, artifacts, strict=True):
        refuse_seen([*samples.studies, *studies], source, artifact.card)
    given = cache(partial(_given, samples, counts, rows))  # counts of chosen rows are read once for all models
    for source, artifact in zip(models, artifacts, strict=True):
        yield embedding_of(given, source, model_of(artifact, device), reading, rows)
    chosen = slice(None) if rows is None else rows
    for key in obsm:
        identity = {"source": f"obsm[{key!r}]"}
        yield Embedding(label=key, kind="obsm", values=samples.obsm(key)[chosen], rows=rows, identity=identity)
    if random:
        values = np.empty((len(samples), RANDOM_WIDTH), dtype=np.float32)
        by_name, _ = samples.in_order(np.arange(len(samples)))
        values[by_name] = np.random.default_rng(RANDOM_SEED).standard_normal(values.shape, dtype=np.float32)
        identity = {"source": f"normal numbers, seed {RANDOM_SEED}"}
        yield Embedding(label=RANDOM_LABEL, kind="random", values=values[chosen], rows=rows, identity=identity)


def whole_file(samples: LabelledSamples, counts: str = "X") -> Given:
    """What a model is given to embed all samples, for `embedding_of`."""
    return partial(_given, samples, counts, None)


def _given(samples: LabelledSamples, counts: str, rows: np.ndarray | None) -> tuple[Path | AnnData, str]:
    """Samples and where their counts are; of chosen rows the counts are read."""
    if rows is None:
        return samples.path, counts
    matrix, var = samples.counts(rows, counts)
    return AnnData(matrix, var=var), "X"


def embedding_of(
    given: Given,
    source: str | Path,
    model: Embedder,
    reading: ReadingOptions = AS_FOUND,
    rows: np.ndarray | None = None,
) -> Embedding | Refused:
    """Embed samples with a model that was opened from `source`; whether it has seen them is not looked at.

    Parameters: see `embeddings_of`; `given` tells the samples and where their counts are.
    """
    card = model.card
    try:
        embedded, counts = given()
        values = model.embed(embedded, counts=counts, verbose=False, **asdict(reading))
    except InputError as error:
        return Refused(label=_label(source), reason="; ".join(filter(None, [reason_of(error), error.todo])))
    return Embedding(
        label=_label(source),
        kind=str(card["kind"]),
        values=values,
        rows=rows,
        variant=str(card["variant"]["name"]),
        model=_label(source),
        model_seed=int(card["seed"]),
        identity={
            "source": _label(source),
            "weights_sha256": card["files"].get(WEIGHTS, {}).get("sha256"),
            "variant": dict(card["variant"]),
            "corpus_digest": card.get("corpus_digest"),
            "studies_seen": sorted(studies_seen(card)),
            "samples_seen": int(card["samples_seen"]),
        },
    )


def _label(source: str | Path) -> str:
    return str(source).rstrip("/").rsplit("/", 1)[-1]
