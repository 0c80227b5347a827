"""The parts of a study's QC report that need more than a counter."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curation.catalog import Study
from curation.genes import EXAMPLES_PER_REASON, GeneMap


def gene_report(tables: Sequence[list[str]], maps: Sequence[GeneMap]) -> dict[str, Any]:
    """Count a study's genes by outcome, over all its parts.

    An id that occurs in several parts counts once; an id that occurs twice in one table counts twice, and is merged.

    Parameters
    ----------
    tables : sequence of list of str
        Gene ids of each part.
    maps : sequence of GeneMap
        Their maps.
    """
    outcomes: dict[tuple[str, int], tuple[int, str, str]] = {}
    for ids, genes in zip(tables, maps, strict=True):
        seen: Counter[str] = Counter()
        for gene, position, reason, how in zip(ids, genes.positions.tolist(), genes.reasons, genes.how, strict=True):
            outcomes[gene, seen[gene]] = (position, reason, how)
            seen[gene] += 1
    mapped = [position for position, _, _ in outcomes.values() if position >= 0]
    examples: dict[str, list[str]] = defaultdict(list)
    for (gene, _), (_, reason, _) in outcomes.items():
        if reason and len(examples[reason]) < EXAMPLES_PER_REASON:
            examples[reason].append(gene)
    return {
        "in_table": len(outcomes),
        "mapped": len(mapped),
        "mapped_by": dict(sorted(Counter(how for _, _, how in outcomes.values() if how).items())),
        "merged": len(mapped) - len(set(mapped)),
        "dropped": dict(sorted(Counter(reason for _, reason, _ in outcomes.values() if reason).items())),
        "examples": {reason: examples[reason] for reason in sorted(examples)},
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
