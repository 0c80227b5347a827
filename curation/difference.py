"""What differs between two corpora, or two variants: axis, members, parts of stores, genes, reasons, samples, tools."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import zarr

from curation.axis import GeneAxis
from curation.checked_store import check_files, decoding
from curation.composition import SPLITS
from curation.manifests import Selection, check_tables, root_attributes
from curation.sample_ids import id_hashes, ids_not_among, n_shared
from curation.text_table import signed

# Names that a list shows before it only counts
FIRST = 5
# What is compared of a study's entries, summed over its splits
COUNTED = ("n_samples", "nnz")
NAMED = ("recipe", "assay", "count_kind", "simulated", "n_genes_measured")


def difference(left: Selection, right: Selection) -> dict[str, Any]:
    """Return what differs, ready for JSON; `equal` says whether the content of all stores is the same.

    Counts are never read: the digests of a store's parts say which of them differ. Sample ids and measured genes are
    read where those digests differ.

    Raises
    ------
    InputError
        A store is missing, or is not the one that its manifest names.
    """
    sides = (left, right)
    members = [_members(side) for side in sides]
    names = [set(member) for member in members]
    shared = sorted(names[0] & names[1])
    of_axis = [side.manifest["gene_axis"] for side in sides]
    digests = [side.described["digest"] for side in sides]
    studies = {study: _study_difference(sides, [member[study] for member in members]) for study in shared}
    return {
        "a": left.title,
        "b": right.title,
        "equal": digests[0] == digests[1],
        "digest": digests,
        "format_version": [side.described["format_version"] for side in sides],
        "gene_axis": None if of_axis[0]["sha256"] == of_axis[1]["sha256"] else _axis_difference(sides),
        "studies_only_in_a": sorted(names[0] - names[1]),
        "studies_only_in_b": sorted(names[1] - names[0]),
        "studies": {study: found for study, found in studies.items() if found},
        "equal_studies": [study for study in shared if not studies[study]],
        "totals": {field: [sum(int(store[field]) for store in side.stores) for side in sides] for field in COUNTED},
        "vocabulary": _changed([(side.described.get("vocabulary") or {}).get("n_genes") for side in sides]),
        "held_out": _changed([side.described.get("held_out") for side in sides]),
        "variants": _variants(sides),
        "tools": _changes(*[side.manifest.get("tools", {}) for side in sides]),
    }


def _members(side: Selection) -> dict[str, list[dict[str, Any]]]:
    """Return study -> its entries. Under several recipes, `study.recipe` -> entries, so that like meets like."""
    recipes: dict[str, set[str]] = {}
    for store in side.stores:
        recipes.setdefault(store["study"], set()).add(store["recipe"])
    found: dict[str, list[dict[str, Any]]] = {}
    for store in side.stores:
        several = len(recipes[store["study"]]) > 1
        found.setdefault(f"{store['study']}.{store['recipe']}" if several else store["study"], []).append(store)
    return found


def _study_difference(sides: Sequence[Selection], entries: Sequence[list[dict[str, Any]]]) -> dict[str, Any]:
    attributes = [
        {entry["split"]: root_attributes(side.folder, entry) for entry in mine}
        for side, mine in zip(sides, entries, strict=True)
    ]
    firsts = [(side.folder, mine[0]) for side, mine in zip(sides, entries, strict=True)]
    found: dict[str, Any] = {}
    for field in NAMED:
        found |= _only_changed(field, [mine[0][field] for mine in entries])
    for field in COUNTED:
        found |= _only_changed(field, [sum(int(entry[field]) for entry in mine) for mine in entries])
        for split in SPLITS:
            values = [sum(int(entry[field]) for entry in mine if entry["split"] == split) for mine in entries]
            found |= _only_changed(f"{field}_{split}", values)
    parts = _parts(attributes)
    if parts:
        found["parts"] = parts
        if any("var" in names for names in parts.values()):
            found |= _genes(firsts)
        if any("obs" in names for names in parts.values()):
            found |= _samples(sides, entries)
        reports = [_report(folder, entry) for folder, entry in firsts]
        for what in ("samples", "genes"):
            dropped = _changes(*[report.get(what, {}).get("dropped", {}) for report in reports])
            found |= {f"dropped_{what}": dropped} if dropped else {}
        recipes = _changes(*[report.get("recipe_fields", {}) for report in reports])
        found |= {"recipe_fields": recipes} if recipes else {}
    sources = _sources(entries, sides)
    return found | ({"sources": sources} if sources else {})


def _parts(attributes: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, list[str]]:
    """Return split -> parts of its store whose digests differ."""
    found = {}
    for split in sorted(attributes[0].keys() | attributes[1].keys()):
        digests = [side.get(split, {}).get("digests", {}) for side in attributes]
        names = sorted(_changes(*digests))
        if names:
            found[split] = names
    return found


def _genes(firsts: Sequence[tuple[Path, Mapping[str, Any]]]) -> dict[str, Any]:
    """Return genes that the study measures in one corpus only; by name, so that the axes may differ."""
    measured = [_measured(folder, entry) for folder, entry in firsts]
    found = {}
    for name, (mine, other) in {"genes_only_in_a": measured, "genes_only_in_b": measured[::-1]}.items():
        known = set(other)
        only = [gene for gene in mine if gene not in known]
        if only:
            found[name] = {"n": len(only), "first": only[:FIRST]}
    return found


def _measured(folder: Path, entry: Mapping[str, Any]) -> list[str]:
    store = folder / entry["path"]
    check_files(folder, entry, ("var/",))
    with decoding(folder, entry, "var"):
        mask = np.asarray(zarr.open_array(store / "var" / "measured", mode="r")[:], dtype=bool)
        ids = np.asarray(zarr.open_array(store / "var" / "ensembl_id", mode="r")[:]).tolist()
        return [str(ids[place]) for place in np.flatnonzero(mask).tolist()]


def _samples(sides: Sequence[Selection], entries: Sequence[list[dict[str, Any]]]) -> dict[str, Any]:
    """Return samples that are in one corpus only, and how many are in another split."""
    by_split: list[dict[str, list[Path]]] = [
        {split: [side.folder / entry["path"] for entry in mine if entry["split"] == split] for split in SPLITS}
        for side, mine in zip(sides, entries, strict=True)
    ]
    hashes = [
        {split: _id_hashes(side.folder, [entry for entry in mine if entry["split"] == split]) for split in SPLITS}
        for side, mine in zip(sides, entries, strict=True)
    ]
    found: dict[str, Any] = {}
    for name, mine, other in (("samples_only_in_a", 0, 1), ("samples_only_in_b", 1, 0)):
        known = np.sort(np.concatenate(list(hashes[other].values())))
        count, first = ids_not_among([path for paths in by_split[mine].values() for path in paths], known, FIRST)
        if count:
            found[name] = {"n": count, "first": first}
    moved = {
        f"{start} to {end}": n_shared(hashes[0][start], hashes[1][end])
        for start in SPLITS
        for end in SPLITS
        if start != end
    }
    moved = {step: n for step, n in moved.items() if n}
    return found | ({"samples_moved": moved} if moved else {})


def _id_hashes(folder: Path, entries: Sequence[Mapping[str, Any]]) -> np.ndarray:
    hashes = [np.zeros(0, dtype=np.uint64)]
    for entry in entries:
        check_files(folder, entry, ("obs/sample_id/",))
        with decoding(folder, entry, "obs/sample_id"):
            hashes.append(id_hashes([folder / entry["path"]]))
    return np.sort(np.concatenate(hashes))


def _report(folder: Path, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the QC report that a store carries."""
    check_files(folder, entry, ("uns/",))
    with decoding(folder, entry, "uns/curation"):
        uns = zarr.open_group(folder / entry["path"], mode="r")["uns"]
        report: dict[str, Any] = json.loads(str(ad.io.read_elem(uns)["curation"]))
        return report


def _sources(entries: Sequence[list[dict[str, Any]]], sides: Sequence[Selection]) -> dict[str, Any]:
    """Return file -> sha256 in both, where they differ."""
    names = [mine[0]["study"] for mine in entries]
    files = [
        {record["file"]: record["sha256"] for record in side.manifest.get("sources", {}).get(name, [])}
        for side, name in zip(sides, names, strict=True)
    ]
    return _changes(*files)


def _axis_difference(sides: Sequence[Selection]) -> dict[str, Any]:
    for side in sides:
        check_tables(side)
    axes = [GeneAxis.read(side.folder / "genes.parquet").ensembl_ids for side in sides]
    found: dict[str, Any] = {"n_genes": [len(axis) for axis in axes]}
    for name, (mine, other) in {"only_in_a": axes, "only_in_b": axes[::-1]}.items():
        known = set(other)
        only = [gene for gene in mine if gene not in known]
        found[name] = {"n": len(only), "first": only[:FIRST]}
    return found


def _variants(sides: Sequence[Selection]) -> dict[str, Any] | None:
    """Return which variants of two whole corpora differ."""
    if any(side.variant is not None for side in sides):
        return None
    left, right = ({name: variant["digest"] for name, variant in side.variants.items()} for side in sides)
    return {
        "only_in_a": sorted(left.keys() - right.keys()),
        "only_in_b": sorted(right.keys() - left.keys()),
        "differ": sorted(name for name in left.keys() & right.keys() if left[name] != right[name]),
    }


def _changed(values: list[Any]) -> list[Any] | None:
    return values if values[0] != values[1] else None


def _only_changed(field: str, values: list[Any]) -> dict[str, list[Any]]:
    return {field: values} if values[0] != values[1] else {}


def _changes(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return key -> both values, None where there is none, of every key whose values differ."""
    keys = sorted(left.keys() | right.keys())
    return {key: [left.get(key), right.get(key)] for key in keys if left.get(key) != right.get(key)}


def difference_text(found: Mapping[str, Any]) -> str:
    """Return a difference as lines for people."""
    lines = [f"a: {found['a']}", f"b: {found['b']}"]
    if found["equal"]:
        lines.append(f"equal in content: digest {found['digest'][0]}")
    else:
        lines += ["different in content: " + " -> ".join(f"digest {digest[:12]}" for digest in found["digest"])]
        lines += [f"  {field}: {_pair(values)}" for field, values in found["totals"].items() if values[0] != values[1]]
    if found["format_version"][0] != found["format_version"][1]:
        lines.append(f"format: {_pair(found['format_version'])}")
    if found["gene_axis"]:
        axis = found["gene_axis"]
        lines.append(f"gene axis: {_pair(axis['n_genes'])} genes")
        lines += _only_lines(axis, "only_in_a", "only_in_b", "genes")
        if not axis["only_in_a"]["n"] and not axis["only_in_b"]["n"]:
            lines.append("  the same genes in another order")
    for side in ("a", "b"):
        if found[f"studies_only_in_{side}"]:
            lines.append(f"studies only in {side}: {', '.join(found[f'studies_only_in_{side}'])}")
    for study, changes in found["studies"].items():
        lines += [f"{study}:", *(f"  {line}" for line in _study_lines(changes))]
    if found["equal_studies"] and not found["equal"]:
        lines.append(f"the same in both: {', '.join(found['equal_studies'])}")
    if found["vocabulary"]:
        lines.append(f"vocabulary: {_pair(found['vocabulary'])} genes")
    if found["held_out"]:
        lines.append("held out: " + " -> ".join(", ".join(names or []) or "none" for names in found["held_out"]))
    for what, names in (found["variants"] or {}).items():
        if names:
            lines.append(
                f"variants {'that differ' if what == 'differ' else what.replace('_', ' ')}: {', '.join(names)}"
            )
    lines += [f"tool {tool}: {_pair(versions)}" for tool, versions in found["tools"].items()]
    return "\n".join(lines)


def _study_lines(changes: Mapping[str, Any]) -> Iterator[str]:
    for field in (*NAMED, *(f"{name}{end}" for name in COUNTED for end in ("", "_train", "_validation"))):
        if field in changes:
            yield f"{field}: {_pair(changes[field])}"
    for split, parts in changes.get("parts", {}).items():
        yield f"{split} differs in {', '.join(parts)}"
    yield from (line.strip() for line in _only_lines(changes, "genes_only_in_a", "genes_only_in_b", "genes measured"))
    yield from (line.strip() for line in _only_lines(changes, "samples_only_in_a", "samples_only_in_b", "samples"))
    for step, n in changes.get("samples_moved", {}).items():
        yield f"samples moved from {step}: {n:,}"
    for what in ("samples", "genes"):
        for reason, values in changes.get(f"dropped_{what}", {}).items():
            yield f"dropped {what}, {reason}: {_pair([value or 0 for value in values])}"
    for field, values in changes.get("recipe_fields", {}).items():
        yield f"recipe field {field}: {_pair(values)}"
    for name, sums in changes.get("sources", {}).items():
        yield f"source file {name}: {_pair([sha256 and sha256[:12] for sha256 in sums])}"


def _only_lines(found: Mapping[str, Any], key_a: str, key_b: str, what: str) -> Iterator[str]:
    for side, key in (("a", key_a), ("b", key_b)):
        if found.get(key, {}).get("n"):
            entry = found[key]
            more = ", ..." if entry["n"] > len(entry["first"]) else ""
            yield f"  {what} only in {side}: {entry['n']:,} ({', '.join(entry['first'])}{more})"


def _pair(values: Sequence[Any]) -> str:
    """Return two values as people read a change; numbers with their difference."""
    if all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return f"{values[0]:,} -> {values[1]:,} ({signed(values[1] - values[0])})"
    return " -> ".join("none" if value is None else str(value) for value in values)
