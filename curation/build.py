"""Write the stores and the QC report of a curated study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from curation.axis import GeneAxis
from curation.catalog import Study
from curation.fingerprint import Fingerprints
from curation.in_order import in_order
from curation.intake import take_in
from curation.json_file import write_json
from curation.judge import Verdicts, batch_sizes, judge
from curation.labels import LABELS
from curation.obs_writer import SAMPLE
from curation.readers.read_ahead import read_ahead
from curation.recipe import Recipe
from curation.scratch import scratch_folder
from curation.split import validation_batches
from curation.spool import Run
from curation.store import StoreIdentity, StoreRecord, StoreWriter
from curation.study_reader import StudyReader

ONE_BATCH = "the study has one batch: all its samples are for training, none for validation"
# Threads that sort and compress, beside one that digests; a store is the same for any number
THREADS = 2
# Non-zeros that are sorted in one piece: 256 cells, 4 MB. With four times as many it took 1.6 times as long a non-zero
PIECE_NNZ = 2**19
PIECES_AHEAD = 2


@dataclass(frozen=True, kw_only=True)
class Curation:
    """What to curate: a study under a recipe, on an axis.

    `seed` seeds the order of the samples in the stores; `other_stores` hold the samples of the studies that
    `drop_samples_of` of the recipe names; `threads` sort and compress, and change nothing in the stores.
    """

    study: Study
    recipe: Recipe
    recipe_name: str
    genes: Path
    sources: Path
    seed: int
    other_stores: tuple[Path, ...] = ()
    threads: int = THREADS


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

    Raises
    ------
    InputError
        The study's files are not what the catalogue says, or nothing of it is left.
    """
    with scratch_folder(train.parent, f"{task.study.name}.{task.recipe_name}") as scratch:
        axis, verdicts = _judged(task, scratch)
        sizes = batch_sizes(verdicts, verdicts.intake.book)
        held = validation_batches(sizes, study=task.study.name, share=validation_share, seed=task.seed)
        paths = {"train": train, "validation": validation}
        chosen = {"train": frozenset(sizes) - held, "validation": held}
        records = _write_stores(task, axis, verdicts, paths, chosen, scratch)
    batches = {
        "n": len(sizes),
        "train": sorted(set(sizes) - held),
        "validation": sorted(held),
        "note": ONE_BATCH if len(sizes) == 1 else "",
        "wanted_validation_share": validation_share,
        "validation_share": round(sum(sizes[batch] for batch in held) / sum(sizes.values()), 4),
    }
    _write_report(task, verdicts, batches, records, report)


def curate_evaluation(task: Curation, *, evaluation: Path, report: Path) -> None:
    """Curate a held-out study into one store, outside any corpus, and its QC report."""
    with scratch_folder(evaluation.parent, f"{task.study.name}.{task.recipe_name}") as scratch:
        axis, verdicts = _judged(task, scratch)
        sizes = batch_sizes(verdicts, verdicts.intake.book)
        chosen = {"evaluation": frozenset(sizes)}
        records = _write_stores(task, axis, verdicts, {"evaluation": evaluation}, chosen, scratch)
    batches = {
        "n": len(sizes),
        "train": [],
        "validation": [],
        "note": "held out for evaluation: no sample is for training",
    }
    _write_report(task, verdicts, batches, records, report)


def _judged(task: Curation, scratch: Path) -> tuple[GeneAxis, Verdicts]:
    """Return the axis and what stays of a study; what it needs on disk lies in `scratch`."""
    axis = GeneAxis.read(task.genes)
    others = Fingerprints.of_stores(task.other_stores) if task.recipe.drop_samples_of else None
    with closing(StudyReader(task.study, axis, task.sources, scratch)) as reader:
        seed_text = f"{task.seed}:{task.study.name}:{task.recipe_name}"
        intake = take_in(reader, task.recipe, scratch, seed_text=seed_text)
        return axis, judge(intake, reader, task.recipe, scratch, others=others)


def _write_stores(
    task: Curation,
    axis: GeneAxis,
    verdicts: Verdicts,
    paths: Mapping[str, Path],
    batches: Mapping[str, frozenset[str]],
    scratch: Path,
) -> dict[str, StoreRecord]:
    """Write the stores of all splits in one pass over the spool."""
    book, totals = verdicts.intake.book, verdicts.batches
    splits = list(paths)
    of_batch = np.full(len(totals.samples), -1)
    for number, batch in enumerate(book.values("batch")):
        of_batch[number] = next((i for i, split in enumerate(splits) if batch in batches[split]), -1)
    labels = {label: book.values(label) for label in LABELS}
    with ThreadPoolExecutor(task.threads) as pool, ThreadPoolExecutor(1) as hasher, ExitStack() as stack:
        writers = []
        for i, split in enumerate(splits):
            identity = _identity(task, axis, verdicts, of_batch == i, path=paths[split], split=split)
            writers.append(StoreWriter(identity, scratch=scratch, pool=pool, hasher=hasher))
            stack.callback(writers[-1].discard)
        pieces = _pieces(verdicts, of_batch, len(splits))
        for piece, counts in in_order(pool, lambda piece: piece.counts(verdicts), pieces, ahead=PIECES_AHEAD):
            writers[piece.split].append(counts, piece.samples, piece.names)
        curation = {"recipe_fields": asdict(task.recipe), "seed": task.seed} | verdicts.report
        own = {"study": task.study.name, "recipe": task.recipe_name}
        return {
            split: writer.finish(labels, own | {"split": split} | curation)
            for split, writer in zip(splits, writers, strict=True)
        }


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """Some samples of a run that go to one store, in its order; `split` is the number of that store."""

    run: Run
    split: int
    places: np.ndarray
    samples: np.ndarray
    names: list[str]

    def counts(self, verdicts: Verdicts) -> sparse.csr_matrix:
        return verdicts.counts(self.run, self.places)


def _pieces(verdicts: Verdicts, of_batch: np.ndarray, n_splits: int) -> Iterator[_Piece]:
    spool = verdicts.intake.spool
    for run in read_ahead(spool.runs()):
        places, judged = verdicts.kept(run)
        names = spool.names(run.number)
        split_of_row = of_batch[run.rows["batch"][places]]
        for split in range(n_splits):
            mine = np.flatnonzero(split_of_row == split)
            before = np.cumsum(run.rows["nnz"][places[mine]], dtype=np.int64)
            cuts = np.flatnonzero(np.diff(before // PIECE_NNZ)) + 1
            for chosen in np.split(mine, cuts):
                yield _Piece(
                    run=run,
                    split=split,
                    places=places[chosen],
                    samples=_samples(run, places[chosen], judged[chosen]),
                    names=[names[place] for place in places[chosen].tolist()],
                )


def _samples(run: Run, places: np.ndarray, judged: np.ndarray) -> np.ndarray:
    samples = np.zeros(len(places), dtype=SAMPLE)
    for name in (*LABELS, "source_row"):
        samples[name] = run.rows[name][places]
    samples["is_control"] = run.rows["control"][places]
    for name in ("library_size", "n_genes", "fingerprint"):
        samples[name] = judged[name]
    return samples


def _identity(
    task: Curation, axis: GeneAxis, verdicts: Verdicts, batches: np.ndarray, *, path: Path, split: str
) -> StoreIdentity:
    study, totals = task.study, verdicts.batches
    var = pd.DataFrame(
        {"symbol": axis.genes["symbol"].to_numpy(), "measured": verdicts.measured},
        index=pd.Index(axis.ensembl_ids, name="ensembl_id", dtype=object),
    )
    return StoreIdentity(
        path=path,
        study=study.name,
        recipe=task.recipe_name,
        split=split,
        assay=study.assay,
        simulated=study.simulated,
        var=var,
        n_samples=int(totals.samples[batches].sum()),
        nnz=int(totals.nnz[batches].sum()),
        attributes={"count_kind": study.count_kind, "n_genes_measured": int(verdicts.measured.sum())},
    )


def _write_report(
    task: Curation, verdicts: Verdicts, batches: dict[str, Any], records: Mapping[str, StoreRecord], path: Path
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
        | verdicts.report
        | {
            "batches": batches,
            "splits": {
                split: {"n_samples": record.n_samples, "nnz": record.nnz, "digest": record.digest}
                for split, record in records.items()
            },
            "expected": dict(study.expected or {}),
        },
    )
