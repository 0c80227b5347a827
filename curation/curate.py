"""One study under one recipe: from fetched files to stores, in two passes over the source.

Pass 1 counts in how many samples each gene is seen, over the samples that the study's own filters and the recipe's
choice of perturbations leave. Pass 2 judges samples on the genes that are kept (genes first, then cells; paper,
section 3), and spools the survivors. The stores are then written in shuffled order.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from curation.axis import GeneAxis
from curation.blocks import NO_METADATA, Block, PartReader
from curation.catalog import Part, Study
from curation.copies import CopyFinder
from curation.counts import INT32_MAX, Rounding, to_integers
from curation.errors import InputError
from curation.genes import GeneMap, GeneNames, project
from curation.labels import label_samples
from curation.qc import (
    NO_BATCH,
    NOT_IN_EVERY_PART,
    RARE_GENE,
    count_reasons,
    obs_filter_reasons,
    perturbation_reasons,
    read_phenoprints,
)
from curation.readers import open_part
from curation.recipe import Recipe
from curation.report import gene_report, source_files
from curation.spool import ShuffleSpool, shuffle_keys
from curation.tally import CountTally

PROGRESS_SECONDS = 15.0


@dataclass(frozen=True, kw_only=True)
class OpenPart:
    """A part with its reader, its gene map, and what it finds out about repeated rows."""

    part: Part
    reader: PartReader
    genes: GeneMap
    copies: CopyFinder


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Samples of one block on the gene axis, before the genes are filtered.

    Attributes
    ----------
    counts : csr_matrix, int32, shape (n_samples, n_axis_genes)
    labels : DataFrame
        Index sample_id; `curation.labels.LABELS`, is_control and source_row.
    reasons : ndarray of str
        Why the catalogue or the recipe does not want a sample; "" for a candidate.
    part : int
        Index of the part.
    table_counts : csr_matrix, shape (n_samples, n_table_genes)
        The same samples on all genes of the part's table, mapped or not.
    """

    counts: sparse.csr_matrix
    labels: pd.DataFrame
    reasons: np.ndarray
    part: int
    table_counts: sparse.csr_matrix


@dataclass(frozen=True, kw_only=True)
class Survivors:
    """What the two passes leave.

    Attributes
    ----------
    labels : DataFrame
        The kept samples in the order of the source.
    spool : ShuffleSpool
        Their counts; row ids are positions in `labels`.
    order : ndarray of int64
        The order in which the spool returns them.
    nnz : ndarray of int64
        Non-zeros of each kept sample.
    measured : ndarray of bool, shape (n_axis_genes,)
        Genes that the study's tables have and the recipe keeps.
    report : dict
        Samples, genes and counts read, kept and dropped, by reason.
    """

    labels: pd.DataFrame
    spool: ShuffleSpool
    order: np.ndarray
    nnz: np.ndarray
    measured: np.ndarray
    report: dict[str, Any]


class StudyReader:
    """Reads the parts of a study, one after the other, onto the gene axis."""

    def __init__(self, study: Study, recipe: Recipe, axis: GeneAxis, sources: Path, scratch: Path) -> None:
        self.study = study
        self.recipe = recipe
        self.axis = axis
        self._phenoprints = read_phenoprints(recipe)
        self.sources = sources
        self._stack = ExitStack()
        names = GeneNames(axis)
        self.parts: list[OpenPart] = []
        for part in study.parts:
            reader = self._stack.enter_context(closing(open_part(part, sources=sources, scratch=scratch)))
            genes = names.map(reader.gene_ids, study.gene_ids, keep_prefix=study.gene_prefix_keep)
            self.parts.append(OpenPart(part=part, reader=reader, genes=genes, copies=CopyFinder(reader.gene_ids)))
        self.n_samples = sum(part.reader.n_samples for part in self.parts)

    def close(self) -> None:
        """Close every part."""
        self._stack.close()

    def drop_copies(self) -> None:
        """Drop the repeated rows that the first pass found, so that the second does not add them up."""
        self.parts = [replace(part, genes=part.genes.without_copies(part.copies.copies())) for part in self.parts]

    def candidates(self, *, record: Rounding, find_copies: bool, pass_name: str) -> Iterator[Candidates]:
        """Yield all samples of the study in order; `record` takes what was rounded."""
        first_row, started = 0, time.monotonic()
        for part_index, open_part_ in enumerate(self.parts):
            where = str(self.sources / open_part_.part.files["matrix"])
            for block in open_part_.reader.blocks():
                values = to_integers(block.counts.data, count_kind=self.study.count_kind, where=where, record=record)
                counts = sparse.csr_matrix(
                    (values, block.counts.indices, block.counts.indptr), shape=block.counts.shape
                )
                if find_copies:
                    open_part_.copies.update(counts, first_row)
                yield self._candidates(part_index, counts, block, first_row, where)
                first_row += counts.shape[0]
                if time.monotonic() - started > PROGRESS_SECONDS:
                    started = time.monotonic()
                    print(
                        f"{self.study.name}: {pass_name}: {first_row:,} of {self.n_samples:,} samples", file=sys.stderr
                    )

    def _candidates(
        self, part_index: int, counts: sparse.csr_matrix, block: Block, first_row: int, where: str
    ) -> Candidates:
        study, source = self.study, self.parts[part_index]
        obs = block.obs.assign(**source.part.constants)
        labels = label_samples(obs, study, source.part.name, where=where)
        reasons = obs_filter_reasons(obs, study.filters, where=where)
        unwanted = perturbation_reasons(
            labels["perturbation"].to_numpy(), labels["is_control"].to_numpy(), self.recipe, self._phenoprints
        )
        reasons = np.where(reasons == "", unwanted, reasons)
        if study.obs.batch is not None:
            reasons[(labels["batch"] == "").to_numpy() & (reasons == "")] = NO_BATCH
        if NO_METADATA in obs:
            reasons[obs[NO_METADATA].to_numpy(dtype=bool)] = NO_METADATA
        prefix = f"{study.name}:{source.part.name}/" if len(self.parts) > 1 else f"{study.name}:"
        labels.index = pd.Index([f"{prefix}{sample}" for sample in obs.index], name="sample_id", dtype=object)
        labels["source_row"] = np.arange(first_row, first_row + len(obs), dtype=np.int64)
        wide = project(counts.astype(np.int64), source.genes.positions, len(self.axis.ensembl_ids))
        if wide.nnz and wide.data.max() > INT32_MAX:
            raise InputError(
                "counts added up onto one gene do not fit in 32 bits",
                where=where,
                expected=f"counts up to {INT32_MAX}",
                found=str(wide.data.max()),
                todo="use read counts, not coverage sums",
            )
        return Candidates(
            counts=wide.astype(np.int32), labels=labels, reasons=reasons, part=part_index, table_counts=counts
        )


def filter_study(reader: StudyReader, scratch: Path, *, seed_text: str) -> Survivors:
    """Run both passes.

    Parameters
    ----------
    reader : StudyReader
    scratch : Path
        Takes the spool.
    seed_text : str
        Seeds the shuffle.

    Raises
    ------
    InputError
        Too small a share of the counts is on known genes, or nothing is left.
    """
    recipe, n_axis = reader.recipe, len(reader.axis.ensembl_ids)
    detected = np.zeros(n_axis, dtype=np.int64)
    tally = CountTally([part.reader.gene_ids for part in reader.parts])
    nnz = 0
    for found in reader.candidates(record=Rounding(), find_copies=True, pass_name="pass 1"):
        wanted = np.flatnonzero(found.reasons == "")
        tally.add(found.part, found.table_counts[wanted])
        counts = found.counts[wanted]
        detected += np.bincount(counts.indices, minlength=n_axis)
        nnz += counts.nnz
    tally.require_counts(f"study {reader.study.name}")
    reader.drop_copies()
    maps = [part.genes for part in reader.parts]
    mapped_share = tally.mapped_share(maps)
    measured, axis_drops = measured_genes(reader, detected)
    _require_known_genes(reader, mapped_share, measured, tally.n_samples)

    keep = np.where(measured, np.arange(n_axis), -1)
    record, dropped, dropped_counts = Rounding(), Counter[str](), Counter[str](tally.by_reason(maps, axis_drops))
    spool = ShuffleSpool(scratch, n_columns=n_axis, expected_nnz=nnz)
    labels: list[pd.DataFrame] = []
    row_nnz: list[np.ndarray] = []
    row_keys: list[np.ndarray] = []
    kept_total = n_kept = 0
    for found in reader.candidates(record=record, find_copies=False, pass_name="pass 2"):
        counts = project(found.counts, keep, n_axis)
        library_size = np.asarray(counts.sum(axis=1, dtype=np.int64)).ravel()
        reasons = np.where(
            found.reasons == "", count_reasons(np.diff(counts.indptr), library_size, recipe), found.reasons
        )
        dropped.update(reason for reason in reasons if reason)
        judged = set(reasons[found.reasons == ""]) - {""}  # candidates dropped for their counts on the kept genes
        for reason in judged:
            dropped_counts[reason] += int(library_size[reasons == reason].sum())
        kept = np.flatnonzero(reasons == "")
        chosen = found.labels.iloc[kept]
        keys = shuffle_keys(seed_text, chosen["source_row"].to_numpy())
        spool.append(counts[kept], keys, np.arange(n_kept, n_kept + len(kept)))
        labels.append(chosen)
        row_keys.append(keys)
        row_nnz.append(np.diff(counts.indptr)[kept])
        kept_total += int(library_size[kept].sum())
        n_kept += len(kept)
    if not n_kept:
        raise InputError(
            "no sample is left",
            where=f"study {reader.study.name}, recipe {recipe}",
            expected="at least one sample that passes every filter",
            found=", ".join(f"{count} {reason}" for reason, count in dropped.items()),
            todo="lower the recipe's thresholds",
        )
    table = pd.concat(labels)
    assert tally.total == kept_total + dropped_counts.total(), "every count is kept or dropped under one reason"
    genes = gene_report([part.reader.gene_ids for part in reader.parts], maps)
    gene_reasons = {reason: int(mask.sum()) for reason, mask in axis_drops.items() if mask.any()}
    report = {
        "samples": {"read": reader.n_samples, "kept": n_kept, "dropped": dict(sorted(dropped.items()))},
        "genes": genes | {"dropped": genes["dropped"] | gene_reasons, "kept": int(measured.sum())},
        "counts": {
            "kind": reader.study.count_kind,
            "total": tally.total,
            "mapped_share": mapped_share,
            "kept_samples_total": kept_total,
            "dropped": dict(sorted(dropped_counts.items())),
            "max_rounding": record.max_distance,
            "n_rounded": record.n_rounded,
            "n_values": record.n_values,
        },
        "sources": source_files(reader.study, reader.sources),
    }
    return Survivors(
        labels=table,
        spool=spool,
        order=np.lexsort((np.arange(n_kept), np.concatenate(row_keys))),
        nnz=np.concatenate(row_nnz).astype(np.int64),
        measured=measured,
        report=report,
    )


def measured_genes(reader: StudyReader, detected: np.ndarray) -> tuple[np.ndarray, Mapping[str, np.ndarray]]:
    """Return which axis genes the study measures, and which mapped genes are dropped, by reason.

    A gene that one part of the study lacks is unknown for that part's samples, so it is dropped for the whole study. A
    gene below the recipe's threshold is dropped, too: unknown, not zero.
    """
    in_parts = np.zeros(len(detected), dtype=np.int64)
    for part in reader.parts:
        in_parts[part.genes.measured] += 1
    everywhere = in_parts == len(reader.parts)
    frequent = detected >= reader.recipe.min_samples_per_gene
    drops = {NOT_IN_EVERY_PART: (in_parts > 0) & ~everywhere, RARE_GENE: everywhere & ~frequent}
    return everywhere & frequent, drops


def _require_known_genes(reader: StudyReader, mapped_share: float, measured: np.ndarray, n_candidates: int) -> None:
    study, needed = reader.study, reader.recipe.min_gene_count_share
    if n_candidates and (mapped_share < needed or not measured.any()):
        examples = [
            gene
            for part in reader.parts
            for gene, reason in zip(part.reader.gene_ids, part.genes.reasons, strict=True)
            if reason
        ][:5]
        raise InputError(
            "too few of the study's counts are on genes of the axis",
            where=f"study {study.name}, gene_ids: {study.gene_ids}",
            expected=f"at least {needed:.0%} of the counts, and a gene above the recipe's thresholds",
            found=f"{mapped_share:.1%} of the counts, {measured.sum()} genes; not mapped: {', '.join(examples)}",
            todo="correct `gene_ids` of the study, check its organism, or lower min_gene_count_share or "
            "min_samples_per_gene of the recipe",
        )
