"""Reading results/<name>: only what a build wrote there."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import zarr
from markupsafe import Markup

from txfm.artifact.format import DESCRIPTION, FINETUNING
from txfm.errors import InputError
from txfm.evaluation.table import FORMAT as HELD_OUT_FORMAT
from txfm.report.tables import Cell


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A trained model as the page shows it.

    Attributes
    ----------
    name : str
        <variant>.<model>.s<seed>, its folder's name.
    card : dict
        model.json.
    metrics : list of dict
        Lines of metrics.jsonl.
    embeddings : Path or None
        Parquet file of the variant's samples, if there is one.
    """

    name: str
    card: dict[str, Any]
    metrics: list[dict[str, Any]]
    embeddings: Path | None

    def validations(self) -> list[dict[str, Any]]:
        """Lines of the validations."""
        return [line for line in self.metrics if line["kind"] == "validation"]


@dataclass(frozen=True, kw_only=True)
class FineTuned:
    """A fine-tuned model as the page shows it.

    Attributes
    ----------
    name : str
        Its entry of the config's `finetuning`, its folder's name.
    report : dict
        finetune.json.
    card : dict
        model.json.
    """

    name: str
    report: dict[str, Any]
    card: dict[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Build:
    """Everything that the page is made of.

    Attributes
    ----------
    folder : Path
        results/<name>.
    page_folder : Path
        Where the page lies: its links start there.
    corpus : dict
        corpus.json.
    variants : list of dict
        variants/*.json by name.
    reports : list of dict
        QC reports by study and recipe, training studies first.
    measured : dict
        (study, recipe) to bool (n_axis,): genes that the training store measures; no entry for a missing store.
    models : list of TrainedModel
    finetuned : list of FineTuned
    tables : dict
        File to comparison on a held-out study (`txfm evaluate held-out`).
    """

    folder: Path
    page_folder: Path
    corpus: dict[str, Any]
    variants: list[dict[str, Any]]
    reports: list[dict[str, Any]]
    measured: dict[tuple[str, str], np.ndarray]
    models: list[TrainedModel]
    finetuned: list[FineTuned]
    tables: dict[Path, dict[str, Any]]

    @property
    def name(self) -> str:
        """The config's name."""
        return self.corpus["name"]

    @property
    def studies(self) -> list[str]:
        """All studies, those of the corpus first: the order fixes their colours."""
        of_corpus = sorted({store["study"] for store in self.corpus["stores"]})
        others = sorted({report["study"] for report in self.reports} - set(of_corpus))
        return of_corpus + others

    @property
    def simulated(self) -> frozenset[str]:
        """Studies that no instrument measured."""
        entries = [*self.corpus["stores"], *self.reports]
        return frozenset(entry["study"] for entry in entries if entry["simulated"])

    def titles(self) -> dict[tuple[str, str], str]:
        """How a (study, recipe) is called: by the study alone where that is unique, SIMULATED where it is."""
        pairs = {(entry["study"], entry["recipe"]) for entry in [*self.corpus["stores"], *self.reports]}
        uses = Counter(study for study, _ in pairs)
        return {
            (study, recipe): study
            + (f" ({recipe})" if uses[study] > 1 else "")
            + (" [SIMULATED]" if study in self.simulated else "")
            for study, recipe in pairs
        }

    def address(self, path: Path) -> str:
        """A file or folder below `folder`, as the page's links name it."""
        return quote(Path(os.path.relpath(path, self.page_folder)).as_posix())

    def link(self, path: Path, text: str = "") -> Cell:
        """A link to a file below `folder`; its plain name where it is not there."""
        text = text or path.relative_to(self.folder).as_posix()
        return Markup('<a href="{}">{}</a>').format(self.address(path), text) if path.exists() else text


def read_build(folder: Path, page_folder: Path | None = None) -> Build:
    """Read a results folder.

    Parameters
    ----------
    folder : Path
        results/<name>.
    page_folder : Path, optional
        Where the page will lie, if not in `folder`.

    Raises
    ------
    InputError
        There is no corpus in it.
    """
    overview = folder / "corpus" / "corpus.json"
    if not overview.is_file():
        raise InputError(
            "There is no corpus to report on",
            where=str(folder),
            expected="corpus/corpus.json",
            todo="build the corpus first, and name the folder results/<name>",
        )
    corpus = json.loads(overview.read_text())
    reports = [json.loads(path.read_text()) for path in (folder / "qc").glob("*.json")]
    return Build(
        folder=folder,
        page_folder=page_folder or folder,
        corpus=corpus,
        variants=[json.loads(path.read_text()) for path in sorted((folder / "corpus" / "variants").glob("*.json"))],
        reports=sorted(reports, key=lambda entry: (entry["role"] != "train", entry["study"], entry["recipe"])),
        measured=dict(_measured(folder / "corpus", corpus)),
        models=[_model(path.parent) for path in sorted((folder / "models").glob("*/model.json"))],
        finetuned=[_finetuned(path.parent) for path in sorted((folder / "finetuned").glob(f"*/{FINETUNING}"))],
        tables=dict(_tables(folder / "evaluation")),
    )


def _measured(corpus_folder: Path, corpus: dict[str, Any]) -> Iterator[tuple[tuple[str, str], np.ndarray]]:
    for store in corpus["stores"]:
        path = corpus_folder / store["path"]
        if store["split"] == "train" and path.is_dir():
            measured = zarr.open_group(path, mode="r")["var/measured"]
            assert isinstance(measured, zarr.Array)
            yield (store["study"], store["recipe"]), np.asarray(measured[:], dtype=bool)


def _model(folder: Path) -> TrainedModel:
    card = json.loads((folder / "model.json").read_text())
    card["n_genes"] = len(card.pop("vocabulary")["ensembl_ids"])
    metrics = folder / "metrics.jsonl"
    lines = metrics.read_text().splitlines() if metrics.is_file() else []
    embeddings = folder.parents[1] / "embeddings" / f"{folder.name}.parquet"
    return TrainedModel(
        name=folder.name,
        card=card,
        metrics=[json.loads(line) for line in lines],
        embeddings=embeddings if embeddings.is_file() else None,
    )


def _finetuned(folder: Path) -> FineTuned:
    report, card = (json.loads((folder / name).read_text()) for name in (FINETUNING, DESCRIPTION))
    return FineTuned(name=folder.name, report=report, card=card)


def _tables(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted(folder.glob("*.json")):
        table = json.loads(path.read_text())
        if table.get("format") == HELD_OUT_FORMAT:
            yield path, table
