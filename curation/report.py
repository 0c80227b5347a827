"""The parts of a study's QC report that need more than a counter."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curation.catalog import Study
from curation.genes import COPIED_ROW, EXAMPLES_PER_REASON, GeneMap


def gene_report(
    tables: Sequence[list[str]], maps: Sequence[GeneMap], totals: Sequence[np.ndarray] | None = None
) -> dict[str, Any]:
    """Count a study's genes by outcome, over all its parts, and the counts that lie on them.

    An id that occurs in several parts counts once; an id that occurs twice in one table counts twice, and is merged.

    Parameters
    ----------
    tables : sequence of list of str
        Gene ids of each part.
    maps : sequence of GeneMap
        Their maps.
    totals : sequence of ndarray, each of shape (n_table_genes,), optional
        Sum of the counts of each gene of each part.

    Returns
    -------
    dict
        Numbers of genes: in_table, mapped, mapped_by, merged (ids that share their gene with an earlier one), dropped
        (by reason). `examples`: reason -> ids, those with most counts first. With `totals` also `counts`: total,
        kept_share (copies of another row left out), merged, mapped_by, dropped, and `examples`: outcome -> {id:
        counts}.
    """
    rows = _rows(tables, maps, totals)
    dropped = {reason: n for reason, n in Counter(row.reason for row in rows).items() if reason}
    mapped = [row for row in rows if row.position >= 0]
    merged = _merged(mapped)
    report: dict[str, Any] = {
        "in_table": len(rows),
        "mapped": len(mapped),
        "mapped_by": dict(sorted(Counter(row.how for row in mapped).items())),
        "merged": len(mapped) - len({row.position for row in mapped}),
        "dropped": dict(sorted(dropped.items())),
        "examples": {reason: list(_largest([r for r in rows if r.reason == reason])) for reason in sorted(dropped)},
    }
    if totals is not None:
        report["counts"] = _counts(rows, mapped, merged)
    return report


@dataclass(kw_only=True)
class _Row:
    """One id of a study's tables with one outcome, and its counts over all parts."""

    gene: str
    position: int
    reason: str
    how: str
    counts: int = 0


def _rows(tables: Sequence[list[str]], maps: Sequence[GeneMap], totals: Sequence[np.ndarray] | None) -> list[_Row]:
    rows: dict[tuple[object, ...], _Row] = {}
    for part, (ids, genes) in enumerate(zip(tables, maps, strict=True)):
        seen: Counter[str] = Counter()
        counts = [0] * len(ids) if totals is None else totals[part].tolist()
        for gene, position, reason, how, count in zip(
            ids, genes.positions.tolist(), genes.reasons, genes.how, counts, strict=True
        ):
            # with the outcome: one part may find a copy, or repair a date, where another cannot
            key = gene, seen[gene], reason, how
            seen[gene] += 1
            row = rows.setdefault(key, _Row(gene=gene, position=position, reason=reason, how=how))
            row.counts += int(count)
    return list(rows.values())


def _merged(mapped: Sequence[_Row]) -> list[_Row]:
    """Return the rows whose gene another row has, too."""
    times = Counter(row.position for row in mapped)
    return [row for row in mapped if times[row.position] > 1]


def _largest(rows: Sequence[_Row]) -> dict[str, int]:
    """Return the ids with most counts; in the order of the table where counts are equal."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts[row.gene] += row.counts
    return dict(sorted(counts.items(), key=lambda item: -item[1])[:EXAMPLES_PER_REASON])


def _counts(rows: Sequence[_Row], mapped: Sequence[_Row], merged: Sequence[_Row]) -> dict[str, Any]:
    by_outcome: dict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        by_outcome[row.reason or row.how].append(row)
    sums = {outcome: sum(row.counts for row in found) for outcome, found in sorted(by_outcome.items())}
    total, kept = sum(sums.values()), sum(row.counts for row in mapped)
    countable = total - sums.get(COPIED_ROW, 0)
    ways = {row.how for row in mapped}
    return {
        "total": total,
        "kept_share": kept / countable if countable else 0.0,
        "merged": sum(row.counts for row in merged),
        "mapped_by": {outcome: count for outcome, count in sums.items() if outcome in ways},
        "dropped": {outcome: count for outcome, count in sums.items() if outcome not in ways},
        "examples": {outcome: _largest(found) for outcome, found in sorted(by_outcome.items())}
        | ({"merged": _largest(merged)} if merged else {}),
    }


def source_files(study: Study, sources: Path) -> list[dict[str, Any]]:
    """Return file, address, size and sha256 of every file of the study, from what the fetch step recorded."""
    records = []
    for name in sorted({name for part in study.parts for name in part.files.values()}):
        path = sources / name
        provenance = path.with_name(f"{path.name}.provenance.json")
        known = json.loads(provenance.read_text()) if provenance.exists() else {}
        with path.open("rb") as handle:
            sha256 = known.get("sha256") or hashlib.file_digest(handle, "sha256").hexdigest()
        address = known.get("address", "")
        records.append({"file": name, "address": address, "size": path.stat().st_size, "sha256": sha256})
    return records
