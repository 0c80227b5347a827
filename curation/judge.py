"""Which genes and samples of a study stay, decided from what its one pass put on disk.

Genes first, then samples on the genes that are left (paper, section 3), then samples that repeat another one, then
batches with too few samples. Each dropped sample has the first reason that holds in this order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from curation.blocks import NO_METADATA
from curation.counts import INT32_MAX
from curation.errors import InputError
from curation.fingerprint import Fingerprints, evident, fingerprints_of, weights_of
from curation.gene_advice import advice
from curation.genes import project
from curation.intake import Intake
from curation.labels import LabelBook
from curation.qc import (
    DUPLICATE,
    NO_BATCH,
    NO_PHENOPRINT,
    NOT_CONTROL,
    NOT_IN_EVERY_PART,
    OTHER_STUDY,
    RARE_GENE,
    SMALL_BATCH,
    kinds_of,
    mito_mask,
    sample_reasons,
)
from curation.readers.read_ahead import read_ahead
from curation.recipe import Recipe
from curation.repeats import RepeatFinder
from curation.report import gene_report, source_files
from curation.slots import relabel, sort_columns
from curation.spool import Run, csr
from curation.study_reader import StudyReader

# What is known of a candidate after it was judged; reason is a place in `Verdicts.reasons`, 0 for a kept sample
JUDGED = np.dtype([("reason", "<i4"), ("n_genes", "<i4"), ("library_size", "<i8"), ("fingerprint", "<u8")])


@dataclass(frozen=True, kw_only=True)
class BatchTotals:
    """Kept samples, non-zeros and counts of each batch, by the batch's number in the label book."""

    samples: np.ndarray
    nnz: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """What stays of a study.

    Attributes
    ----------
    intake : Intake
        Its spool keeps, beside each run, an array of JUDGED.
    measured : ndarray of bool, shape (n_axis_genes,)
        Genes that the study's tables have and the recipe keeps.
    kept_slots : ndarray of int64, shape (n_slots,)
        Axis position of each slot, -1 for what is dropped.
    reasons : tuple of str
        "" and every reason that some sample was dropped for.
    batches : BatchTotals
        After every filter; a batch that is too small has nothing.
    report : dict
        Samples, genes and counts read, kept and dropped, by reason.
    """

    intake: Intake
    measured: np.ndarray
    kept_slots: np.ndarray
    reasons: tuple[str, ...]
    batches: BatchTotals
    report: dict[str, Any]

    def kept(self, run: Run) -> tuple[np.ndarray, np.ndarray]:
        """Return the kept samples of a run, as places in it in the order of the stores, and their JUDGED."""
        judged = self.intake.spool.annotation(run.number, JUDGED)
        stays = (judged["reason"] == 0) & (self.batches.samples[run.rows["batch"]] > 0)
        places = np.flatnonzero(stays)
        order = np.lexsort((run.rows["source_row"][places], run.rows["key"][places]))
        return places[order], judged[places[order]]

    def counts(self, run: Run, places: np.ndarray) -> sparse.csr_matrix:
        """Return the counts of some samples of a run on kept genes of the axis, columns sorted."""
        return sort_columns(on_axis(run.counts[places], self.kept_slots, len(self.measured)))


class _ReasonBook:
    """Numbers reasons; 0 is no reason."""

    def __init__(self) -> None:
        self._numbers = {"": 0}

    def number(self, reason: str) -> int:
        return self._numbers.setdefault(reason, len(self._numbers))

    @property
    def reasons(self) -> tuple[str, ...]:
        return tuple(self._numbers)


def judge(
    intake: Intake, reader: StudyReader, recipe: Recipe, scratch: Path, *, others: Fingerprints | None = None
) -> Verdicts:
    """Decide which genes and samples stay.

    Parameters
    ----------
    intake : Intake
    reader : StudyReader
    recipe : Recipe
    scratch : Path
        Takes what finds repeated samples.
    others : Fingerprints, optional
        Of the samples that the recipe's `drop_samples_of` names.

    Raises
    ------
    InputError
        Too small a share of the counts is on known genes, or nothing is left.
    """
    study, tally = reader.study, intake.tally
    tally.require_counts(f"study {study.name}")
    mapped_share = tally.mapped_share(intake.maps)
    measured, axis_drops = _measured_genes(reader, intake, recipe)
    _require_known_genes(reader, intake, recipe, mapped_share, measured)
    kept_slots = np.where((intake.targets >= 0) & measured[np.maximum(intake.targets, 0)], intake.targets, -1)
    book, repeats = _ReasonBook(), RepeatFinder(scratch)
    _judge_alone(intake, reader, recipe, kept_slots, book, repeats)
    rows = repeats.repeats() if recipe.drop_duplicates else np.empty(0, dtype=np.int64)
    repeats.close()
    batches = _judge_together(intake, recipe, rows, others, book)
    dropped = Counter(intake.dropped)
    dropped_counts = Counter(tally.by_reason(intake.maps, axis_drops))
    for reason, (n_samples, counts) in batches.dropped.items():
        dropped[reason] += n_samples
        dropped_counts[reason] += counts
    kept = batches.totals
    n_kept, kept_total = int(kept.samples.sum()), int(kept.counts.sum())
    if not n_kept:
        _refuse_nothing_left(reader, recipe, dropped)
    if tally.total != kept_total + dropped_counts.total():
        raise RuntimeError(
            f"study {study.name}: {tally.total:,} counts read, {kept_total:,} kept and {dropped_counts.total():,} "
            "dropped: every count is kept or dropped under one reason, so this is a fault of the program"
        )
    tables = [part.reader.gene_ids for part in reader.parts]
    genes = gene_report(tables, intake.maps, tally.totals)
    gene_reasons = {reason: int(mask.sum()) for reason, mask in axis_drops.items() if mask.any()}
    record = intake.rounding
    report = {
        "samples": {"read": reader.n_samples, "kept": n_kept, "dropped": dict(sorted(dropped.items()))},
        "genes": genes
        | {"dropped": genes["dropped"] | gene_reasons, "kept": int(measured.sum())}
        | {"no_genes": _no_genes(reader)},
        "counts": {
            "kind": study.count_kind,
            "total": tally.total,
            "mapped_share": mapped_share,
            "kept_samples_total": kept_total,
            "dropped": {reason: n for reason, n in sorted(dropped_counts.items()) if n},
            "max_rounding": record.max_distance,
            "n_rounded": record.n_rounded,
            "n_values": record.n_values,
        },
        "sources": source_files(study, reader.sources),
    }
    return Verdicts(
        intake=intake,
        measured=measured,
        kept_slots=kept_slots,
        reasons=book.reasons,
        batches=kept,
        report=report,
    )


def on_axis(counts: sparse.csr_matrix, positions: np.ndarray, n_axis_genes: int) -> sparse.csr_matrix:
    """Return int32 counts of slots on the axis, by the position of each slot; slots that meet are added."""
    if len(positions) == n_axis_genes:
        return relabel(counts, positions, n_axis_genes)
    moved = project(counts.astype(np.int64), positions, n_axis_genes)
    assert not moved.nnz or moved.data.max() <= INT32_MAX, "the intake has seen these sums"
    return moved.astype(np.int32)


def _judge_alone(
    intake: Intake,
    reader: StudyReader,
    recipe: Recipe,
    kept_slots: np.ndarray,
    book: _ReasonBook,
    repeats: RepeatFinder,
) -> None:
    """Judge each sample by its own counts, and keep the result beside its run."""
    n_axis = len(reader.axis.ensembl_ids)
    weights, mito = weights_of(reader.axis.ensembl_ids), mito_mask(reader.axis.genes)
    is_mito, some_mito = mito.astype(np.int64), any(mito[genes.measured].any() for genes in intake.maps)
    technologies = intake.book.values("technology")
    is_kept = np.zeros(n_axis, dtype=np.int64)
    is_kept[kept_slots[kept_slots >= 0]] = 1
    for run in read_ahead(intake.spool.runs()):
        counts = on_axis(run.counts, intake.targets, n_axis) if len(intake.targets) > n_axis else run.counts
        shown = csr(np.ones(counts.nnz, dtype=np.int32), counts.indices, counts.indptr, n_axis)
        n_genes, library_size = shown @ is_kept, counts @ is_kept
        mito_share = np.full(len(run.rows), np.nan)
        if some_mito and recipe.judges_mito:
            mito_share = (counts @ is_mito) / np.maximum(counts.sum(axis=1, dtype=np.int64).A1, 1)
        technology = technologies[run.rows["technology"]]
        reasons = sample_reasons(
            n_genes, library_size, mito_share, technology, kinds_of(technology, reader.study), recipe
        )
        judged = np.zeros(len(run.rows), dtype=JUDGED)
        judged["n_genes"], judged["library_size"] = n_genes, library_size
        judged["fingerprint"] = fingerprints_of(counts, weights)
        for reason in set(reasons) - {""}:
            judged["reason"][reasons == reason] = book.number(reason)
        intake.spool.annotate(run.number, judged)
        candidates = (judged["reason"] == 0) & evident(n_genes, library_size)
        repeats.append(judged["fingerprint"][candidates], run.rows["source_row"][candidates])


@dataclass(frozen=True, kw_only=True)
class _Together:
    totals: BatchTotals
    dropped: Mapping[str, tuple[int, int]]


def _judge_together(
    intake: Intake, recipe: Recipe, repeated_rows: np.ndarray, others: Fingerprints | None, book: _ReasonBook
) -> _Together:
    """Judge samples beside others: repeats, samples of other studies, small batches."""
    spool, n_batches = intake.spool, len(intake.book.values("batch"))
    samples, nnz, counts = (np.zeros(n_batches, dtype=np.int64) for _ in range(3))
    dropped: dict[str, tuple[int, int]] = {}

    def drop(reason: str, n_samples: int, n_counts: int) -> None:
        known = dropped.get(reason, (0, 0))
        dropped[reason] = (known[0] + n_samples, known[1] + n_counts)

    for run in range(spool.n_runs):
        rows = spool.rows(run)
        if not len(rows):
            continue
        judged = spool.annotation(run, JUDGED)
        if others is not None:
            seen = others.hold(judged["fingerprint"]) & evident(judged["n_genes"], judged["library_size"])
            judged["reason"][seen & (judged["reason"] == 0)] = book.number(OTHER_STUDY)
        if len(repeated_rows):
            again = np.isin(rows["source_row"], repeated_rows)
            judged["reason"][again & (judged["reason"] == 0)] = book.number(DUPLICATE)
        spool.annotate(run, judged)
        for number in np.unique(judged["reason"]).tolist():
            chosen = judged["reason"] == number
            if number:
                drop(book.reasons[number], int(chosen.sum()), int(judged["library_size"][chosen].sum()))
                continue
            batch = rows["batch"][chosen]
            samples += np.bincount(batch, minlength=n_batches)
            np.add.at(nnz, batch, judged["n_genes"][chosen])
            np.add.at(counts, batch, judged["library_size"][chosen])
    small = (samples > 0) & (samples < recipe.min_samples_per_batch)
    if small.any():
        drop(SMALL_BATCH, int(samples[small].sum()), int(counts[small].sum()))
        samples[small] = nnz[small] = counts[small] = 0
    return _Together(totals=BatchTotals(samples=samples, nnz=nnz, counts=counts), dropped=dropped)


def _refuse_nothing_left(reader: StudyReader, recipe: Recipe, dropped: Mapping[str, int]) -> None:
    study = reader.study
    of_filters = {rule.reason for rule in study.filters}
    advice = {
        "the recipe's thresholds": any(reason.startswith(("below_", "above_")) for reason in dropped),
        "`filters` of the study": any(reason in of_filters for reason in dropped),
        "`obs.batch` of the study": NO_BATCH in dropped,
        "the files and `obs` of the part, whose ids must be those of the metadata": NO_METADATA in dropped,
        "`obs.perturbation` and `obs.control_labels` of the study": NOT_CONTROL in dropped,
        f"the perturbations of {recipe.phenoprints}, which must be the study's": NO_PHENOPRINT in dropped,
        "`count_kinds` of the recipe": any(reason.startswith("count_kind_") for reason in dropped),
        "`drop_samples_of` of the recipe": OTHER_STUDY in dropped,
    }
    raise InputError(
        "no sample is left",
        where=f"study {study.name}",
        expected="at least one sample that passes every filter",
        found=", ".join(f"{count:,} {reason}" for reason, count in sorted(dropped.items())),
        todo=f"check {'; '.join(what for what, holds in advice.items() if holds)}",
    )


def _no_genes(reader: StudyReader) -> dict[str, int]:
    """Return how many entries of the tables are no genes, by kind."""
    found = Counter[str]()
    for part in reader.parts:
        found.update(part.reader.left_out)
    return dict(sorted(found.items()))


def batch_sizes(verdicts: Verdicts, book: LabelBook) -> dict[str, int]:
    """Return the kept samples of each batch that has some."""
    pairs = zip(book.values("batch"), verdicts.batches.samples.tolist(), strict=True)
    return {str(batch): n for batch, n in pairs if n}


def _measured_genes(reader: StudyReader, intake: Intake, recipe: Recipe) -> tuple[np.ndarray, Mapping[str, np.ndarray]]:
    """Return which axis genes the study measures, and which mapped genes are dropped, by reason.

    A gene that one part of the study lacks is unknown for that part's samples, so it is dropped for the whole study. A
    gene below the recipe's threshold is dropped, too: unknown, not zero.
    """
    in_parts = np.zeros(len(intake.detected), dtype=np.int64)
    for genes in intake.maps:
        in_parts[genes.measured] += 1
    everywhere = in_parts == len(reader.parts)
    frequent = intake.detected >= recipe.min_samples_per_gene
    drops = {NOT_IN_EVERY_PART: (in_parts > 0) & ~everywhere, RARE_GENE: everywhere & ~frequent}
    return everywhere & frequent, drops


def _require_known_genes(
    reader: StudyReader, intake: Intake, recipe: Recipe, mapped_share: float, measured: np.ndarray
) -> None:
    study, needed = reader.study, recipe.min_gene_count_share
    if intake.tally.n_samples and not intake.tally.total:
        raise InputError(
            "every count is 0",
            where=", ".join(part.reader.where for part in reader.parts),
            expected="counts above 0",
            found=f"{intake.tally.n_samples:,} samples without any",
            todo="point the catalogue at the raw count matrix of this study, or fetch the file again",
        )
    if intake.tally.n_samples and (mapped_share < needed or not measured.any()):
        pairs = [
            pair
            for part, genes in zip(reader.parts, intake.maps, strict=True)
            for pair in zip(part.reader.gene_ids, genes.reasons, strict=True)
        ]
        examples = [gene for gene, reason in pairs if reason][:5]
        tables = [part.reader.gene_ids for part in reader.parts]
        raise InputError(
            "too few of the study's counts are on genes of the axis",
            where=f"study {study.name}, gene_ids: {study.gene_ids}",
            expected=f"at least {needed:.0%} of the counts, and a gene above the recipe's thresholds",
            found=f"{mapped_share:.1%} of the counts, {measured.sum()} genes; not mapped: {', '.join(examples)}",
            todo=advice(
                reader.names,
                tables,
                intake.maps,
                intake.tally.totals,
                id_kind=study.gene_ids,
                keep_prefix=study.gene_prefix_keep,
            ),
        )
