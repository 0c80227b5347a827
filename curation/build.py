"""Write the stores and the QC report of a curated study."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from curation.axis import GeneAxis
from curation.catalog import Study
from curation.corpus import write_json
from curation.curate import StudyReader, Survivors, filter_study
from curation.recipe import Recipe
from curation.scratch import scratch_folder
from curation.split import validation_batches
from curation.store import StoreRecord, write_store

ONE_BATCH = "the study has one batch: all its samples are for training, none for validation"


@dataclass(frozen=True, kw_only=True)
class Curation:
    """What to curate: a study under a recipe, on an axis.

    `seed` seeds the order of the samples in the stores.
    """

    study: Study
    recipe: Recipe
    recipe_name: str
    genes: Path
    sources: Path
    seed: int


def curate_training(task: Curation, *, train: Path, validation: Path, report: Path, validation_share: float) -> None:
    """Curate a training study into its two stores and its QC report.

    Parameters
    ----------
    task : Curation
    train, validation : Path
        Where the stores appear. The validation store has no rows if the study has one batch.
    report : Path
        Where the QC report appears, last.
    validation_share : float
        Wanted share of samples in validation batches.
    """
    with SurvivorsOf(task, train.parent) as (axis, found):
        sizes = {str(batch): int(n) for batch, n in found.labels["batch"].value_counts().items()}
        held = validation_batches(sizes, study=task.study.name, share=validation_share, seed=task.seed)
        in_validation = found.labels["batch"].isin(held).to_numpy()
        batches = {
            "n": len(sizes),
            "train": sorted(set(sizes) - held),
            "validation": sorted(held),
            "note": ONE_BATCH if len(sizes) == 1 else "",
            "wanted_validation_share": validation_share,
            "validation_share": round(float(in_validation.mean()), 4),
        }
        splits = {
            split: _write_split(task, axis, found, chosen, path=path, split=split)
            for split, path, chosen in (("train", train, ~in_validation), ("validation", validation, in_validation))
        }
    _write_report(task, found, batches, splits, report)


def curate_evaluation(task: Curation, *, evaluation: Path, report: Path) -> None:
    """Curate a held-out study into one store, outside any corpus, and its QC report."""
    with SurvivorsOf(task, evaluation.parent) as (axis, found):
        everything = np.ones(len(found.labels), dtype=bool)
        splits = {"evaluation": _write_split(task, axis, found, everything, path=evaluation, split="evaluation")}
    names = sorted(set(found.labels["batch"]))
    batches = {
        "n": len(names),
        "train": [],
        "validation": [],
        "note": "held out for evaluation: no sample is for training",
    }
    _write_report(task, found, batches, splits, report)


class SurvivorsOf:
    """Context: the axis and what both passes leave of a study; its temporary folders are gone afterwards."""

    def __init__(self, task: Curation, folder: Path) -> None:
        self._task = task
        self._folder = folder
        self._stack = ExitStack()

    def __enter__(self) -> tuple[GeneAxis, Survivors]:
        task = self._task
        with ExitStack() as stack:
            scratch = stack.enter_context(scratch_folder(self._folder, f"{task.study.name}.{task.recipe_name}"))
            axis = GeneAxis.read(task.genes)
            reader = stack.enter_context(closing(StudyReader(task.study, task.recipe, axis, task.sources, scratch)))
            found = filter_study(reader, scratch, seed_text=f"{task.seed}:{task.study.name}:{task.recipe_name}")
            self._stack = stack.pop_all()
        return axis, found

    def __exit__(self, *error: object) -> None:
        self._stack.close()


def _write_split(
    task: Curation, axis: GeneAxis, found: Survivors, chosen: np.ndarray, *, path: Path, split: str
) -> StoreRecord:
    order = found.order[chosen[found.order]]
    study = task.study
    obs = found.labels.iloc[order].assign(study=study.name, assay=study.assay, simulated=study.simulated)
    var = pd.DataFrame(
        {"symbol": axis.genes["symbol"].to_numpy(), "measured": found.measured},
        index=pd.Index(axis.ensembl_ids, name="ensembl_id", dtype=object),
    )

    def blocks() -> Iterator[sparse.csr_matrix]:
        for row_ids, block in found.spool.blocks():
            yield block[np.flatnonzero(chosen[row_ids])]

    identity = {"study": study.name, "recipe": task.recipe_name, "split": split}
    return write_store(
        path,
        blocks=blocks(),
        obs=obs,
        var=var,
        nnz=int(found.nnz[chosen].sum()),
        curation=identity | {"recipe_fields": asdict(task.recipe), "seed": task.seed} | found.report,
        attributes=identity
        | {
            "assay": study.assay,
            "simulated": study.simulated,
            "count_kind": study.count_kind,
            "n_genes_measured": int(found.measured.sum()),
        },
    )


def _write_report(
    task: Curation, found: Survivors, batches: dict[str, Any], splits: dict[str, StoreRecord], path: Path
) -> None:
    study = task.study
    write_json(
        path,
        {
            "study": study.name,
            "recipe": task.recipe_name,
            "recipe_fields": asdict(task.recipe),
            "assay": study.assay,
            "simulated": study.simulated,
            "role": study.role,
        }
        | found.report
        | {
            "batches": batches,
            "splits": {
                split: {"n_samples": record.n_samples, "nnz": record.nnz, "digest": record.digest}
                for split, record in splits.items()
            },
            "expected": dict(study.expected or {}),
        },
    )
