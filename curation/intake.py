"""The one pass over a study's source: from files to samples on disk, with what all samples together tell.

Samples that the catalogue's filters or the recipe's choice of perturbations do not want are counted and left behind;
every other one goes to the spool with the counts of all mapped genes. Which genes and samples stay is judged from there
(`curation.judge`), so the source is read once.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from curation.blocks import NO_METADATA, Block
from curation.counts import INT32_MAX, Rounding, to_integers
from curation.errors import InputError
from curation.genes import GeneMap
from curation.labels import LABELS, LabelBook, label_samples
from curation.qc import NO_BATCH, kind_reasons, kinds_of, obs_filter_reasons, perturbation_reasons, read_phenoprints
from curation.recipe import Recipe
from curation.repeats import RepeatFinder
from curation.slots import Slots
from curation.spool import ROW, SampleSpool, csr, shuffle_keys
from curation.study_reader import StudyReader
from curation.tally import CountTally

PROGRESS_SECONDS = 15.0


@dataclass(frozen=True, kw_only=True)
class Intake:
    """A study's candidates on disk, and the sums over them.

    Attributes
    ----------
    spool : SampleSpool
        Candidates on slots.
    targets : ndarray of int64, shape (n_slots,)
        Axis position of each slot, -1 for a copy of another row of the table.
    book : LabelBook
        Values of the labels that the spool numbers.
    maps : list of GeneMap
        Of each part, copies dropped.
    detected : ndarray of int64, shape (n_axis_genes,)
        Candidates with a count at each gene.
    tally : CountTally
        Counts of each gene of each table over the candidates.
    dropped : Counter of str
        Samples left behind, by reason.
    rounding : Rounding
    """

    spool: SampleSpool
    targets: np.ndarray
    book: LabelBook
    maps: list[GeneMap]
    detected: np.ndarray
    tally: CountTally
    dropped: Counter[str]
    rounding: Rounding


def take_in(reader: StudyReader, recipe: Recipe, scratch: Path, *, seed_text: str) -> Intake:
    """Read the whole study once.

    Parameters
    ----------
    reader : StudyReader
    recipe : Recipe
        Its choice of perturbations and count kinds decides who is a candidate.
    scratch : Path
        Takes the spool.
    seed_text : str
        Seeds the shuffle.

    Raises
    ------
    InputError
        A value is not a count, two samples of a part have one id, or counts do not fit.
    """
    n_axis = len(reader.axis.ensembl_ids)
    maps = [part.genes for part in reader.parts]
    copies = [part.copies for part in reader.parts]
    slots = Slots(maps, copies, n_axis)
    spool = SampleSpool(scratch, n_columns=slots.n_slots, expected_nnz=reader.n_samples * reader.mean_nnz())
    ids = RepeatFinder(scratch)
    book, rounding, dropped = LabelBook(), Rounding(), Counter[str]()
    tally = CountTally([part.reader.gene_ids for part in reader.parts])
    detected = np.zeros(n_axis, dtype=np.int64)
    phenoprints = read_phenoprints(recipe)
    first_row, shown = 0, time.monotonic()
    for part, open_part in enumerate(reader.parts):
        prefix = f"{open_part.part.name}/" if len(reader.parts) > 1 else ""
        for block in open_part.reader.blocks():
            where = open_part.reader.where
            source_rows = np.arange(first_row, first_row + len(block.obs), dtype=np.int64)
            first_row += len(block.obs)
            ids.append(_id_hashes(block.obs.index, part), source_rows)
            labels, reasons = _candidates(block, reader, part, recipe, phenoprints)
            dropped.update(reason for reason in reasons if reason)
            chosen = np.flatnonzero(reasons == "")
            if not len(chosen):
                continue
            whole = len(chosen) == len(reasons)
            table = block.counts if whole else block.counts[chosen]
            kind = _strictest(kinds_of(labels["technology"].to_numpy()[chosen], reader.study))
            values = to_integers(table.data, count_kind=kind, where=where, record=rounding)
            table = csr(values, table.indices, table.indptr, table.shape[1])
            copies[part].update(table, source_rows[chosen])
            tally.add(part, table)
            counts = slots.assign(part, table)
            if counts.dtype != np.int32:
                _require_int32(counts.data, where)
                counts = counts.astype(np.int32)
            shown_genes = slots.on_axis(part, table) if slots.has_extra else counts
            detected += np.bincount(shown_genes.indices, minlength=n_axis)[:n_axis]
            rows = np.zeros(len(chosen), dtype=ROW)
            rows["key"], rows["part"] = shuffle_keys(seed_text, source_rows[chosen]), part
            rows["source_row"], rows["control"] = source_rows[chosen], labels["is_control"].to_numpy()[chosen]
            for label in LABELS:
                rows[label] = book.codes(label, labels[label].to_numpy()[chosen])
            names = [f"{reader.study.name}:{prefix}{sample}".encode() for sample in block.obs.index[chosen]]
            spool.append(rows, names, counts)
            if time.monotonic() - shown > PROGRESS_SECONDS:
                shown = time.monotonic()
                print(f"{reader.study.name}: {first_row:,} of {reader.n_samples:,} samples read", file=sys.stderr)
    _refuse_repeated_ids(ids.repeats(), reader)
    ids.close()
    spool.flush()
    maps = [genes.without_copies(finder.copies()) for genes, finder in zip(maps, copies, strict=True)]
    return Intake(
        spool=spool,
        targets=slots.targets(maps),
        book=book,
        maps=maps,
        detected=detected,
        tally=tally,
        dropped=dropped,
        rounding=rounding,
    )


def _candidates(
    block: Block, reader: StudyReader, part: int, recipe: Recipe, phenoprints: frozenset[str]
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return a block's labels, and why the catalogue or the recipe does not want a sample ("" for a candidate)."""
    study, source = reader.study, reader.parts[part]
    obs = block.obs.assign(**source.part.constants)
    labels = label_samples(obs, study, source.part.name, where=source.reader.where)
    reasons = obs_filter_reasons(obs, study.filters, where=source.reader.where)
    if NO_METADATA in obs:
        reasons[obs[NO_METADATA].to_numpy(dtype=bool)] = NO_METADATA
    for unwanted in (
        kind_reasons(labels["technology"].to_numpy(), study, recipe),
        perturbation_reasons(labels["perturbation"].to_numpy(), labels["is_control"].to_numpy(), recipe, phenoprints),
    ):
        reasons = np.where(reasons == "", unwanted, reasons)
    if study.obs.batch is not None:
        reasons[(labels["batch"] == "").to_numpy() & (reasons == "")] = NO_BATCH
    return labels, reasons


def _strictest(kinds: np.ndarray) -> str:
    """Return one of the kinds of a block's samples; `expected`, which lets values be rounded, only if all are."""
    found = sorted(set(kinds) - {"expected"})
    return str(found[0]) if found else "expected"


def _id_hashes(ids: pd.Index, part: int) -> np.ndarray:
    hashes: np.ndarray = pd.util.hash_array(ids.to_numpy(dtype=object), categorize=False)
    return hashes ^ shuffle_keys("part", np.array([part]))[0]


def _refuse_repeated_ids(rows: np.ndarray, reader: StudyReader) -> None:
    if not len(rows):
        return
    first_row, found = 0, []
    wanted = set(rows[:3].tolist())
    for part in reader.parts:
        for block in part.reader.blocks():
            found += [str(name) for i, name in enumerate(block.obs.index) if first_row + i in wanted]
            first_row += len(block.obs)
    raise InputError(
        f"{len(rows)} sample ids occur more than once",
        where=", ".join(part.reader.where for part in reader.parts),
        expected="one id a sample",
        found=", ".join(found),
        todo="split the file into parts in the catalogue, one a source file, so that ids are unique in a part",
    )


def _require_int32(values: np.ndarray, where: str) -> None:
    if len(values) and values.max() > INT32_MAX:
        raise InputError(
            "counts added up onto one gene do not fit in 32 bits",
            where=where,
            expected=f"counts up to {INT32_MAX}",
            found=str(values.max()),
            todo="use read counts, not coverage sums",
        )
