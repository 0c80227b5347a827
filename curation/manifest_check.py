"""The fields of corpus.json, of variants and of their stores that the commands rely on, and the types of these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STORE = {
    "path": str,
    "study": str,
    "recipe": str,
    "split": str,
    "assay": str,
    "simulated": bool,
    "count_kind": str,
    "n_samples": int,
    "n_genes_measured": int,
    "nnz": int,
    "digest": str,
}
AXIS = {"sha256": str, "n_genes": int}
CORPUS = {
    "format_version": str,
    "name": str,
    "digest": str,
    "gene_axis": dict,
    "stores": list,
    "studies": dict,
    "sources": dict,
}
VARIANT = {
    "format_version": str,
    "name": str,
    "digest": str,
    "stores": list,
    "studies": dict,
    "held_out": list,
    "vocabulary": dict,
    "totals": dict,
}
TOTALS = {"n_samples": int, "nnz": int}


def fault(content: Any, fields: Mapping[str, type]) -> str:
    """Return in words which field is missing or of another type; "" if all are as they should be."""
    if not isinstance(content, dict):
        return f"is {type(content).__name__}, not an object"
    for name, kind in fields.items():
        if name not in content:
            return f"lacks {name}"
        value = content[name]
        negative = type(value) is int and value < 0
        if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool) or negative:
            return f"has {name} {str(value)[:40]!r}"
    return ""


def store_fault(entry: Any, *, in_corpus: bool) -> str:
    """Return what is wrong with the entry of a store."""
    found = fault(entry, STORE | ({"zarr_json_sha256": str} if in_corpus else {}))
    return found or ("" if entry["path"].startswith("stores/") else f"has path {entry['path'][:40]!r}")


def corpus_fault(manifest: Mapping[str, Any]) -> str:
    """Return what is wrong with corpus.json, "" if nothing is; formats before 1.0 need not state sums."""
    sums = not str(manifest.get("format_version")).startswith("0.")
    found = fault(manifest, CORPUS | ({"files": dict} if sums else {}))
    if found:
        return found
    if axis := fault(manifest["gene_axis"], AXIS):
        return f"gene_axis {axis}"
    for study, records in manifest["sources"].items():
        for record in records if isinstance(records, list) else [records]:
            if source := fault(record, {"file": str, "sha256": str}):
                return f"a source of {study} {source}"
    if not isinstance(manifest.get("tools", {}), dict):
        return "has tools that are no object"
    return _stores_fault(manifest, in_corpus=sums)


def variant_fault(variant: Mapping[str, Any]) -> str:
    """Return what is wrong with the JSON of a variant, "" if nothing is."""
    if found := fault(variant, VARIANT):
        return found
    if found := fault(variant["vocabulary"], {"n_genes": int}):
        return f"vocabulary {found}"
    if not all(isinstance(name, str) for name in variant["held_out"]):
        return "has held_out that are no names"
    for split in ("train", "validation"):
        if found := fault(variant["totals"].get(split), TOTALS):
            return f"totals of {split} {found}"
    return _stores_fault(variant, in_corpus=False)


def _stores_fault(described: Mapping[str, Any], *, in_corpus: bool) -> str:
    for number, entry in enumerate(described["stores"]):
        if found := store_fault(entry, in_corpus=in_corpus):
            return f"store {number} {found}"
    return ""
