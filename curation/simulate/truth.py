"""What must come out of a simulated study: each sample's fate and counts, by the definitions of the documents.

Nothing here is taken from the code that curates. The source is drawn again twice: once to see which genes are frequent
enough, once to judge the samples on them.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from scipy import sparse

from curation.simulate.axis_names import AxisNames
from curation.simulate.candidates import LABELS, Recipe, describe, first_reason
from curation.simulate.checksums import Checksums
from curation.simulate.gene_fates import GeneFates
from curation.simulate.study import Samples, SimulatedPart, SimulatedStudy

CELL_COLUMNS = ("sample_id", "outcome", "library_size", "n_genes", "checksum", *LABELS)
KEPT = "kept"
# Counts that make two equal samples copies of each other; fewer may be equal by chance
EVIDENT_GENES, EVIDENT_COUNTS = 30, 100
NOT_COUNTS = ("smartseq_tpm", "coverage")


@dataclass(kw_only=True)
class _Tally:
    """What one pass over the candidates of a recipe adds up."""

    detected: np.ndarray
    totals: list[np.ndarray]
    has_mito: bool
    dropped: Counter[str] = field(default_factory=Counter)


def write_truth(
    study: SimulatedStudy, entry: Mapping[str, Any], recipes: list[Recipe], names: AxisNames, folder: Path
) -> None:
    """Write <study>.<recipe>.{cells.tsv.gz,genes.tsv.gz,json} for each recipe.

    Parameters
    ----------
    study : SimulatedStudy
    entry : mapping
        The study's entry of the rehearsal's sheet: which columns are labels, which samples are filtered.
    recipes : list of Recipe
    names : AxisNames
    folder : Path
    """
    folder.mkdir(parents=True, exist_ok=True)
    tallies = _count(study, entry, recipes, names)
    for recipe in recipes:
        _Judge(study, entry, recipe, names, tallies[recipe.name]).write(folder)


def _count(
    study: SimulatedStudy, entry: Mapping[str, Any], recipes: list[Recipe], names: AxisNames
) -> dict[str, _Tally]:
    """Draw the study once; return the sums over the candidates of each recipe."""
    tallies = {
        recipe.name: _Tally(
            detected=np.zeros(len(names), dtype=np.int64),
            totals=[np.zeros(len(part.genes), dtype=np.int64) for part in study.parts],
            has_mito=any(part.genes.is_mito.any() for part in study.parts),
        )
        for recipe in recipes
    }
    for number, part in enumerate(study.parts):
        onto_axis = _onto_axis(part, len(names))
        for samples in part.blocks():
            for recipe in recipes:
                tally = tallies[recipe.name]
                _, reasons = describe(samples, part, entry, recipe)
                tally.dropped.update(reason for reason in reasons if reason)
                wanted = samples.counts[np.flatnonzero(reasons == "")]
                tally.totals[number] += np.asarray(wanted.sum(axis=0, dtype=np.int64)).ravel()
                tally.detected += np.asarray((wanted.astype(np.int64) @ onto_axis > 0).sum(axis=0)).ravel()
    return tallies


def _onto_axis(part: SimulatedPart, n_axis: int) -> sparse.csr_matrix:
    """Return the (n_table_genes, n_axis_genes) matrix that adds a table's columns up on the axis."""
    rows = np.flatnonzero(part.genes.positions >= 0)
    ones = np.ones(len(rows), dtype=np.int64)
    return sparse.csr_matrix((ones, (rows, part.genes.positions[rows])), shape=(len(part.genes), n_axis))


class _Judge:
    """Judges the samples of a study on the genes that a recipe keeps."""

    def __init__(
        self, study: SimulatedStudy, entry: Mapping[str, Any], recipe: Recipe, names: AxisNames, tally: _Tally
    ) -> None:
        self._study, self._entry, self._recipe, self._names, self._tally = study, entry, recipe, names, tally
        self._genes = GeneFates(study, names, tally.detected, recipe.fields.get("min_samples_per_gene", 0))
        self._measured = self._genes.measured
        self._is_mito = np.isin(np.arange(len(names)), names.mito)
        self._checksums = Checksums(names.ids)

    def write(self, folder: Path) -> None:
        stem = folder / f"{self._study.name}.{self._recipe.name}"
        samples, counts = self._write_samples(stem)
        with open_packed(stem.with_name(f"{stem.name}.genes.tsv.gz")) as handle:
            self._genes.write(handle)
        truth = {
            "study": self._study.name,
            "recipe": self._recipe.name,
            "samples": samples,
            "genes": self._genes.summary(),
            "counts": counts,
        }
        stem.with_name(f"{stem.name}.json").write_text(json.dumps(truth, indent=1, sort_keys=True) + "\n")

    def _write_samples(self, stem: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        """Write the samples' fates; batches are judged last, so the rows wait in a file until all are known."""
        dropped, dropped_counts = Counter(self._tally.dropped), Counter(self._genes.dropped_counts(self._tally.totals))
        batches, batch_counts, n_kept, kept_total = Counter[str](), Counter[str](), 0, 0
        waiting = stem.with_name(f"{stem.name}.cells.part")
        with waiting.open("w", newline="") as handle:
            table = csv.writer(handle, delimiter="\t", lineterminator="\n")
            for row in self._rows():
                if row[1] == KEPT:
                    batches[row[5]] += 1
                    batch_counts[row[5]] += row[2]
                elif row[-1]:
                    dropped[row[1]] += 1
                    dropped_counts[row[1]] += row[2]
                table.writerow(row[:-1])
        small = {batch for batch, n in batches.items() if n < self._recipe.fields.get("min_samples_per_batch", 0)}
        for batch in small:
            dropped["below_min_samples_per_batch"] += batches[batch]
            dropped_counts["below_min_samples_per_batch"] += batch_counts[batch]
        with waiting.open(newline="") as handle, open_packed(stem.with_name(f"{stem.name}.cells.tsv.gz")) as packed:
            final = csv.writer(packed, delimiter="\t", lineterminator="\n")
            final.writerow(CELL_COLUMNS)
            for fields in csv.reader(handle, delimiter="\t"):
                if fields[1] == KEPT and fields[5] in small:
                    fields[1] = "below_min_samples_per_batch"
                n_kept += fields[1] == KEPT
                kept_total += int(fields[2]) if fields[1] == KEPT else 0
                final.writerow(fields)
        waiting.unlink()
        total = sum(int(totals.sum()) for totals in self._tally.totals)
        found = {"read": self._study.n_samples, "kept": n_kept, "dropped": dict(sorted(dropped.items()))}
        counted = {reason: n for reason, n in sorted(dropped_counts.items()) if n}
        return found, {"total": total, "kept_samples_total": kept_total, "dropped": counted}

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield, for each sample, `CELL_COLUMNS` and whether it was a candidate; small batches still count as kept."""
        study = self._study
        keep = sparse.diags(self._measured.astype(np.int64), format="csr", dtype=np.int64)
        for part in study.parts:
            onto_axis = _onto_axis(part, len(self._names))
            prefix = f"{study.name}:{part.name}/" if len(study.parts) > 1 else f"{study.name}:"
            passed_first: np.ndarray | None = None
            for samples in part.blocks():
                labels, reasons = describe(samples, part, self._entry, self._recipe)
                candidate = reasons == ""
                mapped = samples.counts.astype(np.int64) @ onto_axis
                counts = (mapped @ keep).tocsr()
                counts.eliminate_zeros()
                n_genes = np.diff(counts.indptr)
                library = np.asarray(counts.sum(axis=1)).ravel()
                reasons[candidate] = self._alone(labels, mapped, n_genes, library)[candidate]
                passed = reasons == ""
                if passed_first is None:
                    passed_first = passed.copy()
                evident = (n_genes >= EVIDENT_GENES) & (library >= EVIDENT_COUNTS)
                self._beside_others(samples, reasons, passed, passed_first, evident)
                outcome = np.where(reasons == "", KEPT, reasons)
                for i, checksum in enumerate(self._checksums.of(counts)):
                    yield (
                        f"{prefix}{samples.ids[i]}",
                        outcome[i],
                        int(library[i]),
                        int(n_genes[i]),
                        checksum,
                        *(labels[label][i] for label in LABELS),
                        bool(candidate[i]),
                    )

    def _beside_others(
        self, samples: Samples, reasons: np.ndarray, passed: np.ndarray, passed_first: np.ndarray, evident: np.ndarray
    ) -> None:
        """Drop what is in another study's stores, then what repeats an earlier sample that passed on its own."""
        for row in np.flatnonzero(passed & evident):
            origin = int(samples.copy_of[row])
            here = origin - samples.first
            origin_passed = origin >= 0 and bool(passed[here] if here >= 0 else passed_first[origin])
            if samples.guest_of[row] in self._recipe.kept_elsewhere:
                reasons[row] = "duplicate_of_another_study"
            elif origin_passed and self._recipe.fields.get("drop_duplicates", True):
                reasons[row] = "duplicate_of_another_sample"

    def _alone(
        self, labels: Mapping[str, np.ndarray], mapped: sparse.csr_matrix, n_genes: np.ndarray, library: np.ndarray
    ) -> np.ndarray:
        """Return why samples are dropped for their own counts."""
        technology, recipe = labels["technology"], self._recipe

        def threshold(name: str, default: float) -> np.ndarray:
            return np.array([recipe.threshold(name, value, default) for value in technology])

        total = np.asarray(mapped.sum(axis=1)).ravel()
        mito = np.asarray(mapped @ self._is_mito.astype(np.int64)).ravel() / np.maximum(total, 1)
        are_counts = ~np.isin(labels["count_kind"], NOT_COUNTS)
        unwanted = [
            ("below_min_genes_per_sample", n_genes < np.maximum(1, threshold("min_genes_per_sample", 0))),
            ("below_min_counts_per_sample", are_counts & (library < threshold("min_counts_per_sample", 0))),
            ("above_max_genes_per_sample", n_genes > threshold("max_genes_per_sample", np.inf)),
        ]
        if self._tally.has_mito:
            unwanted.append(("above_max_mito_share", mito > threshold("max_mito_share", np.inf)))
        return first_reason(unwanted, len(n_genes))


@contextmanager
def open_packed(path: Path) -> Iterator[IO[str]]:
    """Open a gzip file for writing text; the same text gives the same bytes."""
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", compresslevel=3, fileobj=raw, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="") as text,
    ):
        yield text
