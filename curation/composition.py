"""What a corpus is made of, beside Table 1 of the paper. Only JSON is read: manifests and the metadata of stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from curation.checked_store import decoding
from curation.file_sums import ROOT_METADATA, files_below
from curation.manifests import Selection, read_json, root_attributes
from curation.sizes import human_size
from curation.text_table import aligned, signed

# Table 1 of the paper is `expected` of this sheet
TABLE_1_SHEET = Path(__file__).parent / "catalog" / "diverserna.yaml"
# Table 1, last row: genes that at least one of the nine studies measured
TABLE_1_VOCABULARY = 44_349
SPLITS = ("train", "validation")
HEADER = ("study", "recipe", "assay", "counts", "train", "validation", "share", "genes", "non-zeros", "on disk", "B/nz")
TABLE_1_HEADER = ("Table 1", "study", "samples", "here", "difference", "genes", "here", "difference")


@cache
def table_1() -> dict[str, dict[str, int]]:
    """Return study -> n_samples and n_genes of Table 1."""
    from curation.catalog import read_catalog

    studies = read_catalog([TABLE_1_SHEET]).studies
    return {name: dict(study.expected) for name, study in studies.items() if study.expected}


def composition(selection: Selection) -> dict[str, Any]:
    """Return what a corpus or variant holds, ready for JSON.

    Raises
    ------
    InputError
        A store is missing, or is not the one that the manifest names.
    """
    by_member: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for entry in selection.stores:
        by_member.setdefault((entry["study"], entry["recipe"]), []).append(entry)
    sizes = {entry["path"]: _bytes_on_disk(selection.folder, entry) for entry in selection.stores}
    studies = [_study(entries, sizes) for _, entries in sorted(by_member.items())]
    n_samples = sum(study["n_samples"] for study in studies)
    for study in studies:
        study["share"] = study["n_samples"] / n_samples if n_samples else 0.0
    described = selection.described
    return {
        "corpus": str(selection.folder),
        "name": selection.manifest["name"],
        "variant": selection.variant,
        "format_version": described["format_version"],
        "digest": described["digest"],
        "gene_axis": dict(selection.manifest["gene_axis"]),
        "studies": studies,
        "totals": _totals(studies),
        "table_1": _table_1(studies, described.get("vocabulary")),
        "vocabulary": described.get("vocabulary"),
        "held_out": described.get("held_out"),
        "codec": sorted({_codec(selection.folder, entry) for entry in selection.stores}),
        "variants": [] if selection.variant else [_variant(*item) for item in selection.variants.items()],
        "tools": dict(selection.manifest.get("tools", {})),
    }


def _study(entries: Sequence[Mapping[str, Any]], sizes: Mapping[str, int]) -> dict[str, Any]:
    first = entries[0]
    nnz = sum(int(entry["nnz"]) for entry in entries)
    n_bytes = sum(sizes[entry["path"]] for entry in entries)
    by_split = {split: sum(int(entry["n_samples"]) for entry in entries if entry["split"] == split) for split in SPLITS}
    n_samples, n_genes = sum(by_split.values()), int(first["n_genes_measured"])
    published = table_1().get(first["study"])
    return {
        **{field: first[field] for field in ("study", "recipe", "assay", "count_kind", "simulated")},
        "n_samples": n_samples,
        **{f"n_samples_{split}": count for split, count in by_split.items()},
        "n_genes_measured": n_genes,
        "nnz": nnz,
        "bytes": n_bytes,
        "bytes_per_nonzero": n_bytes / nnz if nnz else None,
        "table_1": published,
        "difference": published
        and {"n_samples": n_samples - published["n_samples"], "n_genes": n_genes - published["n_genes"]},
    }


def _totals(studies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    fields = ("n_samples", "n_samples_train", "n_samples_validation", "nnz", "bytes")
    totals: dict[str, Any] = {field: sum(study[field] for study in studies) for field in fields}
    for assay in ("sc", "bulk"):
        totals[f"n_samples_{assay}"] = sum(study["n_samples"] for study in studies if study["assay"] == assay)
    totals["bytes_per_nonzero"] = totals["bytes"] / totals["nnz"] if totals["nnz"] else None
    return totals


def _table_1(studies: Sequence[Mapping[str, Any]], vocabulary: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Compare all of Table 1; None where no study of it is here."""
    here = {study["study"] for study in studies}
    published = table_1()
    if not here & published.keys():
        return None
    return {
        "n_samples": sum(row["n_samples"] for row in published.values()),
        "n_genes": TABLE_1_VOCABULARY,
        "vocabulary_difference": vocabulary["n_genes"] - TABLE_1_VOCABULARY if vocabulary else None,
        "missing_studies": sorted(published.keys() - here),
        "other_studies": sorted(here - published.keys()),
    }


def _variant(name: str, variant: Mapping[str, Any]) -> dict[str, Any]:
    fields = ("digest", "studies", "totals", "vocabulary", "held_out")
    return {"name": name} | {field: variant.get(field) for field in fields}


def _bytes_on_disk(folder: Path, entry: Mapping[str, Any]) -> int:
    store = folder / entry["path"]
    sums = root_attributes(folder, entry).get("files")
    own = (store / ROOT_METADATA).stat().st_size
    if sums is None:  # a store of a format before 1.0 does not say
        return own + sum((store / path).stat().st_size for path in files_below(store))
    with decoding(folder, entry, ROOT_METADATA):
        return own + sum(int(known["bytes"]) for known in sums.values())


def _codec(folder: Path, entry: Mapping[str, Any]) -> str:
    """Return how the chunks of a store's counts are compressed, in words."""
    path = folder / entry["path"] / "X" / "data" / ROOT_METADATA
    metadata = read_json(path)
    with decoding(folder, entry, f"X/data/{ROOT_METADATA}"):
        return _codec_words(metadata)


def _codec_words(metadata: Mapping[str, Any]) -> str:
    codecs = metadata.get("codecs", [])
    for codec in codecs:
        if codec.get("name") == "sharding_indexed":
            codecs = codec["configuration"]["codecs"]
    words = []
    for codec in codecs:
        settings = codec.get("configuration", {})
        if codec["name"] == "blosc":
            words.append(f"blosc {settings['cname']} {settings['clevel']}")
        elif codec["name"] != "bytes":
            words.append(str(codec["name"]))
    return ", ".join(words) or "none"


def composition_text(found: Mapping[str, Any]) -> str:
    """Return a composition as tables and lines."""
    lines = [
        f"{found['name']}, {'variant ' + found['variant'] if found['variant'] else 'all stores'}: {found['corpus']}",
        f"format {found['format_version']}, codec {'; '.join(found['codec']) or 'none'}, digest {found['digest']}",
        "",
        *aligned([HEADER, *map(_row, found["studies"]), _total_row(found)], left=4),
        "",
        *_comparison(found),
    ]
    if found["vocabulary"]:
        lines.append(f"vocabulary: {found['vocabulary']['n_genes']:,} of {found['gene_axis']['n_genes']:,} genes")
    else:
        lines.append(f"gene axis: {found['gene_axis']['n_genes']:,} genes, {found['gene_axis'].get('source') or '?'}")
    if found["held_out"] is not None:
        lines.append(f"held out: {', '.join(found['held_out']) or 'no study'}")
    for variant in found["variants"]:
        totals = variant["totals"]
        lines.append(
            f"variant {variant['name']}: {len(variant['studies'])} studies, "
            f"{totals['train']['n_samples']:,} + {totals['validation']['n_samples']:,} samples, "
            f"vocabulary {variant['vocabulary']['n_genes']:,}, held out: {', '.join(variant['held_out']) or 'no study'}"
        )
    several = len({study["study"] for study in found["studies"]}) < len(found["studies"])
    if several:
        lines.append("note: a study under several recipes counts once for each in the totals")
    lines.append("written by " + ", ".join(f"{tool} {version}" for tool, version in found["tools"].items()))
    return "\n".join(lines)


def _row(study: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        study["study"],
        study["recipe"],
        study["assay"],
        study["count_kind"] + (", simulated" if study["simulated"] else ""),
        f"{study['n_samples_train']:,}",
        f"{study['n_samples_validation']:,}",
        f"{study['share']:.1%}",
        f"{study['n_genes_measured']:,}",
        *_amounts(study),
    )


def _total_row(found: Mapping[str, Any]) -> tuple[str, ...]:
    totals = found["totals"]
    n_genes = f"{found['vocabulary']['n_genes']:,}" if found["vocabulary"] else ""
    split = (f"{totals['n_samples_train']:,}", f"{totals['n_samples_validation']:,}")
    return ("total", "", "", "", *split, "100.0%" if totals["n_samples"] else "-", n_genes, *_amounts(totals))


def _amounts(row: Mapping[str, Any]) -> tuple[str, str, str]:
    per_nonzero = row["bytes_per_nonzero"]
    return f"{row['nnz']:,}", human_size(row["bytes"]), "-" if per_nonzero is None else f"{per_nonzero:.2f}"


def _comparison(found: Mapping[str, Any]) -> list[str]:
    whole = found["table_1"]
    if whole is None:
        return ["No study of the paper's Table 1 is here.", ""]
    rows = [TABLE_1_HEADER]
    for study in found["studies"]:
        published = study["table_1"]
        if published:
            difference = study["difference"]
            samples = (
                f"{published['n_samples']:,}",
                f"{study['n_samples']:,}",
                signed(difference["n_samples"]),
            )
            genes = (f"{published['n_genes']:,}", f"{study['n_genes_measured']:,}", signed(difference["n_genes"]))
            rows.append(("", study["study"], *samples, *genes))
    totals, vocabulary = found["totals"], found["vocabulary"]
    if not whole["missing_studies"] and not whole["other_studies"] and len(rows) == len(table_1()) + 1:
        more = signed(totals["n_samples"] - whole["n_samples"])
        n_genes = f"{vocabulary['n_genes']:,}" if vocabulary else "-"
        genes = (f"{whole['n_genes']:,}", n_genes, signed(whole["vocabulary_difference"]))
        rows.append(("", "total", f"{whole['n_samples']:,}", f"{totals['n_samples']:,}", more, *genes))
    lines = aligned(rows, left=2)
    for words, names in (("not here", whole["missing_studies"]), ("not in Table 1", whole["other_studies"])):
        if names:
            lines.append(f"{words}: {', '.join(names)}")
    return [*lines, ""]
